"""Rows of an archive on their way to the live database: through a database beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.postgresql import archive, restoring
from soulsense_db.drivers.postgresql.databases import new_database
from soulsense_db.drivers.postgresql.errors import code_of, live_errors, reason_of
from soulsense_db.drivers.postgresql.login import Login
from soulsense_db.drivers.postgresql.row_tables import PostgreSQLTables, parts_of, prepare
from soulsense_db.drivers.postgresql.row_writer import PostgreSQLWriter, snapshot_of
from soulsense_db.drivers.row_errors import (
    never_ends,
    no_expression,
    not_allowed,
    not_usable,
    unknown_column,
)
from soulsense_db.drivers.server_errors import unsure_whether_committed
from soulsense_db.drivers.server_rows.cancelling import cancellable
from soulsense_db.drivers.server_rows.loading import Server
from soulsense_db.drivers.server_rows.tables import MARK, Row, Shape, Tables, run
from soulsense_db.drivers.server_rows.writing import Writer
from soulsense_db.errors import BackupError
from soulsense_db.progress import Progress

if TYPE_CHECKING:
    from soulsense_db.drivers.postgresql.driver import PostgreSQLDriver

T = TypeVar("T")

_LEAST_SECONDS = 60.0
_BYTES_A_SECOND = 5_000_000  # slower than any disk that is read from end to end
_POLL_SECONDS = 0.1
_STATUS_SECONDS = 10.0
# A function of the server that runs a text which must be one SELECT: several, or another
# statement, it refuses. What the libraries send may be more than one.
_PARSE = f"SELECT FROM pg_catalog.ts_stat({MARK})"
_NOTHING = "CAST(NULL AS pg_catalog.tsvector)"
_SCHEMAS = sa.text("SELECT pg_catalog.unnest(pg_catalog.current_schemas(false))")


class PostgreSQLServer(Server):
    """The live database of ``driver``, and the backup in a database that ``made`` leads to."""

    def __init__(
        self, driver: PostgreSQLDriver, made: Login, connection: Connection, path: Sequence[str]
    ) -> None:
        self._driver, self._made, self._path = driver, made, path
        self._connection = connection
        self.backup = PostgreSQLTables(connection, path)

    def read(self, work: Callable[[Tables], T]) -> T:
        """Read the live database through a connection as the application has them."""

        def prepared(connection: Connection) -> T:
            prepare(connection)
            return work(PostgreSQLTables(connection, self._path))

        driver = self._driver
        return driver.transaction(prepared, lock_timeout=driver.lock_timeout, write=False)

    def write(self, work: Callable[[Writer], T]) -> T:
        """Write through one; where it breaks at the end, ask the server what became of it."""
        driver = self._driver
        results: list[T] = []
        number: list[str] = []

        def prepared(connection: Connection) -> None:
            prepare(connection)
            tables = PostgreSQLTables(connection, self._path)
            results.append(work(PostgreSQLWriter(tables, driver.database, driver.lock_timeout)))
            number.append(str(connection.scalar(sa.text("SELECT pg_current_xact_id()::text"))))

        try:
            driver.transaction(prepared, lock_timeout=driver.lock_timeout)
        except BackupError as error:
            if not number:
                raise
            if not self._has_committed(number[0], error):
                raise
        return results[0]

    def _has_committed(self, number: str, error: BackupError) -> bool:
        """Ask what became of a transaction whose commit failed."""
        deadline = time.monotonic() + _STATUS_SECONDS
        status = sa.text("SELECT pg_xact_status(CAST(:number AS xid8))")
        while time.monotonic() < deadline:
            with (
                suppress(BackupError),
                self._driver._login().connected(name=self._driver.database) as connection,
            ):
                found = connection.scalar(status, {"number": number})
                if found != "in progress":
                    return bool(found == "committed")
            time.sleep(_POLL_SECONDS)
        raise unsure_whether_committed(self._driver.database, error.cause) from error

    def stamp(self) -> object:
        """Return which transactions have ended."""
        with self._driver._login().connected(name=self._driver.database) as connection:
            return snapshot_of(connection)

    @contextmanager
    def streaming(self) -> Iterator[Tables]:
        """Connect once more."""
        with opened(self._made, name=self._driver.database) as connection:
            yield PostgreSQLTables(connection, self._path)

    def select(self, shape: Shape, where: str, poll: Callable[[], object]) -> list[Row]:
        """Have the server parse the condition in two places, in which only one expression fits."""
        connection = self._connection
        by = self.backup.ident_columns(shape)
        order = ", ".join(f"t.{self.backup.quoted(one.name)}" for one in by)
        # Of its own names, it knows the table and its columns.
        table = f"{shape.source} AS {self.backup.quoted(parts_of(shape.name)[-1])}"
        inner = f"SELECT ctid, tableoid FROM {table} WHERE (\n{where}\n)"  # noqa: S608 - checked below
        seconds = _LEAST_SECONDS + self._size() / _BYTES_A_SECOND
        try:
            with connection.begin_nested() as block:
                self._prepare_condition(seconds)
                if "\0" in where:
                    raise no_expression("it has a NUL character")
                for place in (f"(\n{where}\n)", f"CASE WHEN\n{where}\nTHEN true END"):
                    statement = f"SELECT {_NOTHING} FROM {table} WHERE {place} LIMIT 0"  # noqa: S608 - as above
                    run(connection, _PARSE, [statement])
                places = "x.ctid = t.ctid AND x.tableoid = t.tableoid"
                raw: Any = connection.connection.driver_connection
                found = cancellable(
                    lambda: self.backup.rows(
                        f"SELECT {self.backup.select(by)} FROM {shape.source} AS t"  # noqa: S608 - as above
                        f" JOIN ({inner}) AS x ON {places} ORDER BY {order}"
                    ),
                    poll,
                    raw.cancel,
                )
                block.rollback()  # with it go the settings
        except DBAPIError as error:
            columns = [one.name for one in shape.columns]
            said = code_of(error), reason_of(error)
            raise _of_condition(*said, shape.name, columns, seconds=seconds) from error
        return found

    def _prepare_condition(self, seconds: float) -> None:
        setting = sa.text("SELECT pg_catalog.set_config(:name, :value, true)")
        path = ", ".join(map(self.backup.quoted, self._path))
        milliseconds = str(int(seconds * 1000))
        for name, value in (("search_path", path), ("statement_timeout", milliseconds)):
            self._connection.execute(setting, {"name": name, "value": value})

    def _size(self) -> int:
        found = sa.text("SELECT pg_catalog.pg_database_size(pg_catalog.current_database())")
        return int(self._connection.scalar(found) or 0)


def _of_condition(
    code: str, reason: str, table: str, columns: Sequence[str], *, seconds: float
) -> BackupError:
    if code == "42601":
        return no_expression(reason)
    if code == "42703":
        return unknown_column(reason, table, columns)
    if code == "25006":
        return not_allowed(reason)
    if code == "57014":
        return never_ends(seconds)
    return not_usable(reason, table)


@contextmanager
def opened(login: Login, *, name: str) -> Iterator[Connection]:
    """Connect to a database of ours, to read; values are written without loss."""
    with login.connected(name=name, autocommit=False) as connection:
        connection.execute(sa.text("SET TRANSACTION READ ONLY"))
        prepare(connection)
        yield connection
        connection.rollback()


@contextmanager
def rows_of(
    driver: PostgreSQLDriver, source: Path, progress: Progress | None
) -> Iterator[PostgreSQLServer]:
    """Restore the backup file ``source`` to a database that is dropped after the block."""

    def poll() -> None:
        if progress is not None:
            progress(0, 0)

    name = driver.database
    path = driver.transaction(
        lambda connection: list(connection.scalars(_SCHEMAS)),
        lock_timeout=driver.lock_timeout,
        write=False,
    )
    with ExitStack() as stack:
        private = driver.private(source)
        if private is None:
            made = stack.enter_context(_beside(driver, source, poll))
        else:
            stack.callback(private.discard)
            private.make(source, poll)
            made = private.user_login  # who may do no more there than here
        with (private._login() if private else made).connected(name=name) as connection:
            connection.exec_driver_sql("ANALYZE")
        stack.enter_context(live_errors(name))
        connection = stack.enter_context(opened(made, name=name))
        yield PostgreSQLServer(driver, made, connection, path)


@contextmanager
def _beside(driver: PostgreSQLDriver, source: Path, poll: Callable[[], object]) -> Iterator[Login]:
    """Restore ``source`` to a new database beside the live one."""
    login, name = driver._login(), driver.database
    locale = archive.read(source).locale
    with new_database(login, live=login.database, name=name, locale=locale) as made:
        restoring.fill(source, made.name, login=login, tools=driver.tools(), name=name, poll=poll)
        yield replace(login, parameters={**login.parameters, "dbname": made.name})
