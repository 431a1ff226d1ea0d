"""Locks that all nodes of a Galera cluster see: rows with an end, which their owners put off.

``GET_LOCK`` is of one node. A row that is inserted on two nodes at once is committed on one of
them: the other is told 1213. So who finds its own name in the row has the lock, until ``ends``, by
the clock of the server. A thread puts that off, each time through a connection of its own, so that
it does not matter which node a proxy leads it to.

A program that was killed loses its locks in :data:`SECONDS`. One that cannot renew its own, or was
stopped for so long, has to find that out before it does what cannot be undone: :meth:`Lease.renew`.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.mariadb import inventory, rights
from soulsense_db.drivers.mariadb.errors import code_of, lease_lost, live_errors
from soulsense_db.drivers.mariadb.login import Login
from soulsense_db.drivers.mariadb.statements import execute, literal, quoted, scalar
from soulsense_db.errors import DatabaseLockedError
from soulsense_db.notices import cleaning_up, log_ignored

SECONDS = 60.0
"""After this time without a sign of life somebody else gets the lock."""
RENEWED_SECONDS = 15.0
_AGAIN_SECONDS = 1.0
_LOOK_SECONDS = 0.1
_ATTEMPTS = 20
_CONFLICT = 1213
_NO_TABLE = (1146, 1049)
_RIGHTS = frozenset({"CREATE", "DELETE", "INSERT", "SELECT", "UPDATE"})
_NOW = "UTC_TIMESTAMP(6)"


def needed(connection: Connection, schema: str) -> bool:
    """Whether the server is a node of a cluster, and the user may have rows in ``schema``.

    Who may not has no right to restore anything either.
    """
    return inventory.is_in_a_cluster(connection) and not rights.lacking(connection, schema, _RIGHTS)


class Lease:
    """The lock by the name ``what``, as a row in ``schema``; not held before :meth:`take`."""

    def __init__(self, login: Login, schema: str, what: str, *, name: str) -> None:
        self._login, self._schema, self._name = login, schema, name
        self._table = quoted(schema, "leases")
        self._what = literal(what)
        self._owner = literal(secrets.token_hex(16))
        self._ended = threading.Event()
        self._is_held = False

    def take(self, *, timeout: float) -> bool:
        """Take it, and have it renewed; False where somebody else had it all the time."""
        deadline = time.monotonic() + timeout
        with self._login.connected(name=self._name) as connection:
            while not self._try(connection):
                if time.monotonic() >= deadline:
                    return False
                time.sleep(_LOOK_SECONDS)  # no node tells another's sessions that a lock is free
        self._is_held = True
        thread = threading.Thread(target=self._keep, name="soulsense_db-lease", daemon=True)
        thread.start()
        return True

    def _try(self, connection: Connection) -> bool:
        try:
            if self._is_somebody_s(connection):
                return False
            # Both again in one statement: two may have found it free.
            execute(
                connection,
                f"INSERT INTO {self._table} (what, owner, ends)"
                f" VALUES ({self._what}, {self._owner}, {_end()}) ON DUPLICATE KEY UPDATE"
                f" owner = IF(ends < {_NOW}, VALUES(owner), owner),"
                " ends = IF(owner = VALUES(owner), VALUES(ends), ends)",
            )
            return self._is_own(connection)
        except DBAPIError as error:
            if code_of(error) in _NO_TABLE:
                self._make_table(connection)
            elif code_of(error) != _CONFLICT:
                raise
            return False

    def _is_somebody_s(self, connection: Connection) -> bool:
        found = f"SELECT 1 FROM {self._table} WHERE what = {self._what}"
        return bool(scalar(connection, f"{found} AND ends >= {_NOW} AND owner <> {self._owner}"))

    def _is_own(self, connection: Connection) -> bool:
        found = f"SELECT 1 FROM {self._table} WHERE what = {self._what}"
        return bool(scalar(connection, f"{found} AND owner = {self._owner}"))

    def _make_table(self, connection: Connection) -> None:
        execute(
            connection,
            f"CREATE DATABASE IF NOT EXISTS {quoted(self._schema)}"
            " COMMENT 'Locks of soulsense_db that all nodes see'",
        )
        execute(
            connection,
            f"CREATE TABLE IF NOT EXISTS {self._table} (what VARCHAR(100) NOT NULL PRIMARY KEY,"
            " owner CHAR(32) NOT NULL, ends DATETIME(6) NOT NULL)"
            " ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        )

    def _keep(self) -> None:
        pause = RENEWED_SECONDS
        while not self._ended.wait(pause):
            try:
                self.renew()
                pause = RENEWED_SECONDS
            except DatabaseLockedError as error:
                log_ignored(f"A lock on {self._name} has ended", error)
                return
            except Exception as error:  # noqa: BLE001 - until the lock ends there is time
                log_ignored(f"A lock on {self._name} could not be renewed", error)
                pause = min(_AGAIN_SECONDS, RENEWED_SECONDS)

    def renew(self) -> None:
        """Put its end off; raises where somebody else may have got it meanwhile."""

        def renewed(connection: Connection) -> bool:
            execute(
                connection,
                f"UPDATE {self._table} SET ends = {_end()}"
                f" WHERE what = {self._what} AND owner = {self._owner}",
            )
            return self._is_own(connection)

        if not self._run(renewed):
            raise lease_lost(self._name)

    def release(self) -> None:
        """Give it back; does nothing where it is not held."""
        self._ended.set()
        if not self._is_held:
            return
        self._is_held = False
        with cleaning_up("A lock could not be released"), live_errors(self._name):
            self._run(self._remove)

    def _remove(self, connection: Connection) -> bool:
        condition = f"what = {self._what} AND owner = {self._owner}"
        execute(connection, f"DELETE FROM {self._table} WHERE {condition}")
        return True

    def _run(self, work: Callable[[Connection], bool]) -> bool:
        with self._login.connected(name=self._name) as connection:
            for _ in range(_ATTEMPTS):
                try:
                    return work(connection)
                except DBAPIError as error:
                    if code_of(error) in _NO_TABLE:  # somebody has dropped it
                        return False
                    if code_of(error) != _CONFLICT:
                        raise
            return False


@contextmanager
def held(
    login: Login, schema: str, what: str, *, name: str, timeout: float
) -> Iterator[Lease | None]:
    """Hold a lock for the block; the block is told None where somebody else has it."""
    lease = Lease(login, schema, what, name=name)
    try:
        yield lease if lease.take(timeout=timeout) else None
    finally:
        lease.release()


def is_held(connection: Connection, schema: str, what: str) -> bool:
    """Whether somebody holds the lock by a name."""
    asked = f"SELECT 1 FROM {quoted(schema, 'leases')} WHERE what = {literal(what)}"
    try:
        return bool(scalar(connection, f"{asked} AND ends >= {_NOW}"))
    except DBAPIError as error:
        if code_of(error) in _NO_TABLE:
            return False
        raise


def _end() -> str:
    return f"{_NOW} + INTERVAL {SECONDS:.3f} SECOND"
