#!/usr/bin/env python3
"""Django's command line, for this project."""

import os
import sys

from django.core.management import execute_from_command_line
from django.db.utils import InterfaceError, OperationalError, ProgrammingError


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aisoc_admin.settings")
    try:
        execute_from_command_line(sys.argv)
    except (OperationalError, ProgrammingError, InterfaceError) as error:  # away, without its tables, or without the right to them
        if "--traceback" in sys.argv:
            raise
        said = " ".join(str(error).split())
        sys.exit(f"CommandError: The database cannot be used: {said}. Is it up, and has manage.py migrate made its tables?")


if __name__ == "__main__":
    main()
