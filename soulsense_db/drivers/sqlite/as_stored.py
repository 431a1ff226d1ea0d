"""Read a database as it is stored, whatever its application has set up on the connection, or not.

Text need not be valid; the order of a key need not be known here; and not every name can be sent.
"""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from soulsense_db.drivers.sqlite import pragmas
from soulsense_db.drivers.sqlite.pragmas import quoted
from soulsense_db.notices import ignoring


class UnsendableError(Exception):
    """Python sends SQLite no name that is not UTF-8, or that has a NUL in it."""


def require_sendable(names: str) -> None:
    """Raise :class:`UnsendableError` for what Python cannot send to SQLite."""
    try:
        names.encode()
    except UnicodeEncodeError:
        raise UnsendableError from None
    if "\0" in names:
        raise UnsendableError


@contextmanager
def any_text(connection: sqlite3.Connection) -> Iterator[None]:
    """Read text that is no valid UTF-8 too; the connection may be the application's own."""
    text = functools.partial(str, encoding="utf-8", errors="surrogateescape")
    with pragmas.text_as(connection, text):
        yield


@contextmanager
def all_collations(connection: sqlite3.Connection) -> Iterator[None]:
    """Let tables be read whose keys are in an order that only the application knows.

    SQLite opens no table WITHOUT ROWID without the collations of its key. A stand-in will do: rows
    are read as they lie there, and sorted by their bytes. It is gone at the end.
    """
    statement = (
        "SELECT DISTINCT part.coll FROM main.sqlite_master AS found, "
        "pragma_index_list(found.name, 'main') AS listed, "
        "pragma_index_xinfo(listed.name, 'main') AS part "
        "WHERE found.type = 'table' AND part.coll IS NOT NULL"
    )
    made: list[str] = []
    try:
        for (name,) in pragmas.rows(connection, statement):
            with suppress(UnsendableError):
                require_sendable(name)
                if not _has_collation(connection, name):
                    connection.create_collation(name, lambda a, b: (a > b) - (a < b))
                    made.append(name)
        yield
    finally:
        for name in made:
            # A statement of the application's is running.
            with ignoring(sqlite3.Error, what=f"The stand-in {name} stays on the connection"):
                connection.create_collation(name, None)


def _has_collation(connection: sqlite3.Connection, name: str) -> bool:
    """Whether ``connection`` knows a collation; SQLite's own list has all that the schema names."""
    try:
        pragmas.rows(connection, f"EXPLAIN SELECT '' = '' COLLATE {quoted(name)}")
    except sqlite3.OperationalError:
        return False
    return True
