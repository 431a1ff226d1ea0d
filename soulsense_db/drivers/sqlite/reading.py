"""The part of the SQLite driver that reads: the live database, and files."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.engine import Connection, Engine

from soulsense_db import fs
from soulsense_db.drivers.base import Driver
from soulsense_db.drivers.diff_report import DiffReport
from soulsense_db.drivers.results import (
    CheckLevel,
    DatabaseDiff,
    Findings,
    RowCounts,
    SnapshotInfo,
)
from soulsense_db.drivers.row_plan import RowSelection, RowsPlan
from soulsense_db.drivers.row_search import FoundRows
from soulsense_db.drivers.sqlite import check as sqlite_check
from soulsense_db.drivers.sqlite import pragmas
from soulsense_db.drivers.sqlite.cancel import interruptible
from soulsense_db.drivers.sqlite.compare import compare, count_rows
from soulsense_db.drivers.sqlite.connections import LiveDatabase
from soulsense_db.drivers.sqlite.errors import backup_errors, live_errors
from soulsense_db.drivers.sqlite.files import (
    COMPANIONS,
    LONGEST_PATH,
    WORKING_COPIES,
    size_with_log,
    write_stamp,
)
from soulsense_db.drivers.sqlite.pages import write_snapshot
from soulsense_db.drivers.sqlite.query import selected
from soulsense_db.drivers.sqlite.row_progress import Told
from soulsense_db.drivers.sqlite.structure import understood
from soulsense_db.errors import BackupError, InvalidBackupError
from soulsense_db.notices import ignoring, log_ignored
from soulsense_db.progress import Progress

T = TypeVar("T")

MEMORY = ":memory:"
"""What a database without a file is called."""


class ReadingDriver(Driver):
    """What reads SQLite, in a file or in memory; what writes: :class:`SQLiteDriver`.

    What few programs call is imported when it is called.
    """

    dialect = "sqlite"
    url_drivers = frozenset({"pysqlite", "aiosqlite"})
    url_has_host = False
    suffix = ".db"
    companions = COMPANIONS
    working_copies = WORKING_COPIES
    longest_path = LONGEST_PATH

    def __init__(self, engine: Engine, *, lock_timeout: float) -> None:
        super().__init__(engine, lock_timeout=lock_timeout)
        self._live = LiveDatabase(engine, lock_timeout=lock_timeout)

    @property
    def database(self) -> str:
        """File name of the live database, or ``:memory:``."""
        return self.location.name if self.location else MEMORY

    @property
    def location(self) -> Path | None:
        """File of the live database, absolute and without links; None in memory."""
        return self._live.path

    @property
    def address(self) -> str:
        """Its path, or a URL where the engine reaches it through another VFS."""
        return self._live.address

    def attached_files(self, connection: Connection) -> dict[str, str]:
        """Return the attached files of ``connection``, as SQLite names them."""
        # Below SQLAlchemy, which would begin a transaction.
        cursor = connection.connection.cursor()
        try:
            cursor.execute(pragmas.ATTACHED)
            return pragmas.other_files(cursor.fetchall())
        finally:
            cursor.close()

    def require_database(self) -> None:
        """Raise :class:`~soulsense_db.errors.DatabaseFileNotFoundError` for an absent file."""
        self._live.require_file()

    def size(self) -> int:
        """Bytes of the main file with what its WAL adds."""

        def measure(live: sqlite3.Connection) -> int:
            with understood(live):
                return pragmas.number(live, "page_count") * pragmas.number(live, "page_size")

        return self._live.run(measure)

    def size_now(self) -> int:
        """Bytes of the main file and its log, by their names; in memory as :meth:`size`."""
        return size_with_log(self.location) if self.location else self.size()

    def explained(self) -> AbstractContextManager[None]:
        """Say what SQLite's errors mean for the live database."""
        return live_errors(self.location)

    def write_stamp(self) -> object:
        """Sizes and times of the main file and its log."""
        path = self._live.known_path
        return write_stamp(path) if path else None

    @contextmanager
    def watched(self) -> Iterator[Callable[[], bool]]:
        """Ask SQLite's own counter, on one connection, and look at the files."""
        with self._live.connected(self.lock_timeout) as connection:

            def stamp() -> object:
                path = self._live.known_path
                inode = path.stat().st_ino if path and fs.exists(path) else None
                changes = connection.run(_data_version) if connection is not None else None
                return inode, changes, self.write_stamp()

            before = stamp()
            yield lambda: stamp() != before

    def connected(self) -> AbstractContextManager[None]:
        """Open two connections: one to hold the write lock, one to read or write."""
        return self._live.prepared(self.lock_timeout)

    def return_idle_connections(self) -> None:
        """Close the engine's idle pooled connections, never an in-memory database's."""
        self._live.return_idle_connections()

    def alembic_heads(
        self, version_table: str, schema: str | None = None
    ) -> tuple[str, ...] | None:
        """Return the sorted revisions in the live ``version_table``, None where there is none."""
        del schema
        return self._live.run(lambda live: pragmas.version_heads(live, version_table))

    def make_read_only(self, connection: Any) -> None:
        """Let SQLite refuse all that writes, in whatever way it is asked to."""
        connection.cursor().execute("PRAGMA query_only = ON")

    def require_readable(self, source: Path) -> None:
        """Raise for a file that is too short, or that SQLite cannot take for a database."""
        sqlite_check.require_contents(source)
        opened = sqlite_check.opened_in_use(source, lock_timeout=self.lock_timeout)
        with backup_errors(source), opened as connection:
            pragmas.rows(connection, "SELECT 1 FROM sqlite_master LIMIT 1")

    @staticmethod
    def is_sound(path: Path) -> bool:
        """Whether the file ``path`` is a whole SQLite database; False for anything else."""
        return sqlite_check.is_sound(path)

    def snapshot(self, target: Path, *, progress: Progress | None = None) -> SnapshotInfo:
        """Copy all committed data to the existing empty file ``target``."""
        return self._at_one_moment(
            lambda live: write_snapshot(
                live,
                target,
                lock_timeout=self.lock_timeout,
                progress=progress,
                attached=self._live.attached,
            )
        )

    def copy_file(
        self, source: Path, target: Path, *, progress: Progress | None = None
    ) -> SnapshotInfo:
        """Copy the database file ``source``, with what its WAL adds, to the empty ``target``."""
        sqlite_check.require_contents(source)
        opened = sqlite_check.opened_in_use(source, lock_timeout=self.lock_timeout)
        with backup_errors(source), opened as connection:
            connection.execute("BEGIN")
            snapshot = write_snapshot(
                connection, target, lock_timeout=self.lock_timeout, progress=progress
            )
        size = snapshot.size_bytes
        poll = None if progress is None else lambda: progress(size, size)
        sqlite_check.check(target, level="full", called=source.name, poll=poll)
        return snapshot

    def check(
        self, path: Path, *, level: CheckLevel, poll: Callable[[], object] | None = None
    ) -> Findings:
        """Check ``path``: its header and size, every page too, or every index and reference too."""
        return sqlite_check.check(path, level=level, poll=poll)

    def schema_of(self, source: Path) -> object:
        """Return the schema of the backup file ``source``."""
        with backup_errors(source), sqlite_check.opened(source) as backup, understood(backup):
            return pragmas.schema(backup)

    def heads_in(self, source: Path) -> tuple[str, ...]:
        """Return the revisions in the backup file ``source``."""
        with backup_errors(source), sqlite_check.opened(source) as backup:
            return pragmas.alembic_heads(backup)

    def count_rows(
        self, source: Path, *, poll: Callable[[], object] | None = None
    ) -> Mapping[str, int] | None:
        """Count the rows of all tables of ``source``; None where SQLite does not understand it."""
        with backup_errors(source), sqlite_check.opened(source) as opened:
            try:
                return interruptible(lambda: count_rows(opened, source), opened, poll=poll)
            except (InvalidBackupError, sqlite3.Error, UnicodeDecodeError) as error:
                # A newer SQLite may; what is damaged, the check of the file tells.
                log_ignored(f"The rows of {source.name} are not counted", error)
                return None

    def row_counts(self, backup: Path, *, ignore: Collection[str]) -> tuple[RowCounts, ...]:
        """Count the rows of all tables in ``backup`` and in the live database."""
        sqlite_check.check(backup, level="quick")  # SQLite takes an empty file for a database
        with backup_errors(backup), sqlite_check.opened(backup) as opened:
            kept = count_rows(opened, backup)
        live: dict[str, int] = {}
        # It may be why somebody looks at backups.
        with ignoring(BackupError, what="The rows of the live database cannot be counted"):
            live = self._at_one_moment(count_rows)
        return tuple(
            RowCounts(table=name, backup=kept.get(name), live=live.get(name))
            for name in sorted((kept.keys() | live.keys()) - set(ignore))
        )

    def compare(
        self, backup: Path, *, ignore: Collection[str], progress: Progress | None = None
    ) -> DatabaseDiff:
        """Compare ``backup`` with the live database, row by row."""

        def work(live: sqlite3.Connection) -> DatabaseDiff:
            with sqlite_check.opened(backup) as opened:
                return compare(live, opened, backup, ignore=ignore, progress=progress)

        return self._at_one_moment(work)

    def compare_copy(
        self,
        copy: Path,
        backup: Path,
        *,
        ignore: Collection[str],
        progress: Progress | None = None,
    ) -> DatabaseDiff:
        """Compare ``backup`` with ``copy``, a snapshot, row by row."""
        with (
            live_errors(self.location),
            sqlite_check.opened(copy) as live,
            sqlite_check.opened(backup) as opened,
        ):
            return interruptible(
                lambda: compare(live, opened, backup, ignore=ignore, progress=progress),
                live,
                opened,
            )

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
        """Find what differs between two files, row by row, on connections of our own."""
        from soulsense_db.drivers.sqlite.diff import Opened, diff

        for path in (first, second):
            if path not in of_live:
                sqlite_check.check(path, level="quick")  # SQLite takes an empty one for a database
        told = Told()
        with (
            live_errors(self.location),
            sqlite_check.opened(first) as before,
            sqlite_check.opened(second) as after,
        ):
            report = interruptible(
                lambda: diff(
                    Opened(before, None if first in of_live else first),
                    Opened(after, None if second in of_live else second),
                    ignore=ignore,
                    only=only,
                    rows=rows,
                    progress=None if progress is None else told.keep,
                ),
                before,
                after,
                poll=None if progress is None else lambda: progress(*told.numbers),
            )
        if progress is not None:
            progress(*told.numbers)
        return report

    def plan_rows(
        self,
        source: Path,
        selection: RowSelection,
        *,
        samples: int = 0,
        progress: Progress | None = None,
    ) -> RowsPlan:
        """Compare the chosen rows of ``source`` with the live ones, each looked up by its key."""
        from soulsense_db.drivers.sqlite.row_loading import RowLoader, opened_tables

        with opened_tables(source) as backup:
            loader = RowLoader(self._live, backup, selection, progress=progress)
            return loader.plan(samples=samples)

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
        """Read the table in ``source`` from end to end, and look each row up by its key."""
        from soulsense_db.drivers.sqlite.row_loading import opened_tables
        from soulsense_db.drivers.sqlite.row_search import RowSearch

        with opened_tables(source) as backup:
            return RowSearch(
                self._live,
                backup,
                selection,
                text=text,
                differing=differing,
                limit=limit,
                progress=progress,
            ).found()

    def query(self, statement: str) -> tuple[tuple[Any, ...], ...]:
        """Return rows of one ``SELECT``, on a connection for which SQLite refuses all else."""
        assert self.location is not None  # of scratch() it has a file
        with sqlite_check.opened(self.location) as connection:
            return interruptible(lambda: selected(connection, statement), connection)

    def _at_one_moment(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Return what ``read`` makes of the live database as of one point in time."""

        def in_transaction(live: sqlite3.Connection) -> T:
            live.execute("BEGIN")
            try:
                return read(live)
            finally:
                live.rollback()

        return self._live.run(in_transaction)


def _data_version(connection: sqlite3.Connection) -> int:
    return pragmas.number(connection, "data_version")
