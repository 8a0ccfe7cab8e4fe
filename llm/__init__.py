"""The language model: which one is configured, whether it may be reached, and what works without it."""
