"""Sigma rules through pySigma: read, written, converted and evaluated. pySigma is imported when a rule is, not when a process starts."""
