"""Keep writers out of all tables, and let readers in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.postgresql import inventory
from soulsense_db.drivers.postgresql.autovacuum import end_autovacuum
from soulsense_db.drivers.postgresql.errors import code_of, live_errors
from soulsense_db.drivers.postgresql.holders import WRITING, naming_holders
from soulsense_db.drivers.postgresql.login import Login
from soulsense_db.drivers.postgresql.statements import execute
from soulsense_db.drivers.server_errors import locked
from soulsense_db.notices import Wait

# Whoever waits for a lock that we wait for is let through again before the server looks for a
# deadlock (deadlock_timeout, a second by default).
_ATTEMPT_MS = 150
_PAUSE_SECONDS = 0.02
_RETRIED = ("55P03", "40P01", "42P01")
# The number of the next transaction that writes, in any database of the server.
_NEXT = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"


class PostgreSQLWriteLock:
    """The locks of ``connection``, whose session is ``pid``; released at the end at the latest."""

    def __init__(self, connection: Connection, login: Login, name: str) -> None:
        self._connection = connection
        self._login, self._name = login, name
        self._next: int | None = None
        self.pid = int(connection.scalar(sa.text("SELECT pg_backend_pid()")) or 0)

    @property
    def is_released(self) -> bool:
        """Whether the caller's own writing may have begun."""
        return self._next is not None

    def release(self) -> bool:
        """Let writers in again; False when that was done before."""
        if self.is_released:
            return False
        self._next = int(self._connection.scalar(sa.text(_NEXT)) or 0)
        self._connection.rollback()
        self._connection.close()
        return True

    def changed(self) -> bool:
        """Return whether anybody may have committed since :meth:`release`."""
        return self.has_concurrent_commit()

    def has_concurrent_commit(self) -> bool:
        """Return whether somebody wrote since then, in whatever database of the server."""
        if self._next is None:
            return False
        with self._login.connected(name=self._name) as connection:
            return int(connection.scalar(sa.text(_NEXT)) or 0) > self._next


@contextmanager
def write_locked(login: Login, *, name: str, lock_timeout: float) -> Iterator[PostgreSQLWriteLock]:
    """Hold a lock on all tables against writers until the block ends, or it is released."""
    with login.connected(name=name, autocommit=False) as connection:
        with naming_holders(login, WRITING, name=name):
            _lock_all(connection, name, time.monotonic() + lock_timeout)
        held = PostgreSQLWriteLock(connection, login, name)
        yield held
        if not held.is_released:
            connection.rollback()


def _lock_all(connection: Connection, name: str, deadline: float) -> None:
    wait = Wait(f"others who write to {name}")
    while True:
        with live_errors(name):
            found = inventory.tables(connection)
            connection.rollback()
        try:
            execute(connection, f"SET LOCAL lock_timeout = {_ATTEMPT_MS}")
            if statement := inventory.lock(found, "EXCLUSIVE"):
                execute(connection, statement)
            return
        except DBAPIError as error:
            connection.rollback()
            if code_of(error) not in _RETRIED:
                raise
            with live_errors(name):
                end_autovacuum(connection)
                connection.rollback()
        if time.monotonic() > deadline:
            raise locked(name, "somebody is writing to it")
        wait.goes_on()
        time.sleep(_PAUSE_SECONDS)
