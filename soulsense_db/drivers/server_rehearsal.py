"""Migrations on a copy of a database of a server: what is the same of all of them.

The copy is a file: a dump. While migrations run, its data is in a scratch database on the same
server; what they made is dumped to the file again. So whoever has a copy in his hands has a file.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from soulsense_db import fs
from soulsense_db.drivers.base import Driver
from soulsense_db.drivers.diff_report import DiffReport
from soulsense_db.drivers.dump_changes import Kind, Names, Side, changes_of_rows
from soulsense_db.drivers.dump_driver import DumpDriver
from soulsense_db.drivers.dump_rows import Dump
from soulsense_db.drivers.rehearsal import (
    DatabaseSurvey,
    Led,
    Place,
    RehearsalSupport,
    TableSurvey,
    Unchanged,
)
from soulsense_db.drivers.results import Findings, SnapshotInfo

D = TypeVar("D", bound=Dump)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a look at a database finds: all that :class:`DatabaseSurvey` has, and more.

    ``kinds``: of the columns; ``heads``: of each table that is named as one of versions is, by its
    name without a schema and with it; ``identities``: of tables, each with what tells its columns
    from others of their names; ``old``: the tables of which no row is newer than the first look
    at the database; ``moment``: when that was, as the server counts.
    """

    tables: tuple[TableSurvey, ...]
    schema: Mapping[str, str]
    columns: tuple[str, ...]
    kinds: Mapping[tuple[str, str], Kind]
    heads: Mapping[tuple[str, str], tuple[str, ...]]
    identities: Mapping[str, tuple[object, frozenset[object]]]
    old: frozenset[str]
    moment: int


