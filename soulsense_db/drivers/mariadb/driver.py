"""The drivers for MariaDB, through ``pymysql``, ``mysqlclient``, ``asyncmy`` and others."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from soulsense_db.drivers.base import Driver
from soulsense_db.drivers.mariadb import (
    archive,
    cluster,
    events,
    inventory,
    kept,
    loading,
    obstacles,
    restoring,
    rights,
    schemas,
    snapshot,
)
from soulsense_db.drivers.mariadb.reading import ReadingDriver
from soulsense_db.drivers.mariadb.restore_errors import referred_to_from_elsewhere
from soulsense_db.drivers.mariadb.row_access import MariaDBServer, rows_of
from soulsense_db.drivers.mariadb.schema import Schema
from soulsense_db.drivers.mariadb.statements import pattern_of, quoted
from soulsense_db.drivers.mariadb.write_lock import NoWriteLock, write_locked
from soulsense_db.drivers.results import SnapshotInfo, WriteLock
from soulsense_db.drivers.server_errors import missing_right, not_what_was_dumped
from soulsense_db.drivers.swapping_driver import SAFETY_BACKUP_MISSING
from soulsense_db.progress import Progress

if TYPE_CHECKING:
    from soulsense_db.drivers.rehearsal import RehearsalSupport


class MariaDBDriver(ReadingDriver):
    """A database of a MariaDB server, from 10.6 on, by the server's own programs."""

    @classmethod
    def rehearsal(cls) -> RehearsalSupport | None:
        """Return how connections are led to a private server; Windows has none."""
        if os.name != "posix":
            return None
        from soulsense_db.drivers.mariadb.rehearsal import MariaDBRehearsalSupport

        return MariaDBRehearsalSupport()

    def rehearsal_here(self) -> RehearsalSupport | None:
        """Return that of private servers of the live one's version, where it is installed."""
        if os.name != "posix":
            return None
        from soulsense_db.drivers.mariadb.rehearsal import MariaDBRehearsalSupport
        from soulsense_db.drivers.mariadb.server_tools import find_server

        is_named = self.tools_directory is not None
        found = find_server(self.tools(), dialect=self.dialect, is_named=is_named)
        return MariaDBRehearsalSupport(self, found)

    # Restoring

    def scratch(self, path: Path) -> Driver:
        """Return the driver of a new database on the same server."""
        from soulsense_db.drivers.mariadb.scratch import ScratchDriver

        del path
        return ScratchDriver(self, self._login())

    @contextmanager
    def exclusive(self, *, timeout: float) -> Iterator[None]:
        """Hold a lock of the server's, which every machine sees that reaches it."""
        with schemas.exclusive(self._login(), name=self.database, timeout=timeout) as lease:
            self._lease = lease
            try:
                yield
            finally:
                self._lease = None

    @contextmanager
    def write_locked(self) -> Iterator[WriteLock]:
        """Lock all tables against writers, on a connection of its own; in a cluster, nothing.

        Nor where writers never leave a gap: then the swap alone keeps them waiting.
        """
        with self._connected() as connection:
            is_in_a_cluster = inventory.is_in_a_cluster(connection)
        if is_in_a_cluster:
            yield NoWriteLock()
            return
        with write_locked(
            self._login(),
            name=self.database,
            lock_timeout=self.lock_timeout,
            is_required=not self.keeps_replaced,
        ) as held:
            yield held

    def require_restorable(self) -> None:
        """Look for the programs: a user who may only read makes backups for one who may restore."""
        self.tools()

    def require_rights(self) -> None:
        """Look at the rights that a restore needs, and at what refers to the tables."""
        with self._connected() as connection:
            live = self._name
            if inventory.is_in_a_cluster(connection):
                cluster.require_live(connection, live, name=self.database)
            ours = schemas.beginning(live)
            lacks, statements = [], []
            for schema, shown in (
                (live, pattern_of(live)),
                (f"{ours}{'0' * 16}", quoted(ours.replace("_", "\\_") + "%")),
            ):
                if missing := rights.lacking(connection, schema, rights.FOR_RESTORES):
                    lacks.append(f"{', '.join(missing)} on {shown}")
                    statements.append(f"GRANT ALL ON {shown}.* TO {rights.user(connection)};")
            if lacks:
                raise missing_right(
                    self.database,
                    f"a restore needs {', and '.join(lacks)}",
                    statement=" ".join(statements),
                )
            kept_here = {one + schemas.OLD for one in schemas.ours(connection, live)}
            referring = inventory.referring_from_elsewhere(connection, live, without=kept_here)
            if referring:
                raise referred_to_from_elsewhere(self.database, referring)
            # What is replaced is kept with its programs, which are dumped once writers wait.
            found = inventory.take(connection, live, name=self.database)
            snapshot.require_dumpable(found, self.database)
            made = (item.statement for item in found.items)
            rights.require_definers(connection, made, name=self.database)
            obstacles.require_none(connection, found.items, own={live}, name=self.database)
            obstacles.require_trust(connection, found.items, name=self.database)
        self.tools()

    def rehearse(self, source: Path) -> None:
        """Check rights, programs and the backup."""
        self.require_rights()
        described = archive.require_whole(source)
        loading.require_version(source, described, self.tools())
        self._require_rights_for(described)
        with self._connected() as connection:
            # Where its tables are kept, no row is loaded.
            if kept.schema_of(connection, self._name, described) is None:
                obstacles.require_packets(connection, described.longest_row, name=self.database)

    def require_loadable(self, facts: Mapping[str, str]) -> None:
        """Look at the longest row."""
        longest = facts.get(snapshot.LONGEST_ROW, "")
        if longest.isdecimal():
            with self._connected() as connection:
                obstacles.require_packets(connection, int(longest), name=self.database)

    def _require_rights_for(self, described: archive.Description) -> None:
        """Look at what is in a backup, as :meth:`require_rights` does at what is live."""
        made = (item.statement for item in described.items)
        own = {self._name, described.schema}
        with self._connected() as connection:
            rights.require_definers(connection, made, name=self.database)
            obstacles.require_none(connection, described.items, own=own, name=self.database)
            obstacles.require_trust(connection, described.items, name=self.database)

    def replaced_without_copy(self) -> str | None:
        """Read it in the notes on the replaced tables."""
        self.finish_interrupted()
        return kept.without_copy(self._login(), name=self.database)

    def unfinished(self) -> str:
        """Look for a swap that is not finished, and for replaced tables without a file."""
        login = self._login()
        if restoring.is_interrupted(login, name=self.database):
            return "triggers, routines, views or events may be missing"
        return SAFETY_BACKUP_MISSING if kept.without_copy(login, name=self.database) else ""

    def snapshot_replaced(self, target: Path) -> SnapshotInfo:
        """Have ``mariadb-dump`` write them, and add routines and triggers as they were."""
        return kept.write_copy(self._login(), self.tools(), target, name=self.database)

    def keep_replaced(self, copy: Path | None) -> None:
        """Note beside them which file is a copy of them."""
        checksum = None if copy is None else archive.read(copy).sha256
        kept.note_copy(self._login(), checksum, name=self.database)

    def preparing(
        self, source: Path, progress: Progress | None
    ) -> AbstractContextManager[restoring.Prepared]:
        """Load ``source`` into a schema beside the live one."""
        self.finish_interrupted()
        self.require_rights()
        self._require_rights_for(archive.read(source))
        return restoring.prepared(
            source,
            login=self._login(),
            tools=self.tools(),
            name=self.database,
            progress=progress,
        )

    def put_in_place(
        self, ready: restoring.Prepared, write_lock: WriteLock | None, *, keeps: str | None
    ) -> None:
        """Swap all tables."""
        if self._lease is not None:
            self._lease.renew()
        self.return_idle_connections()
        restoring.put_in_place(
            ready,
            login=self._login(),
            tools=self.tools(),
            name=self.database,
            lock_timeout=self.lock_timeout,
            write_lock=write_lock,
            keeps=keeps,
        )

    def rebuild(self, source: Path, *, facts: Mapping[str, str], stamp: str) -> tuple[Path, ...]:
        """Make the live database, which is missing; there is nothing to set aside."""
        del facts, stamp
        restoring.rebuild(
            source,
            login=self._login(),
            tools=self.tools(),
            name=self.database,
            lock_timeout=self.lock_timeout,
        )
        return ()

    def check_loaded(self, schema: object) -> None:
        """Compare the live database's schema with ``schema``, as the server writes it."""
        assert isinstance(schema, Schema)
        with self._connected() as connection:
            found = inventory.take(connection, self._name, name=self.database)
            schema = schema._replace(items=events.without_past(connection, schema.items))
        there = Schema(self._name, self.tools().version, found.items)
        if not self._as_made(schema).is_in(self._as_made(there)):
            raise not_what_was_dumped(self.database, "its tables are not those of the backup")

    def _as_made(self, schema: Schema) -> Schema:
        """Return what of a schema comes to this database, as it comes."""
        return schema

    def rows_of(
        self, source: Path, progress: Progress | None
    ) -> AbstractContextManager[MariaDBServer]:
        """Load ``source`` into a scratch schema for the block."""
        return rows_of(self, source, progress)


class MySQLDriver(MariaDBDriver):
    """The same for URLs of the dialect that SQLAlchemy calls ``mysql``."""

    dialect = "mysql"
