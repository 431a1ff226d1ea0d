"""Find what differs between two dumps: schema, rows, values; in flat memory.

Nothing is asked of the server, and nothing is restored: both dumps are read side by side, as its
own programs write their rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from itertools import chain, groupby
from operator import attrgetter
from pathlib import Path
from typing import Protocol, TypeVar

from soulsense_db.drivers.diff_report import DiffReport, SchemaChange
from soulsense_db.drivers.dump_pair import DumpSide, Pair, Told
from soulsense_db.drivers.dump_rows import Dump, DumpedRow
from soulsense_db.drivers.schema_diff import change, changes
from soulsense_db.drivers.schema_parts import Schema, chosen_tables, without_tables
from soulsense_db.drivers.server_errors import damaged
from soulsense_db.errors import InvalidBackupError
from soulsense_db.progress import Progress

_SETTINGS = {"encoding": "The encoding of text", "collation": "The collation of text"}
_ENDED: tuple[str, Iterator[DumpedRow]] = ("", iter(()))


D = TypeVar("D", bound=Dump)


class Dumps(Protocol[D]):
    """What a driver of dumps does for a comparison."""

    @property
    def database(self) -> str:
        """What errors call the live database."""

    def describe_whole(self, path: Path, poll: Callable[[], object]) -> D:
        """Return what a dump says at its end, whose checksum is what it says."""

    def dump_side(self, path: Path, description: D) -> DumpSide:
        """Return the schema and the rows of a dump."""


def diff_dumps(
    driver: Dumps[D],
    first: Path,
    second: Path,
    *,
    ignore: Collection[str],
    only: Collection[str],
    rows: int,
    of_live: Collection[Path],
    progress: Progress | None,
) -> DiffReport:
    """Do what :meth:`~soulsense_db.drivers.Driver.diff` does, for dumps that are whole."""
    ask = Told(progress, (), ()).ask
    sides = []
    for path in (first, second):
        with _said_of_live(driver.database if path in of_live else None):
            side = driver.dump_side(path, driver.describe_whole(path, ask))
        sides.append(side)
    # Beside the copy of the live database, or one that was decoded: where secrets may be.
    copies = [path for path in (second, first) if path in of_live or path.name.startswith(".")]
    return diff_sides(
        sides[0],
        sides[1],
        folder=copies[0].parent if copies else None,
        ignore=ignore,
        only=only,
        rows=rows,
        progress=progress,
    )


@contextmanager
def _said_of_live(name: str | None) -> Iterator[None]:
    """Say of a damaged copy of the live database, if it is one, that the database is."""
    try:
        yield
    except InvalidBackupError as error:
        if name is None:
            raise
        raise damaged(name, error.reason) from error


def diff_sides(
    first: DumpSide,
    second: DumpSide,
    *,
    folder: Path | None,
    ignore: Collection[str] = (),
    only: Collection[str] = (),
    rows: int = 0,
    progress: Progress | None = None,
) -> DiffReport:
    """Find what differs from ``first`` to ``second``.

    ``folder``: where files are made for rows that differ, if they are many. Else as
    :meth:`~soulsense_db.drivers.Driver.diff`.
    """
    sides = first, second
    names = {name for side in sides for name in side.tables}
    declared = {name for side in sides for name in side.schema.tables}
    left_out = set(ignore)
    if only:
        chosen = _with_partitions(chosen_tables(only, names | declared), sides)
        left_out = (names | declared) - chosen
    schemas = [without_tables(side.schema, left_out) for side in sides]
    wanted = sorted(names - left_out)
    place = folder or Path(tempfile.gettempdir())
    with ExitStack() as stack:
        told = Told(progress, wanted, sides)
        pairs = {
            name: Pair(sides, name, most_samples=rows, folder=place, stack=stack, told=told)
            for name in wanted
        }
        streams = [stack.enter_context(closing(side.rows())) for side in sides]
        _read(sides, streams, pairs, told)
        tables = [pairs[name].change() for name in wanted]
        told.end()
    return DiffReport(
        schema=tuple(_schema_changes(sides, schemas, whole=not only)),
        tables=tuple(tables),
        alembic_heads_before=first.dump.heads,
        alembic_heads_after=second.dump.heads,
    )


def _with_partitions(chosen: set[str], sides: Sequence[DumpSide]) -> set[str]:
    """Return these tables with their partitions, which have their rows."""
    parts = {(table.part_of, name) for side in sides for name, table in side.schema.tables.items()}
    found = set(chosen)
    while more := {name for parent, name in parts if parent in found} - found:
        found |= more
    return found


def _schema_changes(
    sides: Sequence[DumpSide], schemas: Sequence[Schema], *, whole: bool
) -> Iterator[SchemaChange]:
    first, second = schemas
    if whole:
        for name, before in first.settings.items():
            after = second.settings[name]
            if before != after:
                what = _SETTINGS[name]
                sentence = f"{what} was {before}, and is {after} now."
                yield change("setting", what, before, after, name=name, sentence=sentence)
    is_same_version = sides[0].version == sides[1].version
    if not is_same_version:
        second = _in_same_words(first, second)
    yield from changes(
        first,
        second,
        whole=whole,
        same_sql=lambda one, other: one == other or not is_same_version,
    )


def _in_same_words(first: Schema, second: Schema) -> Schema:
    """Return ``second`` with the expressions of ``first``: another version writes others."""
    tables = dict(second.tables)
    for name in first.tables.keys() & second.tables.keys():
        before, after = first.tables[name], second.tables[name]
        columns = dict(after.columns)
        for column in before.columns.keys() & after.columns.keys():
            old, new = before.columns[column], after.columns[column]
            columns[column] = replace(
                new,
                default=old.default if old.default and new.default else new.default,
                generated=old.generated if old.generated and new.generated else new.generated,
            )
        same_number = before.checks.total() == after.checks.total()
        checks = before.checks if same_number else after.checks
        tables[name] = replace(after, columns=columns, checks=checks)
    return replace(second, tables=tables)


# Reading


def _read(
    sides: Sequence[DumpSide],
    streams: Sequence[Iterator[DumpedRow]],
    pairs: dict[str, Pair],
    told: Told,
) -> None:
    """Read the rows of both sides, table by table: side by side where both are at the same one."""
    groups = [groupby(stream, key=attrgetter("table.shown")) for stream in streams]
    left = [{name for name, table in side.tables.items() if table.rows} for side in sides]
    at = [next(one, _ENDED) for one in groups]
    while at != [_ENDED, _ENDED]:
        names = [one[0] for one in at]
        reading = [0, 1] if names[0] == names[1] else [_alone(names, left)]
        name = names[reading[0]]
        rows = [at[i][1] if i in reading else iter(()) for i in (0, 1)]
        pair = pairs.get(name)
        if pair is not None:
            pair.read(rows)
        for _ in chain(*rows):  # those of a table that is left out
            told.ask()
        for i in reading:
            left[i].discard(name)
            at[i] = next(groups[i], _ENDED)
        if pair is not None and not any(name in one for one in left):
            pair.change()  # so that its rows are forgotten


def _alone(names: Sequence[str], left: Sequence[Collection[str]]) -> int:
    """Return which side is read alone: whose table the other one lacks, or has had already."""
    there = [i for i, name in enumerate(names) if name != _ENDED[0]]
    return next((i for i in there if names[i] not in left[1 - i]), there[0])
