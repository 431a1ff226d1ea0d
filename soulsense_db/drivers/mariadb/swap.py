"""Put the tables of one schema in the place of those of another: all of them, in one statement.

What a lock of MariaDB's cannot do is worked around here, and was measured:

- ``RENAME TABLE`` takes no trigger along to another schema: the live ones are dropped before,
  once it has had all tables, so that nobody's open transaction is in its way any more; the new ones
  are made after. From before the one to after the other, gates keep each table that has some
  (:mod:`.gates`): if it fails all the same, the old ones are made again before anybody writes.
- It takes its locks one by one. So it is made to wait for the very last one, which we hold, until
  it has all others: then nobody can commit any more, and it is known whether somebody has.
- Its user may be the application's own. So ``read_only``, which such a user may pass by, and which
  concerns all databases of the server, is of no use.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.mariadb import inventory, notes, programs
from soulsense_db.drivers.mariadb.errors import LOCK_TIMEOUT, code_of, live_errors
from soulsense_db.drivers.mariadb.gates import Connections, Gates, Waiting, waiting_for
from soulsense_db.drivers.mariadb.inventory import Trigger
from soulsense_db.drivers.mariadb.login import Login
from soulsense_db.drivers.mariadb.notes import Notes
from soulsense_db.drivers.mariadb.observer import Observer
from soulsense_db.drivers.mariadb.schemas import Work
from soulsense_db.drivers.mariadb.statements import execute, quoted
from soulsense_db.drivers.results import ConcurrentCommitError, WriteLock
from soulsense_db.notices import cleaning_up

_LOOK_SECONDS = 0.002


class Swap:
    """The swap of ``work.coming`` with the live schema; ``write_lock`` keeps writers out before."""

    def __init__(
        self,
        login: Login,
        work: Work,
        noted: Notes,
        *,
        name: str,
        lock_timeout: float,
        write_lock: WriteLock,
        connections: Connections,
    ) -> None:
        self._pool = connections
        self._login, self._work, self._noted = login, work, noted
        self._name, self._lock_timeout = name, lock_timeout
        self._write_lock = write_lock
        self._live = login.database
        self._renaming: Waiting | None = None
        self._probe: Connection

    def run(self) -> None:
        """Swap, and make the new triggers; on any error before, all is as it was."""
        with ExitStack() as stack:
            observer = self._observer(stack)
            holder = stack.enter_context(self._connected())
            execute(holder, f"LOCK TABLES {quoted(self._work.name, notes.BEFORE)} READ")
            keeper = stack.enter_context(self._connected())
            execute(keeper, f"LOCK TABLES {self._gate} READ")
            probe = stack.enter_context(self._connected())
            execute(probe, "SET SESSION lock_wait_timeout = 0")
            self._probe = probe
            coming = self._gates(self._noted.new_triggers)
            with self._gates(self._noted.old_triggers).connected(observer) as old:
                renaming = self._begin(stack, observer, old)
            try:
                stack.enter_context(coming.connected(observer)).ask(observer)
                try:
                    execute(holder, "UNLOCK TABLES")
                except DBAPIError as error:  # with its session, its lock is gone as well
                    if not error.connection_invalidated:
                        raise
                renaming.join()
                coming.create(self._noted.new_triggers, observer)
            except BaseException:
                renaming.stop(observer, self._name)
                self._make_triggers(observer, coming)
                raise

    def _begin(self, stack: ExitStack, observer: Observer, old: Gates) -> Waiting:
        """Return the statement that swaps, which has the locks of all live tables."""
        statement = rename_statement(observer.connection, self._work)
        renames = stack.enter_context(self._connected())
        try:
            if self._noted.old_triggers:
                old.ask(observer)
                self._write_lock.release()
                # Whoever holds up this holds up a restore that has dropped nothing yet.
                self._take_all(renames, observer, old, statement).stop(observer, self._name)
                old.drop(self._noted.old_triggers, observer)
            renaming = self._take_all(renames, observer, old, statement)
            stack.callback(renaming.stop, observer, self._name)
            # What was committed meanwhile is in what is replaced: it is lost unless that is kept.
            # (Where the lock that it waits for was ended, it is done already.)
            may_be_lost = self._noted.kept is None and not renaming.has_ended
            if may_be_lost and self._write_lock.has_concurrent_commit():
                raise ConcurrentCommitError
        except BaseException:
            if self._renaming is not None:
                self._renaming.stop(observer, self._name)
            self._make_triggers(observer, old)
            raise
        return renaming

    def _take_all(
        self, connection: Connection, observer: Observer, old: Gates, statement: str
    ) -> Waiting:
        """Return the statement that swaps, when nobody has any of the live tables but it."""
        self._renaming = renaming = waiting_for(connection, statement)
        renaming.until_it_waits(observer)
        self._write_lock.release()
        old.let_through(renaming, observer)
        self._until_it_has_all_but_ours(renaming)
        return renaming

    def _until_it_has_all_but_ours(self, renaming: Waiting) -> None:
        """Return when the server has taken the first lock of our own schema for the statement."""
        probe = f"SELECT 1 FROM {quoted(self._work.name, notes.FIRST)} LIMIT 0"
        while not renaming.has_ended:
            try:
                execute(self._probe, probe)
            except DBAPIError as error:
                if code_of(error) != LOCK_TIMEOUT:
                    raise
                return
            time.sleep(_LOOK_SECONDS)  # the server tells nobody which locks a statement has
        renaming.join()  # raises why it has not waited for us

    def _make_triggers(self, observer: Observer, gates: Gates) -> None:
        """Make the triggers that the live tables lack; where it fails, the notes have them.

        Of the old tables after an error; but it may have come when the new ones were in place.
        """
        with (
            cleaning_up(f"Triggers of {self._name} could not be made again"),
            live_errors(self._name),
        ):
            found = notes.read(observer.connection, self._work.name)
            is_done = found is not None and found[1] == notes.AFTER
            wanted = self._noted.new_triggers if is_done else self._noted.old_triggers
            if gates.is_asked:
                missing = missing_triggers(observer.connection, self._live, wanted)
                gates.create(missing, observer)
            missing = missing_triggers(observer.connection, self._live, wanted)
            programs.create_triggers(observer.connection, missing, self._live)

    @property
    def _gate(self) -> str:
        return quoted(self._work.name, notes.GATE)

    def _gates(self, triggers: Sequence[Trigger]) -> Gates:
        return Gates(
            self._login,
            {one.table for one in triggers},
            gate=self._gate,
            name=self._name,
            connections=self._pool,
            probe=self._probe,
        )

    def _observer(self, stack: ExitStack) -> Observer:
        return Observer(self._login, stack, name=self._name, lock_timeout=self._lock_timeout)

    def _connected(self) -> AbstractContextManager[Connection]:
        return self._login.connected(name=self._name, lock_timeout=self._lock_timeout)


def rename_statement(connection: Connection, work: Work) -> str:
    """Return the statement that swaps all tables, and renames the notes on it."""
    # What was made since is no part of the backup either.
    before = inventory.renamed(connection, work.live)
    after = inventory.renamed(connection, work.coming)
    moves = [
        *((quoted(work.live, one), quoted(work.old, one)) for one in before),
        *((quoted(work.coming, one), quoted(work.live, one)) for one in after),
        (quoted(work.name, notes.FIRST), quoted(work.name, notes.FIRST_AFTER)),
        (quoted(work.name, notes.BEFORE), quoted(work.name, notes.AFTER)),
    ]
    return "RENAME TABLE " + ", ".join(f"{source} TO {target}" for source, target in moves)


def missing_triggers(
    connection: Connection, schema: str, wanted: tuple[Trigger, ...]
) -> list[Trigger]:
    """Return those of ``wanted`` that ``schema`` does not have."""
    there = inventory.trigger_names(connection, schema)
    return [one for one in wanted if one.name not in there]
