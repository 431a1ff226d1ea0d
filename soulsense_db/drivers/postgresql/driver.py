"""The driver for PostgreSQL, through ``psycopg``, ``psycopg2`` or ``asyncpg``."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from soulsense_db import fs
from soulsense_db.drivers.base import Driver
from soulsense_db.drivers.dump_rows import Comparison
from soulsense_db.drivers.postgresql import archive, contents, inventory, restoring, snapshot
from soulsense_db.drivers.postgresql.databases import exclusive
from soulsense_db.drivers.postgresql.errors import (
    code_of,
    damaged_backup,
    live_errors,
    missing_right,
    not_what_was_dumped,
    reason_of,
)
from soulsense_db.drivers.postgresql.login import Login, login_of, private_engine
from soulsense_db.drivers.postgresql.tools import Tools, find_tools
from soulsense_db.drivers.postgresql.write_lock import write_locked
from soulsense_db.drivers.results import (
    CheckLevel,
    DatabaseDiff,
    Findings,
    QueryError,
    RowCounts,
    SnapshotInfo,
    WriteLock,
)
from soulsense_db.errors import BackupError
from soulsense_db.progress import Progress

T = TypeVar("T")

_DEFAULT_PORT = 5432
_MOST_ROWS = 2  # a drill only wants to know whether there is one, and which
# Syntax error or access rule violation, but for a table or column that a backup may lack.
_WRONG_STATEMENT = ("42601", "25006", "0A000")


class PostgreSQLDriver(Driver):
    """A database of a PostgreSQL server, from 15 on, by the server's own programs."""

    dialect = "postgresql"
    url_drivers = frozenset({"psycopg", "psycopg2", "asyncpg", "psycopg_async"})
    suffix = ".pgdump"

    def __init__(self, engine: Engine, *, lock_timeout: float) -> None:
        super().__init__(engine, lock_timeout=lock_timeout)
        self._tools: Tools | None = None

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
        return self.engine.url.database or self._login().database

    @property
    def location(self) -> None:
        """It is no file here."""
        return None

    @property
    def address(self) -> str:
        """Its URL, without the password: libpq asks ``~/.pgpass`` for that."""
        url = self.engine.url
        return sa.URL.create(
            self.dialect, url.username, None, url.host, url.port, url.database, url.query
        ).render_as_string()

    def attached_files(self, connection: Connection) -> dict[str, str]:
        """Return nothing: a server attaches no files."""
        del connection
        return {}

    def require_database(self) -> None:
        """Connect once."""
        with self._connected() as connection:
            connection.scalar(sa.text("SELECT 1"))

    def size(self) -> int:
        """About the bytes of all rows, which a dump has; of indexes it has the definition."""
        with self._connected() as connection:
            return inventory.size(connection)

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
            # The live database may be missing, or admit no connections.
            with self._login().maintenance(name=self.database) as connection:
                self._tools = find_tools(
                    inventory.version(connection),
                    name=self.database,
                    beside_server=inventory.folder_of_programs(connection),
                )
        return self._tools

    def connected(self) -> AbstractContextManager[None]:
        """Do nothing: a lock on tables keeps nobody from connecting."""
        return nullcontext()

    def return_idle_connections(self) -> None:
        """Close the pool's idle connections; an async pool can only be closed from its loop."""
        pool = self.engine.pool
        is_async = self.engine.dialect.is_async
        if isinstance(pool, QueuePool) and not is_async and pool.checkedout() == 0:
            self.engine.dispose()

    def transaction(
        self, work: Callable[[Connection], T], *, lock_timeout: float, write: bool = True
    ) -> T:
        """Run ``work`` in a transaction of a private connection that the engine's creator makes."""
        is_async = self.engine.dialect.is_async
        engine = self._login().engine() if is_async else private_engine(self.engine)
        try:
            with live_errors(self.database), engine.begin() as connection:
                limit = max(1, int(lock_timeout * 1000))
                connection.execute(sa.text(f"SET LOCAL lock_timeout = {limit}"))
                if not write:
                    connection.execute(sa.text("SET TRANSACTION READ ONLY"))
                return work(connection)
        finally:
            engine.dispose()

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
        with live_errors(self.database):
            return snapshot.write(
                self._login(),
                self.tools(),
                target,
                name=self.database,
                lock_timeout=self.lock_timeout,
                progress=progress,
            )

    def copy_file(
        self, source: Path, target: Path, *, progress: Progress | None = None
    ) -> SnapshotInfo:
        """Copy an archive that is whole; source: its checksum."""
        described = archive.read(source)
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
        return snapshot.info_of(described, total)

    def require_readable(self, source: Path) -> None:
        """Read the archive's beginning and what is written at its end."""
        archive.read(source)

    def check(
        self, path: Path, *, level: CheckLevel, poll: Callable[[], object] | None = None
    ) -> Findings:
        """Compare length and checksum; in full, have ``pg_restore`` read it, and count the rows."""
        poll = poll or (lambda: None)
        if level == "quick":
            archive.read(path)
            return Findings()
        described = archive.require_whole(path, poll=poll)
        if level == "full":
            found = dict.fromkeys(described.counts, 0)
            for row in contents.rows_of_archive(self.tools(), path, described, dict(os.environ)):
                found[row.table.shown] += 1
                if found[row.table.shown] % 1000 == 1:
                    poll()
            if found != dict(described.counts):
                raise damaged_backup(path.name, "it has other rows than were counted")
        return Findings()

    def heads_in(self, source: Path) -> tuple[str, ...]:
        """Return the revisions that were in the database when it was dumped."""
        return archive.read(source).heads

    # Comparing

    def compare(
        self, backup: Path, *, ignore: Collection[str], progress: Progress | None = None
    ) -> DatabaseDiff:
        """Dump the live database to a file that is gone afterwards, and compare both."""
        described = archive.read(backup)
        total = sum(described.counts.values())

        def poll(_done: int, _total: int) -> None:
            if progress is not None:
                progress(0, max(1, total))

        with tempfile.TemporaryDirectory(prefix="soulsense_db-") as folder:
            fs.require_space(Path(folder), self.size())
            copy = Path(folder) / f"live{self.suffix}"
            copy.touch(mode=0o600)
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
        """Compare two archives: the statements of their schemas, and their rows line by line."""
        tools, environment = self.tools(), dict(os.environ)
        described = [archive.read(one) for one in (backup, copy)]
        ignored = [table for one in described for table in one.tables if table.shown in ignore]
        schemas = [
            contents.without_tables(contents.schema_of_archive(tools, one, environment), ignored)
            for one in (backup, copy)
        ]
        comparison = Comparison(described[0], described[1], ignore)
        tables = comparison.run(
            contents.rows_of_archive(tools, backup, described[0], environment),
            contents.rows_of_archive(tools, copy, described[1], environment),
            progress,
        )
        return DatabaseDiff(
            tables=tables,
            same_schema=schemas[0] == schemas[1],
            alembic_heads=described[1].heads,
        )

    def row_counts(self, backup: Path, *, ignore: Collection[str]) -> tuple[RowCounts, ...]:
        """Compare the numbers that were counted for the backup with those of the live tables."""
        before = archive.read(backup).counts
        try:
            with self._connected() as connection:
                found = [one for one in inventory.tables(connection) if not one.is_partitioned]
                live: dict[str, int] = {
                    archive.shown_name(one.schema, one.name): number
                    for one, number in zip(found, inventory.counts(connection, found), strict=True)
                }
        except BackupError:
            live = {}
        names = sorted((before.keys() | live.keys()) - set(ignore))
        return tuple(
            RowCounts(table=name, backup=before.get(name), live=live.get(name)) for name in names
        )

    def count_rows(
        self, source: Path, *, poll: Callable[[], object] | None = None
    ) -> Mapping[str, int]:
        """Return the numbers of rows that were counted when the database was dumped."""
        del poll
        return archive.read(source).counts

    # Restoring

    def scratch(self, path: Path) -> Driver:
        """Return the driver of a new database on the same server."""
        from soulsense_db.drivers.postgresql.scratch import ScratchDriver

        del path
        return ScratchDriver(self, self._login())

    def exclusive(self, *, timeout: float) -> AbstractContextManager[None]:
        """Hold an advisory lock, which every machine sees that reaches the server."""
        return exclusive(self._login(), name=self.database, timeout=timeout)

    def query(self, statement: str) -> tuple[tuple[Any, ...], ...]:
        """Return the first rows of one ``SELECT``: as a part of another it can be nothing else."""
        with self._connected(autocommit=False) as connection:
            connection.execute(sa.text("SET TRANSACTION READ ONLY"))
            asked = statement.strip().rstrip(";").replace(":", r"\:")
            try:
                rows = connection.execute(sa.text(f"SELECT * FROM ({asked}\n) AS asked"))  # noqa: S608
                return tuple(tuple(row) for row in rows.fetchmany(_MOST_ROWS))
            except DBAPIError as error:
                wrong = code_of(error).startswith(_WRONG_STATEMENT)
                raise QueryError(reason_of(error), is_wrong=wrong) from error
            finally:
                connection.rollback()

    @contextmanager
    def write_locked(self) -> Iterator[WriteLock]:
        """Lock all tables against writers, on a connection of its own."""
        with write_locked(
            self._login(), name=self.database, lock_timeout=self.lock_timeout
        ) as held:
            yield held

    def require_restorable(self) -> None:
        """Look at the rights that a restore needs: to make a database, and to rename this one."""
        with self._connected() as connection:
            row = connection.execute(
                sa.text(
                    "SELECT rolsuper OR rolcreatedb, rolsuper OR pg_has_role(d.datdba, 'USAGE'),"
                    " quote_ident(current_user), quote_ident(current_database())"
                    " FROM pg_roles r, pg_database d"
                    " WHERE r.rolname = current_user AND d.datname = current_database()"
                )
            ).one()
        may_create, owns, user, database = row
        if not may_create:
            raise missing_right(
                self.database,
                "restoring needs the right to create databases",
                statement=f"ALTER ROLE {user} CREATEDB;",
            )
        if not owns:
            raise missing_right(
                self.database,
                "restoring needs the ownership of the database",
                statement=f"ALTER DATABASE {database} OWNER TO {user};",
            )
        self.tools()

    def rehearse(self, source: Path) -> None:
        """Check rights, programs and the archive."""
        self.require_restorable()
        described = archive.require_whole(source)
        restoring.require_version(source, described, self.tools())

    def schema_of(self, source: Path) -> contents.Schema:
        """Return the statements of the schema, as a program of the server's version writes them."""
        version = archive.read(source).version
        items = contents.schema_of_archive(self.tools(), source, dict(os.environ))
        return contents.Schema(version, items)

    def load(
        self, source: Path, *, write_lock: WriteLock | None = None, progress: Progress | None = None
    ) -> None:
        """Restore ``source`` to a new database, which then takes the name of the live one."""
        self.return_idle_connections()
        restoring.load(
            source,
            login=self._login(),
            tools=self.tools(),
            name=self.database,
            lock_timeout=self.lock_timeout,
            write_lock=write_lock,
            progress=progress,
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
        if not schema.is_in(contents.schema_of_database(self.tools(), self._login().environment())):
            raise not_what_was_dumped(self.database, "its tables are not those of the backup")

    def alembic_heads(self, version_table: str) -> tuple[str, ...] | None:
        """Return the sorted revisions in the live ``version_table``, None without that table."""
        return self.transaction(
            lambda connection: inventory.heads(connection, version_table),
            lock_timeout=self.lock_timeout,
            write=False,
        )
