#!/usr/bin/env python3
"""Django's command line, for this project."""

import os
import select
import signal
import sys

from django.conf import settings
from django.core.management import execute_from_command_line
from django.db import InterfaceError, OperationalError, ProgrammingError


def output_is_unread() -> bool:
    """Whether the reader of our output has left, as in `… | head`. What is left of it is then dropped."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    unread = any(event & select.POLLERR for _, event in poll.poll(0))
    if unread:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return unread


def main() -> None:
    os.umask(os.umask(0o077) | 0o007)  # what a command makes, such as the SQLite database, is not for every user of the machine
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aisoc_admin.settings")
    try:
        execute_from_command_line(sys.argv)
    except BrokenPipeError:
        if not output_is_unread():
            raise
        sys.exit(128 + signal.SIGPIPE)  # as a shell says it
    except (OperationalError, ProgrammingError, InterfaceError) as error:
        if "--traceback" in sys.argv:
            raise
        from aisoc_admin.database_fault import told

        print(told(error, settings.DATABASES["default"]), file=sys.stderr)  # noqa: T201
        sys.exit(1)


if __name__ == "__main__":
    main()
