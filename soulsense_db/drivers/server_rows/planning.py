"""Find out what it means to bring chosen rows of a backup into the live database."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from soulsense_db.drivers.row_errors import (
    clashes,
    no_rows_of_its_own,
    no_such_table,
    one_key_for_two,
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
from soulsense_db.drivers.server_rows.family import (
    Chosen,
    children_of,
    found_in,
    references_to,
    referring_rows,
)
from soulsense_db.drivers.server_rows.pairs import Pair, paired
from soulsense_db.drivers.server_rows.tables import (
    ForeignKey,
    Row,
    Shape,
    Tables,
    columns_of,
    digest_of,
)
from soulsense_db.drivers.server_rows.texts import named, shown_apart
from soulsense_db.errors import RowsRefusedError
from soulsense_db.shown_text import printable

Action = Literal["insert", "replace"]
Wanted = tuple[ForeignKey, Row]
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
    actions: dict[Row, Action] = field(default_factory=dict)
    same: int = 0
    kept: set[Row] = field(default_factory=set)
    found: dict[Row, Row] = field(default_factory=dict)

    def count(self, action: Action) -> int:
        """Return how many rows have that ``action``."""
        return sum(1 for one in self.actions.values() if one == action)


@dataclass(slots=True)
class Draft:
    """A plan with all that it takes to carry it out."""

    plan: RowsPlan
    tables: list[Writes]


def require_table(backup: Tables, selection: RowSelection) -> Shape:
    """Return what the chosen table is like in the backup; refuse one that is no table of rows."""
    name = backup.name_of(selection.table)
    if name is None:
        if kind := backup.kind_of(selection.table):
            raise no_rows_of_its_own(selection.table, kind)
        raise no_such_table(selection.table, backup.similar(selection.table), backup.names)
    _require_unprotected(backup, name, selection)
    return backup.shapes[name]


def _require_unprotected(backup: Tables, name: str, selection: RowSelection) -> None:
    for one, why in selection.protected.items():
        if backup.name_of(one) == name:
            raise protected(name, why)
    if [one.name for one in backup.shapes[name].columns] == [_VERSION_COLUMN]:
        raise protected(name, "it says at which Alembic revision the whole database is")


class Planner:
    """Compares ``chosen`` rows of ``backup`` with ``live``; ``look`` is called now and then."""

    def __init__(
        self,
        live: Tables,
        backup: Tables,
        selection: RowSelection,
        chosen: Chosen,
        *,
        look: Callable[[], object],
    ) -> None:
        self._live = live
        self._backup = backup
        self._selection = selection
        self._chosen = chosen
        self._look = look
        self._writes: dict[str, Writes] = {}
        self._fingerprint = hashlib.sha256()
        self._samples: list[RowSample] = []
        self._missing: dict[Wanted, MissingParent] = {}
        self._present: set[Wanted] = set()
        self._wanted: Counter[Wanted] = Counter()
        self._most_samples = 0
        self._clashes: list[tuple[str, str]] = []

    def draft(self, *, samples: int = 0, hints: bool = False) -> Draft:
        """Return what would be done, with some ``samples``.

        ``hints``: whether to look for children that stay behind. Raises
        :class:`~soulsense_db.errors.RowsRefusedError` for what no option can help with.
        """
        self._most_samples = samples
        for name, idents in self._chosen.idents.items():
            role: Role = "child" if name in self._chosen.children else "chosen"
            self._classify(self._writes_of(name, role), list(idents))
        while self._wanted:
            wanted, self._wanted = self._wanted, Counter()
            for reference in sorted({one for one, _ in wanted}, key=repr):
                values = {row: n for (one, row), n in wanted.items() if one == reference}
                self._bring_parents(reference, values)
        if self._clashes:
            table = self._clashes[0][0]
            said = [text for name, text in self._clashes if name == table]
            raise clashes(table, said[:_MOST_NAMED], max(0, len(self._clashes) - _MOST_NAMED))
        tables = [one for one in self._writes.values() if one.role != "parent" or one.actions]
        plan = RowsPlan(
            tables=tuple(self._plan_of(one) for one in tables),
            samples=tuple(self._samples),
            missing_parents=tuple(self._missing_in_order()[:_MOST_LISTED]),
            missing_children=tuple(self._children_left()) if hints else (),
            notes=tuple(note for one in tables for note in _notes(one.pair)),
            fingerprint=self._fingerprint.hexdigest(),
        )
        return Draft(plan, tables)

    # What is done with each row

    def _writes_of(self, name: str, role: Role) -> Writes:
        if name not in self._writes:
            _require_unprotected(self._backup, name, self._selection)
            without: tuple[str, ...] = ()
            if name == self._backup.name_of(self._selection.table):
                without = self._selection.without_columns
            pair = paired(self._live, self._backup, name, without=without)
            self._writes[name] = Writes(pair, role)
        return self._writes[name]

    def _classify(self, writes: Writes, idents: Sequence[Row]) -> None:
        """Decide for each row; those without a key are compared all at once."""
        pair = writes.pair
        step = min(pair.shape.at_once, pair.source.at_once)
        unkeyed: list[tuple[Row, bytes]] = []
        for start in range(0, len(idents), step):
            self._look()
            some = idents[start : start + step]
            rows = pair.read(some)
            if pair.key:
                self._decide(writes, some, rows, pair.find(rows))
            else:
                unkeyed += [(one, digest_of(row)) for one, row in zip(some, rows, strict=True)]
        if not unkeyed:
            return
        missing = pair.missing_of(Counter(digest for _, digest in unkeyed))
        coming: list[Row] = []
        for ident, digest in unkeyed:
            if missing[digest] > 0:
                missing[digest] -= 1
                coming.append(ident)
            else:
                writes.same += 1
        for start in range(0, len(coming), step):
            some = coming[start : start + step]
            self._decide(writes, some, pair.read(some), [None] * len(some))

    def _decide(
        self,
        writes: Writes,
        idents: Sequence[Row],
        rows: Sequence[Row],
        lives: Sequence[Row | None],
    ) -> None:
        written: list[tuple[Row, Row, Row | None]] = []
        for ident, row, found in zip(idents, rows, lives, strict=True):
            if found is not None and self._selection.replace:
                key = writes.pair.key_of(found)
                if writes.found.setdefault(key, ident) != ident:
                    raise one_key_for_two(writes.pair.name, writes.pair.called(row))
            if found == row:
                writes.same += 1
            elif found is not None and not self._selection.replace:
                writes.kept.add(ident)
            else:
                writes.actions[ident] = "insert" if found is None else "replace"
                written.append((ident, row, found))
        if not written:
            return
        writes.pair.require_whole([one for one, _, _ in written], [row for _, row, _ in written])
        self._require_unreferred(writes.pair, [(r, f) for _, r, f in written if f is not None])
        said = writes.pair.clashes([row for _, row, _ in written])
        self._clashes += [(writes.pair.name, text) for text in said]
        for _, row, found in written:
            self._note(writes.pair, row, found)

    def _require_unreferred(self, pair: Pair, replaced: Sequence[tuple[Row, Row]]) -> None:
        """Raise where a value is replaced to which rows refer: they would change with it."""
        for reference in self._live.referring_to(pair.name):
            if not set(reference.parent_columns) <= pair.places.keys():
                continue
            places = [pair.places[one] for one in reference.parent_columns]
            changed = [
                (row, tuple(found[at] for at in places))
                for row, found in replaced
                if any(row[at] != found[at] for at in places)
                and None not in (found[at] for at in places)
            ]
            for number in children_of(self._live, reference, [old for _, old in changed]):
                raise referred_to(pair.name, pair.called(changed[number][0]), reference.table)

    def _note(self, pair: Pair, row: Row, found: Row | None) -> None:
        """Note what is written over what, and which rows it refers to."""
        action: Action = "insert" if found is None else "replace"
        self._fingerprint.update(digest_of((pair.name, action), row, found or ()))
        if len(self._samples) < self._most_samples:
            self._samples.append(_sample(pair, action, row, found))
        for reference in pair.shape.references:
            if not set(reference.columns) <= pair.places.keys():
                continue  # a column is new: the server looks at its default
            values = tuple(row[pair.places[one]] for one in reference.columns)
            if None not in values and (reference, values) not in self._present:
                self._wanted[reference, values] += 1

    # Parents

    def _bring_parents(self, reference: ForeignKey, wanted: dict[Row, int]) -> None:
        """Look for rows that are referred to; add those that are to come as well.

        Not before all others are there: it may be one of them. What is added refers to more.
        """
        self._look()
        rows = list(wanted)
        lives = found_in(self._live, reference, self._live, rows, ident=False)
        self._present |= {(reference, rows[number]) for number in lives}
        gone = [row for number, row in enumerate(rows) if number not in lives]
        backups = found_in(self._backup, reference, self._live, gone, ident=True)
        for number, row in enumerate(gone):
            if number not in backups:
                self._miss(reference, row, wanted[row], in_backup=False)
        if not backups:
            return
        writes = self._writes_of(reference.parent, "parent")
        if self._selection.with_parents:
            idents = dict.fromkeys(backups.values())
            self._classify(
                writes, [i for i in idents if i not in writes.actions and i not in writes.kept]
            )
        for number, ident in backups.items():
            row = gone[number]
            if ident in writes.actions:
                self._present.add((reference, row))
                continue
            (read,) = writes.pair.read([ident])
            differs = bool(writes.pair.key) and writes.pair.find([read]) != [None]
            self._miss(reference, row, wanted[row], in_backup=True, differs=differs)

    def _missing_in_order(self) -> list[MissingParent]:
        found = sorted(self._missing.items(), key=lambda one: (one[1].parent, _in_order(one[0][1])))
        return [missing for _, missing in found]

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
        child = self._live.shapes[reference.table]
        texts = named(columns_of(child, reference.columns), values)
        names = map(printable, reference.parent_columns)
        self._missing[reference, values] = MissingParent(
            table=reference.table,
            columns=reference.columns,
            parent=reference.parent,
            key=tuple((name, text) for name, (_, text) in zip(names, texts, strict=True)),
            rows=known.rows + rows if known else rows,
            in_backup=in_backup,
            differs=differs,
        )

    # What is told of it

    def _plan_of(self, writes: Writes) -> TablePlan:
        return TablePlan(
            table=writes.pair.name,
            role=writes.role,
            inserted=writes.count("insert"),
            replaced=writes.count("replace"),
            same=writes.same,
            kept=len(writes.kept),
            triggers=writes.pair.shape.triggers,
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

    def _only_in_backup(self, reference: ForeignKey, idents: list[Row]) -> int:
        writes = self._writes.get(reference.table)
        known = writes.actions if writes else {}
        referring = referring_rows(self._backup, reference, idents, self._look)
        others = [ident for ident in dict.fromkeys(referring) if ident not in known]
        try:
            pair = writes.pair if writes else paired(self._live, self._backup, reference.table)
            if not pair.key:
                return 0
            step, missing = pair.shape.at_once, 0
            for start in range(0, len(others), step):
                missing += pair.find(pair.read(others[start : start + step])).count(None)
        except RowsRefusedError:
            return 0  # they could not come back
        return missing


def _sample(pair: Pair, action: Action, row: Row, found: Row | None) -> RowSample:
    key = named(pair.key_columns, pair.key_of(row))
    if found is None:
        return RowSample(table=pair.name, action=action, key=key, values=named(pair.columns, row))
    changed = [at for at in range(len(row)) if row[at] != found[at]]
    names = [printable(pair.columns[at].name) for at in changed]
    texts = [shown_apart(found[at], row[at], pair.columns[at]) for at in changed]
    return RowSample(
        table=pair.name,
        action=action,
        key=key,
        values=tuple(zip(names, (after for _, after in texts), strict=True)),
        before=tuple(zip(names, (before for before, _ in texts), strict=True)),
    )


def _notes(pair: Pair) -> Iterator[str]:
    name = printable(pair.name)
    if new := [one for one in pair.added if one not in pair.left_out]:
        yield (
            f"{name}: {', '.join(new)} is new since the backup. Rows that are inserted get the "
            "default there."
        )
    for gone in pair.gone:
        is_computed = pair.is_computed(gone.name)
        what = "is computed now" if is_computed else "is gone since the backup"
        yield f"{name}: {gone.name} {what}, and empty in these rows of the backup."
    if pair.left_out:
        yield f"{name}: {', '.join(pair.left_out)} of the backup is left out."


def _in_order(values: Row) -> list[tuple[float, str]]:
    """Return what keys are sorted by: numbers by their value, then the rest as it is written."""
    found = []
    for value in values:
        is_number = value is not None and value.lstrip("-").isdigit()
        found.append((float(str(value)), "") if is_number else (math.inf, str(value)))
    return found
