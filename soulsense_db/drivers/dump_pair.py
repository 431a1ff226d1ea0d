"""A table of two dumps, and what differs between its rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from soulsense_db.drivers.diff_report import MatchedBy, TableChange
from soulsense_db.drivers.dump_matching import KeptRows, Line, Record, keep_differing, matched
from soulsense_db.drivers.dump_rows import Dump, DumpedRow, DumpedTable
from soulsense_db.drivers.dump_values import (
    Kind,
    RowFormat,
    canonical,
    needs_value,
    not_text,
)
from soulsense_db.drivers.long_values import shortened
from soulsense_db.drivers.row_tally import Found, Row, Tally
from soulsense_db.drivers.schema_parts import Schema, TableSchema
from soulsense_db.progress import Progress

_TELL_SECONDS = 0.1
_LENGTH_BYTES = 8
_LONGEST = 256 * 1024
_COUNTED = "Rows were only counted: the databases have no column of it in common."
_BY_VALUES = "Rows were matched by all their values"


@dataclass(frozen=True)
class DumpSide:
    """A dump; ``version``: of the server that had it, ``rows``: yields all of them.

    ``notes``: what has to be said of tables that differ.
    """

    dump: Dump
    schema: Schema
    version: object
    rows: Callable[[], Generator[DumpedRow]]
    format: RowFormat
    notes: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def tables(self) -> dict[str, DumpedTable]:
        """Those that have rows, by name."""
        return {table.shown: table for table in self.dump.tables}


class Told:
    """Tells ``progress`` how many rows are read, several times a second."""

    def __init__(
        self, progress: Progress | None, names: Collection[str], sides: Sequence[DumpSide]
    ) -> None:
        self._progress = progress
        self._done = 0
        self._total = sum(
            table.rows for side in sides for name, table in side.tables.items() if name in names
        )
        self._told = -_TELL_SECONDS

    def row(self) -> None:
        """Tell of one more."""
        self._done += 1
        self.ask()

    def ask(self) -> None:
        """Ask whether to go on."""
        if self._progress is None:
            return
        now = time.monotonic()
        if now - self._told >= _TELL_SECONDS:
            self._told = now
            self._progress(min(self._done, self._total), self._total)

    def end(self) -> None:
        """Tell that all is read."""
        if self._progress is not None:
            self._progress(self._total, self._total)


class Pair:
    """A table of two sides, or of one, and how its rows are matched."""

    def __init__(
        self,
        sides: Sequence[DumpSide],
        name: str,
        *,
        most_samples: int,
        folder: Path,
        stack: ExitStack,
        told: Told,
    ) -> None:
        self.name, self._told, self._most = name, told, most_samples
        self._folder, self._stack = folder, stack
        self._formats = [side.format for side in sides]
        self._tables = [side.tables.get(name) for side in sides]
        there = [table for table in self._tables if table is not None]
        first, last = there[0], there[-1]
        self._common = tuple(column for column in first.columns if column in last.columns)
        same_key = first.key == last.key
        self._key = first.key if same_key else ()
        self._key_places = [self._common.index(column) for column in self._key]
        self._matched_by: MatchedBy = "key" if self._key else "values"
        self._note = self._noted(sides, first, last)
        schemas = [side.schema.tables.get(name) for side in sides]
        both = [
            side.format.kinds(self._common, schema)
            for side, schema in zip(sides, schemas, strict=True)
        ]
        types = [_types(self._common, schema) for schema in schemas]
        self._kinds = both
        self._needs_value = [
            len(there) > 1 and needs_value(one, other, same_type=mine == theirs)
            for one, other, mine, theirs in zip(*both, *types, strict=True)
        ]
        other_encoding = len({one.encoding for one in self._formats}) > 1
        if len(there) > 1 and other_encoding:
            self._needs_value = [True] * len(self._common)
        self._is_plain = (
            first.columns == last.columns and first.key == last.key and not any(self._needs_value)
        )
        self._places: dict[tuple[str, ...], list[int]] = {}
        of_kinds = both[-1] if self._tables[1] is not None else both[0]
        texts = not_text(self._common, of_kinds)
        self._tally = Tally(most_samples, self._common, not_text=texts, is_ordered=False)
        self._kept: tuple[KeptRows, KeptRows] | None = None
        self._change: TableChange | None = None

    def _noted(
        self, sides: Sequence[DumpSide], first: DumpedTable, last: DumpedTable
    ) -> str | None:
        """Return what has to be said of how the rows are matched."""
        noted = next((note for side in sides if (note := side.notes.get(self.name))), None)
        if noted is not None or self._key:
            return noted
        if first.key != last.key:
            return f"{_BY_VALUES}: the primary key is another one."
        declared = [side.schema.tables.get(self.name) for side in sides]
        has_key = any(table is not None and table.primary_key for table in declared)
        return f"{_BY_VALUES}." if has_key else f"{_BY_VALUES}: it has no primary key."

    @property
    def _has_both(self) -> bool:
        return None not in self._tables

    def read(self, rows: Sequence[Iterator[DumpedRow]]) -> None:
        """Take rows of both sides, or of one; the others come at another time."""
        counted = [self._counted(side) for side in rows]
        if not self._has_both:
            if self._most:
                self._sample(counted)
            else:
                for _ in chain(*counted):
                    pass
            return
        if not self._common:
            for _ in chain(*counted):
                pass
            return
        if self._kept is None:
            self._kept = (
                self._stack.enter_context(KeptRows(self._folder)),
                self._stack.enter_context(KeptRows(self._folder)),
            )
        lines = [self._lines(side, at) for at, side in enumerate(counted)]
        keep_differing(lines[0], lines[1], self._kept)

    def _counted(self, rows: Iterator[DumpedRow]) -> Iterator[DumpedRow]:
        for row in rows:
            self._told.row()
            yield row

    def _sample(self, sides: Sequence[Iterator[DumpedRow]]) -> None:
        """Keep the first rows of a table that only one side has."""
        for at, rows in enumerate(sides):
            found = (self._row(at, self._text(row, at)) for row in rows)
            for row in found:
                pair = (row, None) if at == 0 else (None, row)
                self._tally.add([pair], len(self._key), keeps_digest=False)

    def _text(self, row: DumpedRow, at: int) -> bytes:
        """Return a row as it is kept: its common columns in their order."""
        if self._is_plain and self._formats[at].columns(row) == self._common:
            return row.line
        return self._formats[at].joined(self._fields(row, at))

    def _fields(self, row: DumpedRow, at: int) -> list[bytes]:
        there = self._formats[at].columns(row)
        places = self._places.get(there)
        if places is None:
            places = self._places[there] = [
                there.index(column) if column in there else len(there) for column in self._common
            ]
        form = self._formats[at]
        fields = form.fields(row.line)
        # A row without the times of its history has fewer of them.
        return [fields[place] if place < len(fields) else form.null for place in places]

    def _lines(self, rows: Iterator[DumpedRow], at: int) -> Iterator[Line]:
        """Yield rows as they are compared."""
        form = self._formats[at]
        for row in rows:
            if self._is_plain and form.columns(row) == self._common:
                yield Line(row.line, row.line, row)
                continue
            fields = self._fields(row, at)
            text = form.joined(fields)
            if not any(self._needs_value):  # the same as of rows that are taken as they are
                key = form.key([fields[place] for place in self._key_places])
                yield Line(text, text, key if self._key_places else text)
                continue
            told = [
                canonical(form.value(field, kind)) if needs else field
                for field, kind, needs in zip(
                    fields, self._kinds[at], self._needs_value, strict=True
                )
            ]
            comparable = _packed(told)
            key = _packed([told[place] for place in self._key_places])
            yield Line(text, comparable, key if self._key_places else comparable)

    def change(self) -> TableChange:
        """Return what differs, once all rows of both sides have been taken."""
        if self._change is None:
            self._change = self._found()
        return self._change

    def _found(self) -> TableChange:
        before, after = self._tables
        if before is None or after is None:
            return self._of_one_side()
        found = Found()
        matched_by, note, key = self._matched_by, self._note, self._key
        if not self._common:
            more = after.rows - before.rows
            found = Found(added=max(0, more), removed=max(0, -more), changed=None)
            matched_by, note, key = "count", _COUNTED, ()
        elif self._kept is not None:
            size = len(self._key)
            self._tally.add(self._differing(*self._kept), size, keeps_digest=False)
            found = self._tally.found
            for kept in self._kept:
                kept.close()
        differs = (found.added, found.removed, found.changed) != (0, 0, 0)
        return TableChange(
            table=self.name,
            rows_before=before.rows,
            rows_after=after.rows,
            added=found.added,
            removed=found.removed,
            changed=found.changed,
            matched_by=matched_by,
            key=key,
            compared=self._common,
            columns=found.columns,
            columns_added=tuple(c for c in after.columns if c not in before.columns),
            columns_removed=tuple(c for c in before.columns if c not in after.columns),
            samples=found.samples,
            note=note if differs else None,
        )

    def _of_one_side(self) -> TableChange:
        before, after = self._tables
        return TableChange(
            table=self.name,
            rows_before=None if before is None else before.rows,
            rows_after=None if after is None else after.rows,
            added=0 if after is None else after.rows,
            removed=0 if before is None else before.rows,
            changed=0,
            matched_by=self._matched_by,
            key=self._key,
            compared=self._common,
            samples=self._tally.found.samples,
        )

    def _differing(
        self, first: KeptRows, second: KeptRows
    ) -> Iterator[tuple[Row | None, Row | None]]:
        for before, after in matched(first, second):
            self._told.ask()
            if before is not None and after is not None:
                rows = self._both(
                    self._formats[0].fields(first.text(before)),
                    self._formats[1].fields(second.text(after)),
                )
                if rows is not None:
                    yield rows
            elif before is not None:
                yield self._kept_row(0, first, before), None
            elif after is not None:
                yield None, self._kept_row(1, second, after)

    def _kept_row(self, at: int, kept: KeptRows, record: Record) -> Row:
        # Without samples the values of a row of one side are of no interest.
        return self._row(at, kept.text(record)) if self._most else ()

    def _row(self, at: int, text: bytes) -> Row:
        """Return the values of a row, those of its key first."""
        fields = self._formats[at].fields(text)
        return self._keyed(
            [self._value(at, *one) for one in zip(fields, self._kinds[at], strict=True)]
        )

    def _value(self, at: int, field: bytes, kind: Kind) -> Any:
        return shortened(self._formats[at].value(field, kind), _LONGEST)

    def _keyed(self, values: list[Any]) -> Row:
        return (*(values[place] for place in self._key_places), *values)

    def _both(self, before: Sequence[bytes], after: Sequence[bytes]) -> tuple[Row, Row] | None:
        """Return the values of a row on both sides; None where they are written in two ways."""
        values: tuple[list[Any], list[Any]] = ([], [])
        differs = False
        for at, (one, other) in enumerate(zip(before, after, strict=True)):
            old = new = None
            needs = self._needs_value[at]
            if needs or one != other:
                old = self._value(0, one, self._kinds[0][at])
                new = self._value(1, other, self._kinds[1][at])
                if old == new or (needs and canonical(old) == canonical(new)):
                    new = old
                differs = differs or old is not new
            elif self._most or at in self._key_places:
                old = new = self._value(0, one, self._kinds[0][at])
            values[0].append(old)
            values[1].append(new)
        return (self._keyed(values[0]), self._keyed(values[1])) if differs else None


def _types(columns: Sequence[str], table: TableSchema | None) -> list[str]:
    declared = {} if table is None else table.columns
    return [declared[name].declared if name in declared else "" for name in columns]


def _packed(fields: Sequence[bytes]) -> bytes:
    """Return one text of several, which no others make."""
    return b"".join(len(field).to_bytes(_LENGTH_BYTES, "big") + field for field in fields)
