"""What is in a schema, as the server says: tables, with columns and keys, and programs."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.mariadb.errors import code_of
from soulsense_db.drivers.mariadb.rights import user
from soulsense_db.drivers.mariadb.shown import KINDS, shown
from soulsense_db.drivers.mariadb.statements import is_schema, literal, quoted, rows, scalar
from soulsense_db.drivers.mariadb.trigger_text import body_in
from soulsense_db.drivers.server_errors import missing_right

_COUNTER = re.compile(r" AUTO_INCREMENT=\d+")
_SURROGATE = re.compile("[\ud800-\udfff]")
_TABLES_AT_ONCE = 40
_SIZE_SECONDS = 0.5


ROUTINES = ("PACKAGE BODY", "PACKAGE", "FUNCTION", "PROCEDURE")
"""In the order in which they are dropped."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A table with rows; ``columns``: those that are no result of others, ``key``: the primary."""

    name: str
    kind: str
    engine: str
    columns: tuple[str, ...]
    key: tuple[str, ...]

    @property
    def is_versioned(self) -> bool:
        """Whether it keeps rows that were changed or deleted."""
        return self.kind == "SYSTEM VERSIONED"


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger, by its parts: its table may have another name when it is made."""

    name: str
    table: str
    timing: str
    event: str
    body: str
    definer: str
    sql_mode: str
    client: str
    collation: str

    @property
    def statement(self) -> str:
        """What makes it, in the schema in use: a name of one would be kept as a part of it."""
        user, _, host = self.definer.rpartition("@")
        account = quoted(user) + (f"@{quoted(host)}" if host else "")  # a role has no host
        definer = f"DEFINER={account} " if user else ""
        return (
            f"CREATE {definer}TRIGGER {quoted(self.name)} {self.timing} {self.event}"
            f" ON {quoted(self.table)} FOR EACH ROW {self.body}"
        )


class Item(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A part of a schema: its kind, its name, and the statement that makes it."""

    kind: str
    name: str
    statement: str


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """All that is in a schema but rows; ``times``: when each was made or changed."""

    tables: tuple[Found, ...]
    triggers: tuple[Trigger, ...]
    items: frozenset[Item]
    times: frozenset[tuple[str, str, str]] = frozenset()

    def names(self, *kinds: str) -> list[str]:
        """Return the sorted names of these kinds."""
        return sorted(item.name for item in self.items if item.kind in kinds)


def is_in_a_cluster(connection: Connection) -> bool:
    """Whether what the session does goes to the other nodes of Galera as well."""
    found = rows(connection, "SHOW VARIABLES LIKE 'wsrep_on'")
    return bool(found) and str(found[0][1]) == "ON"


def take(connection: Connection, schema: str, *, name: str) -> Inventory:
    """Return all that is in ``schema``; ``name`` is what errors call it."""
    listed = _listed(connection, schema)
    triggers = take_triggers(connection, schema)
    items = _items(connection, schema, [(kind, one) for kind, one, _ in listed], name)
    items |= {
        Item(kind="TRIGGER", name=one.name, statement=f"{number} {one.statement}")
        for number, one in enumerate(triggers)
    }
    return Inventory(
        tables=tuple(tables(connection, schema)),
        triggers=tuple(triggers),
        items=frozenset(items),
        times=frozenset(listed),
    )


def with_programs_of(found: Inventory, programs: Inventory, *, live: str) -> Inventory:
    """Return tables and sequences of the one, and of the other what no table takes with it.

    The tables are in another schema than ``live``, for which they are.
    """
    moved = ("BASE TABLE", "SYSTEM VERSIONED", "SEQUENCE")
    elsewhere = f"nextval({quoted(live)}."  # in its own schema it is not named
    tables = {
        msgspec.structs.replace(one, statement=one.statement.replace(elsewhere, "nextval("))
        for one in found.items
        if one.kind in moved
    }
    return Inventory(
        tables=found.tables,
        triggers=programs.triggers,
        items=frozenset(tables | {one for one in programs.items if one.kind not in moved}),
    )


def without(found: Inventory, names: Collection[str]) -> Inventory:
    """Leave these sequences and views out."""

    def stays(kind: str, name: str) -> bool:
        return kind not in ("SEQUENCE", "VIEW") or name not in names

    return msgspec.structs.replace(
        found,
        items=frozenset(one for one in found.items if stays(one.kind, one.name)),
        times=frozenset(one for one in found.times if stays(one[0], one[1])),
    )


