"""Write rows to a live MariaDB database, in a transaction of the application's own kind.

The server copies them from schema to schema: no value passes through a program.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.mariadb import inventory
from soulsense_db.drivers.mariadb.errors import code_of
from soulsense_db.drivers.mariadb.row_tables import MariaDBTables, next_of
from soulsense_db.drivers.mariadb.statements import execute, literal, quoted, rows, scalar
from soulsense_db.drivers.row_errors import (
    cannot_set_aside,
    no_transactions,
    refused_by_database,
    value_not_taken,
)
from soulsense_db.drivers.row_plan import Triggers
from soulsense_db.drivers.server_rows.pairs import Pair
from soulsense_db.drivers.server_rows.planning import Draft
from soulsense_db.drivers.server_rows.tables import Column, ForeignKey, Row
from soulsense_db.drivers.server_rows.writing import Writer
from soulsense_db.errors import BackupError

_CONSTRAINT = re.compile(r"(?:CONSTRAINT `([^`]+)`|for key '([^']+)'$)")
_OF_CONSTRAINTS = (1022, 1048, 1062, 1169, 1216, 1217, 1364, 1451, 1452, 1557, 1586, 4025)
_OF_VALUES = (1118, 1264, 1265, 1292, 1366, 1367, 1406, 1411, 1416, 1525, 1690, 4078)
_OF_TRIGGERS = (1442, 1644)


class MariaDBWriter(Writer):
    """Writes to the live tables what the schema ``scratch`` has."""

    def __init__(self, tables: MariaDBTables, scratch: str) -> None:
        self.tables = tables
        self._connection = tables.connection
        self._live, self._scratch = tables.schema, scratch

    # Nobody else

    def lock(self) -> None:
        """Lock all tables against writers; readers go on, and so does a dump.

        With ``WRITE CONCURRENT`` nobody is kept from reading. It is InnoDB that keeps writers out,
        for as long as the transaction lasts. In a table of another engine nothing is written.
        """
        connection = self._connection
        without = inventory.engines_without_transactions(connection)
        live, scratch = self._live, self._scratch
        listed = [
            f"{quoted(live, one.name)} {'READ' if one.engine in without else 'WRITE CONCURRENT'}"
            for one in inventory.tables(connection, live)
        ]
        sequences = rows(
            connection,
            "SELECT TABLE_NAME FROM information_schema.TABLES"
            f" WHERE TABLE_TYPE = 'SEQUENCE' AND TABLE_SCHEMA = {literal(live)}",
        )
        listed += [f"{quoted(live, name)} WRITE CONCURRENT" for (name,) in sequences]
        found = inventory.tables(connection, scratch)
        listed += [f"{quoted(scratch, one.name)} READ" for one in found]
        execute(connection, f"LOCK TABLES {', '.join(listed)}")
        self.tables.__dict__.pop("shapes", None)  # they may have changed until now

    def is_as_of(self, stamp: object) -> bool:
        """Never claim to know."""
        del stamp
        return False

    # Around the rows

    @contextmanager
    def prepared(
        self, draft: Draft, *, triggers: Triggers, deferred: Sequence[ForeignKey]
    ) -> Iterator[None]:
        """Where rows refer to each other, do not look at foreign keys: the plan has.

        InnoDB looks at each row by itself, and nobody else can write.
        """
        del draft, triggers
        if deferred:
            execute(self._connection, "SET SESSION foreign_key_checks = 0")
        yield
        if deferred:
            execute(self._connection, "SET SESSION foreign_key_checks = 1")

    # A row

    def insert(self, pair: Pair, ident: Row, row: Row) -> Row | None:
        """Have the server insert what the backup has."""
        columns = ", ".join(quoted(one.name) for one in pair.columns)
        source = pair.source.sql
        values = ", ".join(f"{source}.{quoted(one.name)}" for one in pair.columns)
        statement = f"SELECT {values} FROM {source} WHERE {self._chosen(pair)}"
        found = self.tables.run(f"INSERT INTO {pair.shape.sql} ({columns}) {statement}", ident)
        return self._there(pair, row, found.rowcount)

    def update(self, pair: Pair, ident: Row, row: Row, changed: Sequence[Column]) -> Row | None:
        """Have the server set what differs to what the backup has."""
        live, source = pair.shape.sql, pair.source.sql
        names = [quoted(one.name) for one in changed]
        setting = ", ".join(f"{live}.{name} = {source}.{name}" for name in names)
        condition = " AND ".join(
            f"{live}.{quoted(one.name)} = {self.tables.typed(one)}" for one in pair.key_columns
        )
        found = self.tables.run(
            f"UPDATE {live} JOIN {source} ON {self._chosen(pair)} SET {setting} WHERE {condition}",
            [*ident, *pair.key_of(row)],
        )
        return self._there(pair, row, found.rowcount)

    def _chosen(self, pair: Pair) -> str:
        """Return the condition for a row of the backup, by what it is found by."""
        by = pair.backup.ident_columns(pair.source)
        source = pair.source.sql
        return " AND ".join(f"{source}.{quoted(one.name)} = {self.tables.typed(one)}" for one in by)

    def _there(self, pair: Pair, row: Row, written: int) -> Row | None:
        """Return what is there now; without a key, what was written."""
        if written != 1:
            return None
        return pair.find([row])[0] if pair.key else row

    def finish(self, pair: Pair) -> None:
        """Have sequences go on behind the numbers that rows have now."""
        connection = self._connection
        for column, default in rows(
            connection,
            "SELECT COLUMN_NAME, COLUMN_DEFAULT FROM information_schema.COLUMNS"
            f" WHERE TABLE_SCHEMA = {literal(self._live)} AND TABLE_NAME = {literal(pair.name)}"
            " AND COLUMN_DEFAULT LIKE 'nextval(%'",
        ):
            if (sequence := next_of(default)) and column in pair.places:
                most = scalar(
                    connection,
                    f"SELECT MAX({quoted(column)}) FROM {pair.shape.sql}",
                )
                if most is not None:  # a number that it is beyond already changes nothing
                    scalar(connection, f"SELECT SETVAL({sequence}, {int(most)})")

    def refused(self, error: DBAPIError, pair: Pair, row: Row) -> BackupError | None:
        """Say which constraint refuses a row; what the server says may have values in it."""
        code = code_of(error)
        if code in _OF_CONSTRAINTS:
            return refused_by_database(pair.name, pair.called(row), _constraint_in(error))
        if code in _OF_VALUES:
            return value_not_taken(pair.name, pair.called(row))
        if code in _OF_TRIGGERS:
            return refused_by_database(pair.name, pair.called(row), "a trigger of the database")
        return None


def require_writable(connection: Connection, schema: str, draft: Draft, triggers: Triggers) -> None:
    """Raise for tables whose rows could not be taken back, or whose triggers would run.

    A trigger can only be dropped, and that commits what was written until then.
    """
    without = inventory.engines_without_transactions(connection)
    engines = {one.name: one.engine for one in inventory.tables(connection, schema)}
    all_triggers = inventory.take_triggers(connection, schema)
    for writes in draft.tables:
        name = writes.pair.name
        if not writes.actions:
            continue
        if engines.get(name) in without:
            raise no_transactions(name, engines[name])
        events = {"INSERT" if one == "insert" else "UPDATE" for one in writes.actions.values()}
        running = [one.name for one in all_triggers if one.table == name and one.event in events]
        if running and triggers == "skip":
            raise cannot_set_aside(name, running)


def _constraint_in(error: DBAPIError) -> str:
    """Return which constraint an error is about, without the values that break it."""
    text = str(error.orig.args[-1] if error.orig is not None and error.orig.args else "")
    match = _CONSTRAINT.search(text)
    if match is None:
        return "a constraint"
    return f"constraint {match[1] or match[2]}"
