"""The one clock of leases: the database's, since workers on several hosts must agree on what has passed."""

from datetime import datetime

from django.db import connection
from django.utils import timezone


def now() -> datetime:
    """The time at the database server; on SQLite all processes share this machine's clock."""
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
        return moment
