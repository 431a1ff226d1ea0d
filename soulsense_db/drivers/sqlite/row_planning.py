"""Find out what it means to bring chosen rows of a backup into the live database."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from soulsense_db.drivers.row_errors import (
    clashes,
    no_rows_of_its_own,
    no_such_table,
    one_key_for_two,
    other_encoding,
    protected,
    referred_to,
)
from soulsense_db.drivers.row_plan import (
    MissingChildren,
    MissingParent,
    Role,
    RowSample,
    RowSelection,
    RowsPlan,
    TablePlan,
)
from soulsense_db.drivers.sqlite.pragmas import folded
from soulsense_db.drivers.sqlite.row_family import (
    Chosen,
    has_child,
    has_parent,
    parent_in,
    parent_values,
    references_to,
    referring_rows,
)
from soulsense_db.drivers.sqlite.row_pairs import Pair, paired
from soulsense_db.drivers.sqlite.row_selection import Ident
from soulsense_db.drivers.sqlite.row_tables import ForeignKey, Shape, Tables
from soulsense_db.drivers.sqlite.row_values import Row, digest_of, is_same, named, shown_apart
from soulsense_db.errors import RowsRefusedError
from soulsense_db.shown_text import printable

Action = Literal["insert", "replace"]
_LOOK_EVERY = 200
_MOST_LISTED = 100
_MOST_NAMED = 5
_CHILDREN_OF = 1000
_VERSION_COLUMN = "version_num"


@dataclass(slots=True)
class Writes:
    """What is written to one table: the rows of the backup, and what is done with each.

    ``found``: by the keys of live rows, those of the backup that they are the same rows as.
    """

    pair: Pair
    role: Role
    actions: dict[Ident, Action] = field(default_factory=dict)
    same: int = 0
    kept: set[Ident] = field(default_factory=set)
    found: dict[bytes, Ident] = field(default_factory=dict)

    def count(self, action: Action) -> int:
        """Return how many rows have that ``action``."""
        return sum(1 for one in self.actions.values() if one == action)


@dataclass(slots=True)
class Draft:
    """A plan with all that it takes to carry it out; ``parents`` are written first."""

    plan: RowsPlan
    parents: list[Writes]
    others: list[Writes]

    @property
    def tables(self) -> list[Writes]:
        """What is written, in that order."""
        return [*reversed(self.parents), *self.others]


def require_table(backup: Tables, selection: RowSelection) -> Shape:
    """Return what the chosen table is like in the backup; refuse one that is no table of rows."""
    name = selection.table
    if backup.name_of(name) is None:
        raise no_such_table(name, backup.similar(name), backup.plain)
    if not backup.is_plain(name):
        raise no_rows_of_its_own(name, backup.kind_of(name))
    shape = backup.shape(name)
    _require_unprotected(shape, selection)
    return shape


def _require_unprotected(shape: Shape, selection: RowSelection) -> None:
    why = {folded(name): why for name, why in selection.protected.items()}
    if folded(shape.name) in why:
        raise protected(shape.name, why[folded(shape.name)])
    if [folded(one.name) for one in shape.columns] == [_VERSION_COLUMN]:
        reason = "it says at which Alembic revision the whole database is"
        raise protected(shape.name, reason)


class Planner:
    """Compares ``chosen`` rows of ``backup`` with ``live``; ``look`` is called now and then."""

    def __init__(
        self,
        live: Tables,
        backup: Tables,
        selection: RowSelection,
        chosen: Chosen,
        *,
        look: Callable[[], object] = lambda: None,
    ) -> None:
        self._live = live
        self._backup = backup
        self._selection = selection
        self._chosen = chosen
        self._look = look
        self._writes: dict[str, Writes] = {}
        self._fingerprint = hashlib.sha256()
        self._samples: list[RowSample] = []
        self._missing: dict[tuple[ForeignKey, Row], MissingParent] = {}
        self._present: set[tuple[ForeignKey, Row]] = set()
        self._wanted: Counter[tuple[ForeignKey, Row]] = Counter()
        self._most_samples = 0
        self._clashes: list[str] = []

    def draft(self, *, samples: int = 0, hints: bool = False) -> Draft:
        """Return what would be done, with some ``samples``.

        ``hints``: whether to look for children that stay behind. Raises
        :class:`~soulsense_db.errors.RowsRefusedError` for what no option can help with.
        """
        if self._live.encoding != self._backup.encoding:
            raise other_encoding(self._backup.encoding, self._live.encoding)
        self._most_samples = samples
        for name, idents in self._chosen.idents.items():
            role: Role = "child" if name in self._chosen.children else "chosen"
            self._classify(self._writes_of(name, role), idents)
        self._bring_parents()
        if self._clashes:
            raise clashes(
                self._clashes[0].partition(":")[0],
                [one.partition(": ")[2] for one in self._clashes[:_MOST_NAMED]],
                max(0, len(self._clashes) - _MOST_NAMED),
            )
        tables = [one for one in self._writes.values() if one.role != "parent" or one.actions]
        plan = RowsPlan(
            tables=tuple(self._plan_of(one) for one in tables),
            samples=tuple(self._samples),
            missing_parents=tuple(self._missing_in_order()[:_MOST_LISTED]),
            missing_children=tuple(self._children_left()) if hints else (),
            notes=tuple(note for one in tables for note in _notes(one.pair)),
            fingerprint=self._fingerprint.hexdigest(),
        )
        parents = [one for one in tables if one.role == "parent"]
        return Draft(plan, parents, [one for one in tables if one.role != "parent"])

    # What is done with each row

    def _writes_of(self, name: str, role: Role) -> Writes:
        key = folded(name)
        if key not in self._writes:
            without: tuple[str, ...] = ()
            if key == folded(self._selection.table):
                without = self._selection.without_columns
            pair = paired(self._live, self._backup, name, without=without)
            _require_unprotected(pair.source, self._selection)
            self._writes[key] = Writes(pair, role)
        return self._writes[key]

    def _classify(self, writes: Writes, idents: Iterable[Ident]) -> None:
        """Decide for each row; those without a key are compared all at once."""
        unkeyed: dict[Ident, bytes] = {}
        for number, ident in enumerate(idents):
            if number % _LOOK_EVERY == 0:
                self._look()
            row = writes.pair.read(ident)
            if writes.pair.has_key(row):
                self._decide(writes, ident, row, writes.pair.find(row))
            else:
                unkeyed[ident] = digest_of(row)
        if not unkeyed:
            return
        missing = writes.pair.missing_of(Counter(unkeyed.values()))
        # Of equal rows those whose place is free come first: they get it.
        free = {one for one in unkeyed if missing[unkeyed[one]] and writes.pair.is_free(one)}
        for ident in sorted(unkeyed, key=lambda one: one not in free):
            digest = unkeyed[ident]
            if missing[digest] > 0:
                missing[digest] -= 1
                self._decide(writes, ident, writes.pair.read(ident), None)
            else:
                writes.same += 1

    def _decide(self, writes: Writes, ident: Ident, row: Row, found: Row | None) -> None:
        if found is not None and self._selection.replace:
            self._require_one_for_one(writes, ident, row, found)
        if found is not None and is_same(found, row):
            writes.same += 1
        elif found is not None and not self._selection.replace:
            writes.kept.add(ident)
        else:
            action: Action = "insert" if found is None else "replace"
            writes.pair.require_whole(ident, row)
            writes.actions[ident] = action
            if found is not None:
                self._require_unreferred(writes.pair, row, found)
            self._note(writes.pair, action, row, found)

    @staticmethod
    def _require_one_for_one(writes: Writes, ident: Ident, row: Row, found: Row) -> None:
        """Raise where two rows of the backup have what is one key in the live database."""
        key = digest_of(tuple(found[at] for at in writes.pair.key))
        if writes.found.setdefault(key, ident) != ident:
            raise one_key_for_two(writes.pair.name, writes.pair.called(row))

    def _require_unreferred(self, pair: Pair, row: Row, found: Row) -> None:
        """Raise where a value is replaced to which rows refer: they would change with it.

        Or, where SQLite does not enforce that, refer to nothing.
        """
        for reference in self._live.referring_to(pair.name):
            places = [
                at for one in reference.parent_columns if (at := pair.place_of(one)) is not None
            ]
            old, new = (tuple(one[at] for at in places) for one in (found, row))
            if len(places) < len(reference.parent_columns) or None in old or is_same(old, new):
                continue
            if has_child(self._live, reference, old):
                key = " ".join(f"{name} {value}" for name, value in pair.shown_key(row))
                raise referred_to(pair.name, key, reference.table)

    def _note(self, pair: Pair, action: Action, row: Row, found: Row | None) -> None:
        """Note what is written over what, what is in its way, and which rows it refers to."""
        self._fingerprint.update(
            digest_of((pair.name, action, digest_of(row), digest_of(found or ())))
        )
        if len(self._samples) < self._most_samples:
            self._samples.append(_sample(pair, action, row, found))
        if clash := pair.clash(row):
            self._clashes.append(f"{pair.name}: {clash}")
        for reference in pair.references:
            values = parent_values(pair, reference, row)
            if values is not None and (reference, values) not in self._present:
                self._wanted[reference, values] += 1

    # Parents

    def _bring_parents(self) -> None:
        """Look for each row that is referred to; add those that are to come as well.

        Not before all others are there: it may be one of them. What is added refers to more.
        """
        number = 0
        while self._wanted:
            (reference, values), rows = self._wanted.popitem()
            if number % _LOOK_EVERY == 0:
                self._look()
            number += 1
            self._require_parent(reference, values, rows)

    def _require_parent(self, reference: ForeignKey, values: Row, rows: int) -> None:
        wanted = (reference, values)
        if wanted in self._missing:
            self._miss(reference, values, rows, in_backup=self._missing[wanted].in_backup)
            return
        if has_parent(self._live, reference, values):
            self._present.add(wanted)
            return
        ident = parent_in(self._backup, reference, values)
        if ident is None:
            self._miss(reference, values, rows, in_backup=False)
            return
        writes = self._writes_of(reference.parent, "parent")
        if ident not in writes.actions and self._selection.with_parents:
            self._classify(writes, [ident])
        if ident in writes.actions:
            self._present.add(wanted)
            return
        differs = ident in writes.kept or self._is_there(writes, ident)
        self._miss(reference, values, rows, in_backup=True, differs=differs)

    def _missing_in_order(self) -> list[MissingParent]:
        found = sorted(self._missing.items(), key=lambda one: (one[1].parent, _in_order(one[0][1])))
        return [missing for _, missing in found]

    def _is_there(self, writes: Writes, ident: Ident) -> bool:
        """Whether the live database has a row with the key of the parent, and other values."""
        row = writes.pair.read(ident)
        return writes.pair.has_key(row) and writes.pair.find(row) is not None

    def _miss(
        self,
        reference: ForeignKey,
        values: Row,
        rows: int,
        *,
        in_backup: bool,
        differs: bool = False,
    ) -> None:
        known = self._missing.get((reference, values))
        self._missing[reference, values] = MissingParent(
            table=reference.table,
            columns=reference.columns,
            parent=reference.parent,
            key=named(reference.parent_columns or reference.columns, values),
            rows=known.rows + rows if known else rows,
            in_backup=in_backup,
            differs=known.differs if known else differs,
            blocks=in_backup or self._live.enforces_references,
        )

    # What is told of it

    def _plan_of(self, writes: Writes) -> TablePlan:
        name = writes.pair.name
        return TablePlan(
            table=name,
            role=writes.role,
            inserted=writes.count("insert"),
            replaced=writes.count("replace"),
            same=writes.same,
            kept=len(writes.kept),
            triggers=tuple(one.name for one in self._live.triggers(name)),
        )

    def _children_left(self) -> Iterator[MissingChildren]:
        """Yield how many rows would stay in the backup alone that refer to rows that are inserted.

        Of the first thousand of those: it is a hint.
        """
        for writes in list(self._writes.values()):
            inserted = (one for one, action in writes.actions.items() if action == "insert")
            idents = list(islice(inserted, _CHILDREN_OF))
            if not idents or writes.role == "parent":
                continue
            for reference in references_to(self._live, self._backup, writes.pair.name):
                rows = self._only_in_backup(reference, idents)
                if rows:
                    yield MissingChildren(table=reference.table, parent=writes.pair.name, rows=rows)

    def _only_in_backup(self, reference: ForeignKey, idents: list[Ident]) -> int:
        writes = self._writes.get(folded(reference.table))
        known = writes.actions if writes else {}
        try:
            pair = writes.pair if writes else paired(self._live, self._backup, reference.table)
        except RowsRefusedError:
            return 0  # they could not come back
        return sum(
            1
            for ident in referring_rows(self._backup, reference, idents, self._look)
            if ident not in known and not self._has_live(pair, ident)
        )

    @staticmethod
    def _has_live(pair: Pair, ident: Ident) -> bool:
        try:
            row = pair.read(ident)
        except RowsRefusedError:
            return True  # as above
        return not pair.has_key(row) or pair.find(row) is not None


def _sample(pair: Pair, action: Action, row: Row, found: Row | None) -> RowSample:
    names = pair.columns
    if found is None:
        return RowSample(
            table=pair.name, action=action, key=pair.shown_key(row), values=named(names, row)
        )
    changed = [at for at in range(len(row)) if not is_same((row[at],), (found[at],))]
    changed_names = [printable(names[at]) for at in changed]
    texts = [shown_apart(found[at], row[at]) for at in changed]
    return RowSample(
        table=pair.name,
        action=action,
        key=pair.shown_key(row),
        values=tuple(zip(changed_names, (after for _, after in texts), strict=True)),
        before=tuple(zip(changed_names, (before for before, _ in texts), strict=True)),
    )


def _notes(pair: Pair) -> Iterator[str]:
    name = printable(pair.name)
    new = [one for one in pair.added if folded(one) not in {folded(o) for o in pair.left_out}]
    if new:
        yield (
            f"{name}: {', '.join(new)} is new since the backup. Rows that are inserted get the "
            "default there."
        )
    for gone in pair.gone:
        what = "is computed now" if pair.is_computed(gone) else "is gone since the backup"
        yield f"{name}: {gone} {what}, and empty in these rows of the backup."
    if pair.left_out:
        yield f"{name}: {', '.join(pair.left_out)} of the backup is left out."


def _in_order(values: Row) -> list[tuple[float, str]]:
    """Return what keys are sorted by: numbers by their value, then the rest as it is written."""
    return [
        (value, "") if isinstance(value, int | float) else (math.inf, str(value))
        for value in values
    ]