def _listed(connection: Connection, schema: str) -> list[tuple[str, str, str]]:
    """Return kind, name and time of everything that has a statement of its own."""
    here = literal(schema)
    found = rows(
        connection,
        "SELECT TABLE_TYPE, TABLE_NAME, IFNULL(CREATE_TIME, '') FROM information_schema.TABLES"
        f" WHERE TABLE_SCHEMA = {here} UNION ALL"
        " SELECT ROUTINE_TYPE, ROUTINE_NAME, LAST_ALTERED FROM information_schema.ROUTINES"
        f" WHERE ROUTINE_SCHEMA = {here} UNION ALL"
        " SELECT 'EVENT', EVENT_NAME, LAST_ALTERED FROM information_schema.EVENTS"
        f" WHERE {is_schema('EVENT_SCHEMA', here)}",
    )
    return [(str(kind), str(one), str(time)) for kind, one, time in found if str(kind) in KINDS]


def as_written(connection: Connection, schema: str) -> str:
    """Return a schema's name as the server writes it in statements, however it was named."""
    is_lowered = scalar(connection, "SELECT @@lower_case_table_names = 1")
    return schema.lower() if is_lowered else schema


def _items(
    connection: Connection, schema: str, listed: Sequence[tuple[str, str]], name: str
) -> set[Item]:
    """Return what makes each thing that has not gone; names without that of the schema."""
    written = as_written(connection, schema)
    found = set()
    for (kind, one), row in zip(listed, shown(connection, schema, listed), strict=True):
        if row is None:
            continue
        column = KINDS[kind].column
        if row[column] is None:
            raise missing_right(
                name,
                f"the {kind.lower()} {one} is somebody else's, and its statements cannot be read",
                statement=f"GRANT SELECT ON mysql.proc TO {user(connection)};",
            )
        others = (*row[1:column], *row[column + 1 :]) if column > 1 else ()
        session = " ".join(str(value) for value in others)
        text = _COUNTER.sub("", str(row[column])).replace(f"{quoted(written)}.", "")
        found.add(Item(kind=kind, name=one, statement=f"{session} {text}".strip()))
    return found


def tables(connection: Connection, schema: str) -> list[Found]:
    """Return the tables that have rows, sorted by name as the server's locks are."""
    here = literal(schema)
    columns: dict[str, list[str]] = {}
    for table, column in rows(
        connection,
        "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS"
        f" WHERE TABLE_SCHEMA = {here} AND IS_GENERATED = 'NEVER'"
        " ORDER BY TABLE_NAME, ORDINAL_POSITION",
    ):
        columns.setdefault(table, []).append(column)
    keys: dict[str, list[str]] = {}
    for table, column in rows(
        connection,
        "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.STATISTICS"
        f" WHERE TABLE_SCHEMA = {here} AND INDEX_NAME = 'PRIMARY'"
        " ORDER BY TABLE_NAME, SEQ_IN_INDEX",
    ):
        keys.setdefault(table, []).append(column)
    found = rows(
        connection,
        "SELECT TABLE_NAME, TABLE_TYPE, IFNULL(ENGINE, '') FROM information_schema.TABLES"
        f" WHERE TABLE_SCHEMA = {here} AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')",
    )
    return sorted(
        (
            Found(
                name=table,
                kind=kind,
                engine=engine,
                columns=tuple(columns.get(table, ())),
                key=tuple(keys.get(table, ())),
            )
            for table, kind, engine in found
        ),
        key=lambda one: one.name.encode(),
    )


def renamed(connection: Connection, schema: str) -> list[str]:
    """Return the names of all that ``RENAME TABLE`` moves: tables and sequences."""
    found = rows(
        connection,
        f"SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {literal(schema)}"
        " AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED', 'SEQUENCE')",
    )
    return sorted((str(one) for (one,) in found), key=str.encode)


def take_triggers(connection: Connection, schema: str) -> list[Trigger]:
    """Return the triggers in the order in which they are to be made."""
    found = rows(
        connection,
        "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION,"
        " ACTION_STATEMENT, DEFINER, SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION"
        f" FROM information_schema.TRIGGERS WHERE {is_schema('TRIGGER_SCHEMA', literal(schema))}"
        " ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER",
    )
    listed = [Trigger(**dict(zip(Trigger.__struct_fields__, row, strict=True))) for row in found]
    things = [("TRIGGER", one.name) for one in listed]
    texts = shown(connection, schema, things, errors="surrogateescape")
    return [
        _with_body(one, str(row[KINDS["TRIGGER"].column]))
        for one, row in zip(listed, texts, strict=True)
        if row is not None
    ]


