"""Is the database there? What a page catches, and the question itself."""

from django.db import InterfaceError, OperationalError, connection

# Not django.db.Error: a broken constraint or query is a fault of the product, and stays an error.
DATABASE_AWAY = (OperationalError, InterfaceError)


def ask_database() -> None:
    """Raises one of DATABASE_AWAY when it does not answer: without a session nothing else would have asked it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
