"""What is the same of all drivers whose backups are dumps that say at their end what they have."""

from __future__ import annotations

import shutil
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Generic, TypeVar

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.interfaces import IsolationLevel
from sqlalchemy.pool import QueuePool

from soulsense_db import fs
from soulsense_db.drivers.base import Driver
from soulsense_db.drivers.diff_report import DiffReport
from soulsense_db.drivers.dump_diff import diff_dumps
from soulsense_db.drivers.dump_pair import DumpSide
from soulsense_db.drivers.dump_rows import Comparison, Dump, DumpedRow
from soulsense_db.drivers.engines import private_engine
from soulsense_db.drivers.results import (
    CheckLevel,
    DatabaseDiff,
    Findings,
    QueryError,
    RowCounts,
    SnapshotInfo,
)
from soulsense_db.drivers.row_plan import RowSelection, RowsPlan, SafetyCopy
from soulsense_db.drivers.row_search import FoundRows
from soulsense_db.drivers.server_errors import damaged_backup
from soulsense_db.drivers.server_rows.loading import RowLoader, Server
from soulsense_db.drivers.server_rows.search import RowSearch
from soulsense_db.errors import BackupError
from soulsense_db.notices import log_ignored
from soulsense_db.progress import Progress

D = TypeVar("D", bound=Dump)

_MOST_ROWS = 2  # a drill only wants to know whether there is one, and which


def first_rows_of(statement: str) -> str:
    """Return a ``SELECT`` of the first rows of one: as a part of another it can be nothing else.

    A semicolon is refused wherever it stands: what follows one could end the transaction that can
    only read. Raises :class:`~soulsense_db.drivers.QueryError`.
    """
    asked = statement.strip().rstrip(";")
    if ";" in asked:
        raise QueryError("it has a semicolon, as if it were more than one", is_wrong=True)
    return f"SELECT * FROM ({asked}\n) AS asked LIMIT {_MOST_ROWS}"  # noqa: S608 - asked by the user


