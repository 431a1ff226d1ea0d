"""The SQLite driver: snapshots and restores through the backup API of SQLite itself.

The facts its design rests on were measured; docs and tests name them. In short: a read transaction
pinned on the source keeps writers from restarting the copy; ``Connection.backup`` ignores timeouts,
so the deadline is kept in its progress callback; a live database is never written but through
SQLite; a published backup is never in WAL mode.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.pool import NullPool, StaticPool

from soulsense_db import fs
from soulsense_db.drivers.results import WriteLock
from soulsense_db.drivers.row_plan import RowSelection, RowsPlan, SafetyCopy
from soulsense_db.drivers.sqlite import check as sqlite_check
from soulsense_db.drivers.sqlite import pragmas
from soulsense_db.drivers.sqlite.attach_guard import factory_for
from soulsense_db.drivers.sqlite.errors import damaged, live_errors
from soulsense_db.drivers.sqlite.files import connect_new, flush_committed, put_in_place
from soulsense_db.drivers.sqlite.kept_state import KeptState
from soulsense_db.drivers.sqlite.pages import copy_pages
from soulsense_db.drivers.sqlite.reading import MEMORY, ReadingDriver
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
from soulsense_db.errors import Outcome, StorageError
from soulsense_db.notices import ignoring
from soulsense_db.progress import Progress

if TYPE_CHECKING:
    from soulsense_db.drivers.rehearsal import RehearsalSupport

T = TypeVar("T")

_REHEARSAL_SECONDS = 1.0  # a lock that somebody has now says nothing of a restore


class SQLiteDriver(ReadingDriver):
    """SQLite in a file or in memory, through ``sqlite3`` or ``aiosqlite``."""

    @classmethod
    def rehearsal(cls) -> RehearsalSupport:
        """Return what leads connections to copies."""
        from soulsense_db.drivers.sqlite.rehearsal import SQLiteRehearsalSupport

        return SQLiteRehearsalSupport()

    def scratch(self, path: Path) -> SQLiteDriver:
        """Return the driver of the file ``path``, as an application that has just been set up.

        Its connections attach no file elsewhere, such as the live database.
        """
        url = sa.URL.create("sqlite", database=str(path))
        arguments = {"factory": factory_for(path.parent)}
        engine = sa.create_engine(url, poolclass=NullPool, connect_args=arguments)
        return SQLiteDriver(engine, lock_timeout=self.lock_timeout)

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
            require_understood(live, str(self.location or MEMORY))
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
                    name = str(self.location or MEMORY)
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
            raise damaged(MEMORY, "it cannot be replaced")
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
        name = str(self.location or MEMORY)

        def compare(live: sqlite3.Connection) -> None:
            sqlite_check.check_live(live, name)
            with understood(live):
                same = isinstance(schema, frozenset) and schema <= pragmas.schema(live)
            if not same:
                raise damaged(name, "its tables are not those of the backup")

        self._live.run(compare)
