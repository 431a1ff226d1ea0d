"""Statements of ours that wait for locks, and locks that are got before anybody else's.

A lock of a whole table goes before those of who reads or writes, however long these have waited,
if it was asked for before they got theirs. So while one of our connections keeps a table, another
one waits for it, and nobody comes between the two (measured).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Self

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.mariadb.errors import live_errors
from soulsense_db.drivers.mariadb.inventory import Trigger
from soulsense_db.drivers.mariadb.login import Login
from soulsense_db.drivers.mariadb.programs import create_triggers, drop_triggers
from soulsense_db.drivers.mariadb.statements import execute, quoted, scalar
from soulsense_db.notices import cleaning_up

_LOOK_SECONDS = 0.002
_PASS_SECONDS = 0.003
_MOST_GATES = 40  # connections; a server has 150 at its defaults


class Waiting:
    """A statement that is executed in a thread, on a connection that nothing else uses."""

    def __init__(self, connection: Connection, statement: str) -> None:
        self._connection, self._statement = connection, statement
        self._number = int(scalar(connection, "SELECT CONNECTION_ID()"))
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="soulsense_db-waiting", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            execute(self._connection, self._statement)
        except BaseException as error:  # noqa: BLE001 - raised by join()
            self._error = error

    @property
    def has_ended(self) -> bool:
        """Whether it was executed, or failed."""
        return not self._thread.is_alive()

    def until_it_waits(self, observer: Connection) -> None:
        """Return when it waits for a lock, or has ended."""
        asked = (
            "SELECT STATE LIKE 'Waiting for%lock' FROM information_schema.PROCESSLIST"
            f" WHERE ID = {self._number}"
        )
        while not self.has_ended and not scalar(observer, asked):
            time.sleep(_LOOK_SECONDS)

    def join(self) -> None:
        """Wait for its end; raises what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def stop(self, observer: Connection, name: str) -> None:
        """End it where it waits."""
        while not self.has_ended:
            with cleaning_up("A waiting statement could not be ended"), live_errors(name):
                try:
                    execute(observer, f"KILL QUERY {self._number}")
                except DBAPIError:
                    if not self.has_ended:
                        raise
            self._thread.join(0.05)


class Gates:
    """Keeps tables from everybody, a connection for each of ``groups``.

    Beyond forty groups several share one. Where tables share a connection, a writer may come
    between.
    """

    def __init__(
        self, login: Login, groups: Sequence[Sequence[str]], *, name: str, lock_timeout: float
    ) -> None:
        self._login, self._name, self._lock_timeout = login, name, lock_timeout
        each: list[list[str]] = [[] for _ in range(min(_MOST_GATES, len(groups)))]
        for number, group in enumerate(groups):
            each[number * len(each) // len(groups)].extend(group)
        self._groups = each
        self._connections: list[Connection] = []
        self._waiting: list[Waiting] = []

    @contextmanager
    def asked_for(self, observer: Connection) -> Iterator[Self]:
        """Ask for all locks; the block begins when all wait, or have got theirs."""
        schema = self._login.database
        with ExitStack() as stack:
            for _ in self._groups:
                made = self._login.connected(name=self._name, lock_timeout=self._lock_timeout)
                self._connections.append(stack.enter_context(made))
            stack.callback(self._stop, observer)
            for connection, group in zip(self._connections, self._groups, strict=True):
                listed = ", ".join(f"{quoted(schema, one)} WRITE" for one in group)
                self._waiting.append(Waiting(connection, f"LOCK TABLES {listed}"))
            for one in self._waiting:
                one.until_it_waits(observer)
            yield self

    def _stop(self, observer: Connection) -> None:
        for one in self._waiting:
            one.stop(observer, self._name)

    def got(self) -> None:
        """Wait until all tables are kept."""
        for one in self._waiting:
            one.join()

    def create(self, triggers: Sequence[Trigger]) -> None:
        """Make the triggers of tables that are kept."""
        for connection, group in zip(self._connections, self._groups, strict=True):
            own = [one for one in triggers if one.table in group]
            create_triggers(connection, own, self._login.database)

    def drop(self, triggers: Sequence[Trigger]) -> None:
        """Drop the triggers of tables that are kept."""
        for connection, group in zip(self._connections, self._groups, strict=True):
            own = [one for one in triggers if one.table in group]
            drop_triggers(connection, own, self._login.database)

    def open(self) -> None:
        """Let others in, one table after the other, so that who waits for all gets each first."""
        for connection in self._connections:
            execute(connection, "UNLOCK TABLES")
            time.sleep(_PASS_SECONDS)
