"""The SQLite driver: snapshots and restores through the backup API of SQLite itself.

The facts its design rests on were measured; docs and tests name them. In short: a read transaction
pinned on the source keeps writers from restarting the copy; ``Connection.backup`` ignores timeouts,
so the deadline is kept in its progress callback; a live database is never written but through
SQLite; a published backup is never in WAL mode.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import StaticPool

from soulsense_db import files
from soulsense_db.drivers import sqlite_check
from soulsense_db.drivers.base import Depth, Driver, Progress, Snapshot, register
from soulsense_db.drivers.sqlite_connections import LiveDatabase, rows
from soulsense_db.drivers.sqlite_errors import backup_errors, damaged, live_errors, locked

T = TypeVar("T")

_STEP_PAGES = 8192  # 32 MB at 4 KB pages: as fast as one step, and progress ten times a second
_RETRY_SECONDS = 0.05
_SYNCHRONOUS_FULL = 2
_MEMORY = ":memory:"
# What SQLite keeps beside a database file and would replay into another one of its name.
_COMPANIONS = ("-wal", "-shm", "-journal")


@register
class SQLiteDriver(Driver):
    """SQLite in a file or in memory, through ``sqlite3`` or ``aiosqlite``."""

    dialect = "sqlite"
    suffix = ".db"

    def __init__(self, engine: Engine, *, lock_timeout: float) -> None:
        super().__init__(engine, lock_timeout=lock_timeout)
        self._live = LiveDatabase(engine, lock_timeout=lock_timeout)

    @property
    def database(self) -> str:
        """File name of the live database, or ``:memory:``."""
        return self.location.name if self.location else _MEMORY

    @property
    def location(self) -> Path | None:
        """File of the live database, absolute and without links; None in memory."""
        return self._live.path

    def require_database(self) -> None:
        """Raise :class:`~soulsense_db.errors.DatabaseFileNotFoundError` for an absent file."""
        self._live.require_file()

    def size(self) -> int:
        """Bytes of the main file with what its WAL adds."""
        return self._live.run(lambda live: _pragma(live, "page_count") * _pragma(live, "page_size"))

    def return_idle_connections(self) -> None:
        """Close the engine's idle pooled connections, never an in-memory database's."""
        self._live.return_idle_connections()

    def alembic_heads(self, version_table: str) -> tuple[str, ...]:
        """Return the sorted revisions in the live ``version_table``."""
        return self._live.run(lambda live: _alembic_heads(live, version_table))

    def transaction(self, work: Callable[[Connection], T], *, lock_timeout: float) -> T:
        """Run ``work`` in a transaction of a private connection; source: ``BEGIN IMMEDIATE``."""

        def with_sqlalchemy(live: sqlite3.Connection) -> T:
            engine = sa.create_engine("sqlite://", creator=lambda: live, poolclass=StaticPool)
            with engine.connect() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                result = work(connection)
                connection.commit()
                return result

        return self._live.run(with_sqlalchemy, lock_timeout=lock_timeout)

    # Snapshot

    def snapshot(self, target: Path, *, progress: Progress | None = None) -> Snapshot:
        """Copy all committed data to the existing empty file ``target``."""

        def copy(live: sqlite3.Connection) -> Snapshot:
            live.execute("BEGIN")
            try:
                return self._copy_to(target, live, progress)
            finally:
                live.rollback()

        return self._live.run(copy)

    def copy_file(
        self, source: Path, target: Path, *, progress: Progress | None = None
    ) -> Snapshot:
        """Copy the database file ``source``, with what its WAL adds, to the empty ``target``."""
        sqlite_check.require_contents(source)
        opened = sqlite_check.opened_in_use(source, lock_timeout=self.lock_timeout)
        with backup_errors(source), opened as connection:
            connection.execute("BEGIN")
            snapshot = self._copy_to(target, connection, progress)
        sqlite_check.check(target, depth="full", called=source.name)
        return snapshot

    def _copy_to(
        self, target: Path, source: sqlite3.Connection, progress: Progress | None
    ) -> Snapshot:
        # The first read takes the snapshot; while it is open no writer can make the copy restart.
        rows(source, "SELECT 1 FROM sqlite_master LIMIT 1")
        facts = {
            "journal_mode": str(rows(source, "PRAGMA journal_mode")[0][0]),
            "page_size": str(_pragma(source, "page_size")),
            "sqlite_version": sqlite3.sqlite_version,
        }
        with closing(_connect_new(target)) as copy:
            self._copy_pages(source, copy, str(target), progress)
        with closing(_connect_new(target)) as copy:
            # The copy has the source's header. In WAL mode it could not be opened read-only in a
            # read-only directory, and opening it would leave files beside it.
            copy.execute("PRAGMA journal_mode = DELETE")
            heads = _alembic_heads(copy)
        if progress is not None:
            size = target.stat().st_size
            progress(size, size)
        return Snapshot(size_bytes=target.stat().st_size, alembic_heads=heads, facts=facts)

    def _copy_pages(
        self,
        source: sqlite3.Connection,
        target: sqlite3.Connection,
        target_name: str,
        progress: Progress | None,
    ) -> None:
        """Copy all pages in steps, waiting ``lock_timeout`` seconds at most for any one lock."""
        page_size = _pragma(source, "page_size")
        waiting_since: float | None = None

        def stepped(status: int, remaining: int, total: int) -> None:
            nonlocal waiting_since
            if status & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                now = time.monotonic()
                waiting_since = now if waiting_since is None else waiting_since
                if now - waiting_since >= self.lock_timeout:
                    raise locked(target_name, f"no lock within {self.lock_timeout:g} s")
                return
            waiting_since = None
            # Once it is done, an exception could no longer cancel it: the caller reports the end.
            if progress is not None and status != sqlite3.SQLITE_DONE:
                progress((total - remaining) * page_size, total * page_size)

        source.backup(target, pages=_STEP_PAGES, progress=stepped, sleep=_RETRY_SECONDS)

    # Restore

    def check(self, path: Path, *, depth: Depth) -> tuple[str, ...]:
        """Check ``path``: its header and size, every page too, or every index and reference too."""
        return sqlite_check.check(path, depth=depth)

    def load(self, source: Path, *, progress: Progress | None = None) -> None:
        """Write ``source`` into the live database through SQLite, in one transaction."""

        def write(live: sqlite3.Connection) -> None:
            mode = str(rows(live, "PRAGMA journal_mode")[0][0])
            with (
                # From here on the deadline of _copy_pages counts, not SQLite's own.
                _settings(live, busy_timeout=0, synchronous=_SYNCHRONOUS_FULL),
                self._in_shape(source, mode, _pragma(live, "page_size")) as backup,
            ):
                self._copy_pages(backup, live, str(self.location or _MEMORY), progress)
                if mode == "wal":
                    # Not waited for: readers may hold the old pages; SQLite does it by itself.
                    rows(live, "PRAGMA wal_checkpoint(TRUNCATE)")
            if rows(live, "PRAGMA journal_mode")[0][0] != mode:
                live.execute(f"PRAGMA journal_mode = {mode}")

        self._live.run(write)

    @contextmanager
    def _in_shape(
        self, source: Path, live_mode: str, live_page_size: int
    ) -> Iterator[sqlite3.Connection]:
        """Open ``source``, or a working copy of it that the live database can take as it is.

        SQLite cannot change the page size of a WAL or in-memory database, and a backup whose
        header says WAL would turn the live database to WAL while others are connected.
        """
        with sqlite_check.opened(source) as backup:
            page_size = _pragma(backup, "page_size")
            fixed_size = live_mode in {"wal", "memory"} and page_size != live_page_size
            if not fixed_size and not sqlite_check.says_wal(source):
                yield backup
                return
        with self._working_copy(source) as copy:
            connection = _connect_new(copy)
            with closing(connection):
                connection.execute("PRAGMA journal_mode = DELETE")
                if fixed_size:
                    connection.execute(f"PRAGMA page_size = {live_page_size}")
                    connection.execute("VACUUM")
                yield connection

    @contextmanager
    def _working_copy(self, source: Path) -> Iterator[Path]:
        beside = self.location or source
        copy = beside.with_name(f".{beside.name}.restoring")
        _remove_with_companions(copy)
        files.create_private_file(copy)
        try:
            files.copy_contents(source, copy)
            yield copy
        finally:
            _remove_with_companions(copy)

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
        files.make_private_directory(location.parent)
        with live_errors(location), self._working_copy(source) as copy:
            with closing(_connect_new(copy)) as connection:
                mode = "wal" if facts.get("journal_mode") == "wal" else "delete"
                connection.execute(f"PRAGMA journal_mode = {mode}")
            if location.exists():  # whoever could open the database still can
                with files.storage_errors("set the permissions of", copy):
                    copy.chmod(location.stat().st_mode & 0o777)
            files.sync_file(copy)
            moved = tuple(
                _move_aside(location, companion, stamp)
                for companion in (*_COMPANIONS, "")
                if Path(f"{location}{companion}").exists()
            )
            files.move_durably(copy, location)
            return moved

    def read_back(self, source: Path) -> None:
        """Check the live database and compare its schema with that of ``source``."""
        with sqlite_check.opened(source) as backup:
            expected = _schema(backup)

        def compare(live: sqlite3.Connection) -> None:
            problem = rows(live, "PRAGMA quick_check(1)")[0][0]
            if problem != "ok":
                raise damaged(str(self.location or _MEMORY), str(problem))
            if not expected <= _schema(live):
                raise damaged(str(self.location or _MEMORY), "tables of the backup are missing")

        self._live.run(compare)


def _connect_new(path: Path) -> sqlite3.Connection:
    """Open a file of our own for writing; nothing is synced until it is complete."""
    connection = sqlite3.connect(path, isolation_level=None)
    # Exclusive: no -shm file is made, and nobody else has business with it.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA synchronous = OFF")
    return connection


@contextmanager
def _settings(connection: sqlite3.Connection, **wanted: int) -> Iterator[None]:
    """Set pragmas for the block: the connection may be the application's own."""
    before = {name: _pragma(connection, name) for name in wanted}
    for name, value in wanted.items():
        connection.execute(f"PRAGMA {name} = {value}")
    try:
        yield
    finally:
        for name, value in before.items():
            connection.execute(f"PRAGMA {name} = {value}")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(rows(connection, f"PRAGMA {name}")[0][0])


def _schema(connection: sqlite3.Connection) -> set[tuple[object, ...]]:
    return set(rows(connection, "SELECT type, name, sql FROM sqlite_master"))


def _alembic_heads(
    connection: sqlite3.Connection, version_table: str = "alembic_version"
) -> tuple[str, ...]:
    tables = rows(connection, "SELECT name FROM sqlite_master WHERE type = 'table'")
    if (version_table,) not in tables:
        return ()
    quoted = '"' + version_table.replace('"', '""') + '"'
    found = rows(connection, f"SELECT version_num FROM {quoted} ORDER BY version_num")  # noqa: S608 - quoted
    return tuple(str(version) for (version,) in found)


def _move_aside(location: Path, companion: str, stamp: str) -> Path:
    aside = location.with_name(f"{location.name}.{stamp}{companion}")
    files.move_durably(Path(f"{location}{companion}"), aside)
    return aside


def _remove_with_companions(path: Path) -> None:
    for companion in ("", *_COMPANIONS):
        files.remove(Path(f"{path}{companion}"))
