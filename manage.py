#!/usr/bin/env python3
"""Django's command line, for this project."""

import os
import sys

from django.conf import settings
from django.core.management import execute_from_command_line
from django.db import OperationalError, ProgrammingError


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aisoc_admin.settings")
    try:
        execute_from_command_line(sys.argv)
    except (OperationalError, ProgrammingError) as error:
        if "--traceback" in sys.argv:
            raise
        from aisoc_admin.database_fault import told

        print(told(error, settings.DATABASES["default"]), file=sys.stderr)  # noqa: T201
        sys.exit(1)


if __name__ == "__main__":
    main()
