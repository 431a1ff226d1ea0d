"""The drivers for MariaDB, through ``pymysql``, ``mysqlclient``, ``asyncmy`` and others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.base import Driver
from soulsense_db.drivers.dump_driver import first_rows_of
from soulsense_db.drivers.mariadb import (
    archive,
    cluster,
    foreign,
    foreign_dump,
    inventory,
    kept,
    restoring,
    rights,
    schemas,
    snapshot,
)
from soulsense_db.drivers.mariadb.errors import (
    code_of,
    live_errors,
    no_mysql,
    not_what_was_dumped,
    reason_of,
    referred_to_from_elsewhere,
)
from soulsense_db.drivers.mariadb.files import BackupFiles
from soulsense_db.drivers.mariadb.leases import Lease
from soulsense_db.drivers.mariadb.login import (
    Login,
    connect,
    library_for,
    login_of,
    seconds,
)
from soulsense_db.drivers.mariadb.row_access import MariaDBServer, rows_of
from soulsense_db.drivers.mariadb.schema import Schema
from soulsense_db.drivers.mariadb.statements import execute, quoted, scalar
from soulsense_db.drivers.mariadb.tools import Tools, find_tools, tools_in
from soulsense_db.drivers.mariadb.write_lock import write_locked
from soulsense_db.drivers.results import (
    QueryError,
    SnapshotInfo,
    WriteLock,
)
from soulsense_db.drivers.server_errors import missing_right
from soulsense_db.drivers.swapping_driver import SAFETY_BACKUP_MISSING
from soulsense_db.progress import Progress

if TYPE_CHECKING:
    from soulsense_db.drivers.rehearsal import RehearsalSupport

T = TypeVar("T")

_DEFAULT_PORT = 3306
_WRONG_STATEMENT = (1064, 1149, 1792, 1235)


class MariaDBDriver(BackupFiles):
    """A database of a MariaDB server, from 10.6 on, by the server's own programs."""

    dialect = "mariadb"
    url_drivers = frozenset(
        {"pymysql", "mysqldb", "mysqlconnector", "asyncmy", "aiomysql", "mariadbconnector"}
    )
    suffix = ".sql"

    def __init__(self, engine: Engine, *, lock_timeout: float) -> None:
        super().__init__(engine, lock_timeout=lock_timeout)
        self._tools: Tools | None = None
        self._lease: Lease | None = None  # of a cluster's lock that this driver holds

    # What it is

    @classmethod
    def url_for_commands(cls, url: sa.URL) -> sa.URL:
        """Name the URL's own library, or one that is installed: SQLAlchemy's need not be."""
        named = url.drivername.partition("+")[2]
        return url.set(drivername=f"{url.get_backend_name()}+{library_for(named)}")

    @property
    def database(self) -> str:
        """Host and name, as in the URL: to list backups no server is asked."""
        url = self.engine.url
        port = "" if url.port in (None, _DEFAULT_PORT) else f":{url.port}"
        return f"{url.host}{port}/{self._name}" if url.host else self._name

    @property
    def _name(self) -> str:
        return self.engine.url.database or self._login().database

    @property
    def address(self) -> str:
        """Its URL, without the password: that is in an option file, or asked for."""
        url = self.engine.url
        name = f"{self.dialect}+{self._login().python_driver}"
        return sa.URL.create(
            name, url.username, None, url.host, url.port, url.database, url.query
        ).render_as_string()

    def require_database(self) -> None:
        """Connect once."""
        with self._connected() as connection:
            scalar(connection, "SELECT 1")

    def size(self) -> int:
        """About the bytes of all rows, which a dump has; of indexes it has the definition."""
        with self._connected() as connection:
            return inventory.size(connection, self._name)

    def explained(self) -> AbstractContextManager[None]:
        """Say what the server's errors mean for the live database."""
        return live_errors(self.database)

    # Connections

    def _login(self) -> Login:
        return login_of(self.engine, name=str(self.engine.url.database or "the database"))

    def _connected(self) -> AbstractContextManager[Connection]:
        """Connect to the live database, which must exist."""
        login = self._login()
        return login.connected(login.database, name=self.database, lock_timeout=self.lock_timeout)

    def tools(self) -> Tools:
        """Return the programs of the server's version."""
        if self._tools is None:
            # The live database may be missing.
            with self._login().connected(name=self.database) as connection:
                version = inventory.version(connection)
            if "MariaDB" not in version:
                raise no_mysql(self.database, version)
            number, folder = version.partition("-")[0], self.tools_directory
            self._tools = (
                find_tools(number, name=self.database)
                if folder is None
                else tools_in(folder, number, name=self.database)
            )
        return self._tools

    def waiting_engine(self) -> Engine:
        """Return one of ours."""
        login = self._login()
        return login.engine(login.database)

    def transaction(
        self, work: Callable[[Connection], T], *, lock_timeout: float, write: bool = True
    ) -> T:
        """Run ``work`` in a transaction of a private connection that the engine's creator makes."""
        limit = seconds(lock_timeout)
        kind = "READ WRITE" if write else "READ ONLY"
        with (
            self.private_engine("REPEATABLE READ") as engine,
            live_errors(self.database),
            connect(engine, name=self.database) as connection,
        ):
            for statement in (
                f"SET SESSION lock_wait_timeout = {limit}, innodb_lock_wait_timeout = {limit}",
                f"SET SESSION TRANSACTION {kind}",
            ):
                connection.exec_driver_sql(statement)
            connection.commit()
            with connection.begin():
                return work(connection)

    def make_read_only(self, connection: Any) -> None:
        """Have the server refuse what writes, in the transactions to come."""
        cursor = connection.cursor()
        cursor.execute("ROLLBACK")
        cursor.execute("SET SESSION TRANSACTION READ ONLY")

    def flush(self) -> None:
        """Write the server's logs to its disk, as far as the user may have that done."""
        with self._connected() as connection:
            try:
                execute(connection, "FLUSH LOCAL ENGINE LOGS")
            except DBAPIError as error:
                if code_of(error) != 1227:
                    raise

    def finish_interrupted(self) -> None:
        """Do what a restore that was killed has left to be done."""
        restoring.finish_interrupted(self._login(), self.tools, name=self.database)

    # Snapshots and files

    def snapshot(self, target: Path, *, progress: Progress | None = None) -> SnapshotInfo:
        """Have ``mariadb-dump`` write all that is committed, and add what it must have."""
        self.finish_interrupted()
        login = self._login()
        with self._connected() as connection:
            rights.require_sight(connection, login.database, name=self.database)
        with live_errors(self.database):
            return snapshot.write(
                login,
                self.tools(),
                target,
                name=self.database,
                lock_timeout=self.lock_timeout,
                without=self._made_sequences(),
                progress=progress,
            )

    def require_readable(self, source: Path) -> None:
        """Read the end as well; what ``mariadb-dump`` alone has written has another end."""
        if foreign_dump.is_foreign(source):
            foreign_dump.require_end(source)
        else:
            super().require_readable(source)

    def copy_file(
        self, source: Path, target: Path, *, progress: Progress | None = None
    ) -> SnapshotInfo:
        """Copy a backup that is whole; what ``mariadb-dump`` alone has written is loaded first."""
        if not foreign_dump.is_foreign(source):
            return super().copy_file(source, target, progress=progress)
        self.require_database()
        self.finish_interrupted()
        return foreign.adopt(
            source,
            target,
            login=self._login(),
            tools=self.tools(),
            name=self.database,
            lock_timeout=self.lock_timeout,
            progress=progress,
        )

    def _made_sequences(self) -> tuple[str, ...]:
        """Return what was made in the live database for what is prepared."""
        return self.ready.sequences if self.ready is not None else ()

    def live_counts(self) -> Mapping[str, int]:
        """Count the rows of all tables."""
        with self._connected() as connection:
            found = inventory.tables(connection, self._name)
            numbers = inventory.counts(connection, self._name, found)
        return {one.name: number for one, number in zip(found, numbers, strict=True)}

    # Migrations on a copy

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

    def query(self, statement: str) -> tuple[tuple[Any, ...], ...]:
        """Return the first rows of one ``SELECT``: as a part of another it can be nothing else."""
        with self._connected() as connection:
            execute(connection, "START TRANSACTION READ ONLY")
            try:
                rows = connection.exec_driver_sql(first_rows_of(statement))
                return tuple(tuple(row) for row in rows.fetchall())
            except DBAPIError as error:
                wrong = code_of(error) in _WRONG_STATEMENT
                raise QueryError(reason_of(error), is_wrong=wrong) from error
            finally:
                execute(connection, "ROLLBACK")

    @contextmanager
    def write_locked(self) -> Iterator[WriteLock]:
        """Lock all tables against writers, on a connection of its own; in a cluster, nothing."""
        with self._connected() as connection:
            is_in_a_cluster = inventory.is_in_a_cluster(connection)
        if is_in_a_cluster:
            yield cluster.NoWriteLock()
            return
        with write_locked(
            self._login(), name=self.database, lock_timeout=self.lock_timeout
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
            for schema, shown in (
                (live, quoted(live)),
                (f"{ours}{'0' * 16}", quoted(ours.replace("_", "\\_") + "%")),
            ):
                missing = rights.lacking(connection, schema, rights.FOR_RESTORES)
                if missing:
                    raise missing_right(
                        self.database,
                        f"a restore needs {', '.join(missing)} on {shown}",
                        statement=f"GRANT ALL ON {shown}.* TO {rights.user(connection)};",
                    )
            referring = inventory.referring_from_elsewhere(connection, live)
            if referring:
                raise referred_to_from_elsewhere(self.database, referring)
        self.tools()

    def rehearse(self, source: Path) -> None:
        """Check rights, programs and the backup."""
        self.require_rights()
        described = archive.require_whole(source)
        restoring.require_version(source, described, self.tools())

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
        if not schema.is_in(Schema(self.tools().version, found.items)):
            raise not_what_was_dumped(self.database, "its tables are not those of the backup")

    def rows_of(
        self, source: Path, progress: Progress | None
    ) -> AbstractContextManager[MariaDBServer]:
        """Load ``source`` into a scratch schema for the block."""
        return rows_of(self, source, progress)

    def alembic_heads(self, version_table: str) -> tuple[str, ...] | None:
        """Return the sorted revisions in the live ``version_table``, None without that table."""
        with self._connected() as connection:
            return inventory.heads(connection, self._name, version_table)


class MySQLDriver(MariaDBDriver):
    """The same for URLs of the dialect that SQLAlchemy calls ``mysql``."""

    dialect = "mysql"
