"""The SQLite driver: snapshots and restores through the backup API of SQLite itself.

The facts its design rests on were measured; docs and tests name them. In short: a read transaction
pinned on the source keeps writers from restarting the copy; ``Connection.backup`` ignores timeouts,
so the deadline is kept in its progress callback; a live database is never written but through
SQLite; a published backup is never in WAL mode.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool, StaticPool

from soulsense_db import fs
from soulsense_db.drivers.base import (
    CheckLevel,
    DatabaseDiff,
    Driver,
    Findings,
    RowCounts,
    SnapshotInfo,
    WriteLock,
)
from soulsense_db.drivers.diff_report import DiffReport
from soulsense_db.drivers.row_plan import RowSelection, RowsPlan, SafetyCopy
from soulsense_db.drivers.row_search import FoundRows
from soulsense_db.drivers.sqlite import check as sqlite_check
from soulsense_db.drivers.sqlite import pragmas
from soulsense_db.drivers.sqlite.attach_guard import factory_for
from soulsense_db.drivers.sqlite.cancel import interruptible
from soulsense_db.drivers.sqlite.compare import compare, count_rows
from soulsense_db.drivers.sqlite.connections import LiveDatabase
from soulsense_db.drivers.sqlite.errors import (
    backup_errors,
    damaged,
    live_errors,
)
from soulsense_db.drivers.sqlite.files import (
    COMPANIONS,
    LONGEST_PATH,
    WORKING_COPIES,
    connect_new,
    flush_committed,
    put_in_place,
    size_with_log,
    write_stamp,
)
from soulsense_db.drivers.sqlite.kept_state import KeptState
from soulsense_db.drivers.sqlite.pages import copy_pages, write_snapshot
from soulsense_db.drivers.sqlite.query import selected
from soulsense_db.drivers.sqlite.row_progress import Told
from soulsense_db.drivers.sqlite.shape import (
    compatible_source,
    journal_that_survives,
    require_journal_fits,
    require_same_encoding,
    working_copy,
)
from soulsense_db.drivers.sqlite.structure import (
    passing_over_schema,
    require_understood,
    understood,
)
from soulsense_db.drivers.sqlite.write_lock import SQLiteWriteLock, require_locked_out
from soulsense_db.errors import BackupError, InvalidBackupError, Outcome, StorageError
from soulsense_db.notices import ignoring, log_ignored
from soulsense_db.progress import Progress

if TYPE_CHECKING:
    from soulsense_db.drivers.rehearsal import RehearsalSupport

T = TypeVar("T")

_REHEARSAL_SECONDS = 1.0  # a lock that somebody has now says nothing of a restore
_MEMORY = ":memory:"


class SQLiteDriver(Driver):
    """SQLite in a file or in memory, through ``sqlite3`` or ``aiosqlite``.

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

    @classmethod
    def rehearsal(cls) -> RehearsalSupport:
        """Return what leads connections to copies."""
        from soulsense_db.drivers.sqlite.rehearsal import SQLiteRehearsalSupport

        return SQLiteRehearsalSupport()

    @property
    def database(self) -> str:
        """File name of the live database, or ``:memory:``."""
        return self.location.name if self.location else _MEMORY

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

    def alembic_heads(self, version_table: str) -> tuple[str, ...] | None:
        """Return the sorted revisions in the live ``version_table``, None where there is none."""
        return self._live.run(lambda live: pragmas.version_heads(live, version_table))

    def transaction(
        self, work: Callable[[Connection], T], *, lock_timeout: float, write: bool = True
    ) -> T:
        """Run ``work`` in a transaction of a private connection; source: ``BEGIN IMMEDIATE``."""

        def with_sqlalchemy(live: sqlite3.Connection) -> T:
            engine = sa.create_engine("sqlite://", creator=lambda: live, poolclass=StaticPool)
            # A TEMP table of the application must not be taken for one of the database.
            in_main = {"schema_translate_map": {None: "main"}}
            with engine.connect().execution_options(**in_main) as connection:
                if write:
                    pragmas.begin_immediate(live)
                else:
                    live.execute("BEGIN")
                with connection.begin():  # SQLAlchemy's own, which sends nothing but the end
                    return work(connection)

        try:
            return self._live.run(with_sqlalchemy, lock_timeout=lock_timeout)
        except StorageError as error:
            if not write or type(error) is not StorageError:  # a subclass: SQLite rolled back
                raise
            # In WAL mode a commit is in the log, for those to find who come later.
            error.with_outcome(Outcome.UNSURE)
            raise

    def flush(self) -> None:
        """Flush the log of WAL mode, and with the directory that another mode's journal is gone."""
        if self.location is not None:
            flush_committed(self.location)

    # Snapshot

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

    # Restore

    def check(
        self, path: Path, *, level: CheckLevel, poll: Callable[[], object] | None = None
    ) -> Findings:
        """Check ``path``: its header and size, every page too, or every index and reference too."""
        return sqlite_check.check(path, level=level, poll=poll)

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

    def scratch(self, path: Path) -> SQLiteDriver:
        """Return the driver of the file ``path``, as an application that has just been set up.

        Its connections attach no file elsewhere, such as the live database.
        """
        url = sa.URL.create("sqlite", database=str(path))
        arguments = {"factory": factory_for(path.parent)}
        engine = sa.create_engine(url, poolclass=NullPool, connect_args=arguments)
        return SQLiteDriver(engine, lock_timeout=self.lock_timeout)

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

    def write_locked(self) -> AbstractContextManager[WriteLock]:
        """Hold SQLite's write lock, on a connection that then sees what others commit."""
        return self._write_locked(self.lock_timeout)

    @contextmanager
    def _write_locked(self, lock_timeout: float) -> Iterator[WriteLock]:
        live = self._live
        with live.prepared(lock_timeout), live.connected(lock_timeout) as connected:
            # In shared memory a writer's lock would keep the snapshot out as well.
            connection = connected if self.location else None
            if connection is not None:
                self._live.require_writable()
                connection.run(pragmas.begin_immediate)
            write_lock = SQLiteWriteLock(connection, self.location)
            try:
                if connection is not None:
                    self._live.run(require_locked_out)
                yield write_lock
            finally:
                write_lock.close()

    def require_restorable(self) -> None:
        """Look at the schema, and whether the journal's name fits the file system."""

        def look(live: sqlite3.Connection) -> None:
            require_understood(live, str(self.location or _MEMORY))
            if self.location and pragmas.text(live, "journal_mode") != "wal":
                require_journal_fits(self.location)

        self._live.run(look)

    def rehearse(self, source: Path) -> None:
        """Compare the encodings, hold the write lock for a moment, make a working copy."""

        def rehearse(live: sqlite3.Connection) -> None:
            with understood(live):
                require_same_encoding(source, live)
                mode = pragmas.text(live, "journal_mode")
                if self.location and mode != "wal":
                    require_journal_fits(self.location)
                with compatible_source(source, live, mode, self.location, for_rehearsal=True):
                    pass

        seconds = min(self.lock_timeout, _REHEARSAL_SECONDS)
        with self._write_locked(seconds):
            pass
        self._live.run(rehearse, lock_timeout=seconds)

    def schema_of(self, source: Path) -> object:
        """Return the schema of the backup file ``source``."""
        with backup_errors(source), sqlite_check.opened(source) as backup, understood(backup):
            return pragmas.schema(backup)

    def heads_in(self, source: Path) -> tuple[str, ...]:
        """Return the revisions in the backup file ``source``."""
        with backup_errors(source), sqlite_check.opened(source) as backup:
            return pragmas.alembic_heads(backup)

    def load(
        self, source: Path, *, write_lock: WriteLock | None = None, progress: Progress | None = None
    ) -> None:
        """Write ``source`` into the live database through SQLite, in one transaction."""

        def write(live: sqlite3.Connection) -> None:
            # Neither what is there nor what comes need be what this SQLite understands.
            with passing_over_schema(live):
                replace(live)

        def replace(live: sqlite3.Connection) -> None:
            require_same_encoding(source, live)
            self._live.require_same_file()
            # From here on the deadline of copy_pages counts, not SQLite's own.
            with (
                journal_that_survives(live, self.location) as mode,
                pragmas.settings(live, busy_timeout=0, synchronous=pragmas.SYNCHRONOUS_EXTRA),
            ):
                with compatible_source(source, live, mode, self.location) as backup:
                    name = str(self.location or _MEMORY)
                    copy_pages(
                        backup,
                        live,
                        name,
                        lock_timeout=self.lock_timeout,
                        progress=progress,
                        write_lock=write_lock,
                    )
                if mode == "wal":
                    # Not waited for: readers may hold the old pages; SQLite does it by itself. Nor
                    # may a full disk, here, turn a restore that is done into one that failed.
                    with ignoring(sqlite3.Error, what="The log was not brought into the database"):
                        pragmas.rows(live, "PRAGMA wal_checkpoint(TRUNCATE)")

        self._live.require_writable()
        self._live.run(write)

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

    def load_rows(
        self,
        source: Path,
        selection: RowSelection,
        *,
        safety: SafetyCopy,
        expected: RowsPlan | None = None,
        progress: Progress | None = None,
    ) -> RowsPlan:
        """Insert and update the chosen rows in one transaction, on a private connection."""
        from soulsense_db.drivers.sqlite.row_loading import RowLoader, opened_tables

        with opened_tables(source) as backup:
            loader = RowLoader(self._live, backup, selection, progress=progress)
            return loader.load(safety, expected=expected, lock_timeout=self.lock_timeout)

    def make_read_only(self, connection: Any) -> None:
        """Let SQLite refuse all that writes, in whatever way it is asked to."""
        connection.cursor().execute("PRAGMA query_only = ON")

    def kept_state(self, folder: Path) -> KeptState:
        """Keep a copy in memory, which is written back without a wait for the disk."""
        return KeptState(self._live, lock_timeout=self.lock_timeout)

    def rebuild(
        self,
        source: Path,
        *,
        facts: Mapping[str, str],
        stamp: str,
    ) -> tuple[Path, ...]:
        """Put ``source`` in the place of a missing or unreadable file, which is moved aside."""
        location = self.location
        if location is None:
            raise damaged(_MEMORY, "it cannot be replaced")
        self._live.require_writable()
        self._live.require_same_path()
        fs.make_private_directory(location.parent)
        with live_errors(location), working_copy(source, location) as copy:
            with closing(connect_new(copy)) as connection:
                mode = "wal" if facts.get("journal_mode") == "wal" else "delete"
                connection.execute(f"PRAGMA journal_mode = {mode}")
            if fs.exists(location):  # whoever could use the database still can
                with fs.storage_errors("look at", location):
                    mode_bits = location.stat().st_mode & 0o777
                fs.set_mode(copy, mode_bits)
                fs.give_to_owner_of(location, copy)
            fs.sync_file(copy)
            # What is put in place replaces a file whole: it may have gone bad since it was read.
            sqlite_check.check(copy, level="pages", called=source.name)
            with self._live.replaced():
                return put_in_place(copy, location, stamp=stamp)

    def check_loaded(self, schema: object) -> None:
        """Run ``quick_check`` on the live database and compare its schema with ``schema``."""
        name = str(self.location or _MEMORY)

        def compare(live: sqlite3.Connection) -> None:
            sqlite_check.check_live(live, name)
            with understood(live):
                same = isinstance(schema, frozenset) and schema <= pragmas.schema(live)
            if not same:
                raise damaged(name, "its tables are not those of the backup")

        self._live.run(compare)


def _data_version(connection: sqlite3.Connection) -> int:
    return pragmas.number(connection, "data_version")
