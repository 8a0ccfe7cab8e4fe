"""Asks for so many notifications as the API does: a row and a task each. For a test in a deployment of its own."""

import os
import sys


def main(count: int) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aisoc_admin.settings")
    import django

    django.setup()
    import aisoc_admin.celery  # noqa: F401 - tasks go to our broker
    from actions import tasks
    from actions.deliveries import open_delivery

    for number in range(count):
        row = open_delivery("webhook", title=f"Message {number}", key=f"case-{number}")
        assert tasks.publish(row.pk)


if __name__ == "__main__":
    main(int(sys.argv[1]))
