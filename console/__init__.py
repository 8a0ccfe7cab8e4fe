"""The pages. No models and no rules: each page renders the same snapshot as its API."""