class DumpDriver(Driver, Generic[D]):
    """A database of a server, whose backups are dumps; ``D`` is what describes one."""

    # What a dialect says

    @abstractmethod
    def describe(self, path: Path) -> D:
        """Return what a dump says at its end; raises for a file that is none, or lacks its end."""

    @abstractmethod
    def describe_whole(self, path: Path, poll: Callable[[], object]) -> D:
        """Like :meth:`describe`, of a dump whose checksum is what it says."""

    @abstractmethod
    def dumped_rows(self, path: Path, description: D) -> Generator[DumpedRow]:
        """Yield all rows of a dump."""

    @abstractmethod
    def dumped_counts(
        self, path: Path, description: D, poll: Callable[[], object]
    ) -> Mapping[str, int]:
        """Count the rows of a dump by their tables; no value is held in memory, however long."""

    @abstractmethod
    def dump_side(self, path: Path, description: D) -> DumpSide:
        """Return the schema and the rows of a dump, as they are compared."""

    @abstractmethod
    def live_counts(self) -> Mapping[str, int]:
        """Count the rows of the live database's tables."""

    @abstractmethod
    def has_same_schema(self, first: Path, second: Path, *, ignore: Collection[str]) -> bool:
        """Whether two dumps have the same tables, and all else but the rows."""

    @abstractmethod
    def waiting_engine(self) -> Engine:
        """Return an engine on the live database whose Python driver needs no event loop."""

    @abstractmethod
    def is_foreign(self, source: Path) -> bool:
        """Whether the server's program alone has written a dump, which lacks our end then."""

    @abstractmethod
    def adopt(self, source: Path, target: Path, progress: Progress | None) -> SnapshotInfo:
        """Write what such a dump has to ``target``, as a snapshot of ours."""

    @abstractmethod
    def info_of(self, description: D, size_bytes: int) -> SnapshotInfo:
        """Return what there is to tell of a dump."""

    @abstractmethod
    def rows_of(self, source: Path, progress: Progress | None) -> AbstractContextManager[Server]:
        """Have a dump in a scratch database on the same server, for the block.

        What ``progress`` raises cancels.
        """

    # What follows of it

    @property
    def location(self) -> None:
        """It is no file here."""
        return None

    def attached_files(self, connection: Connection) -> dict[str, str]:
        """Return nothing: a server attaches no files."""
        del connection
        return {}

    def connected(self) -> AbstractContextManager[None]:
        """Do nothing: a lock on tables keeps nobody from connecting."""
        return nullcontext()

    @contextmanager
    def private_engine(self, isolation_level: IsolationLevel) -> Iterator[Engine]:
        """Yield an engine that connects as the application's does, in a pool of its own.

        The application's may commit each statement, and its pool may be in use.
        """
        is_async = self.engine.dialect.is_async
        engine = self.waiting_engine() if is_async else private_engine(self.engine)
        try:
            yield engine.execution_options(isolation_level=isolation_level)
        finally:
            engine.dispose()

    def return_idle_connections(self) -> None:
        """Close the pool's idle connections; an async pool can only be closed from its loop."""
        pool = self.engine.pool
        is_async = self.engine.dialect.is_async
        if isinstance(pool, QueuePool) and not is_async and pool.checkedout() == 0:
            self.engine.dispose()

    def require_readable(self, source: Path) -> None:
        """Read the beginning, and what is written at the end; of another's, the beginning alone."""
        if not self.is_foreign(source):
            self.describe(source)

    def check(
        self, path: Path, *, level: CheckLevel, poll: Callable[[], object] | None = None
    ) -> Findings:
        """Compare length and checksum; in full, read all rows and count them as well."""
        poll = poll or (lambda: None)
        if level == "quick":
            self.describe(path)
            return Findings()
        described = self.describe_whole(path, poll)
        if level == "full":
            counted = Counter({table.shown: table.rows for table in described.tables})
            if counted != Counter(self.dumped_counts(path, described, poll)):
                raise damaged_backup(path.name, "it has other rows than were counted")
        return Findings()

    def copy_file(
        self, source: Path, target: Path, *, progress: Progress | None = None
    ) -> SnapshotInfo:
        """Copy a dump that is whole, as a check in full finds it; another's is restored first."""
        if self.is_foreign(source):
            self.require_database()
            return self.adopt(source, target, progress)
        described = self.describe(source)
        size = described.size_bytes

        def poll() -> None:
            if progress is not None:
                progress(0, size)

        self.check(source, level="full", poll=poll)
        with fs.storage_errors("copy", source):
            shutil.copyfile(source, target)
        total = target.stat().st_size
        if progress is not None:
            progress(total, total)
        return self.info_of(described, total)

    def heads_in(self, source: Path) -> tuple[str, ...]:
        """Return the revisions that were in the database when it was dumped."""
        return self.describe(source).heads

    def count_rows(
        self, source: Path, *, poll: Callable[[], object] | None = None
    ) -> Mapping[str, int]:
        """Return the numbers of rows that were counted when the database was dumped."""
        del poll
        return {table.shown: table.rows for table in self.describe(source).tables}

    def row_counts(self, backup: Path, *, ignore: Collection[str]) -> tuple[RowCounts, ...]:
        """Compare the numbers that were counted for the backup with those of the live tables."""
        before = self.count_rows(backup)
        live: Mapping[str, int] = {}
        try:
            live = self.live_counts()
        except BackupError as error:
            log_ignored("The live database is not counted", error)
        names = sorted((before.keys() | live.keys()) - set(ignore))
        return tuple(
            RowCounts(table=name, backup=before.get(name), live=live.get(name)) for name in names
        )

    def compare(
        self, backup: Path, *, ignore: Collection[str], progress: Progress | None = None
    ) -> DatabaseDiff:
        """Dump the live database to a file that is gone afterwards, and compare both."""
        total = sum(table.rows for table in self.describe(backup).tables)

        def poll(_done: int, _total: int) -> None:
            if progress is not None:
                progress(0, max(1, total))

        with fs.temporary_file(f"live{self.suffix}", size_bytes=self.size()) as copy:
            self.snapshot(copy, progress=poll)
            return self.compare_copy(copy, backup, ignore=ignore, progress=progress)

    def compare_copy(
        self,
        copy: Path,
        backup: Path,
        *,
        ignore: Collection[str],
        progress: Progress | None = None,
    ) -> DatabaseDiff:
        """Compare two dumps: the statements of their schemas, and their rows one by one."""
        before, after = self.describe(backup), self.describe(copy)
        same_schema = self.has_same_schema(backup, copy, ignore=ignore)
        tables = Comparison(before, after, ignore).run(
            self.dumped_rows(backup, before), self.dumped_rows(copy, after), progress
        )
        return DatabaseDiff(tables=tables, same_schema=same_schema, alembic_heads=after.heads)

    def diff(
        self,
        first: Path,
        second: Path,
        *,
        ignore: Collection[str] = (),
        only: Collection[str] = (),
        rows: int = 0,
        of_live: Collection[Path] = (),
        progress: Progress | None = None,
    ) -> DiffReport:
        """Read both dumps side by side: nothing is restored, and the server is not asked."""
        return diff_dumps(
            self,
            first,
            second,
            ignore=ignore,
            only=only,
            rows=rows,
            of_live=of_live,
            progress=progress,
        )

    # Single rows

    def plan_rows(
        self,
        source: Path,
        selection: RowSelection,
        *,
        samples: int = 0,
        progress: Progress | None = None,
    ) -> RowsPlan:
        """Restore ``source`` to a scratch database, and compare rows there with live ones."""
        with self.rows_of(source, progress) as server:
            return RowLoader(server, selection, progress=progress).plan(samples=samples)

    def find_rows(
        self,
        source: Path,
        selection: RowSelection,
        *,
        text: str = "",
        differing: bool = False,
        limit: int = 100,
        progress: Progress | None = None,
    ) -> FoundRows:
        """Search a table of a scratch database that ``source`` is restored to."""
        with self.rows_of(source, progress) as server:
            return RowSearch(
                server,
                selection,
                text=text,
                differing=differing,
                limit=limit,
                progress=progress,
            ).found()

    def load_rows(
        self,
        source: Path,
        selection: RowSelection,
        *,
        safety: SafetyCopy,
        expected: RowsPlan | None = None,
        progress: Progress | None = None,
    ) -> RowsPlan:
        """Write rows of a scratch database that ``source`` is restored to, in one transaction."""
        with self.rows_of(source, progress) as server:
            loader = RowLoader(server, selection, progress=progress)
            return loader.load(safety, expected=expected)
