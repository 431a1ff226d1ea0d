"""Write rows to a live PostgreSQL database, in a transaction of the application's own kind."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.postgresql import inventory
from soulsense_db.drivers.postgresql.autovacuum import end_autovacuum
from soulsense_db.drivers.postgresql.errors import code_of, reason_of
from soulsense_db.drivers.postgresql.row_tables import PostgreSQLTables
from soulsense_db.drivers.postgresql.statements import execute, quoted
from soulsense_db.drivers.row_errors import (
    not_owner,
    references_refused,
    refused_by_database,
    value_not_taken,
)
from soulsense_db.drivers.row_plan import Triggers
from soulsense_db.drivers.server_errors import locked
from soulsense_db.drivers.server_rows.pairs import Pair
from soulsense_db.drivers.server_rows.planning import Draft
from soulsense_db.drivers.server_rows.tables import MARK, Column, ForeignKey, Row, run
from soulsense_db.drivers.server_rows.writing import Writer
from soulsense_db.errors import BackupError

_ATTEMPT_MS = 150
_PAUSE_SECONDS = 0.02
_RETRIED = ("55P03", "40P01", "42P01")
_SNAPSHOT = sa.text("SELECT pg_catalog.pg_current_snapshot()::text")
_TRIGGERS = sa.text("""
    SELECT format('%I.%I', n.nspname, c.relname), t.tgname, t.tgenabled::text
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE (c.oid = CAST(:table AS regclass)
        OR c.oid IN (SELECT relid FROM pg_partition_tree(CAST(:table AS regclass))))
    AND (NOT t.tgisinternal OR (t.tgparentid <> 0 AND t.tgconstraint = 0))
    AND t.tgenabled IN ('O', 'A') ORDER BY 1, 2
""")
_ENABLE = {"O": "ENABLE TRIGGER", "A": "ENABLE ALWAYS TRIGGER"}
# What numbers new rows of a column: the sequence that it owns, or that its default names.
_SEQUENCES = sa.text("""
    SELECT DISTINCT a.attname::text, format('%I.%I', n.nspname, s.relname), q.seqincrement,
        q.seqmin, q.seqmax
    FROM pg_attribute a
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    JOIN pg_depend p ON (p.classid = 'pg_class'::regclass AND p.refclassid = 'pg_class'::regclass
            AND p.refobjid = a.attrelid AND p.refobjsubid = a.attnum AND p.deptype IN ('a', 'i'))
        OR (p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid
            AND p.refclassid = 'pg_class'::regclass)
    JOIN pg_class s ON s.relkind = 'S'
        AND s.oid = CASE WHEN p.classid = 'pg_attrdef'::regclass THEN p.refobjid ELSE p.objid END
    JOIN pg_sequence q ON q.seqrelid = s.oid JOIN pg_namespace n ON n.oid = s.relnamespace
    WHERE a.attrelid = CAST(:table AS regclass) AND NOT a.attisdropped
