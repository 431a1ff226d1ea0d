"""Rows of a backup on their way to the live database: through a schema beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.mariadb import inventory, loading, schemas
from soulsense_db.drivers.mariadb.errors import code_of, live_errors, reason_of
from soulsense_db.drivers.mariadb.login import Login
from soulsense_db.drivers.mariadb.row_tables import PLACE, MariaDBTables, prepare
from soulsense_db.drivers.mariadb.row_writer import MariaDBWriter, require_writable
from soulsense_db.drivers.mariadb.statements import execute, literal, quoted, rows, scalar
from soulsense_db.drivers.row_errors import (
    never_ends,
    no_expression,
    not_allowed,
    not_usable,
    unknown_column,
)
from soulsense_db.drivers.row_plan import Triggers
from soulsense_db.drivers.server_errors import unsure_whether_committed
from soulsense_db.drivers.server_rows.cancelling import cancellable
from soulsense_db.drivers.server_rows.loading import Server
from soulsense_db.drivers.server_rows.planning import Draft
from soulsense_db.drivers.server_rows.tables import Row, Shape, Tables
from soulsense_db.drivers.server_rows.writing import Writer
from soulsense_db.errors import BackupError, DatabaseUnreachableError
from soulsense_db.notices import cleaning_up
from soulsense_db.progress import Progress

if TYPE_CHECKING:
    from soulsense_db.drivers.mariadb.driver import MariaDBDriver

T = TypeVar("T")

_LEAST_SECONDS = 60.0
_BYTES_A_SECOND = 5_000_000  # slower than any disk that is read from end to end
_SYNTAX = (1064, 1149, 1056, 1210, 1295, 1241)
_WRITES = (1792, 1290)
_ENDED = (1969, 1317)
_NO_COLUMN = 1054
_HAS_COUNTER = 1075


class MariaDBServer(Server):
    """The live database of ``driver``, and the backup in the schema of ``scratch``."""

    def __init__(self, driver: MariaDBDriver, scratch: Login, connection: Connection) -> None:
        self._driver, self._scratch = driver, scratch
        self._live = driver._login().database
        self._connection = connection
        self.backup = MariaDBTables(connection, scratch.database)

    def read(self, work: Callable[[Tables], T]) -> T:
        """Read the live database through a connection as the application has them."""

        def prepared(connection: Connection) -> T:
            prepare(connection)
            return work(MariaDBTables(connection, self._live))

        driver = self._driver
        return driver.transaction(prepared, lock_timeout=driver.lock_timeout, write=False)

    def write(self, work: Callable[[Writer], T]) -> T:
        """Write through one; the server does not tell later on what became of a transaction."""
        driver = self._driver
        results: list[T] = []

        def prepared(connection: Connection) -> None:
            prepare(connection)
            tables = MariaDBTables(connection, self._live)
            results.append(work(MariaDBWriter(tables, self._scratch.database)))

        try:
            driver.transaction(prepared, lock_timeout=driver.lock_timeout)
        except DatabaseUnreachableError as error:
            if not results:
                raise
            raise unsure_whether_committed(driver.database, error.cause) from error
        return results[0]

    def stamp(self) -> None:
        """Return nothing: who may not see other users' transactions cannot tell."""
        return

    def require_writable(self, draft: Draft, triggers: Triggers) -> None:
        """Look at engines and triggers of the tables."""
        with self._driver._login().connected(name=self._driver.database) as connection:
            require_writable(connection, self._live, draft, triggers)

    @contextmanager
    def streaming(self) -> Iterator[Tables]:
        """Connect once more."""
        login = self._scratch
        with login.connected(login.database, name=self._driver.database) as connection:
            yield MariaDBTables(connection, login.database)

    def select(self, shape: Shape, where: str, poll: Callable[[], object]) -> list[Row]:
        """Have the server parse the condition in two places, in which only one expression fits."""
        connection, name = self._connection, quoted(shape.name)
        table = f"{shape.source} AS {name}"
        by = self.backup.ident_columns(shape)
        order = ", ".join(f"{name}.{quoted(one.name)}" for one in by)
        seconds = _LEAST_SECONDS + self._size() / _BYTES_A_SECOND
        if "\0" in where:
            raise no_expression("it has a NUL character")
        execute(connection, "START TRANSACTION READ ONLY")
        try:
            for place in (f"(\n{where}\n)", f"CASE WHEN\n{where}\nTHEN 1 END"):
                statement = f"SELECT 1 FROM {table} WHERE {place}"
                execute(connection, f"PREPARE soulsense_rows FROM {literal(statement)}")
                execute(connection, "DEALLOCATE PREPARE soulsense_rows")
            number = int(scalar(connection, "SELECT CONNECTION_ID()"))
            statement = (
                f"SET STATEMENT max_statement_time = {seconds} FOR"
                f" SELECT {self.backup.select(by, name)} FROM {table}"
                f" WHERE (\n{where}\n) ORDER BY {order}"
            )
            found = cancellable(
                lambda: rows(connection, statement), poll, lambda: self._cancel(number)
            )
        except DBAPIError as error:
            columns = [one.name for one in shape.columns]
            said = code_of(error), reason_of(error)
            raise _of_condition(*said, shape.name, columns, seconds=seconds) from error
        finally:
            with cleaning_up("A transaction could not be ended"), live_errors(shape.name):
                execute(connection, "ROLLBACK")
        return list(map(self.backup.texts, found))

    def _cancel(self, number: int) -> None:
        with self._driver._login().connected(name=self._driver.database) as connection:
            execute(connection, f"KILL QUERY {number}")

    def _size(self) -> int:
        return inventory.size(self._connection, self._scratch.database)


