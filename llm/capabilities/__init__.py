"""What the language model helps with: one module or package for each, with its prompt, its strict reading of answers and its fallback."""
