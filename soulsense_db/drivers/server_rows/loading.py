"""Bring rows of a backup into the live database: find them, copy what is there, write, commit.

What is written is found out before anything is locked; under the lock it is found out again. The
lock is held for that and for the writing; for the safety copy as well only where somebody may have
written while that was taken without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar

from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.diff_report import Value
from soulsense_db.drivers.row_errors import (
    changed_since_shown,
    no_row_with_key,
    no_rows,
    wrong_key,
)
from soulsense_db.drivers.row_plan import RowSelection, RowsPlan, SafetyCopy, Triggers
from soulsense_db.drivers.server_rows.family import Chosen, add_children
from soulsense_db.drivers.server_rows.planning import Draft, Planner, require_table
from soulsense_db.drivers.server_rows.tables import Row, Shape, Tables, text_of
from soulsense_db.drivers.server_rows.texts import called
from soulsense_db.drivers.server_rows.writing import Writer, write_rows
from soulsense_db.progress import Progress

T = TypeVar("T")


class Server(ABC):
    """The live database, and beside it the backup: restored to a database that nobody else uses."""

    backup: Tables

    @abstractmethod
    def read(self, work: Callable[[Tables], T]) -> T:
        """Return what ``work`` returns of the live database, in a transaction that only reads."""

    @abstractmethod
    def write(self, work: Callable[[Writer], T]) -> T:
        """Run ``work`` in a transaction of the live database, and commit it."""

    @abstractmethod
    def stamp(self) -> object | None:
        """Return what :meth:`Writer.is_as_of` takes; None where the server cannot tell."""

    def require_writable(self, draft: Draft, triggers: Triggers) -> None:
        """Raise for what the server could not write, or not as it is asked to.

        By default it can write all of it.
        """
        del draft, triggers

    @abstractmethod
    def streaming(self) -> AbstractContextManager[Tables]:
        """Yield the tables of the backup on a connection of their own, for many rows."""

    @abstractmethod
    def select(self, shape: Shape, where: str, poll: Callable[[], object]) -> list[Row]:
        """Return what the rows of the backup are found by for which the condition holds.

        It is somebody else's: one expression, which only reads. Raises
        :class:`~soulsense_db.errors.OptionError`.
        """


class RowLoader:
    """Brings the rows that ``selection`` names from the backup into the live database."""

    def __init__(
        self, server: Server, selection: RowSelection, *, progress: Progress | None
    ) -> None:
        self._server = server
        self._backup = server.backup
        self._selection = selection
        self._progress = progress
        self._found: list[Row] | None = None

    def plan(self, *, samples: int) -> RowsPlan:
        """Return what :meth:`load` would do."""
        self._choose()
        draft = self._server.read(lambda live: self._draft(live, samples=samples, hints=True))
        return draft.plan

    def load(self, safety: SafetyCopy, *, expected: RowsPlan | None) -> RowsPlan:
        """Write the rows, once ``safety`` has a copy of what is there; return what was done.

        Raises :class:`~soulsense_db.errors.RowsRefusedError`, also where that is not what was
        ``expected``.
        """
        self._choose()
        plan = self._server.read(lambda live: self._checked_draft(live, expected)).plan
        if not plan.writes:
            return plan
        stamp = self._server.stamp()
        if stamp is not None:
            safety.take()

        def work(writer: Writer) -> RowsPlan:
            writer.lock()
            if stamp is None or not writer.is_as_of(stamp):
                safety.take()
            draft = self._checked_draft(writer.tables, plan)
            total = draft.plan.writes
            write_rows(
                writer,
                draft,
                triggers=self._selection.triggers,
                tell=lambda done: self._tell(done, total),
            )
            self._tell(total, total)
            safety.place()
            return draft.plan

        done = self._server.write(work)
        safety.committed(done)
        return done

    # The steps

    def _choose(self) -> None:
        """Find the rows that were asked for."""
        shape = require_table(self._backup, self._selection)
        keys = self._selection.keys
        if keys is not None:
            self._found = self._with_keys(shape, keys)
            return
        where = self._selection.where
        if where is None:
            by = self._backup.ident_columns(shape)
            statement = f"SELECT {self._backup.select(by)} FROM {shape.source} AS t"  # noqa: S608 - quoted
            found = self._backup.rows(f"{statement} ORDER BY {self._order(shape)}")
            self._found = list(map(self._backup.texts, found))
        else:
            self._found = self._server.select(shape, where, self._ask)
        if not self._found:
            raise no_rows(shape.name, where)

    def _order(self, shape: Shape) -> str:
        columns = self._backup.ident_columns(shape)
        return ", ".join(f"t.{self._backup.quoted(one.name)}" for one in columns)

    def _with_keys(self, shape: Shape, keys: Sequence[tuple[Value, ...]]) -> list[Row]:
        by = self._backup.ident_columns(shape)
        names = [one.name for one in by]
        values: list[Row] = []
        for key in keys:
            if len(key) != len(by) or None in key:
                raise wrong_key(shape.name, names, repr(tuple(key)))
            try:
                values.append(tuple(text_of(one, to) for one, to in zip(key, by, strict=True)))
            except ValueError:
                raise wrong_key(shape.name, names, repr(tuple(key))) from None
        if not values:
            raise wrong_key(shape.name, names, "()")
        try:
            found = dict(self._backup.matching(shape, by, values, by))
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            raise wrong_key(shape.name, names, "One of those given") from error
        for number, one in enumerate(values):
            if number not in found:
                raise no_row_with_key(shape.name, called(by, one))
        return list(dict.fromkeys(found[number] for number in range(len(values))))

    def _draft(self, live: Tables, *, samples: int = 0, hints: bool = False) -> Draft:
        shape = require_table(self._backup, self._selection)
        chosen = Chosen({shape.name: dict.fromkeys(self._found or ())})
        if self._selection.with_children:
            add_children(chosen, live, self._backup, self._ask)
        planner = Planner(live, self._backup, self._selection, chosen, look=self._ask)
        draft = planner.draft(samples=samples, hints=hints)
        self._server.require_writable(draft, self._selection.triggers)
        return draft

    def _checked_draft(self, live: Tables, expected: RowsPlan | None) -> Draft:
        draft = self._draft(live)
        if expected is not None and _essence(draft.plan) != _essence(expected):
            raise changed_since_shown()
        if draft.plan.problem is not None:
            raise draft.plan.problem
        return draft

    # What a person is told

    def _ask(self) -> None:
        """Ask whether to go on, while nothing can be counted."""
        if self._progress is not None:
            self._progress(0, 0)

    def _tell(self, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(done, total)


def _essence(plan: RowsPlan) -> tuple[object, ...]:
    """Return what tells a plan from others: which rows, and over which ones."""
    numbers = [(t.table, t.inserted, t.replaced, t.same, t.kept) for t in plan.tables]
    return plan.fingerprint, numbers
