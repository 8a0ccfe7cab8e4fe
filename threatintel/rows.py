"""Many rows of a model at once, past the ORM: COPY on PostgreSQL, executemany on SQLite. A row is a tuple in the order of the model's fields.

Values are text, numbers, booleans, aware times and None, keys as 32 hexadecimal digits, JSON as text.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.db import connection
from django.db.models import Model

Row = Sequence[Any]
_BLOCK = 64  # rows sent at once


def add_rows(model: type[Model], rows: Iterable[Row], *, shared: bool) -> None:
    """Insert. shared: others insert the same rows; those that are there stay."""
    columns = _columns(model)
    names = ", ".join(columns)
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql":
            places, ignored = ", ".join(["%s"] * len(columns)), " ON CONFLICT DO NOTHING" if shared else ""
            cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({places}){ignored}", _adapted(rows))  # noqa: S608 - names of the model's columns
            return
        if not shared:
            _copy(cursor, table, names, rows)
            return
        staged = _staged(cursor, model)
        _copy(cursor, staged, names, rows)
        cursor.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM {staged} ON CONFLICT DO NOTHING")  # noqa: S608 - as above
        cursor.execute(f"TRUNCATE {staged}")


def update_rows(model: type[Model], rows: Sequence[Row], *, keep: Sequence[str]) -> None:
    """Overwrite the rows with these keys, but for the columns in `keep`. The key comes first in a row."""
    columns = _columns(model)
    key, table = columns[0], connection.ops.quote_name(model._meta.db_table)
    changed = [(place, name) for place, name in enumerate(columns) if place and name.strip('"') not in keep]
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql":
            assignments = ", ".join(f"{name} = %s" for _, name in changed)
            values = [(*(row[place] for place, _ in changed), row[0]) for row in _adapted(rows)]
            cursor.executemany(f"UPDATE {table} SET {assignments} WHERE {key} = %s", values)  # noqa: S608 - as above
            return
        staged = _staged(cursor, model)
        _copy(cursor, staged, ", ".join(columns), rows)
        assignments = ", ".join(f"{name} = staged.{name}" for _, name in changed)
        cursor.execute(f"UPDATE {table} SET {assignments} FROM {staged} AS staged WHERE {table}.{key} = staged.{key}")  # noqa: S608 - as above
        cursor.execute(f"TRUNCATE {staged}")


def _columns(model: type[Model]) -> list[str]:
    return [connection.ops.quote_name(str(field.column)) for field in model._meta.concrete_fields]


def _staged(cursor: Any, model: type[Model]) -> str:
    """An empty table of this connection, shaped like the model's."""
    name = connection.ops.quote_name(f"staged_{model._meta.db_table}")
    table = connection.ops.quote_name(model._meta.db_table)
    cursor.execute(f"CREATE TEMP TABLE IF NOT EXISTS {name} (LIKE {table}) ON COMMIT DELETE ROWS")
    return f"pg_temp.{name}"


def _copy(cursor: Any, table: str, columns: str, rows: Iterable[Row]) -> None:
    """COPY in its text format (PostgreSQL, COPY, "Text Format"), written here: the driver takes three times as long to adapt each value."""
    with connection.wrap_database_errors, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
        block: list[str] = []
        for row in rows:
            block.append("\t".join(map(_copied, row)))
            if len(block) == _BLOCK:
                copy.write("\n".join(block) + "\n")
                block.clear()
        if block:
            copy.write("\n".join(block) + "\n")


def _copied(value: Any) -> str:
    if isinstance(value, str):
        return value if value.isalnum() else _escaped(value)
    if value is None:
        return "\\N"
    if isinstance(value, datetime):
        return _iso(value)
    return str(value)


def _escaped(text: str) -> str:
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    if "\n" in text or "\t" in text or "\r" in text:
        text = text.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    return text


@lru_cache(1024)
def _iso(moment: datetime) -> str:
    return moment.isoformat()


def _adapted(rows: Iterable[Row]) -> list[tuple[Any, ...]]:
    """Times as SQLite keeps them: naive UTC text."""
    adapt = lru_cache(1024)(connection.ops.adapt_datetimefield_value)
    return [tuple([adapt(value) if type(value) is datetime else value for value in row]) for row in rows]
