"""Wiring of AiSOC Admin: environment, settings, URLs, Celery and the processes. No rule of the domain lives here."""

__version__ = "0.1.0"