""")


def snapshot_of(connection: Connection) -> str:
    """Return which transactions have ended, on the whole server."""
    return str(connection.scalar(_SNAPSHOT))


class PostgreSQLWriter(Writer):
    """Writes to the live tables; ``name``: what errors call the database."""

    def __init__(self, tables: PostgreSQLTables, name: str, lock_timeout: float) -> None:
        self.tables = tables
        self._connection, self._path = tables.connection, tables.search_path
        self._name, self._lock_timeout = name, lock_timeout

    # Nobody else

    def lock(self) -> None:
        """Lock all tables against writers; readers go on.

        Whoever waits behind us is let through again and again: a deadlock hits nobody.
        """
        deadline = time.monotonic() + self._lock_timeout
        connection = self._connection
        while True:
            try:
                with connection.begin_nested():
                    execute(connection, f"SET LOCAL lock_timeout = {_ATTEMPT_MS}")
                    found = inventory.tables(connection)
                    if statement := inventory.lock(found, "SHARE ROW EXCLUSIVE"):
                        execute(connection, statement)
                    limit = max(1, int(self._lock_timeout * 1000))
                    execute(connection, f"SET LOCAL lock_timeout = {limit}")
                break
            except DBAPIError as error:
                if code_of(error) not in _RETRIED:
                    raise
                nested = connection.begin_nested()
                end_autovacuum(connection)
                nested.rollback()
            if time.monotonic() > deadline:
                raise locked(self._name, "somebody is writing to it")
            time.sleep(_PAUSE_SECONDS)
        self.tables.__dict__.pop("shapes", None)  # they may have changed until now

    def is_as_of(self, stamp: object) -> bool:
        """Whether no transaction that writes was open then, and none has begun since."""
        first, last, others = str(stamp).split(":")
        return first == last and not others and snapshot_of(self._connection) == stamp

    # Around the rows

    @contextmanager
    def prepared(
        self, draft: Draft, *, triggers: Triggers, deferred: Sequence[ForeignKey]
    ) -> Iterator[None]:
        """Disable triggers and put foreign keys off; all of it is as it was at the end."""
        connection = self._connection
        before, after = [], []
        for writes in draft.tables if triggers == "skip" else ():
            if not writes.actions:
                continue
            for table, name, enabled in connection.execute(
                _TRIGGERS, {"table": writes.pair.shape.sql}
            ).all():
                altering = f"ALTER TABLE ONLY {table}"
                before.append(f"{altering} DISABLE TRIGGER {quoted(name)}")
                after.append(f"{altering} {_ENABLE[enabled]} {quoted(name)}")
        for key in deferred:
            if not key.is_deferrable:
                table = self.tables.shapes[key.table].sql
                altering = f"ALTER TABLE {table} ALTER CONSTRAINT {quoted(key.name)}"
                before.append(f"{altering} DEFERRABLE")
                after.append(f"{altering} NOT DEFERRABLE")
        self._alter([*before, "SET CONSTRAINTS ALL DEFERRED"])
        if triggers == "run":  # they look for their tables where the application does
            path = ", ".join(map(quoted, self._path))
            execute(connection, f"SET LOCAL search_path = {path or quoted('')}")
        yield
        try:
            execute(connection, "SET CONSTRAINTS ALL IMMEDIATE")
        except DBAPIError as error:
            if not code_of(error).startswith("23"):
                raise
            raise references_refused(_constraint_in(error)) from error
        execute(connection, "SET LOCAL search_path = ''")
        self._alter(after)

    def _alter(self, statements: Sequence[str]) -> None:
        try:
            for statement in statements:
                execute(self._connection, statement)
        except DBAPIError as error:
            if code_of(error) != "42501":
                raise
            raise not_owner(reason_of(error)) from error

    # A row

    def insert(self, pair: Pair, ident: Row, row: Row) -> Row | None:
        """Insert a row with all its values, those that the table would number as well."""
        del ident
        columns = ", ".join(quoted(one.name) for one in pair.columns)
        marks = ", ".join(MARK for _ in pair.columns)
        what = (
            f"({columns}) OVERRIDING SYSTEM VALUE VALUES ({marks})"
            if columns
            else ("DEFAULT VALUES")
        )
        statement = f"INSERT INTO {pair.shape.sql} AS t {what}"
        return self._returned(f"{statement} RETURNING {self.tables.select(pair.columns)}", row)

    def update(self, pair: Pair, ident: Row, row: Row, changed: Sequence[Column]) -> Row | None:
        """Update the values that change."""
        del ident
        setting = ", ".join(f"{quoted(one.name)} = {MARK}" for one in changed)
        condition = " AND ".join(
            f"t.{quoted(one.name)} {one.equals} {self.tables.typed(one)}"
            for one in pair.key_columns
        )
        values = [row[pair.places[one.name]] for one in changed]
        return self._returned(
            f"UPDATE {pair.shape.source} AS t SET {setting} WHERE {condition}"  # noqa: S608 - quoted
            f" RETURNING {self.tables.select(pair.columns)}",
            [*values, *pair.key_of(row)],
        )

    def _returned(self, statement: str, values: Sequence[str | None]) -> Row | None:
        found = run(self._connection, statement, values)
        if not found.returns_rows:  # a rule of the application's did something else
            return None
        rows = [tuple(row) for row in found]
        return rows[0] if len(rows) == 1 else None

    def finish(self, pair: Pair) -> None:
        """Have sequences go on behind the numbers that rows have now."""
        connection = self._connection
        found = connection.execute(_SEQUENCES, {"table": pair.shape.sql}).all()
        for column, sequence, step, least, most in found:
            if column not in pair.places:
                continue
            last = "max" if step > 0 else "min"
            behind = ">=" if step > 0 else "<="
            value = f"SELECT {last}({quoted(column)})::numeric AS n FROM {pair.shape.source}"  # noqa: S608 - quoted
            upcoming = f"last_value + CASE WHEN is_called THEN {step} ELSE 0 END"
            execute(
                connection,
                f"SELECT pg_catalog.setval('{_in_quotes(sequence)}', v.n::bigint)"  # noqa: S608
                f" FROM ({value}) AS v, {sequence} AS s"
                f" WHERE v.n {behind} {upcoming} AND v.n BETWEEN {least} AND {most}",
            )

    def refused(self, error: DBAPIError, pair: Pair, row: Row) -> BackupError | None:
        """Say which constraint refuses a row; what the server says may have values in it."""
        code = code_of(error)
        if code.startswith("23"):
            return refused_by_database(pair.name, pair.called(row), _constraint_in(error))
        if code.startswith("22"):
            return value_not_taken(pair.name, pair.called(row))
        if code.startswith(("P0", "44", "428C9", "39", "38", "2F", "0A000")):
            return refused_by_database(
                pair.name, pair.called(row), "a trigger, a rule or a view of the database"
            )
        return None


def _constraint_in(error: DBAPIError) -> str:
    """Return which constraint an error is about, without the values that break it."""
    diagnosis = getattr(error.orig, "diag", None)
    constraint = getattr(diagnosis, "constraint_name", None)
    if constraint:
        return f"constraint {constraint}"
    column = getattr(diagnosis, "column_name", None)
    return f"column {column}" if column else reason_of(error)


def _in_quotes(text: str) -> str:
    return text.replace("'", "''")
