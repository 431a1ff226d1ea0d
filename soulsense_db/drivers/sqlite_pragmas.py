"""Small questions to an SQLite connection, whatever row factory the application set on it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


def rows(connection: sqlite3.Connection, statement: str) -> list[tuple[Any, ...]]:
    """Return the rows of ``statement`` as tuples, whatever row factory the application set."""
    cursor = connection.cursor()
    cursor.row_factory = None
    return cursor.execute(statement).fetchall()


@contextmanager
def settings(connection: sqlite3.Connection, **wanted: int) -> Iterator[None]:
    """Set pragmas for the block: the connection may be the application's own."""
    before = {name: number(connection, name) for name in wanted}
    for name, value in wanted.items():
        connection.execute(f"PRAGMA {name} = {value}")
    try:
        yield
    finally:
        with suppress(sqlite3.Error):  # a courtesy to the application: it must not fail the work
            for name, value in before.items():
                connection.execute(f"PRAGMA {name} = {value}")


def number(connection: sqlite3.Connection, name: str) -> int:
    """Return the value of the pragma ``name`` that is a number."""
    return int(rows(connection, f"PRAGMA {name}")[0][0])


def text(connection: sqlite3.Connection, name: str) -> str:
    """Return the value of the pragma ``name`` that is a word."""
    return str(rows(connection, f"PRAGMA {name}")[0][0])


def schema(connection: sqlite3.Connection) -> frozenset[tuple[object, ...]]:
    """Return type, name and SQL of all there is in the database but SQLite's own tables.

    Those come and go: VACUUM drops a ``sqlite_sequence`` that no table needs any more.
    """
    statement = "SELECT type, name, sql FROM sqlite_master WHERE name NOT GLOB 'sqlite_*'"
    return frozenset(rows(connection, statement))


def alembic_heads(
    connection: sqlite3.Connection, version_table: str = "alembic_version"
) -> tuple[str, ...]:
    """Return the sorted revisions in ``version_table``; empty without such a table of Alembic's."""
    tables = rows(connection, "SELECT name FROM sqlite_master WHERE type = 'table'")
    if (version_table,) not in tables:
        return ()
    quoted = '"' + version_table.replace('"', '""') + '"'
    # An application may have a table of that name for something else.
    if "version_num" not in {row[1] for row in rows(connection, f"PRAGMA table_info({quoted})")}:
        return ()
    found = rows(connection, f"SELECT version_num FROM {quoted} ORDER BY version_num")  # noqa: S608 - quoted
    return tuple(str(version) for (version,) in found)
