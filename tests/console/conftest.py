"""The fixtures of the pages."""

from tests.console.fixtures import auditor, database_away, healthy, indicators, operator, quick_passwords, ran, reader, sealed, text  # noqa: F401
