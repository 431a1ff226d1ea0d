"""Small questions and orders to an SQLite connection, whatever row factory it has."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from soulsense_db.notices import Wait, ignoring

# That a rollback journal is gone is on disk at the end of a transaction, and before the file is
# cut: else a power cut could leave a journal to roll back, and a file without what it lacks.
SYNCHRONOUS_EXTRA = 3
SMALLEST_READ = "PRAGMA main.schema_version"
"""Reads the header and no more: it needs no schema that this SQLite understands."""
NO_LIMIT = 2**31 - 1
"""SQLite takes the highest that it was compiled for."""
_LENGTH: int | None = getattr(sqlite3, "SQLITE_LIMIT_LENGTH", None)
_SHORT_WAIT_MS = 3  # SQLite asks after 1 and 3 ms; later ever more seldom


def rows(connection: sqlite3.Connection, statement: str) -> list[tuple[Any, ...]]:
    """Return the rows of ``statement`` as tuples, whatever row factory the application set."""
    cursor = connection.cursor()
    cursor.row_factory = None
    return cursor.execute(statement).fetchall()


def quoted(name: str) -> str:
    """Return ``name`` as SQL takes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def folded(name: str) -> str:
    """Return ``name`` as SQLite compares names: ASCII letters in lower case, no others."""
    return name.encode(errors="surrogateescape").lower().decode(errors="surrogateescape")


@contextmanager
def text_as(connection: sqlite3.Connection, text_factory: Callable[[bytes], Any]) -> Iterator[None]:
    """Read text in the block as what ``text_factory`` makes of it, not what the application's does.

    The connection may be the application's own.
    """
    before: Callable[[bytes], Any] = connection.text_factory
    connection.text_factory = text_factory
    try:
        yield
    finally:
        connection.text_factory = before


def longest_value(connection: sqlite3.Connection) -> int:
    """Return how many bytes a value may have.

    A library that cannot tell, as pysqlite3 cannot, has no limit.
    """
    return NO_LIMIT if _LENGTH is None else connection.getlimit(_LENGTH)


@contextmanager
def values_limited(connection: sqlite3.Connection, length: int) -> Iterator[None]:
    """Have SQLite refuse to read longer values in the block, where the library can ask it to."""
    if _LENGTH is None:
        yield
        return
    before = connection.getlimit(_LENGTH)
    connection.setlimit(_LENGTH, length)
    try:
        yield
    finally:
        connection.setlimit(_LENGTH, before)


def wait_for_locks(connection: sqlite3.Connection, seconds: float) -> None:
    """Have SQLite wait as long for the locks of others from here on."""
    connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")


@contextmanager
def settings(connection: sqlite3.Connection, **wanted: int) -> Iterator[None]:
    """Set pragmas for the block: the connection may be the application's own."""
    before = {name: number(connection, name) for name in wanted}
    for name, value in wanted.items():
        connection.execute(f"PRAGMA {name} = {value}")
    try:
        yield
    finally:
        # A courtesy to the application: it must not fail the work.
        with ignoring(sqlite3.Error, what="A setting of the connection was not put back"):
            for name, value in before.items():
                connection.execute(f"PRAGMA {name} = {value}")


def begin_immediate(connection: sqlite3.Connection) -> None:
    """Begin a write transaction; wait for the lock as long as the connection's ``busy_timeout``.

    SQLite by itself asks ten times a second at most. A writer that commits all the time leaves gaps
    of microseconds: measured, one in two restores did not get its lock within 3 s. Nor would
    asking from Python do in the writer's own process: it holds the GIL in its gaps.
    """
    patience = number(connection, "busy_timeout")
    deadline = time.monotonic() + patience / 1000
    wait = Wait("another program that is writing to the database")
    with settings(connection, busy_timeout=min(patience, _SHORT_WAIT_MS)):
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() >= deadline:
                    raise
                wait.goes_on()


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
    # As bytes: SQLite keeps text as it was written, be it valid or not.
    statement = (
        "SELECT CAST(type AS BLOB), CAST(name AS BLOB), CAST(sql AS BLOB) "
        "FROM main.sqlite_master WHERE name NOT GLOB 'sqlite_*'"
    )
    return frozenset(rows(connection, statement))


ATTACHED = (
    "SELECT CAST(name AS BLOB), CAST(file AS BLOB), CAST('A' AS BLOB) FROM pragma_database_list"
)
"""By bytes: a path need not be text, and the application may have a way of its own to read that.

They are in the encoding of the database, which the last one tells.
"""
_ENCODINGS = {b"A\0": "utf-16-le", b"\0A": "utf-16-be"}


def other_files(databases: Iterable[Sequence[bytes | None]]) -> dict[str, str]:
    """Return the files other than the main database's by schema name, from :data:`ATTACHED`."""
    rows = [(_decoded(name, sample), _decoded(file, sample)) for name, file, sample in databases]
    main = next((file for name, file in rows if name == "main"), "")
    return {
        name: file
        for name, file in rows
        if name not in {"main", "temp"} and file and not _is_same(file, main)
    }


def _decoded(text: bytes | None, sample: bytes | None) -> str:
    encoding = _ENCODINGS.get(sample or b"")
    if encoding is None:
        return os.fsdecode(text or b"")
    return (text or b"").decode(encoding, errors="replace")


def _is_same(file: str, main: str) -> bool:
    with suppress(OSError):
        return bool(main) and Path(file).samefile(main)
    return file == main


def attached(connection: sqlite3.Connection) -> str:
    """Return the databases attached to ``connection``, with their files; empty without any."""
    found = _attached(connection)
    return ", ".join(f"{name} ({file or 'in memory'})" for name, file in found)


def attached_names(connection: sqlite3.Connection) -> list[str]:
    """Return the names of the databases attached to ``connection``, quoted for a statement."""
    return [quoted(name) for name, _ in _attached(connection)]


def _attached(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return [
        (name.decode(errors="replace"), (file or b"").decode(errors="replace"))
        for name, file in _databases(connection)
        if name not in {b"main", b"temp"}
    ]


def main_file(connection: sqlite3.Connection) -> str:
    """Return the name of the main database's file as SQLite says it, empty in memory."""
    found = (file for name, file in _databases(connection) if name == b"main")
    return os.fsdecode(next(found, None) or b"")


def _databases(connection: sqlite3.Connection) -> list[tuple[bytes, bytes | None]]:
    """Return the name and file of each database; a path need be no text."""
    with text_as(connection, bytes):
        found = rows(connection, "PRAGMA database_list")  # it needs no schema that can be read
    return [(name, file) for _, name, file in found]


def alembic_heads(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Return the sorted revisions in ``alembic_version``; empty without that table."""
    return version_heads(connection, "alembic_version") or ()


def version_heads(connection: sqlite3.Connection, version_table: str) -> tuple[str, ...] | None:
    """Return the sorted revisions in ``version_table``; None without such a table of Alembic's."""
    statement = "SELECT 1 FROM main.sqlite_master WHERE type = 'table' AND name = ?"
    if connection.execute(statement, (version_table,)).fetchone() is None:
        return None
    table = quoted(version_table)
    # An application may have a table of that name for something else.
    if "version_num" not in {row[1] for row in rows(connection, f"PRAGMA table_info({table})")}:
        return None
    found = rows(connection, f"SELECT version_num FROM {table} ORDER BY version_num")  # noqa: S608 - quoted
    return tuple(str(version) for (version,) in found)
