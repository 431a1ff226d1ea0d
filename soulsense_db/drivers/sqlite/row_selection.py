"""Find the rows of a backup that a condition is true of, which a person wrote.

It is looked at twice before it counts: between parentheses, and between CASE WHEN and THEN. What
closes the one does not close the other, so that both together take nothing but one expression. It
is evaluated on a connection that reads only, under an authorizer that allows reading only.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from soulsense_db.drivers.row_errors import (
    never_ends,
    no_expression,
    no_rows,
    not_allowed,
    not_usable,
    unknown_column,
    unreachable,
)
from soulsense_db.drivers.sqlite import pragmas
from soulsense_db.drivers.sqlite.cancel import interruptible
from soulsense_db.drivers.sqlite.errors import is_damage, reason_of
from soulsense_db.drivers.sqlite.pragmas import quoted
from soulsense_db.drivers.sqlite.row_tables import Shape, Tables

Ident = Any
"""What a row of a backup is found by: its rowid, or where there is none the key, a tuple."""

_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}
# They do more than compute, or give another answer each time: what is shown would not be done.
_NOT_ALLOWED = {
    "changes",
    "fts3_tokenizer",
    "last_insert_rowid",
    "load_extension",
    "random",
    "randomblob",
    "total_changes",
}
_LEAST_SECONDS = 60.0
_BYTES_A_SECOND = 5_000_000  # slower than any disk that is read from end to end
_LEAST_LENGTH = 1_000_000
_QUOTED = re.compile(
    r"""'(?:[^']|'')*'|`(?:[^`]|``)*`|\[[^\]]*\]|--[^\n]*|/\*.*?(?:\*/|\Z)|"((?:[^"]|"")*)\"""",
    re.DOTALL,
)
_DENIED = re.compile(r"not authorized|prohibited")
_IS_SYNTAX = re.compile(
    r"syntax error|incomplete input|unrecognized token|one statement at a time|null character"
    r"|sub-select returns|row value misused|number of bindings|surrogates not allowed"
)


def select_rows(
    backup: Tables,
    shape: Shape,
    where: str | None,
    *,
    poll: Callable[[], object] | None = None,
) -> list[Ident]:
    """Return what the chosen rows are found by, in the order of that.

    ``backup``: its tables, on a connection of its own that any thread may use. ``poll`` is called
    now and then; what it raises cancels. Raises
    :class:`~soulsense_db.errors.OptionError` for a ``where`` that means nothing.
    """
    table = f"main.{quoted(shape.name)}"
    wanted = ident_columns(shape)
    if not wanted:
        raise unreachable(shape.name)
    condition = ""
    if where is not None:
        where = _without_strings_in_double_quotes(where)
        _require_one_expression(backup.connection, shape, where)
        # On lines of its own: a comment ends there.
        condition = f" WHERE (\n{where}\n)"
    columns = ", ".join(f'+{one} AS "soulsense_{n}"' for n, one in enumerate(wanted))
    order = ", ".join(wanted)
    statement = f"SELECT {columns} FROM {table}{condition} ORDER BY {order}"  # noqa: S608 - quoted
    deadline = _Deadline(_size_of(backup.connection))

    def look() -> None:
        deadline.require()
        if poll is not None:
            poll()

    def select() -> list[Ident]:
        with _reading_only(backup.connection), _of_the_condition(shape, where):
            rows = backup.connection.execute(statement)
            return [row[0] for row in rows] if shape.rowid else list(rows)

    with backup.errors():
        found = interruptible(select, backup.connection, poll=look)
    if not found:
        raise no_rows(shape.name, where)
    if shape.rowid is None and any(None in ident for ident in found):
        raise unreachable(shape.name)
    return found


def _without_strings_in_double_quotes(where: str) -> str:
    """Return ``where`` with names in backquotes: in double quotes a misspelt one is a string.

    Source: https://www.sqlite.org/quirks.html#double_quoted_string_literals_are_accepted
    """

    def renamed(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0]
        return "`" + found[1].replace('""', '"').replace("`", "``") + "`"

    return _QUOTED.sub(renamed, where)


def ident_columns(shape: Shape) -> tuple[str, ...]:
    """Return the expressions that a row of a backup is found by."""
    return (shape.rowid,) if shape.rowid else tuple(map(quoted, shape.key))


class _Deadline:
    """Gives a condition as long as it takes to read all of the backup, and then some."""

    def __init__(self, size_bytes: int) -> None:
        self._seconds = _LEAST_SECONDS + size_bytes / _BYTES_A_SECOND
        self._ends = time.monotonic() + self._seconds

    def require(self) -> None:
        if time.monotonic() > self._ends:
            raise never_ends(self._seconds)


def _require_one_expression(connection: sqlite3.Connection, shape: Shape, where: str) -> None:
    table = f"main.{quoted(shape.name)}"
    for statement in (
        f"EXPLAIN SELECT 1 FROM {table} WHERE (\n{where}\n)",  # noqa: S608 - looked at, not run
        f"EXPLAIN SELECT 1 FROM {table} WHERE CASE WHEN\n{where}\nTHEN 1 END",  # noqa: S608 - as above
    ):
        with _reading_only(connection), _of_the_condition(shape, where):
            connection.execute(statement).fetchall()


@contextmanager
def _of_the_condition(shape: Shape, where: str | None) -> Iterator[None]:
    """Say of what SQLite refuses in the block that it is the condition, unless it is the file."""
    try:
        yield
    # A lone surrogate, a NUL character, a placeholder without a value: those are Python's.
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        if where is None or (isinstance(error, sqlite3.Error) and _is_of_the_file(error)):
            raise
        reason = reason_of(error)
        if _DENIED.search(reason):
            raise not_allowed(reason) from error
        if "no such column" in reason:
            names = [one.name for one in shape.columns]
            raise unknown_column(reason, shape.name, names) from error
        if _IS_SYNTAX.search(reason):
            raise no_expression(reason) from error
        raise not_usable(reason, shape.name) from error


def _is_of_the_file(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    return is_damage(error) or code in {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_INTERRUPT,
    }


@contextmanager
def _reading_only(connection: sqlite3.Connection) -> Iterator[None]:
    """Let statements of the block read the database and compute, and nothing else."""
    # No value of the file is longer than the file.
    longest = max(_LEAST_LENGTH, _size_of(connection))
    with pragmas.values_limited(connection, min(longest, pragmas.longest_value(connection))):
        connection.set_authorizer(_authorize)
        try:
            yield
        finally:
            connection.set_authorizer(None)


def _size_of(connection: sqlite3.Connection) -> int:
    return pragmas.number(connection, "page_count") * pragmas.number(connection, "page_size")


def _authorize(action: int, _one: str | None, two: str | None, *_: str | None) -> int:
    if action == sqlite3.SQLITE_FUNCTION and (two or "").lower() not in _NOT_ALLOWED:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY
