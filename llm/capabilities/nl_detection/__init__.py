"""Descriptions of behaviour to Sigma rules: recognised behaviours as real selections, or the model's rule where pySigma accepts it."""
