"""Compare the rows of two dumps, whatever their number: by checksums, in parts on disk.

A row is what the server's own program writes for it, so that equal values are equal bytes. For
drivers whose backup is a dump: each has a description of its tables, and yields its rows.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from typing import IO, Protocol

from soulsense_db.drivers.results import TableDiff
from soulsense_db.progress import Progress

_NUMBER, _DIGEST = 4, 16
_PLACE = _NUMBER + _DIGEST  # a table's number, and what tells a row from others
_RECORD = _PLACE + _DIGEST
_ROWS_OF_A_PART = 25_000  # less than 10 MB in memory, even where all differ
_MOST_PARTS = 400  # open files
_TOLD_EVERY = 1000


class DumpedTable(Protocol):
    """A table as it was dumped; ``shown``: its name for people, ``key``: of its primary key."""

    @property
    def shown(self) -> str:
        """Its name for people."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns, in their order."""

    @property
    def key(self) -> tuple[str, ...]:
        """The columns of its primary key."""

    @property
    def rows(self) -> int:
        """How many it has."""


class Dump(Protocol):
    """What is known of a dump; ``size_bytes``: of what the server's program wrote of it."""

    @property
    def tables(self) -> Sequence[DumpedTable]:
        """Those that have rows."""

    @property
    def size_bytes(self) -> int:
        """Bytes that the server's program wrote."""

    @property
    def heads(self) -> tuple[str, ...]:
        """Alembic's revisions."""


class DumpedRow(Protocol):
    """A row: all of it in ``line``, and in ``key`` what tells it from others of its table."""

    @property
    def table(self) -> DumpedTable:
        """Where it is."""

    @property
    def line(self) -> bytes:
        """All of it."""

    @property
    def key(self) -> bytes:
        """What tells it from others of its table."""


class Comparison:
    """What restoring the rows of ``backup`` in the place of those of ``live`` would change."""

    def __init__(self, backup: Dump, live: Dump, ignore: Collection[str]) -> None:
        self._backup, self._live = (
            {table.shown: table for table in one.tables if table.shown not in ignore}
            for one in (backup, live)
        )
        self._names = sorted(self._backup.keys() | self._live.keys())
        # Rows of other columns are no rows that can be compared.
        self._numbers = {
            name: number for number, name in enumerate(self._names) if self._have_same_shape(name)
        }
        self.total = sum(
            table.rows for side in (self._backup, self._live) for table in side.values()
        )

    def run(
        self, backup: Iterator[DumpedRow], live: Iterator[DumpedRow], progress: Progress | None
    ) -> tuple[TableDiff, ...]:
        """Return what differs, by table; the rows are read once each."""
        parts = min(_MOST_PARTS, self.total // _ROWS_OF_A_PART + 1)
        done = _Counted(self.total, progress)
        with ExitStack() as stack:
            sides = [
                [stack.enter_context(tempfile.TemporaryFile()) for _ in range(parts)]
                for _ in (backup, live)
            ]
            for rows, files in zip((backup, live), sides, strict=True):
                self._divide(rows, files, done)
            gained, lost, changed = (Counter[int]() for _ in range(3))
            for one, other in zip(*sides, strict=True):
                _compare_part(one, other, gained, lost, changed)
        done.is_all()
        found = (
            self._difference(name, gained[number], lost[number], changed[number])
            for number, name in enumerate(self._names)
        )
        return tuple(one for one in found if one is not None)

    def _divide(
        self, rows: Iterator[DumpedRow], files: Sequence[IO[bytes]], done: Callable[[], None]
    ) -> None:
        for row in rows:
            done()
            number = self._numbers.get(row.table.shown)
            if number is None:
                continue
            key = hashlib.blake2b(row.key, digest_size=_DIGEST).digest()
            value = hashlib.blake2b(row.line, digest_size=_DIGEST).digest()
            place = int.from_bytes(key[:4], "big") % len(files)
            files[place].write(number.to_bytes(_NUMBER, "big") + key + value)

    def _have_same_shape(self, name: str) -> bool:
        before, after = self._live.get(name), self._backup.get(name)
        return before is not None and after is not None and _shape(before) == _shape(after)

    def _difference(self, name: str, gained: int, lost: int, changed: int) -> TableDiff | None:
        before, after = self._live.get(name), self._backup.get(name)
        if not self._have_same_shape(name):  # only their number is compared
            rows = [0 if one is None else one.rows for one in (after, before)]
            if rows == [0, 0] and None in (before, after):
                return None  # that it is missing is a matter of the schema
            if before is None or after is None:
                return TableDiff(
                    table=name,
                    gained=rows[0],
                    lost=rows[1],
                    changed=0,
                    newer=rows[1],
                    only_in="live" if after is None else "backup",
                )
            gained, lost = max(0, rows[0] - rows[1]), max(0, rows[1] - rows[0])
            return TableDiff(table=name, gained=gained, lost=lost, changed=None, newer=None)
        if gained == lost == changed == 0:
            return None
        return TableDiff(table=name, gained=gained, lost=lost, changed=changed, newer=None)


def _shape(table: DumpedTable) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return table.columns, table.key


def _compare_part(
    backup: IO[bytes],
    live: IO[bytes],
    gained: Counter[int],
    lost: Counter[int],
    changed: Counter[int],
) -> None:
    """Count what is only in one part, by the number of the table; a key may be there twice."""
    left = Counter(_records(backup))  # of equal rows nothing is kept
    for record in _records(live):
        if left[record] == 1:
            del left[record]
        else:
            left[record] -= 1
    more, less = Counter[bytes](), Counter[bytes]()
    for record, count in left.items():
        (more if count > 0 else less)[record[:_PLACE]] += abs(count)
    for place in more.keys() | less.keys():
        number = int.from_bytes(place[:_NUMBER], "big")
        both = min(more[place], less[place])
        changed[number] += both
        gained[number] += more[place] - both
        lost[number] += less[place] - both


def _records(part: IO[bytes]) -> Iterator[bytes]:
    part.seek(0)
    while record := part.read(_RECORD):
        yield record


class _Counted:
    """Tells a progress of each thousandth row, of the first, and of the last."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total, self._progress = total, progress
        self._done = self._told = 0

    def __call__(self) -> None:
        self._done += 1
        if self._progress is not None and self._done % _TOLD_EVERY == 1:
            self._told = self._done
            self._progress(self._done, max(self._total, self._done))

    def is_all(self) -> None:
        if self._progress is not None:
            self._progress(self._total, self._total)
