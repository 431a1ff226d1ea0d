"""The driver for PostgreSQL, through ``psycopg``, ``psycopg2`` or ``asyncpg``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soulsense_db.drivers.base import Driver
from soulsense_db.drivers.postgresql import (
    archive,
    contents,
    foreign,
    inventory,
    kept,
    kept_schemas,
    psql,
    restoring,
    rights,
    schema_restore,
    schema_rights,
)
from soulsense_db.drivers.postgresql.asking import first_rows
from soulsense_db.drivers.postgresql.databases import exclusive
from soulsense_db.drivers.postgresql.errors import live_errors, missing_parts
from soulsense_db.drivers.postgresql.reading import ReadingDriver
from soulsense_db.drivers.postgresql.row_access import PostgreSQLServer, rows_of
from soulsense_db.drivers.postgresql.write_lock import write_locked
from soulsense_db.drivers.results import SnapshotInfo, WriteLock
from soulsense_db.drivers.server_errors import not_what_was_dumped, replaced_is_gone
from soulsense_db.drivers.swapping_driver import SAFETY_BACKUP_MISSING
from soulsense_db.errors import BackupError, DatabaseFileNotFoundError
from soulsense_db.notices import log_ignored
from soulsense_db.progress import Progress

_WITHIN = "The user lacks {}: the schemas of the database are replaced instead, in one transaction"
_WRITERS_WAIT = (
    ", and writers wait while the safety backup is made. (The name of a schema needs quotes, the "
    "schema public has other rights than usual or no comment, a table may not be read, or there "
    "are more objects than the server has locks for.)"
)

if TYPE_CHECKING:
    from soulsense_db.drivers.postgresql.private import PrivateDriver
    from soulsense_db.drivers.rehearsal import RehearsalSupport


class PostgreSQLDriver(ReadingDriver):
    """A database of a PostgreSQL server, from 15 on, by the server's own programs."""

    @classmethod
    def rehearsal(cls) -> RehearsalSupport:
        """Return how connections are led to a scratch database."""
        from soulsense_db.drivers.postgresql.rehearsal import PostgreSQLRehearsalSupport

        return PostgreSQLRehearsalSupport()

    def rehearsal_here(self) -> RehearsalSupport:
        """Return that of scratch databases on the same server."""
        from soulsense_db.drivers.postgresql.rehearsal import PostgreSQLRehearsalSupport

        return PostgreSQLRehearsalSupport(self)

    def scratch(self, path: Path) -> Driver:
        """Return the driver of a new database on the same server, or on a private one."""
        from soulsense_db.drivers.postgresql.scratch import ScratchDriver

        return self.private(path) or ScratchDriver(self, self._login())

    def private(self, path: Path) -> PrivateDriver | None:
        """Return the driver of a private server where the user may make no databases; else None.

        ``path``: as of :meth:`scratch`. Windows has none.
        """
        if os.name != "posix":
            return None
        from soulsense_db.drivers.postgresql.private import instead

        return instead(self, path)

    def exclusive(self, *, timeout: float) -> AbstractContextManager[None]:
        """Hold an advisory lock, which every machine sees that reaches the server."""
        return exclusive(self._login(), name=self.database, timeout=timeout)

    def query(self, statement: str) -> tuple[tuple[Any, ...], ...]:
        """Return the first rows of one ``SELECT``, which finds tables as the application does."""
        path = self.search_path()
        with self._connected(autocommit=False) as connection:
            return first_rows(connection, statement, search_path=path)

    def is_foreign(self, source: Path) -> bool:
        """Look for the end."""
        return foreign.is_foreign(source)

    def dumped_at(self, source: Path) -> datetime | None:
        """Return the date at the beginning of the archive."""
        return archive.created_at(source)

    def adopt(self, source: Path, target: Path, progress: Progress | None) -> SnapshotInfo:
        """Restore it to a scratch database, and dump that."""
        return foreign.adopt(
            source,
            target,
            login=self._login(),
            tools=self.tools(),
            name=self.database,
            lock_timeout=self.lock_timeout,
            progress=progress,
        )

    @contextmanager
    def watched(self) -> Iterator[Callable[[], bool]]:
        """Yield a function that tells whether the server has other roles, rights or settings.

        As far as they concern the database. Of its rows nothing tells that at once.
        """
        before = self._shared()
        yield lambda: self._shared() != before

    def _shared(self) -> object:
        with self._login().maintenance(name=self.database) as connection:
            return inventory.shared(connection, self._login().database)

    @contextmanager
    def write_locked(self) -> Iterator[WriteLock]:
        """Lock all tables against writers, on a connection of its own.

        Where schemas are replaced, on that which replaces them: in the end it drops the tables.
        """
        if isinstance(self.ready, schema_restore.Ready):
            self.ready.lock()
            yield self.ready
            return
        with write_locked(
            self._login(), name=self.database, lock_timeout=self.lock_timeout
        ) as held:
            yield held

    @property
    def keeps_replaced(self) -> bool:
        """Whether databases are swapped, or the schemas are such as may be kept."""
        try:
            if self._swaps_databases():
                return True
            with self._connected() as connection:
                return kept_schemas.may_be_kept(connection)
        except BackupError as error:  # a restore says so
            log_ignored("How a restore would be made cannot be told", error)
            return True

    def way_of_restore(self) -> str:
        """Say when schemas are replaced."""
        with self._connected() as connection:
            if rights.swaps_databases(connection, name=self.database):
                return ""
            lacks = rights.to_swap_databases(connection)
            may_be_kept = kept_schemas.may_be_kept(connection)
        way = _WITHIN.format(" and ".join(lack.what for lack in lacks))
        return way + ("." if may_be_kept else _WRITERS_WAIT)

    def _swaps_databases(self) -> bool:
        """Whether the user may; what is kept in the live database would go with that, too."""
        with self._connected() as connection:
            may = rights.swaps_databases(connection, name=self.database)
        return may and kept_schemas.without_copy(self._login(), name=self.database) is None

    def require_restorable(self) -> None:
        """Look for the programs: a user who may only read makes backups for one who may restore."""
        self.tools()

    def require_rights(self) -> None:
        """Look at rights, and what is tied to this very database."""
        try:
            swaps = self._swaps_databases()
        except DatabaseFileNotFoundError:
            rights.require_making(self._login(), name=self.database)
            raise
        if swaps:
            rights.require_movable(self._login(), name=self.database)
            rights.require_givable(self._login(), name=self.database)
            with self._connected() as connection:
                kept_schemas.require_none_of_others(connection, name=self.database)
                rights.require_owners(connection, name=self.database)
                rights.require_copyable(connection, name=self.database)
                rights.require_tablespaces(connection, name=self.database, makes_database=True)
                rights.require_ending(connection, name=self.database)
            self.tools()
        else:
            with self._connected() as connection:
                schema_rights.require_none_prepared(connection, name=self.database)
                rights.require_copyable(connection, name=self.database)
                rights.require_tablespaces(connection, name=self.database, makes_database=False)
            rights.require_maintenance(self._login(), name=self.database)
            psql.program_of(self.tools())

    def require_way_back(self) -> None:
        """Look at the rights: a load ends sessions, and waits for none."""
        self.require_rights()

    def rehearse(self, source: Path) -> None:
        """Check rights, programs and the archive."""
        self.require_rights()
        described = archive.require_whole(source)
        restoring.require_version(source, described, self.tools())
        if not self._swaps_databases():
            self._require_within_schemas(source)

    def _require_within_schemas(self, source: Path) -> None:
        with self._connected() as connection:
            statements = schema_rights.statements(rights.to_swap_databases(connection))
        restoring.require_version(source, archive.read(source), self.tools())
        schema_rights.require_within_schemas(source, self.tools(), statements=statements)

    def _replaced(self) -> kept.KeptDatabase | kept_schemas.KeptSchemas | None:
        """Return what the last restore replaced, and there is no file of."""
        login = self._login()
        return kept.without_copy(login, name=self.database) or kept_schemas.without_copy(
            login, name=self.database
        )

    def replaced_without_copy(self) -> str | None:
        """Read it in the comment of the replaced database, or of a schema."""
        found = self._replaced()
        return None if found is None else found.purpose

    def unfinished(self) -> str:
        """Look for what was replaced and has no file."""
        return SAFETY_BACKUP_MISSING if self._replaced() else ""

    @contextmanager
    def _held(self) -> Iterator[kept.KeptDatabase | kept_schemas.KeptSchemas]:
        """Yield what this thread holds already, or hold it for the block."""
        if (held := getattr(self._here, "held", None)) is not None:
            yield held
            return
        if (found := self._replaced()) is None:
            raise replaced_is_gone(self.database)
        with found.held(lock_timeout=self.lock_timeout) as held:
            yield held

    @contextmanager
    def holding_replaced(self) -> Iterator[None]:
        """Keep writers out of the replaced schemas; nobody knows a database's new name."""
        with self._held() as held:
            self._here.held = held
            try:
                yield
            finally:
                self._here.held = None

    def snapshot_replaced(self, target: Path) -> SnapshotInfo:
        """Have ``pg_dump`` write it."""
        with self._held() as held:
            return held.write_copy(self.tools(), target, lock_timeout=self.lock_timeout)

    def keep_replaced(self, copy: Path | None) -> None:
        """Note in a database's comment which file is a copy of it; schemas are dropped."""
        with self._held() as held:
            held.keep(copy)

    def preparing(
        self, source: Path, progress: Progress | None
    ) -> AbstractContextManager[restoring.Prepared | schema_restore.Ready]:
        """Restore ``source`` to a new database, or to new schemas."""
        if not self._swaps_databases():
            self._require_within_schemas(source)
            return schema_restore.prepared(
                source,
                login=self._login(),
                tools=self.tools(),
                name=self.database,
                version_table=self._place_of_version_table(),
                lock_timeout=self.lock_timeout,
                progress=progress,
            )
        return restoring.prepared(
            source,
            login=self._login(),
            tools=self.tools(),
            name=self.database,
            version_table=self._place_of_version_table(),
            progress=progress,
        )

    def put_in_place(
        self,
        ready: restoring.Prepared | schema_restore.Ready,
        write_lock: WriteLock | None,
        *,
        keeps: str | None,
    ) -> None:
        """Rename both databases, or commit what replaces all schemas."""
        if isinstance(ready, schema_restore.Ready):
            with live_errors(self.database):
                ready.commit(write_lock, keeps=keeps)
            return
        self.return_idle_connections()
        restoring.put_in_place(
            ready,
            login=self._login(),
            name=self.database,
            lock_timeout=self.lock_timeout,
            write_lock=write_lock,
            keeps=keeps,
        )
        self.return_idle_connections()

    def rebuild(self, source: Path, *, facts: Mapping[str, str], stamp: str) -> tuple[Path, ...]:
        """Make the live database, which is missing; there is nothing to set aside."""
        del facts, stamp
        restoring.rebuild(source, login=self._login(), tools=self.tools(), name=self.database)
        return ()

    def check_loaded(self, schema: object) -> None:
        """Compare the live database's schema with ``schema``, as the same program writes it."""
        assert isinstance(schema, contents.Schema)
        found = self.schema_of_live()
        if missing := schema.missing_in(found):
            raise not_what_was_dumped(self.database, missing_parts(missing))

    def rows_of(
        self, source: Path, progress: Progress | None
    ) -> AbstractContextManager[PostgreSQLServer]:
        """Restore ``source`` to a scratch database for the block."""
        return rows_of(self, source, progress)

    def alembic_heads(
        self, version_table: str, schema: str | None = None
    ) -> tuple[str, ...] | None:
        """Return the sorted revisions in the live ``version_table``, None without that table."""
        return self._read(lambda connection: inventory.heads(connection, version_table, schema))
