"""Compare two SQLite databases row by row, in flat memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Generator, Iterator
from contextlib import ExitStack, closing
from itertools import zip_longest
from pathlib import Path
from typing import Any

from soulsense_db.drivers.base import DatabaseDiff, TableDiff
from soulsense_db.drivers.sqlite import pragmas
from soulsense_db.drivers.sqlite.errors import backup_errors
from soulsense_db.drivers.sqlite.rows import Row, Side, Table, all_collations, any_text
from soulsense_db.progress import Progress

_ROWS_IN_ONE = 1000  # between two calls of a progress: some milliseconds


def compare(
    live: sqlite3.Connection,
    backup: sqlite3.Connection,
    path: Path,
    *,
    ignore: Collection[str],
    progress: Progress | None = None,
) -> DatabaseDiff:
    """Compare ``live``, in a read transaction of the caller's, with ``backup``, opened ``path``."""
    heads = pragmas.alembic_heads(live)
    with ExitStack() as prepared:
        for connection in (live, backup):
            prepared.enter_context(any_text(connection))
        prepared.enter_context(all_collations(live))
        with backup_errors(path):
            prepared.enter_context(all_collations(backup))
        live_side, backup_side = Side(live), Side(backup, path)
        names = sorted((live_side.tables.keys() | backup_side.tables.keys()) - set(ignore))
        reading = (
            _Reading(progress, names, live_side, backup_side) if progress is not None else None
        )
        tables = []
        for name in names:
            found = _compare_table(live_side, backup_side, name, reading)
            if (found.gained, found.lost, found.changed) != (0, 0, 0):
                tables.append(found)
        tables += [_unknown(name) for name in sorted(live_side.unreadable | backup_side.unreadable)]
        same = live_side.schema(ignore) == backup_side.schema(ignore)
        if reading is not None:
            reading.end()
    return DatabaseDiff(tables=tuple(tables), same_schema=same, alembic_heads=heads)


def count_rows(connection: sqlite3.Connection, path: Path | None = None) -> dict[str, int]:
    """Return how many rows each table has that is compared; ``path`` of a backup."""
    with any_text(connection), all_collations(connection):
        side = Side(connection, path)
        return {name: side.count(name) for name in side.tables}


class _Reading:
    """Tells ``progress`` how many rows are read so far, of all in ``names`` on both sides."""

    def __init__(self, progress: Progress, names: Collection[str], *sides: Side) -> None:
        self._progress = progress
        self._total = sum(side.count(name) for side in sides for name in names)
        self._done = 0

    def of(self, rows: Generator[Row, None, None]) -> Generator[Row, None, None]:
        """Yield ``rows``, and tell of them now and then."""
        with closing(rows):
            for row in rows:
                self._done += 1
                if self._done % _ROWS_IN_ONE == 0:
                    self._tell()
                yield row

    def meanwhile(self, rows: Generator[Row, None, None]) -> Generator[Row, None, None]:
        """Yield ``rows`` that may have to be read again: asked is only whether to go on."""
        with closing(rows):
            for number, row in enumerate(rows):
                if number % _ROWS_IN_ONE == 0:
                    self._tell()
                yield row

    def skip(self, rows: int) -> None:
        """Take ``rows`` as read that need not be, being counted."""
        self._done += rows
        self._tell()

    def end(self) -> None:
        """Tell that all is read."""
        self._done = max(self._done, self._total)
        self._tell()

    def _tell(self) -> None:
        # By a damaged index others are counted than there are.
        self._progress(self._done, max(self._done, self._total))


def _compare_table(live: Side, backup: Side, name: str, reading: _Reading | None) -> TableDiff:
    live_table, backup_table = live.tables.get(name), backup.tables.get(name)
    if live_table is None or backup_table is None or live_table != backup_table:
        lost, gained = live.count(name), backup.count(name)
        if reading is not None:
            reading.skip(lost + gained)
        if live_table and backup_table:
            lost, gained = max(0, lost - gained), max(0, gained - lost)
        changed, newer = (None, None) if live_table and backup_table else (0, lost)
        return TableDiff(table=name, gained=gained, lost=lost, changed=changed, newer=newer)
    if _same_as_stored(live, backup, name, reading):
        if reading is not None:
            reading.skip(live.count(name) + backup.count(name))
        return TableDiff(table=name, gained=0, lost=0, changed=0, newer=0)
    # Closed here: one that an error of the other leaves behind would outlive its connection.
    with (
        _reporting(live.read(name), reading) as live_rows,
        _reporting(backup.read(name), reading) as backup_rows,
    ):
        gained, lost, changed, tail = _merge(live_rows, backup_rows, live_table)
    newer = tail if live_table.grows and backup_table.grows else None
    return TableDiff(table=name, gained=gained, lost=lost, changed=changed, newer=newer)


def _same_as_stored(live: Side, backup: Side, name: str, reading: _Reading | None) -> bool:
    """Whether both have the same rows in the same order, where another order takes far longer.

    An order that is not that of the file jumps about in it for each row.
    """
    if any(side.tables[name].rowid in {None, *side.tables[name].key} for side in (live, backup)):
        return False
    if any(side.tables[name].grows for side in (live, backup)):
        return False
    live_rows, backup_rows = live.read_as_stored(name), backup.read_as_stored(name)
    if reading is not None:
        live_rows = reading.meanwhile(live_rows)
    with closing(live_rows), closing(backup_rows):
        return all(one == other for one, other in zip_longest(live_rows, backup_rows))


def _unknown(name: str) -> TableDiff:
    """Return what is known of a table that cannot be read by its name: that it may differ."""
    return TableDiff(table=name, gained=0, lost=0, changed=None, newer=None)


def _reporting(
    rows: Generator[Row, None, None], reading: _Reading | None
) -> closing[Generator[Row, None, None]]:
    """Return ``rows``, of which ``reading`` tells, to be closed at the end of a block."""
    return closing(rows if reading is None else reading.of(rows))


def _merge(live: Iterator[Row], backup: Iterator[Row], table: Table) -> tuple[int, int, int, int]:
    """Walk both in the order of their keys; return rows only in backup, only live, different.

    And how many of those only live are behind the last one in the backup.
    """
    gained = lost = changed = 0
    key_size, encoding = len(table.key), table.encoding
    live_row, backup_row = next(live, None), next(backup, None)
    while live_row is not None and backup_row is not None:
        if live_row == backup_row:
            live_row, backup_row = next(live, None), next(backup, None)
            continue
        live_key = _order(live_row[:key_size], encoding)
        backup_key = _order(backup_row[:key_size], encoding)
        if live_key == backup_key:
            changed += 1
            live_row, backup_row = next(live, None), next(backup, None)
        elif live_key < backup_key:
            lost += 1
            live_row = next(live, None)
        else:
            gained += 1
            backup_row = next(backup, None)
    tail = (live_row is not None) + sum(1 for _ in live)
    gained += (backup_row is not None) + sum(1 for _ in backup)
    return gained, lost + tail, changed, tail


def _order(key: Row, encoding: str) -> list[tuple[int, Any]]:
    """Return ``key`` such that Python orders it as SQLite does: NULL, numbers, text, blobs."""
    return [_place(value, encoding) for value in key]


def _place(value: Any, encoding: str) -> tuple[int, Any]:
    if value is None:
        return 0, 0
    if isinstance(value, int | float):
        return 1, value
    if isinstance(value, str):
        # What is no text has come as such stand-ins, or in UTF-16 as halves of pairs.
        unpaired = "surrogateescape" if encoding == "UTF-8" else "surrogatepass"
        return 2, value.encode(encoding, errors=unpaired)
    return 3, value
