"""Statements of ours that wait for locks, and locks that are got before anybody else's.

A lock of a whole table goes before those of who reads or writes, however long these have waited,
if it was asked for before they got theirs; and that of a statement that renames goes before all.
So while one of our connections keeps a table, another one waits for it, and nobody comes between
the two (measured).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Self

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.mariadb.errors import LOCK_TIMEOUT, code_of, live_errors
from soulsense_db.drivers.mariadb.inventory import Trigger
from soulsense_db.drivers.mariadb.login import Login, seconds
from soulsense_db.drivers.mariadb.observer import Observer
from soulsense_db.drivers.mariadb.programs import create_triggers, drop_triggers
from soulsense_db.drivers.mariadb.statements import execute, literal, quoted, scalar
from soulsense_db.errors import DatabaseUnreachableError
from soulsense_db.notices import cleaning_up, log_ignored

_LOOK_SECONDS = 0.002
_SPARED = 15  # connections that are left to others, and to what else a swap needs
_GATE_SECONDS = 86400.0  # they are ended, and end with this process

_FREE = """SELECT LEAST(@@GLOBAL.max_connections, IF(@@max_user_connections,
    @@max_user_connections, 65535)) - VARIABLE_VALUE
    FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'THREADS_CONNECTED'"""


class Waiting:
    """What is done in a thread, on a connection that nothing else uses."""

    def __init__(self, connection: Connection, work: Callable[[Connection], object]) -> None:
        self._connection, self._work = connection, work
        self._number = int(scalar(connection, "SELECT CONNECTION_ID()"))
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="soulsense_db-waiting", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work(self._connection)
        except BaseException as error:  # noqa: BLE001 - raised by join()
            self._error = error

    @property
    def has_ended(self) -> bool:
        """Whether it was executed, or failed."""
        return not self._thread.is_alive()

    @property
    def has_failed(self) -> bool:
        """Whether it has ended with an error, as when it was ended."""
        return self._error is not None

    def until_it_waits(self, observer: Observer) -> None:
        """Return when it waits for a lock, or has ended."""
        asked = (
            "SELECT STATE LIKE 'Waiting for%lock' FROM information_schema.PROCESSLIST"
            f" WHERE ID = {self._number}"
        )
        while not self.has_ended and not observer.scalar(asked):
            time.sleep(_LOOK_SECONDS)  # the server tells nobody that a statement waits

    def join(self) -> None:
        """Wait for its end; raises what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def stop(self, observer: Observer, name: str) -> None:
        """End it where it waits."""
        while not self.has_ended:
            with cleaning_up("A waiting statement could not be ended"), live_errors(name):
                try:
                    observer.kill_query(self._number)
                except DBAPIError:
                    if not self.has_ended:
                        raise
            self._thread.join(0.05)


def waiting_for(connection: Connection, statement: str) -> Waiting:
    """Execute a statement that has to wait."""
    return Waiting(connection, lambda one: execute(one, statement))


def _do(
    work: Callable[[Connection, Trigger], object], trigger: Trigger, connection: Connection
) -> object:
    return work(connection, trigger)


class Connections:
    """Connections that are used again: while they are made, writers wait."""

    def __init__(self, login: Login, stack: ExitStack, *, name: str, lock_timeout: float) -> None:
        self._login, self._stack = login, stack
        self._name, self._lock_timeout = name, lock_timeout
        self._free: list[Connection] = []
        self._waits: dict[Connection, float] = {}

    def fill(self, tables: int) -> None:
        """Connect before writers wait: once for each of so many tables, if the server can."""
        with self._login.connected(name=self._name) as connection:
            most = int(scalar(connection, _FREE)) - _SPARED
        try:
            while len(self._free) < min(tables, most):
                self._free.append(self._made(self._lock_timeout))
        except DatabaseUnreachableError as error:
            log_ignored("The server takes no more connections", error)

    @property
    def size(self) -> int:
        """How many there are that nothing uses."""
        return len(self._free)

    def take(self, waits: float | None = None) -> Connection:
        """Return one that waits so many seconds for a lock, the lock timeout by default."""
        wanted = self._lock_timeout if waits is None else waits
        if self._free:
            found = self._free.pop()
            if self._waits[found] != wanted:
                execute(found, f"SET SESSION lock_wait_timeout = {seconds(wanted)}")
        else:
            found = self._made(wanted)
        self._waits[found] = wanted
        return found

    def _made(self, waits: float) -> Connection:
        found = self._stack.enter_context(
            self._login.connected(name=self._name, lock_timeout=waits)
        )
        self._waits[found] = waits
        return found

    def give(self, connection: Connection) -> None:
        """Take one back that waits for nothing and has no lock."""
        self._free.append(connection)


