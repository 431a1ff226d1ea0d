"""One ``SELECT`` that somebody else wrote: SQLite itself refuses whatever else is in it."""

from __future__ import annotations

import re
import sqlite3
from typing import Any

from soulsense_db.drivers.results import QueryError

_READING = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
_ONE_SELECT = "only reading is allowed: write one SELECT"
# A function may be one that only the application's own connections have.
_MISSPELT = re.compile(
    r"syntax error|incomplete input|unrecognized token|no such function|wrong number of arguments"
)
_MOST_ROWS = 2  # one that is asked for, and that there are more


def selected(connection: sqlite3.Connection, statement: str) -> tuple[tuple[Any, ...], ...]:
    """Return the first rows of ``statement``; raises :class:`QueryError`.

    Nobody else uses ``connection`` afterwards: what it refuses, it goes on refusing.
    """
    refused: list[int] = []

    def decide(action: int, *_: object) -> int:
        if action in _READING:
            return sqlite3.SQLITE_OK
        refused.append(action)
        return sqlite3.SQLITE_DENY

    connection.set_authorizer(decide)
    try:
        cursor = connection.execute(statement)
        if cursor.description is None:
            raise QueryError(_ONE_SELECT, is_wrong=True)
        return tuple(cursor.fetchmany(_MOST_ROWS))
    except (sqlite3.Error, sqlite3.Warning, UnicodeError, ValueError) as error:
        if refused:
            raise QueryError(_ONE_SELECT, is_wrong=True) from error
        code = getattr(error, "sqlite_errorcode", None)
        # Without a code it is Python that refuses it: two statements, or a parameter without value.
        is_wrong = code is None or _MISSPELT.search(str(error)) is not None
        raise QueryError(str(error), is_wrong=is_wrong) from error
