"""What the language model is asked for: each capability is a prompt, a strict reading of the answer, and a deterministic fallback."""