class Gates:
    """Keep tables of the live schema from everybody, a connection for each.

    Each waits for the lock of its table, and then for ``gate``, which is never unlocked: so it
    keeps its table without opening it, for with that the server would lock others, those of foreign
    keys. Whoever waits for the table gets it when its gate is opened: its statement is ended.

    Where the server has not a connection for each, several share one: there, a writer may come
    between.
    """

    def __init__(
        self,
        login: Login,
        tables: Collection[str],
        *,
        gate: str,
        name: str,
        connections: Connections,
        probe: Connection,
    ) -> None:
        self._login, self._gate, self._name = login, gate, name
        self._pool, self._probe = connections, probe
        ordered = sorted(set(tables), key=str.encode)  # as the server takes locks
        number = min(max(1, connections.size), len(ordered))
        self._parts: list[list[str]] = [[] for _ in range(number)]
        for place, table in enumerate(ordered):
            self._parts[place * number // len(ordered)].append(table)
        self._connections: list[Connection] = []
        self._others: list[Connection] = []
        self._waiting: list[Waiting] = []

    @contextmanager
    def connected(self, observer: Observer) -> Iterator[Self]:
        """Connect; nothing is kept yet. All are open after the block."""
        try:
            for _ in self._parts:
                self._connections.append(self._pool.take(_GATE_SECONDS))
            yield self
        finally:
            for one in self._waiting:
                one.stop(observer, self._name)
            for connection in (*self._connections, *self._others):
                self._pool.give(connection)

    def ask(self, observer: Observer) -> None:
        """Ask for all tables; somebody has each, and they are in line when it returns."""
        for number in range(len(self._parts)):
            self._waiting.append(self._asked(number))
        for one in self._waiting:
            one.until_it_waits(observer)

    @property
    def is_asked(self) -> bool:
        """Whether :meth:`ask` was called."""
        return bool(self._waiting)

    def let_through(self, renaming: Waiting, observer: Observer) -> None:
        """Open each gate when ``renaming`` waits for it, and close it behind: ask once more."""
        left = list(range(len(self._parts)))
        while left and not renaming.has_ended:
            found = next((one for one in left if self._is_wanted(self._parts[one])), None)
            if found is None:
                time.sleep(_LOOK_SECONDS)  # nor which table it waits for
                continue
            left.remove(found)
            self._open(found, observer)
            self._waiting[found] = self._asked(found)
        for one in self._waiting:
            one.until_it_waits(observer)

    def create(self, triggers: Sequence[Trigger], observer: Observer) -> None:
        """Make triggers of tables that are kept, and open these tables."""
        schema = self._login.database
        self._in_line(
            triggers, lambda one, made: create_triggers(one, [made], schema), observer, opens=True
        )

    def drop(self, triggers: Sequence[Trigger], observer: Observer) -> None:
        """Drop triggers of tables that are kept, and go on keeping them."""
        schema = self._login.database
        self._in_line(
            triggers, lambda one, gone: drop_triggers(one, [gone], schema), observer, opens=False
        )

    def _in_line(
        self,
        triggers: Sequence[Trigger],
        work: Callable[[Connection, Trigger], object],
        observer: Observer,
        *,
        opens: bool,
    ) -> None:
        """Do something for each trigger when its table's gate is opened, before anybody else.

        Each statement is in line, in their order, and a lock that keeps all others out behind them:
        a reader that came between would hold them up.
        """
        for number, part in enumerate(self._parts):
            own = [one for one in triggers if one.table in part]
            if not own:
                continue
            made: list[Waiting] = []
            keepers: list[Waiting] = []
            spare = self._spare(len(own) + len(part))
            try:
                for one in own:
                    made.append(Waiting(next(spare), partial(_do, work, one)))
                    made[-1].until_it_waits(observer)
                for table in part:
                    keepers.append(waiting_for(next(spare), self._lock([table])))
                    keepers[-1].until_it_waits(observer)
                self._open(number, observer)
                for each in made:
                    each.join()
                if not opens:
                    self._waiting[number] = self._asked(number)
                    self._waiting[number].until_it_waits(observer)
            finally:
                for each in (*made, *keepers):
                    each.stop(observer, self._name)

    def _open(self, number: int, observer: Observer) -> None:
        """Let those through that wait for the tables of a gate."""
        waiting = self._waiting[number]
        waiting.stop(observer, self._name)
        if not waiting.has_failed:  # who kept it from its lock was ended: it has all of them
            execute(self._connections[number], "UNLOCK TABLES")

    def _spare(self, number: int) -> Iterator[Connection]:
        while len(self._others) < number:
            self._others.append(self._pool.take())
        return iter(self._others)

    def _asked(self, number: int) -> Waiting:
        return waiting_for(self._connections[number], self._lock(self._parts[number]))

    def _lock(self, tables: Sequence[str]) -> str:
        listed = (f"{quoted(self._login.database, one)} WRITE" for one in tables)
        return f"LOCK TABLES {', '.join(listed)}, {self._gate} WRITE"

    def _is_wanted(self, tables: Sequence[str]) -> bool:
        """Whether a statement that renames waits for one of the tables, or has it.

        To prepare a query takes a lock that such a statement alone keeps from it, not the gate.
        """
        for table in tables:
            query = literal(f"SELECT 1 FROM {quoted(self._login.database, table)} LIMIT 0")
            try:
                execute(self._probe, f"PREPARE soulsense_probe FROM {query}")
            except DBAPIError as error:
                if code_of(error) != LOCK_TIMEOUT:
                    raise
                return True
            execute(self._probe, "DEALLOCATE PREPARE soulsense_probe")
        return False
