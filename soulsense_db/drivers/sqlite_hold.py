"""Keep writers out of a live SQLite database, and find out whether somebody wrote afterwards."""

from __future__ import annotations

import sqlite3

from soulsense_db.drivers import sqlite_pragmas as pragmas


class SQLiteHold:
    """The write lock of ``connection``, None where there is only the application's own."""

    def __init__(self, connection: sqlite3.Connection | None) -> None:
        self._connection = connection
        self._version: int | None = None

    @property
    def is_released(self) -> bool:
        """Whether the writing may have begun."""
        return self._connection is None or not self._connection.in_transaction

    def release(self) -> bool:
        """Give the lock back; False when that was done before."""
        if self._connection is None or not self._connection.in_transaction:
            return False
        self._version = pragmas.number(self._connection, "data_version")
        self._connection.rollback()
        return True

    def changed(self) -> bool:
        """Compare SQLite's ``data_version``, which counts what other connections commit."""
        if self._connection is None:
            return True
        if self._connection.in_transaction:  # the lock is still held
            return False
        try:
            return pragmas.number(self._connection, "data_version") != self._version
        except sqlite3.Error:
            return True

    def was_overtaken(self) -> bool:
        """Compare it without waiting: outside WAL mode the lock that follows shuts readers out."""
        if self._connection is None or self._connection.in_transaction:
            return False
        try:
            with pragmas.settings(self._connection, busy_timeout=0):
                return pragmas.number(self._connection, "data_version") != self._version
        except sqlite3.Error:
            return False
