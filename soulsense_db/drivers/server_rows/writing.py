"""Write rows of a backup to the live database: in a transaction of the caller, all or none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager

from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.row_errors import changed_since_shown, not_kept
from soulsense_db.drivers.row_plan import Triggers
from soulsense_db.drivers.server_rows.pairs import Pair
from soulsense_db.drivers.server_rows.planning import Draft, Writes
from soulsense_db.drivers.server_rows.tables import Column, ForeignKey, Row, Tables
from soulsense_db.errors import BackupError

_TELL_EVERY = 100


class Writer(ABC):
    """What a server does when rows are written, in the transaction that ``tables`` are read in."""

    tables: Tables

    @abstractmethod
    def lock(self) -> None:
        """Keep everybody else from writing to any table, until the transaction ends."""

    @abstractmethod
    def is_as_of(self, stamp: object) -> bool:
        """Whether nobody has committed anything since ``stamp``, for sure."""

    @abstractmethod
    def prepared(
        self, draft: Draft, *, triggers: Triggers, deferred: Sequence[ForeignKey]
    ) -> AbstractContextManager[None]:
        """Set triggers aside in the block, and look at foreign keys at its end.

        Those of ``deferred`` in any case, for rows refer to each other.
        """

    @abstractmethod
    def insert(self, pair: Pair, ident: Row, row: Row) -> Row | None:
        """Insert a row; return what is there then, None for nothing.

        ``ident``: what it is found by in the backup.
        """

    @abstractmethod
    def update(self, pair: Pair, ident: Row, row: Row, changed: Sequence[Column]) -> Row | None:
        """Give the row with that key the values of ``changed`` columns; return what is there."""

    @abstractmethod
    def finish(self, pair: Pair) -> None:
        """Do what is to be done once rows of a table are there, such as numbers for new ones."""

    @abstractmethod
    def refused(self, error: DBAPIError, pair: Pair, row: Row) -> BackupError | None:
        """Return what an error of the server means for the row; None for no error of the row's."""


def write_rows(
    writer: Writer, draft: Draft, *, triggers: Triggers, tell: Callable[[int], object]
) -> None:
    """Write all rows of ``draft``; ``tell`` is called with how many are written.

    Raises :class:`~soulsense_db.errors.RowsRefusedError`; the caller rolls back.
    """
    tables = [one for one in draft.tables if one.actions]
    ordered, deferred = in_order(tables)
    done = 0
    with writer.prepared(draft, triggers=triggers, deferred=deferred):
        for writes in ordered:
            idents, step = list(writes.actions), writes.pair.source.at_once
            for start in range(0, len(idents), step):
                some = idents[start : start + step]
                for ident, row in zip(some, writes.pair.read(some), strict=True):
                    _write(writer, writes, ident, row, is_exact=triggers == "skip")
                    done += 1
                    if done % _TELL_EVERY == 0:
                        tell(done)
            writer.finish(writes.pair)


def _write(writer: Writer, writes: Writes, ident: Row, row: Row, *, is_exact: bool) -> None:
    """Write one row, which is there then. ``is_exact``: nothing may change it on the way."""
    pair = writes.pair
    try:
        if writes.actions[ident] == "insert":
            written = writer.insert(pair, ident, row)
        else:
            (found,) = pair.find([row])
            if found is None:  # a trigger removed it
                raise changed_since_shown()
            keyed = set(pair.key)
            changed = [
                one
                for at, one in enumerate(pair.columns)
                if row[at] != found[at] and at not in keyed
            ]
            # A key that is equal to the server in other letters is one of those as well.
            changed += [pair.columns[at] for at in pair.key if row[at] != found[at]]
            written = writer.update(pair, ident, row, changed) if changed else found
    except DBAPIError as error:
        refused = writer.refused(error, pair, row)
        if refused is None:
            raise
        raise refused from error
    if written is None or (is_exact and written != row):
        raise not_kept(pair.name, pair.called(row))


def in_order(tables: Iterable[Writes]) -> tuple[list[Writes], list[ForeignKey]]:
    """Return tables such that rows come after those that they refer to, where there is an order.

    And the foreign keys for which there is none.
    """
    left = {one.pair.name: one for one in tables}
    ordered: list[Writes] = []
    deferred: list[ForeignKey] = []
    while left:
        waiting = {
            name: [key for key in one.pair.shape.references if key.parent in left]
            for name, one in left.items()
        }
        name = min(left, key=lambda one: len({key.parent for key in waiting[one]} - {one}))
        deferred += waiting[name]
        ordered.append(left.pop(name))
    return ordered, deferred