def _with_body(one: Trigger, statement: str) -> Trigger:
    """Return a trigger with its body as it was written; the list has it in other words.

    What is not of the character set that the client named is right in these alone.
    """
    body = body_in(statement, timing=one.timing, event=one.event)
    if body is None or _SURROGATE.search(body):
        return one
    return msgspec.structs.replace(one, body=body)


def trigger_names(connection: Connection, schema: str) -> set[str]:
    """Return the names of the triggers."""
    found = rows(
        connection,
        "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS"
        f" WHERE {is_schema('TRIGGER_SCHEMA', literal(schema))}",
    )
    return {str(one) for (one,) in found}


def version(connection: Connection) -> str:
    """Return the server's version, as ``10.11.19-MariaDB``."""
    return str(scalar(connection, "SELECT VERSION()"))


def engines_without_transactions(connection: Connection) -> set[str]:
    """Return the engines whose tables are not of one moment in a transaction."""
    found = rows(
        connection, "SELECT ENGINE FROM information_schema.ENGINES WHERE TRANSACTIONS <> 'YES'"
    )
    return {str(one) for (one,) in found}


def counts(connection: Connection, schema: str, found: Sequence[Found]) -> list[int]:
    """Return how many rows each of the tables has, with those that are kept as history."""
    return [
        int(scalar(connection, f"SELECT COUNT(*) FROM {_source(schema, one)}")) for one in found
    ]


def _source(schema: str, one: Found) -> str:
    history = " FOR SYSTEM_TIME ALL" if one.is_versioned else ""
    return f"{quoted(schema, one.name)}{history}"


def size(connection: Connection, schema: str) -> int:
    """Return about how many bytes a dump of the rows has.

    The server's own numbers lag behind: what can be added up in half a second is.
    """
    found = tables(connection, schema)
    total = 4096 + 1024 * len(found)
    try:
        for begin in range(0, len(found), _TABLES_AT_ONCE):
            parts = " UNION ALL ".join(
                _bytes_of(schema, one) for one in found[begin : begin + _TABLES_AT_ONCE]
            )
            total += sum(
                int(number)
                for (number,) in rows(
                    connection, f"SET STATEMENT max_statement_time = {_SIZE_SECONDS} FOR {parts}"
                )
            )
    except DBAPIError:
        return int(
            scalar(
                connection,
                "SELECT IFNULL(SUM(DATA_LENGTH), 0) FROM information_schema.TABLES"
                f" WHERE TABLE_SCHEMA = {literal(schema)}",
            )
        )
    return total


def _bytes_of(schema: str, one: Found) -> str:
    each = " + ".join(f"IFNULL(LENGTH({quoted(column)}), 4) + 3" for column in one.columns)
    return f"SELECT IFNULL(SUM({each or 4}), 0) FROM {_source(schema, one)}"


def heads(connection: Connection, schema: str, version_table: str) -> tuple[str, ...] | None:
    """Return the sorted revisions in ``version_table``, None without that table."""
    try:
        found: list[tuple[Any, ...]] = rows(
            connection, f"SELECT version_num FROM {quoted(schema, version_table)}"
        )
    except DBAPIError as error:
        if code_of(error) == 1146:
            return None
        raise
    return tuple(sorted(str(one) for (one,) in found))


def referring_from_elsewhere(
    connection: Connection, schema: str, *, without: Collection[str] = ()
) -> list[str]:
    """Return the tables of other schemas, but of those ``without``, that refer to ``schema``."""
    here = literal(schema)
    found = rows(
        connection,
        "SELECT DISTINCT CONSTRAINT_SCHEMA, TABLE_NAME"
        " FROM information_schema.REFERENTIAL_CONSTRAINTS"
        f" WHERE {is_schema('UNIQUE_CONSTRAINT_SCHEMA', here)}"
        f" AND NOT {is_schema('CONSTRAINT_SCHEMA', here)}",
    )
    return sorted(f"{other}.{table}" for other, table in found if other not in without)
