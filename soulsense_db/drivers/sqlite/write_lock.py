"""Keep writers out of a live SQLite database, and find out whether somebody wrote afterwards."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from soulsense_db import fs
from soulsense_db.drivers.sqlite import pragmas
from soulsense_db.drivers.sqlite.live_connection import LiveConnection
from soulsense_db.drivers.sqlite.refusals import for_one_connection, shared_cache, without_locks
from soulsense_db.drivers.sqlite.structure import passing_over_schema
from soulsense_db.errors import StorageError
from soulsense_db.notices import ignoring

# SQLITE_LOCKED_SHAREDCACHE, https://www.sqlite.org/rescode.html: not every module names it.
_LOCKED_SHARED_CACHE = sqlite3.SQLITE_LOCKED | (1 << 8)
_COUNTER = slice(24, 28)  # in the file's header
_READ_MS = 1000  # nobody commits while the lock is held: a reader waits for next to nothing


class SQLiteWriteLock:
    """The write lock of ``connection``, None where there is only the application's own.

    In WAL mode SQLite itself tells, at any time, whether somebody else has committed. With a
    rollback journal it cannot be asked while the lock is held that follows: that one shuts readers
    out. There the number in the file's header is read, past SQLite, which each commit changes
    (https://www.sqlite.org/fileformat2.html#file_change_counter). Page 1 is written last: what the
    load itself writes does not change it before its own commit.
    """

    def __init__(self, connection: LiveConnection | None, location: Path | None) -> None:
        self._connection = connection
        self._location = location
        self._version: int | None = None
        self._closing = ExitStack()
        self._read_counter: Callable[[], bytes] | None = None
        self._counter = b""

    @property
    def is_released(self) -> bool:
        """Whether the writing may have begun."""
        return self._connection is None or not self._connection.run(_in_transaction)

    def release(self) -> bool:
        """Give the lock back; False when that was done before."""

        def release(raw: sqlite3.Connection) -> bool:
            if not raw.in_transaction:
                return False
            self._version = pragmas.number(raw, "data_version")
            with passing_over_schema(raw):  # it need not be what this SQLite understands
                mode = pragmas.text(raw, "journal_mode")
            if mode != "wal":
                self._note_counter()
            raw.rollback()
            return True

        return self._connection is not None and self._connection.run(release)

    def close(self) -> None:
        """Give the lock back, if that was not done before."""
        try:
            if self._connection is not None and not self.is_released:
                self._connection.run(sqlite3.Connection.rollback)
        finally:
            self._closing.close()

    def _note_counter(self) -> None:
        """Note how often somebody has committed; not where the file cannot be read past SQLite."""
        if self._location is not None:
            with ignoring(StorageError, what="Concurrent commits will not be noticed"):
                read = self._closing.enter_context(fs.reading_starts(self._location))
                self._counter = read()[_COUNTER]
                self._read_counter = read

    def changed(self) -> bool:
        """Compare SQLite's ``data_version``, which counts what other connections commit."""

        def changed(raw: sqlite3.Connection) -> bool:
            if raw.in_transaction:  # the lock is still held
                return False
            return pragmas.number(raw, "data_version") != self._version

        if self._connection is None:
            return True
        try:
            return self._connection.run(changed)
        except sqlite3.Error:
            return True

    def has_concurrent_commit(self) -> bool:
        """Compare what a commit changes, without waiting for a lock."""

        def overtaken(raw: sqlite3.Connection) -> bool:
            if raw.in_transaction:
                return False
            with pragmas.settings(raw, busy_timeout=0):
                return pragmas.number(raw, "data_version") != self._version

        if self._connection is None:
            return False
        if self._read_counter is not None:
            with ignoring(StorageError, what="The file cannot be read past SQLite any more"):
                return self._read_counter()[_COUNTER] != self._counter
        with ignoring(sqlite3.Error, what="Whether somebody has committed cannot be asked"):
            return self._connection.run(overtaken)
        return False


def require_locked_out(other: sqlite3.Connection) -> None:
    """Raise unless ``other`` can read and cannot write, while the write lock is held elsewhere.

    ``sqlite3.OperationalError`` tells of a file that is read-only. Raises
    :class:`~soulsense_db.errors.UnsupportedDatabaseError` for an engine whose connections
    take no locks, or in which the holder of the lock keeps the others from reading.
    """
    if not is_locked_out(other):
        raise without_locks("nolock=1, or a VFS that does not lock")
    try:
        with pragmas.settings(other, busy_timeout=_READ_MS):
            pragmas.rows(other, pragmas.SMALLEST_READ)
    except sqlite3.OperationalError as error:
        raise for_one_connection(str(error)) from error


def is_locked_out(other: sqlite3.Connection) -> bool:
    """Whether ``other`` cannot write while the write lock is held elsewhere; errors as above."""
    with pragmas.settings(other, busy_timeout=0):
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == _LOCKED_SHARED_CACHE:
                raise shared_cache() from error
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            return True
    try:
        _require_writable(other)
    finally:
        other.rollback()
    return False


def try_to_hold(connection: sqlite3.Connection) -> bool:
    """Take the write lock; False where somebody else has it."""
    with pragmas.settings(connection, busy_timeout=0):
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if is_busy(error):
                return False
            raise
    return True


def is_busy(error: Exception) -> bool:
    """Whether SQLite was kept waiting by a lock."""
    code = getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_OK
    return code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _require_writable(connection: sqlite3.Connection) -> None:
    """Have SQLite raise its error where the file is read-only; nothing is written.

    ``BEGIN IMMEDIATE`` does not: on a read-only database it begins to read.
    """
    with pragmas.settings(connection, writable_schema=1):
        connection.execute("UPDATE main.sqlite_master SET type = type WHERE 0")


def _in_transaction(raw: sqlite3.Connection) -> bool:
    return raw.in_transaction