def _of_condition(
    code: int, reason: str, table: str, columns: Sequence[str], *, seconds: float
) -> BackupError:
    if code in _SYNTAX:
        return no_expression(reason)
    if code == _NO_COLUMN:
        return unknown_column(reason, table, columns)
    if code in _WRITES:
        return not_allowed(reason)
    if code in _ENDED:
        return never_ends(seconds)
    return not_usable(reason, table)


@contextmanager
def rows_of(
    driver: MariaDBDriver, source: Path, progress: Progress | None
) -> Iterator[MariaDBServer]:
    """Load the backup file ``source`` into a schema that is dropped after the block."""

    def poll() -> None:
        if progress is not None:
            progress(0, 0)

    driver.finish_interrupted()
    login, tools, name = driver._login(), driver.tools(), driver.database
    schema = schemas.new_name(login.database)
    scratch = replace(login, database=schema)
    with ExitStack() as stack:
        keeper = stack.enter_context(
            schemas.new_schema(scratch, schema, live=login.database, name=name)
        )

        def drop() -> None:
            failed = f"The database {schema} could not be dropped"
            with cleaning_up(failed), live_errors(name):
                schemas.drop(keeper, schema)

        stack.callback(drop)
        loading.fill(
            source, schema, target=schema, login=scratch, tools=tools, name=name, poll=poll
        )
        connection = stack.enter_context(scratch.connected(schema, name=name))
        _number_rows(connection, schema)
        yield MariaDBServer(driver, scratch, connection)


def _number_rows(connection: Connection, schema: str) -> None:
    """Give the rows of tables without a primary key what they are found by."""
    execute(connection, "SET SESSION system_versioning_alter_history = KEEP")
    for one in inventory.tables(connection, schema):
        if one.key:
            continue
        column = f"{quoted(PLACE)} BIGINT UNSIGNED NOT NULL AUTO_INCREMENT INVISIBLE UNIQUE"
        try:
            execute(connection, f"ALTER TABLE {quoted(schema, one.name)} ADD COLUMN {column}")
        except DBAPIError as error:
            if code_of(error) != _HAS_COUNTER:
                raise