class ServerRehearsalSupport(RehearsalSupport, Generic[D]):
    """A database of a server; ``live`` is its driver, which the process of the migrations has not.

    Where it has none, connections can be led, and nothing else is done.
    """

    is_file = False

    def __init__(self, live: DumpDriver[D] | None = None) -> None:
        self._live_driver = live
        self._scratch: dict[Path, Driver] = {}
        self._seen: dict[object, Seen] = {}  # by what tells one dump from all others
        self._names: dict[Path, Names] = {}
        self._first: Seen | None = None

    @property
    def _live(self) -> DumpDriver[D]:
        assert self._live_driver is not None, "the process of migrations makes no copies"
        return self._live_driver

    # What a dialect says

    @abstractmethod
    def _name_of(self, driver: Driver) -> str:
        """Return the name of a driver's database, as the server has it."""

    @abstractmethod
    def _look(self, scratch: Driver, since: int | None) -> Seen:
        """Return what is in a scratch database; ``since``: the moment of the first look at it."""

    @abstractmethod
    def _make_like_live(self, scratch: Driver) -> None:
        """Give a scratch database what the live one has and no dump."""

    @abstractmethod
    def _end_sessions(self, scratch: Driver) -> None:
        """End what is still connected to a scratch database, and wait until it is gone."""

    def _new_scratch(self, copy: Path) -> Driver:
        """Return the driver of a scratch database that is to be made of ``copy``."""
        made = self._live.scratch(copy)
        assert made is not None, "a dialect that is rehearsed has scratch databases"
        return made

    # What follows of it

    def redirect(self, arguments: list[Any], keywords: dict[str, Any], place: Place) -> None:
        """Do nothing: connections are led by :meth:`lead`."""

    def watch(
        self,
        place: Place,
        *,
        is_copy: Callable[[Path], bool],
        refuse: Callable[[Path, str], object],
    ) -> None:
        """Do nothing: connections are led by :meth:`lead`."""

    def unwatched(self) -> AbstractContextManager[None]:
        """Do nothing: a server keeps its files to itself."""
        return nullcontext()

    def copy(self, source: Path, target: Path, *, lock_timeout: float) -> SnapshotInfo:
        """Never called: no other database than the live one is copied."""
        raise NotImplementedError

    def led(self, copy: Path) -> Led | None:
        """Return the names that :meth:`prepare` has used."""
        return Led(
            live=self._name_of(self._live),
            scratch=self._name_of(self._scratch[copy]),
            copy=str(copy),
        )

    def prepare(self, copy: Path, facts: Mapping[str, str]) -> None:
        """Make a scratch database of the dump, unless there is one."""
        if copy in self._scratch:
            return
        self._scratch[copy] = made = self._new_scratch(copy)
        made.rebuild(copy, facts=facts, stamp="")
        self._make_like_live(made)
        self._first = self._seen[self._mark(copy)] = self._look(made, None)

    def settle(self, copy: Path) -> None:
        """Dump what is committed in the scratch database."""
        made = self._scratch[copy]
        self._end_sessions(made)
        assert self._first is not None
        seen = self._look(made, self._first.moment)
        fs.require_space(copy.parent, made.size())
        made.snapshot(copy)
        self._seen[self._mark(copy)] = seen

    def discard(self) -> None:
        """Drop the scratch databases."""
        while self._scratch:
            _, made = self._scratch.popitem()
            made.discard()

    def rename_back(
        self,
        copy: Path,
        *,
        tables: Mapping[str, str],
        columns: Mapping[tuple[str, str], str],
    ) -> bool:
        """Note the names: the dump stays as it is."""
        self._names[copy] = Names(tables, columns)
        return True

    def survey(
        self,
        copy: Path,
        *,
        ignore: Collection[str],
        version_tables: Collection[str],
        counted: Collection[str] = (),
        known: Mapping[str, TableSurvey] = MappingProxyType({}),
    ) -> DatabaseSurvey:
        """Return what was seen in the scratch database when it was made, or last dumped."""
        del counted, known
        seen, names = self._seen[self._mark(copy)], self._names.get(copy, Names())
        own = {shown for name, shown in seen.heads if name in version_tables}
        left_out = {*ignore, *own}
        prefixes = tuple(f"{name}." for name in left_out)
        return DatabaseSurvey(
            size_bytes=copy.stat().st_size,
            tables=tuple(
                _under_old_names(table, names)
                for table in seen.tables
                if table.table not in left_out
            ),
            alembic_heads={name: self._heads(seen, name) for name in version_tables},
            schema={
                name: sql
                for name, sql in seen.schema.items()
                if not f"{name.partition(' ')[2]}.".startswith(prefixes)
            },
            columns=tuple(one for one in seen.columns if not one.startswith(prefixes)),
        )

    def _heads(self, seen: Seen, name: str) -> tuple[str, ...]:
        """Return the revisions in the tables of a name; of several, in those that were changed."""
        found = {shown: heads for (of, shown), heads in seen.heads.items() if of == name}
        before = self._first.heads if self._first else {}
        changed = {
            shown: heads for shown, heads in found.items() if before.get((name, shown)) != heads
        }
        return tuple(sorted({head for heads in (changed or found).values() for head in heads}))

    def unchanged(self, first: Path, second: Path) -> Unchanged:
        """Know the tables that have as many rows as before, and none that is newer."""
        before, after = (self._seen[self._mark(path)] for path in (first, second))
        rows = {table.table: table.rows for table in before.tables}
        same = {
            table.table
            for table in after.tables
            if table.table in after.old
            and rows.get(table.table) == table.rows
            and _has_all(after.identities[table.table], before.identities[table.table])
        }
        return Unchanged(rows=frozenset(same))

    def diff(self, first: Path, second: Path, *, ignore: Collection[str]) -> DiffReport:
        """Compare the rows of both dumps."""
        size = max(path.stat().st_size for path in (first, second))
        fs.require_space(second.parent, 2 * size)
        return changes_of_rows(
            self._side(first),
            self._side(second),
            ignore=ignore,
            folder=second.parent,
            size_bytes=size,
        )

    def _side(self, path: Path) -> Side:
        described = self._live.describe(path)
        return Side(
            tables=described.tables,
            rows=lambda: self._live.dumped_rows(path, described),
            kinds=self._seen[self._mark(path)].kinds,
            names=self._names.get(path, Names()),
        )

    def check(
        self,
        copy: Path,
        *,
        without: Collection[str] = (),
        poll: Callable[[], object] | None = None,
    ) -> Findings:
        """Find nothing: the server lets in no rows that break a constraint."""
        del copy, without, poll
        return Findings()

    def _mark(self, path: Path) -> object:
        """Return what is the same of a dump and its copies, and of no other."""
        return self._live.describe(path)


def _has_all(
    one: tuple[object, frozenset[object]], other: tuple[object, frozenset[object]]
) -> bool:
    """Whether a table is another one as it was before, with all columns of that."""
    return one[0] == other[0] and one[1] >= other[1]


def _under_old_names(table: TableSurvey, names: Names) -> TableSurvey:
    old_tables = {new: old for old, new in names.tables.items()}
    name = old_tables.get(table.table, table.table)
    old = {new: one for (of, one), new in names.columns.items() if of == name}
    columns = tuple(replace(one, column=old.get(one.column, one.column)) for one in table.columns)
    return replace(table, table=name, columns=columns)
