"""Find what differs between two SQLite databases: schema, rows, values; in flat memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from soulsense_db.drivers.diff_report import DiffReport, TableChange
from soulsense_db.drivers.row_tally import Found, Tally
from soulsense_db.drivers.schema_parts import chosen_tables, without_tables
from soulsense_db.drivers.sqlite import pragmas
from soulsense_db.drivers.sqlite.compare import both_sides, same_as_stored
from soulsense_db.drivers.sqlite.errors import backup_errors
from soulsense_db.drivers.sqlite.pair import COUNTED, Pair
from soulsense_db.drivers.sqlite.pragmas import folded
from soulsense_db.drivers.sqlite.row_progress import RowProgress
from soulsense_db.drivers.sqlite.rows import SEQUENCE, Reading, Side, values_of
from soulsense_db.drivers.sqlite.schema import schema_of, virtual_owners
from soulsense_db.drivers.sqlite.schema_diff import schema_changes
from soulsense_db.drivers.sqlite.walk import UnorderedError, Walk
from soulsense_db.progress import Progress

_SEQUENCE = "It holds the last numbers of AUTOINCREMENT keys."
_RENUMBERED = "The rows are the same; only the numbers that SQLite gave them differ."
_UNREADABLE = "It cannot be read: its name, or that of a column, is not valid text."


@dataclass(frozen=True, slots=True)
class Opened:
    """A database that nobody writes to; ``path`` where an error is to name it as a backup."""

    connection: sqlite3.Connection
    path: Path | None


def diff(
    first: Opened,
    second: Opened,
    *,
    ignore: Collection[str] = (),
    only: Collection[str] = (),
    rows: int = 0,
    progress: Progress | None = None,
) -> DiffReport:
    """Find what differs from ``first`` to ``second``.

    ``ignore``, ``only``: tables that are left out, or all that are not; ``rows``: how many samples
    of each kind and table. Raises :class:`~soulsense_db.errors.OptionError` for a table of ``only``
    that neither has.
    """
    opened = (first, second)
    heads = [_heads(one) for one in opened]
    with both_sides(first.connection, second.connection, first.path, second.path) as (
        before,
        after,
    ):
        schemas = [schema_of(side, leaves_out=()) for side in (before, after)]
        owners = virtual_owners(schemas[0]) | virtual_owners(schemas[1])
        names = before.tables.keys() | after.tables.keys()
        virtual = {name for schema in schemas for name in schema.tables} - names
        left_out = set(ignore)
        if only:
            chosen = chosen_tables(only, names | virtual, folded=folded)
            chosen |= {name for name, owner in owners.items() if owner in chosen}
            left_out = (names | virtual) - chosen
        schemas = [without_tables(schema, left_out) for schema in schemas]
        wanted = sorted(names - left_out)
        reading = RowProgress(progress, wanted, before, after)
        tables = [
            replace(_table_change(before, after, name, rows, reading), part_of=owners.get(name))
            for name in wanted
        ]
        if not only:
            tables += map(_unknown, sorted(before.unreadable | after.unreadable))
        reading.end()
    return DiffReport(
        schema=tuple(schema_changes(*schemas, whole=not only)),
        tables=tuple(tables),
        alembic_heads_before=heads[0],
        alembic_heads_after=heads[1],
    )


def _heads(opened: Opened) -> tuple[str, ...]:
    if opened.path is None:
        return pragmas.alembic_heads(opened.connection)
    with backup_errors(opened.path):
        return pragmas.alembic_heads(opened.connection)


def _table_change(
    before: Side, after: Side, name: str, rows: int, reading: RowProgress
) -> TableChange:
    first, second = before.tables.get(name), after.tables.get(name)
    if first is None or second is None:
        return _of_one_side(before, after, name, rows, reading)
    pair = Pair.of(before, after, name)
    if first == second and same_as_stored(before, after, name, reading):
        counted = _skipped(pair, reading)
        return pair.change(Found(), *counted)
    note = pair.why_counted
    if note is None:
        try:
            return _compared(pair, rows, reading)
        except UnorderedError:
            note = f"{COUNTED}: a value in the key is too long."
    counted = _skipped(pair, reading)
    more = counted[1] - counted[0]
    found = Found(added=max(0, more), removed=max(0, -more), changed=None)
    return replace(pair.change(found, *counted), matched_by="count", key=(), compared=(), note=note)


def _skipped(pair: Pair, reading: RowProgress) -> tuple[int, int]:
    """Count the rows of both, which are not read, or have been."""
    before, after = (side.count(pair.name) for side in pair.sides)
    reading.skip(before + after)
    return before, after


def _compared(pair: Pair, rows: int, progress: RowProgress) -> TableChange:
    """Walk the rows of both sides, and tally what differs."""
    before, after = pair.sides
    readings = pair.readings()
    key_size = len(readings[0].key)
    tally = Tally(rows, pair.common)
    with (
        progress.of(before.read(pair.name, readings[0])) as first,
        progress.of(after.read(pair.name, readings[1])) as second,
    ):
        walk = Walk(
            first,
            second,
            key_size=key_size,
            encoding=before.encoding,
            null_keys=pair.has_null_keys,
        )
        by_number = pair.matched_by == "rowid"
        is_keyed = pair.matched_by != "values"
        tally.add(walk, key_size if is_keyed else 0, keeps_digest=by_number)
    counted = (walk.first_rows, walk.second_rows)
    if pair.name == SEQUENCE:
        return replace(pair.change(tally.found, *counted), note=_SEQUENCE)
    if by_number and tally.is_renumbered:
        return replace(pair.change(Found(), *counted), note=_RENUMBERED)
    return pair.change(tally.found, *counted)


def _of_one_side(
    before: Side, after: Side, name: str, rows: int, reading: RowProgress
) -> TableChange:
    """Return the change for a table that only one side has: all its rows came, or are gone."""
    side, is_new = (after, True) if name in after.tables else (before, False)
    table = side.tables[name]
    number = side.count(name)
    reading.skip(number)
    key = table.key if table.primary_key else ()
    tally = Tally(rows, list(table.columns))
    if rows:
        wanted = Reading(key, values_of(table.columns, ()), table.key)
        with reading.meanwhile(side.read(name, wanted)) as found:
            tally.sample(found, len(key), is_new=is_new)
    return TableChange(
        table=name,
        rows_before=None if is_new else number,
        rows_after=number if is_new else None,
        added=number if is_new else 0,
        removed=0 if is_new else number,
        changed=0,
        matched_by="key" if table.primary_key else "rowid" if table.rowid else "values",
        key=table.primary_key,
        compared=table.columns,
        samples=tally.found.samples,
    )


def _unknown(name: str) -> TableChange:
    return TableChange(
        table=name,
        rows_before=None,
        rows_after=None,
        added=0,
        removed=0,
        changed=None,
        matched_by="nothing",
        note=_UNREADABLE,
    )
