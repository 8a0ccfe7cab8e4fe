"""Phishing triage of e-mails, URLs and domains: named, weighted reasons; the model may add to them and not overrule a known-bad indicator."""
