"""What the driver does that changes nothing: connections, snapshots, checks, comparisons."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from soulsense_db import fs
from soulsense_db.drivers.dump_pair import DumpSide
from soulsense_db.drivers.engines import CONNECT_SECONDS
from soulsense_db.drivers.postgresql import (
    archive,
    contents,
    inventory,
    migration_note,
    snapshot,
)
from soulsense_db.drivers.postgresql.databases import recover
from soulsense_db.drivers.postgresql.errors import live_errors
from soulsense_db.drivers.postgresql.holders import CHANGING, naming_holders
from soulsense_db.drivers.postgresql.login import (
    Login,
    connect,
    has_own_limit,
    installed_library,
    login_of,
)
from soulsense_db.drivers.postgresql.missing_rights import naming_user
from soulsense_db.drivers.postgresql.parallel import FOLDER
from soulsense_db.drivers.postgresql.restoring import Prepared
from soulsense_db.drivers.postgresql.row_format import CopyFormat
from soulsense_db.drivers.postgresql.schema_reading import domains_of, schema_of_items
from soulsense_db.drivers.postgresql.schema_restore import Ready
from soulsense_db.drivers.postgresql.sharing import share
from soulsense_db.drivers.postgresql.tools import Tools, find_tools, tools_in
from soulsense_db.drivers.results import SnapshotInfo
from soulsense_db.drivers.server_errors import no_database_named
from soulsense_db.drivers.swapping_driver import SwappingDriver
from soulsense_db.errors import (
    BackupError,
    DatabaseUnreachableError,
    MissingRightError,
    ServerToolError,
)
from soulsense_db.notices import log_ignored
from soulsense_db.progress import Progress

T = TypeVar("T")

_DEFAULT_PORT = 5432
_LOOK_SECONDS = 0.02
_NOTE_SECONDS = 1.0
_VERSION_TABLE = "alembic_version"
_SERVER_ID = sa.text("SELECT system_identifier FROM pg_control_system()")
_LARGE_OBJECTS = "These are large objects: of their data, checksums are compared."


class ReadingDriver(SwappingDriver[archive.Description, Prepared | Ready]):
    """A database of a PostgreSQL server that is read."""

    dialect = "postgresql"
    url_drivers = frozenset({"psycopg", "psycopg2", "asyncpg", "psycopg_async"})
    suffix = ".pgdump"
    rolls_back_schema = True
    has_schemas = True
    companions = fs.Companions(folders=(FOLDER,))

    def __init__(self, engine: Engine, *, lock_timeout: float) -> None:
        super().__init__(engine, lock_timeout=lock_timeout)
        self._tools: Tools | None = None

    @classmethod
    def engine_for_commands(cls, url: sa.URL) -> Engine:
        """Return an engine with the library that ``url`` names, or another where that is missing.

        What SQLAlchemy takes where none is named depends on its version.
        """
        named = url.drivername.partition("+")[2]
        library = installed_library(named)
        query = dict(url.query)
        if "ssl" in query:  # as asyncpg calls it
            query["sslmode"] = query.pop("ssl")
        return sa.create_engine(
            url.set(drivername=f"{cls.dialect}+{library}", query=query),
            connect_args={} if has_own_limit(query) else {"connect_timeout": CONNECT_SECONDS},
        )

    # What it is

    @property
    def database(self) -> str:
        """Host and name, as in the URL: to list backups no server is asked."""
        url = self.engine.url
        host = url.host or url.query.get("host") or ""
        if not isinstance(host, str):
            host = ",".join(host)
        port = "" if url.port in (None, _DEFAULT_PORT) else f":{url.port}"
        return f"{host}{port}/{self._name}" if host else self._name

    @property
    def _name(self) -> str:
        if self.engine.url.database:
            return self.engine.url.database
        login = self._login()
        if not login.names_database:
            raise no_database_named(self.engine.url)
        return login.database

    @property
    def address(self) -> str:
        """Its URL, without the password: libpq asks ``~/.pgpass`` for that."""
        url = self.engine.url
        return sa.URL.create(
            self.dialect, url.username, None, url.host, url.port, url.database, url.query
        ).render_as_string()

    def require_database(self) -> None:
        """Connect once."""
        with self._connected() as connection:
            connection.scalar(sa.text("SELECT 1"))

    def size(self) -> int:
        """About the bytes of all rows, which a dump has; of indexes it has the definition."""
        with self._connected() as connection:
            return inventory.size_at_once(connection)

    def server_id(self) -> str:
        """Return the identifier that ``initdb`` gave the server."""
        with self._connected() as connection:
            return str(connection.scalar(_SERVER_ID))

    def explained(self) -> AbstractContextManager[None]:
        """Say what the server's errors mean for the live database."""
        return live_errors(self.database)

    # Connections

    def _login(self) -> Login:
        return login_of(self.engine, name=str(self.engine.url.database or "the database"))

    def _connected(self, *, autocommit: bool = True) -> AbstractContextManager[Connection]:
        return self._login().connected(name=self.database, autocommit=autocommit)

    def tools(self) -> Tools:
        """Return the programs of the server's version."""
        if self._tools is None:
            login, name = self._login(), self.database
            try:
                self._tools = self._found_by(
                    login.connected(name=name, autocommit=False, own_session=False)
                )
            except ServerToolError:
                raise
            except BackupError as error:  # it may be missing, or admit no connections
                log_ignored("Another database is asked for the server's version", error)
                try:
                    self._tools = self._found_by(
                        login.maintenance(name=name, autocommit=False, own_session=False)
                    )
                except (DatabaseUnreachableError, MissingRightError):
                    raise error from None
        return replace(self._tools, jobs=self.jobs)

    def _found_by(self, asking: AbstractContextManager[Connection]) -> Tools:
        """Find the programs of the server that is asked; a pooler of any kind may be between."""
        with asking as connection:
            connection.exec_driver_sql("SET LOCAL search_path = ''")
            version = inventory.version(connection)
            return self._tools_of(version, inventory.folder_of_programs(connection))

    def _tools_of(self, version: int, beside_server: Path | None) -> Tools:
        if self.tools_directory is not None:
            return tools_in(self.tools_directory, version, name=self.database)
        return find_tools(version, name=self.database, beside_server=beside_server)

    def _tools_to_read(self, description: archive.Description) -> Tools:
        """Return the server's programs; those of an archive's version where it does not answer.

        A server that is lost must not keep anybody from reading its backups.
        """
        try:
            return self.tools()
        except DatabaseUnreachableError as error:
            log_ignored("The programs of the backup's version are taken", error)
            return self._tools_of(description.version, None)

    def environment(self) -> dict[str, str]:
        """Return the variables by which a program of the server reaches the live database."""
        return self._login().environment()

    def waiting_engine(self) -> Engine:
        """Return one of ours."""
        return self._login().engine()

    def transaction(
        self, work: Callable[[Connection], T], *, lock_timeout: float, write: bool = True
    ) -> T:
        """Run ``work`` in a transaction of a private connection that the engine's creator makes."""
        with (
            self.private_engine("READ COMMITTED") as engine,
            naming_user(lambda: self._login().user),
            live_errors(self.database),
            connect(engine) as connection,
            connection.begin(),
        ):
            limit = max(1, int(lock_timeout * 1000))
            connection.execute(sa.text(f"SET LOCAL lock_timeout = {limit}"))
            # Whatever default_transaction_read_only says, as for all that a restore writes.
            connection.exec_driver_sql(f"SET TRANSACTION READ {'WRITE' if write else 'ONLY'}")
            return work(connection)

    def share_table(self, connection: Connection, table: str) -> None:
        """Have it belong to whom the tables beside it belong."""
        share(connection, table)

    def mark_transaction(self, connection: Connection) -> str:
        """Return its number, below SQLAlchemy, which is about to note that it has begun."""
        cursor = connection.connection.cursor()
        try:
            cursor.execute("SELECT pg_catalog.pg_current_xact_id()::text")
            return "".join(map(str, *cursor.fetchall()))
        finally:
            cursor.close()

    def has_committed(self, marks: Sequence[str]) -> bool:
        """Ask the server; of one that is still open there, once it is not."""
        status = sa.text("SELECT pg_catalog.pg_xact_status(CAST(:mark AS pg_catalog.xid8))")
        deadline = time.monotonic() + self.lock_timeout
        with self._connected() as connection:
            for mark in marks:
                # Where its connection was closed, the server finds out a moment later.
                while (found := connection.scalar(status, {"mark": mark})) == "in progress":
                    if time.monotonic() > deadline:
                        return True
                    time.sleep(_LOOK_SECONDS)
                if found != "aborted":
                    return True
        return False

    def migration_note(self) -> str:
        """Return the comment of a version table that says it."""
        return self._read(lambda one: migration_note.read(one, name=self.database))

    def set_migration_note(
        self, text: str, *, tables: Collection[tuple[str | None, str]] = ()
    ) -> None:
        """Make it the comment of the version tables, where env.py has not locked them."""
        self.transaction(
            lambda connection: migration_note.write(connection, text, tables),
            lock_timeout=min(_NOTE_SECONDS, self.lock_timeout),
        )

    def _read(self, work: Callable[[Connection], T]) -> T:
        return self.transaction(work, lock_timeout=self.lock_timeout, write=False)

    def make_read_only(self, connection: Any) -> None:
        """Have the server refuse what writes, in this transaction and those to come."""
        cursor = connection.cursor()
        cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        cursor.execute("SET TRANSACTION READ ONLY")

    def flush(self) -> None:
        """Commit once with a wait for the disk: what was committed before is in the same log."""
        with self._connected(autocommit=False) as connection:
            connection.execute(sa.text("SET LOCAL synchronous_commit = 'on'"))
            connection.execute(sa.text("SELECT pg_current_xact_id()"))
            connection.commit()

    # Snapshots and files

    def snapshot(self, target: Path, *, progress: Progress | None = None) -> SnapshotInfo:
        """Have ``pg_dump`` write all committed data to ``target``, and add what it must have."""
        login, name = self._login(), self.database
        recover(login, name=name)
        with naming_holders(login, CHANGING, name=name), live_errors(name):
            return snapshot.write(
                login,
                self.tools(),
                target,
                name=name,
                lock_timeout=self.lock_timeout,
                version_table=self._place_of_version_table(),
                progress=progress,
            )

    def _place_of_version_table(self) -> str | None:
        """Return where Alembic's table is, through a connection as the application has them."""
        return self._read(lambda connection: inventory.place_of(connection, _VERSION_TABLE))

    def search_path(self) -> str:
        """Return where a statement of the application looks for its tables."""
        return self._read(lambda connection: str(connection.scalar(sa.text("SHOW search_path"))))

    def schema_of(self, source: Path) -> contents.Schema:
        """Return the statements of the schema, as a program of the server's version writes them."""
        description = archive.read(source)
        tools = self._tools_to_read(description)
        return contents.schema_of_archive(tools, source, description.version, dict(os.environ))

    def schema_of_live(self) -> contents.Schema:
        """Return the statements of the live database's schema now, written in the same way."""
        with self._connected() as connection:
            encoding = inventory.encoding(connection)
            settings = inventory.adverse_to_dump(connection)
        environment = self._login().environment(settings=settings)
        return contents.schema_of_database(self.tools(), environment, encoding=encoding)

    # Comparing

    def has_schema_of(self, backup: Path, *, ignore: Collection[str]) -> bool:
        """Compare the statements that the archive has with those of the live database now."""
        live = self.schema_of_live()
        with self._connected() as connection:
            ignored = [
                one
                for one in inventory.tables(connection)
                if archive.shown_name(one.schema, one.name) in ignore
            ]
        return self.schema_of(backup).without(ignored).is_same(live.without(ignored))

    # Dumps

    def describe(self, path: Path) -> archive.Description:
        """Read what is written behind the archive."""
        return archive.read(path)

    def describe_whole(self, path: Path, poll: Callable[[], object]) -> archive.Description:
        """Read all of the archive, and compare its checksum."""
        return archive.require_whole(path, poll=poll)

    def dumped_rows(self, path: Path, description: archive.Description) -> Generator[contents.Row]:
        """Have ``pg_restore`` write the rows of the archive."""
        tools = self._tools_to_read(description)
        return contents.rows_of_archive(tools, path, description, dict(os.environ))

    def dumped_counts(
        self, path: Path, description: archive.Description, poll: Callable[[], object]
    ) -> Mapping[str, int]:
        """Have ``pg_restore`` write the rows of the archive, and count them."""
        tools = self._tools_to_read(description)
        return contents.counts_of_archive(tools, path, description, dict(os.environ), poll)

    def dump_side(self, path: Path, description: archive.Description) -> DumpSide:
        """Have ``pg_restore`` write statements and rows."""
        items = self.schema_of(path).items
        encoding = contents.encoding_called(description.locale.encoding)
        return DumpSide(
            description,
            schema_of_items(items, description.locale),
            description.version,
            lambda: self.dumped_rows(path, description),
            CopyFormat(encoding, domains_of(items)),
            {archive.shown_name(*archive.LARGE_OBJECTS): _LARGE_OBJECTS},
        )

    def live_counts(self) -> Mapping[str, int]:
        """Count the rows of all tables of users."""
        with self._connected() as connection:
            return inventory.counted(connection)

    def has_same_schema(self, first: Path, second: Path, *, ignore: Collection[str]) -> bool:
        """Have ``pg_restore`` write the statements of both schemas."""
        both = (first, second)
        ignored = [
            table for one in both for table in archive.read(one).tables if table.shown in ignore
        ]
        one, other = (self.schema_of(path).without(ignored) for path in both)
        return one.is_same(other)

    def info_of(self, description: archive.Description, size_bytes: int) -> SnapshotInfo:
        """Tell of the server's version and the encoding as well."""
        return snapshot.info_of(description, size_bytes)
