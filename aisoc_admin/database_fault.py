"""A database that cannot be used, told to the person at the terminal in one line with what to do about it."""

import re
from collections.abc import Mapping
from typing import Any

from django.db import Error

_NO_TABLES = re.compile(r"no such table|relation \S+ does not exist")


def told(error: Error, database: Mapping[str, Any]) -> str:
    """One line: what the database said, and the next step. database: its entry in the settings."""
    said = " ".join(str(error).split()).rstrip(".")
    return f"The database cannot be used: {said}. {_next_step(said, database)}"


def _next_step(said: str, database: Mapping[str, Any]) -> str:
    if _NO_TABLES.search(said):
        return "Its tables are missing or those of another release: run manage.py migrate as its owner; bin/up does so by itself."
    if database["ENGINE"].endswith("sqlite3"):
        return (
            f"Make room for {database['NAME']}."
            if "full" in said
            else f"Look at {database['NAME']}: this user must be able to write it and its folder."
        )
    return "Check DATABASE_URL, and that the server runs."
