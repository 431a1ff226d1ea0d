"""The part of the driver for MariaDB that reads the live database, and dumps it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.dump_driver import first_rows_of
from soulsense_db.drivers.mariadb import (
    foreign,
    foreign_dump,
    inventory,
    migration_note,
    restoring,
    rights,
    snapshot,
)
from soulsense_db.drivers.mariadb.errors import code_of, live_errors, no_mysql, reason_of
from soulsense_db.drivers.mariadb.files import BackupFiles
from soulsense_db.drivers.mariadb.leases import Lease
from soulsense_db.drivers.mariadb.login import (
    Login,
    connect,
    engine_that_gives_up,
    library_for,
    login_of,
    seconds,
    use_utf8mb4,
)
from soulsense_db.drivers.mariadb.statements import execute, scalar
from soulsense_db.drivers.mariadb.tools import Tools, find_tools, tools_in
from soulsense_db.drivers.results import QueryError, SnapshotInfo
from soulsense_db.drivers.server_errors import no_database_named
from soulsense_db.progress import Progress

T = TypeVar("T")

_DEFAULT_PORT = 3306
_WRONG_STATEMENT = (1064, 1149, 1792, 1235)


class ReadingDriver(BackupFiles):
    """A database of a MariaDB server that is read."""

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
    def engine_for_commands(cls, url: sa.URL) -> Engine:
        """Take the URL's own library, or one that is installed: SQLAlchemy's need not be."""
        library = library_for(url.drivername.partition("+")[2])
        return engine_that_gives_up(
            url.set(drivername=f"{url.get_backend_name()}+{library}"), library
        )

    @property
    def database(self) -> str:
        """Host or socket, and name, as in the URL: to list backups no server is asked."""
        url = self.engine.url
        socket = url.query.get("unix_socket")
        if isinstance(socket, str):  # whatever the host: the libraries do not look at it then
            return f"{socket}/{self._name}"
        port = "" if url.port in (None, _DEFAULT_PORT) else f":{url.port}"
        return f"{url.host}{port}/{self._name}" if url.host else self._name

    @property
    def _name(self) -> str:
        name = self.engine.url.database or self._login().database
        if not name:
            raise no_database_named(self.engine.url)
        return name

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
        """Run ``work`` in a transaction of a private connection that the engine's creator makes.

        Its character set alone is ours: names and descriptions may have any character.
        """
        limit = seconds(lock_timeout)
        kind = "READ WRITE" if write else "READ ONLY"
        with (
            self.private_engine("REPEATABLE READ") as engine,
            live_errors(self.database),
            connect(engine, name=self.database) as connection,
        ):
            use_utf8mb4(connection)
            for statement in (
                f"SET SESSION lock_wait_timeout = {limit}, innodb_lock_wait_timeout = {limit}",
                f"SET SESSION TRANSACTION {kind}",
            ):
                connection.exec_driver_sql(statement)
            connection.commit()
            with connection.begin():
                return work(connection)

    def migration_note(self) -> str:
        """Read it from a schema of its own."""
        with self._connected() as connection:
            return migration_note.read(connection, self._name)

    def set_migration_note(
        self, text: str, *, tables: Collection[tuple[str | None, str]] = ()
    ) -> None:
        """Write it to a schema of its own."""
        del tables  # to comment one waits for whoever has read it
        with self._connected() as connection:
            migration_note.write(connection, self._name, text)

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
        """Read the end as well; what ``mariadb-dump`` alone has written has another one."""
        if self.is_foreign(source):
            foreign_dump.require_end(source)
        else:
            super().require_readable(source)

    def is_foreign(self, source: Path) -> bool:
        """Look at the beginning."""
        return foreign_dump.is_foreign(source)

    def dumped_at(self, source: Path) -> datetime | None:
        """Return the date in the last line of what ``mariadb-dump`` alone has written."""
        return foreign_dump.completed_at(source) if self.is_foreign(source) else None

    def adopt(self, source: Path, target: Path, progress: Progress | None) -> SnapshotInfo:
        """Load it into a scratch schema, and dump that."""
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

    def alembic_heads(
        self, version_table: str, schema: str | None = None
    ) -> tuple[str, ...] | None:
        """Return the sorted revisions in the live ``version_table``, None without that table."""
        del schema
        with self._connected() as connection:
            return inventory.heads(connection, self._name, version_table)
