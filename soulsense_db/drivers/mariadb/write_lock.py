"""Keep writers out of all tables, and let readers in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.mariadb import inventory
from soulsense_db.drivers.mariadb.errors import LOCK_TIMEOUT, code_of, live_errors
from soulsense_db.drivers.mariadb.login import Login, seconds
from soulsense_db.drivers.mariadb.statements import execute, quoted, rows
from soulsense_db.drivers.results import WriteLock
from soulsense_db.drivers.server_errors import locked

_GONE = 1146
_TURN_SECONDS = 1  # longer than any transaction of an application that others would wait for
# The number of the next transaction that writes, in any database of the server.
_NEXT = "SHOW GLOBAL STATUS LIKE 'Innodb_max_trx_id'"


class MariaDBWriteLock:
    """The locks of ``connection``; released at the end at the latest."""

    def __init__(self, connection: Connection, login: Login, name: str) -> None:
        self._connection = connection
        self._login, self._name = login, name
        self._next: int | None = None

    @property
    def is_released(self) -> bool:
        """Whether the caller's own writing may have begun."""
        return self._next is not None

    def release(self) -> bool:
        """Let writers in again; False when that was done before."""
        if self.is_released:
            return False
        with live_errors(self._name):
            self._next = _next(self._connection)
            execute(self._connection, "UNLOCK TABLES")
        return True

    def changed(self) -> bool:
        """Return whether anybody may have committed since :meth:`release`."""
        return self.has_concurrent_commit()

    def has_concurrent_commit(self) -> bool:
        """Return whether somebody wrote since then, in whatever database of the server."""
        if self._next is None:
            return False
        with self._login.connected(name=self._name) as connection:
            return _next(connection) > self._next


class NoWriteLock:
    """Keeps nobody out: where what is replaced is kept, so is what is committed meanwhile."""

    is_released = False

    def release(self) -> bool:
        """Return False: there is nothing to release."""
        return False

    def changed(self) -> bool:
        """Return False: nothing of the caller's own has begun."""
        return False

    def has_concurrent_commit(self) -> bool:
        """Return False: what is committed is in what is kept."""
        return False


@contextmanager
def write_locked(
    login: Login, *, name: str, lock_timeout: float, is_required: bool = True
) -> Iterator[WriteLock]:
    """Hold a lock on all tables against writers until the block ends, or it is released.

    Where it is not ``is_required``, there is none when writers take turns without end.
    """
    with login.connected(name=name, lock_timeout=lock_timeout) as connection:
        schema, end = login.database, time.monotonic() + lock_timeout
        if is_required:
            _lock_all(connection, schema, name, end)
        elif not _locks_all_between_writers(connection, schema, name, end):
            yield NoWriteLock()
            return
        held = MariaDBWriteLock(connection, login, name)
        yield held
        if not held.is_released:
            execute(connection, "UNLOCK TABLES")


def _locks_all_between_writers(
    connection: Connection, schema: str, name: str, deadline: float
) -> bool:
    """Lock all tables, unless writers are found to take turns without end."""
    half = (deadline - time.monotonic()) / 2
    _wait_at_most(connection, half)
    try:
        _lock_all(connection, schema, name, deadline - half)
        return True
    except DBAPIError as error:
        if code_of(error) != LOCK_TIMEOUT:
            raise
    if _writers_take_turns(connection, schema):
        return False
    _wait_at_most(connection, deadline - time.monotonic())
    _lock_all(connection, schema, name, deadline)
    return True


def _writers_take_turns(connection: Connection, schema: str) -> bool:
    """Whether nobody has a transaction open for long, and yet a lock of readers is never granted.

    The server lets all writers go before it, also those that have come later. A lock of a writer
    goes before them: all wait for a moment, and what it waits for in vain is a transaction.
    """
    found = inventory.renamed(connection, schema)
    listed = ", ".join(f"{quoted(schema, one)} WRITE" for one in found)
    _wait_at_most(connection, _TURN_SECONDS)
    try:
        if found:
            execute(connection, f"LOCK TABLES {listed}")
    except DBAPIError as error:
        if code_of(error) not in (LOCK_TIMEOUT, _GONE):
            raise
        return False
    execute(connection, "UNLOCK TABLES")
    return True


def _wait_at_most(connection: Connection, timeout: float) -> None:
    execute(connection, f"SET SESSION lock_wait_timeout = {seconds(timeout)}")


def _lock_all(connection: Connection, schema: str, name: str, deadline: float) -> None:
    while True:
        found = inventory.renamed(connection, schema)
        try:
            if found:
                listed = ", ".join(f"{quoted(schema, one)} READ" for one in found)
                execute(connection, f"LOCK TABLES {listed}")
            return
        except DBAPIError as error:
            if code_of(error) != _GONE:
                raise
        if time.monotonic() > deadline:
            raise locked(name, "its tables are created or dropped all the time")


def _next(connection: Connection) -> int:
    return int(rows(connection, _NEXT)[0][1])
