"""Bring rows of a backup into the live database: find them, copy what is there, write, commit.

What is written is found out before the write lock, for what is found then can be shown and refused
in peace; under the lock it is found out again where somebody has committed since. The lock is held
for that and for the writing; for the safety copy as well only where somebody wrote while that was
taken without it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from soulsense_db.drivers.results import ConcurrentCommitError
from soulsense_db.drivers.row_errors import (
    changed_since_shown,
    references_refused,
    schema_changed,
)
from soulsense_db.drivers.row_plan import RowSelection, RowsPlan, SafetyCopy
from soulsense_db.drivers.sqlite import check as sqlite_check
from soulsense_db.drivers.sqlite import pragmas
from soulsense_db.drivers.sqlite.connections import LiveDatabase
from soulsense_db.drivers.sqlite.errors import backup_errors, live_errors, locked, reason_of
from soulsense_db.drivers.sqlite.live_connection import Work, require_not_interrupted
from soulsense_db.drivers.sqlite.row_family import Chosen, add_children
from soulsense_db.drivers.sqlite.row_keys import rows_with_keys
from soulsense_db.drivers.sqlite.row_planning import (
    Draft,
    Planner,
    require_table,
)
from soulsense_db.drivers.sqlite.row_selection import select_rows
from soulsense_db.drivers.sqlite.row_tables import Tables
from soulsense_db.drivers.sqlite.row_values import as_stored
from soulsense_db.drivers.sqlite.row_writing import write_rows
from soulsense_db.progress import Progress

T = TypeVar("T")

_MEMORY = "the in-memory database"


class _Run(Protocol):
    """Does work with the connection that the rows are written through, in its thread."""

    def __call__(self, work: Work[T], /) -> T: ...


class RowLoader:
    """Brings the rows that ``selection`` names from an opened backup into the ``live`` database."""

    def __init__(
        self,
        live: LiveDatabase,
        backup: Tables,
        selection: RowSelection,
        *,
        progress: Progress | None,
    ) -> None:
        self._live = live
        self._backup = backup
        self._selection = selection
        self._progress = progress
        self._schema_version = 0
        self._looked_at: tuple[int, Draft] | None = None
        self._chosen = self._choose()

    def plan(self, *, samples: int) -> RowsPlan:
        """Return what :meth:`load` would do; the live database is read in short steps."""
        return self._live.run(lambda raw: self._draft(raw, samples=samples, hints=True)).plan

    def load(
        self, safety: SafetyCopy, *, expected: RowsPlan | None, lock_timeout: float
    ) -> RowsPlan:
        """Write the rows, once ``safety`` has a copy of what is there; return what was done.

        Raises :class:`~soulsense_db.errors.RowsRefusedError`, also where that is not what was
        ``expected``.
        """
        live = self._live
        live.require_writable()
        with live.prepared(lock_timeout), live.connected(lock_timeout) as connection:

            def run(work: Work[T], /) -> T:
                # The engine's own connection, in memory, is borrowed for each step.
                return live.run(work) if connection is None else connection.run(work)

            with live_errors(live.path):
                plan = run(lambda raw: self._first_look(raw, expected))
                if not plan.writes:
                    return plan
                return self._load(run, plan, safety, lock_timeout)

    def _load(
        self, run: _Run, expected: RowsPlan, safety: SafetyCopy, lock_timeout: float
    ) -> RowsPlan:
        def write_unless_changed(raw: sqlite3.Connection) -> RowsPlan:
            pragmas.begin_immediate(raw)
            try:
                if pragmas.number(raw, "data_version") != version:
                    raise ConcurrentCommitError
            except BaseException:
                raw.rollback()
                raise
            return self._write(raw, expected, safety)

        if self._live.path is not None:
            run(_make_durable)
        deadline = time.monotonic() + lock_timeout
        while True:
            version = run(lambda raw: pragmas.number(raw, "data_version"))
            safety.take()
            try:
                return run(write_unless_changed)
            except ConcurrentCommitError:
                if self._live.path is not None:
                    break
                # In memory nobody could read for the copy while the lock is held.
                if time.monotonic() > deadline:
                    raise locked(_MEMORY, "others keep writing to it") from None
        run(pragmas.begin_immediate)
        try:
            safety.take()
        except BaseException:
            run(sqlite3.Connection.rollback)
            raise
        return run(lambda raw: self._write(raw, expected, safety))

    # The steps

    def _choose(self) -> Chosen:
        """Return the rows that were asked for, and with them all that refer to them if wanted."""
        shape = require_table(self._backup, self._selection)
        keys = self._selection.keys
        if keys is not None:
            found = rows_with_keys(self._backup, shape, keys, poll=self._ask)
        else:
            found = select_rows(self._backup, shape, self._selection.where, poll=self._ask)
        chosen = Chosen({shape.name: dict.fromkeys(found)})

        def read(raw: sqlite3.Connection) -> None:
            self._schema_version = pragmas.number(raw, "schema_version")
            if self._selection.with_children:
                with as_stored(raw):
                    add_children(chosen, Tables(raw), self._backup, self._look)

        self._live.run(read)
        return chosen

    def _draft(self, raw: sqlite3.Connection, *, samples: int = 0, hints: bool = False) -> Draft:
        with as_stored(raw):
            planner = Planner(
                Tables(raw), self._backup, self._selection, self._chosen, look=self._look
            )
            return planner.draft(samples=samples, hints=hints)

    def _first_look(self, raw: sqlite3.Connection, expected: RowsPlan | None) -> RowsPlan:
        version = pragmas.number(raw, "data_version")
        draft = self._checked_draft(raw, expected)
        if self._live.path is not None:  # else somebody may use this very connection
            self._looked_at = version, draft
        return draft.plan

    def _write(self, raw: sqlite3.Connection, expected: RowsPlan, safety: SafetyCopy) -> RowsPlan:
        """Look again, write and commit, in the transaction that ``raw`` is in."""
        try:
            with as_stored(raw):
                draft = self._second_look(raw, expected)
                total = draft.plan.writes
                write_rows(
                    Tables(raw),
                    draft,
                    triggers=self._selection.triggers,
                    tell=lambda done: self._tell(done, total),
                )
            self._tell(total, total)
            safety.place()
            _commit(raw, lambda: safety.committed(draft.plan))
        except BaseException:
            if raw.in_transaction:
                raw.rollback()
            raise
        return draft.plan

    def _second_look(self, raw: sqlite3.Connection, expected: RowsPlan) -> Draft:
        """Return what is to be written, now that nobody else can write."""
        version = pragmas.number(raw, "data_version")
        if self._looked_at is not None and self._looked_at[0] == version:
            return self._looked_at[1]  # nobody has committed since
        return self._checked_draft(raw, expected)

    def _checked_draft(self, raw: sqlite3.Connection, expected: RowsPlan | None) -> Draft:
        if pragmas.number(raw, "schema_version") != self._schema_version:
            raise schema_changed()
        draft = self._draft(raw)
        _require_as_shown(draft.plan, expected)
        _require_possible(draft.plan)
        return draft

    # What a person is told

    def _ask(self) -> None:
        """Ask whether to go on, while nothing can be counted."""
        if self._progress is not None:
            self._progress(0, 0)

    def _look(self) -> None:
        require_not_interrupted()
        self._ask()

    def _tell(self, done: int, total: int) -> None:
        require_not_interrupted()
        if self._progress is not None:
            self._progress(done, total)


@contextmanager
def opened_tables(source: Path) -> Iterator[Tables]:
    """Open the backup file ``source``; its text is read as it is stored."""
    with backup_errors(source), sqlite_check.opened(source) as connection, as_stored(connection):
        yield Tables(connection, source)


def _require_as_shown(plan: RowsPlan, expected: RowsPlan | None) -> None:
    if expected is None:
        return
    shown, now = (
        (one.fingerprint, [(t.table, t.inserted, t.replaced, t.same, t.kept) for t in one.tables])
        for one in (expected, plan)
    )
    if shown != now:
        raise changed_since_shown()


def _require_possible(plan: RowsPlan) -> None:
    if plan.problem is not None:
        raise plan.problem


def _make_durable(raw: sqlite3.Connection) -> None:
    """Have the commit outlast a power cut, and a journal that a kill does not make useless."""
    pragmas.rows(raw, f"PRAGMA synchronous = {pragmas.SYNCHRONOUS_EXTRA}")
    if pragmas.text(raw, "journal_mode") in {"off", "memory"}:
        pragmas.rows(raw, "PRAGMA journal_mode = DELETE")


def _commit(raw: sqlite3.Connection, note: Callable[[], object]) -> None:
    try:
        raw.execute("COMMIT")
    except sqlite3.IntegrityError as error:
        raise references_refused(reason_of(error)) from error
    except sqlite3.Error:
        raise
    except BaseException:  # an interrupt that came when it was done
        if not raw.in_transaction:
            note()
        raise
    note()
