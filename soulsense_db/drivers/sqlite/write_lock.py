"""Keep writers out of a live SQLite database, and find out whether somebody wrote afterwards."""

from __future__ import annotations

import sqlite3

from soulsense_db.drivers.sqlite import pragmas
from soulsense_db.drivers.sqlite.engine import LiveConnection
from soulsense_db.drivers.sqlite.refusals import for_one_connection, shared_cache, without_locks

# SQLITE_LOCKED_SHAREDCACHE, https://www.sqlite.org/rescode.html: not every module names it.
_LOCKED_SHARED_CACHE = sqlite3.SQLITE_LOCKED | (1 << 8)
_READ_MS = 1000  # nobody commits while the lock is held: a reader waits for next to nothing


class SQLiteWriteLock:
    """The write lock of ``connection``, None where there is only the application's own."""

    def __init__(self, connection: LiveConnection | None) -> None:
        self._connection = connection
        self._version: int | None = None

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
            raw.rollback()
            return True

        return self._connection is not None and self._connection.run(release)

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
        """Compare it without waiting: outside WAL mode the lock that follows shuts readers out."""

        def overtaken(raw: sqlite3.Connection) -> bool:
            if raw.in_transaction:
                return False
            with pragmas.settings(raw, busy_timeout=0):
                return pragmas.number(raw, "data_version") != self._version

        if self._connection is None:
            return False
        try:
            return self._connection.run(overtaken)
        except sqlite3.Error:
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
