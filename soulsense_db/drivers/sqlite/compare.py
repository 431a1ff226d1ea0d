"""Compare two SQLite databases row by row, in flat memory: what a restore would change."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from soulsense_db.drivers.results import DatabaseDiff, TableDiff
from soulsense_db.drivers.sqlite import pragmas
from soulsense_db.drivers.sqlite.as_stored import all_collations, any_text
from soulsense_db.drivers.sqlite.errors import backup_errors
from soulsense_db.drivers.sqlite.row_progress import RowProgress
from soulsense_db.drivers.sqlite.rows import Reading, Side
from soulsense_db.drivers.sqlite.walk import UnorderedError, Walk
from soulsense_db.progress import Progress


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
    with both_sides(live, backup, None, path) as (live_side, backup_side):
        names = sorted((live_side.tables.keys() | backup_side.tables.keys()) - set(ignore))
        reading = RowProgress(progress, names, live_side, backup_side)
        tables = []
        for name in names:
            found = _compare_table(live_side, backup_side, name, reading)
            if (found.gained, found.lost, found.changed) != (0, 0, 0):
                tables.append(found)
        tables += [_unknown(name) for name in sorted(live_side.unreadable | backup_side.unreadable)]
        same = live_side.schema(ignore) == backup_side.schema(ignore)
        reading.end()
    return DatabaseDiff(tables=tuple(tables), same_schema=same, alembic_heads=heads)


@contextmanager
def both_sides(
    first: sqlite3.Connection,
    second: sqlite3.Connection,
    first_path: Path | None,
    second_path: Path | None,
) -> Iterator[tuple[Side, Side]]:
    """Yield both databases as they can be compared; a path where it is that of a backup."""
    with ExitStack() as prepared:
        opened = ((first, first_path), (second, second_path))
        for connection, path in opened:
            prepared.enter_context(any_text(connection))
            if path is None:
                prepared.enter_context(all_collations(connection))
            else:
                with backup_errors(path):
                    prepared.enter_context(all_collations(connection))
        yield Side(first, first_path), Side(second, second_path)


def count_rows(connection: sqlite3.Connection, path: Path | None = None) -> dict[str, int]:
    """Return how many rows each table has that is compared; ``path`` of a backup."""
    with any_text(connection), all_collations(connection):
        side = Side(connection, path)
        return {name: side.count(name) for name in side.tables}


@contextmanager
def walking(
    first: Side,
    second: Side,
    name: str,
    reading: Reading,
    progress: RowProgress,
    *,
    null_keys: bool = False,
) -> Iterator[Walk]:
    """Yield a walk over the rows of a table that both sides have."""
    with (
        progress.of(first.read(name, reading)) as first_rows,
        progress.of(second.read(name, reading)) as second_rows,
    ):
        yield Walk(
            first_rows,
            second_rows,
            key_size=len(reading.key),
            encoding=first.encoding,
            null_keys=null_keys,
        )


def same_as_stored(first: Side, second: Side, name: str, progress: RowProgress) -> bool:
    """Whether both have the same rows in the same order, where another order takes far longer.

    An order that is not that of the file jumps about in it for each row.
    """
    tables = [side.tables[name] for side in (first, second)]
    if any(table.rowid in {None, *table.key} or table.grows for table in tables):
        return False
    with (
        progress.meanwhile(first.read_as_stored(name)) as first_rows,
        progress.meanwhile(second.read_as_stored(name)) as second_rows,
    ):
        return all(one == other for one, other in zip_longest(first_rows, second_rows))


def _compare_table(live: Side, backup: Side, name: str, reading: RowProgress) -> TableDiff:
    live_table, backup_table = live.tables.get(name), backup.tables.get(name)
    if live_table is None or backup_table is None or live_table != backup_table:
        return _counted(live, backup, name, reading)
    if same_as_stored(live, backup, name, reading):
        reading.skip(live.count(name) + backup.count(name))
        return TableDiff(table=name, gained=0, lost=0, changed=0, newer=0)
    gained = lost = changed = 0
    try:
        with walking(live, backup, name, live_table.reading, reading) as walk:
            for in_live, in_backup in walk:
                if in_live is None:
                    gained += 1
                elif in_backup is None:
                    lost += 1
                else:
                    changed += 1
    except UnorderedError:
        return _counted(live, backup, name, reading)
    newer = walk.tail if live_table.grows and backup_table.grows else None
    return TableDiff(table=name, gained=gained, lost=lost, changed=changed, newer=newer)


def _counted(live: Side, backup: Side, name: str, reading: RowProgress) -> TableDiff:
    """Compare how many rows a table has, where the rows themselves cannot be compared."""
    lost, gained = live.count(name), backup.count(name)
    reading.skip(lost + gained)
    if name in live.tables and name in backup.tables:
        lost, gained = max(0, lost - gained), max(0, gained - lost)
        return TableDiff(table=name, gained=gained, lost=lost, changed=None, newer=None)
    side: Literal["backup", "live"] = "live" if name in live.tables else "backup"
    return TableDiff(table=name, gained=gained, lost=lost, changed=0, newer=lost, only_in=side)


def _unknown(name: str) -> TableDiff:
    """Return what is known of a table that cannot be read by its name: that it may differ."""
    return TableDiff(table=name, gained=0, lost=0, changed=None, newer=None)
