"""What is in a database, as its server says, and what its columns add up to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.dump_changes import Kind
from soulsense_db.drivers.mariadb import inventory
from soulsense_db.drivers.mariadb.errors import code_of
from soulsense_db.drivers.mariadb.inventory import Found
from soulsense_db.drivers.mariadb.statements import is_schema, literal, quoted, rows
from soulsense_db.drivers.rehearsal import ColumnSurvey, TableSurvey
from soulsense_db.drivers.server_rehearsal import Seen
from soulsense_db.notices import log_ignored

_TEXTS = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext"}
_BYTES = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"}
_NUMBERS = {"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double"}
_NUMBERS |= {"bit", "year"}
_NO_TABLE = 1146
_COLUMNS_IN_ONE = 300  # of a result there are 4,096 at most
_WORDS = {"SYSTEM VERSIONED": "table", "BASE TABLE": "table"}
_COLUMNS = (
    "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS"
    " WHERE TABLE_SCHEMA = {} ORDER BY TABLE_NAME, ORDINAL_POSITION"
)
_NAMES = (
    "SELECT CASE TABLE_TYPE WHEN 'VIEW' THEN 'view' WHEN 'SEQUENCE' THEN 'sequence'"
    " ELSE 'table' END, TABLE_NAME FROM information_schema.TABLES"
    " WHERE TABLE_SCHEMA = DATABASE() UNION ALL"
    " SELECT 'column', CONCAT(TABLE_NAME, '.', COLUMN_NAME) FROM information_schema.COLUMNS"
    " WHERE TABLE_SCHEMA = DATABASE() UNION ALL"
    " SELECT DISTINCT 'index', CONCAT(TABLE_NAME, '.', INDEX_NAME)"
    " FROM information_schema.STATISTICS"
    " WHERE TABLE_SCHEMA = DATABASE() AND INDEX_NAME <> 'PRIMARY' UNION ALL"
    " SELECT 'trigger', TRIGGER_NAME FROM information_schema.TRIGGERS"
    f" WHERE {is_schema('TRIGGER_SCHEMA', 'DATABASE()')} UNION ALL"
    " SELECT LOWER(ROUTINE_TYPE), ROUTINE_NAME FROM information_schema.ROUTINES"
    " WHERE ROUTINE_SCHEMA = DATABASE() UNION ALL"
    " SELECT 'event', EVENT_NAME FROM information_schema.EVENTS"
    f" WHERE {is_schema('EVENT_SCHEMA', 'DATABASE()')}"
)
_INDEXES = (
    "SELECT TABLE_NAME, INDEX_NAME, GROUP_CONCAT(CONCAT_WS(' ', NON_UNIQUE, COLUMN_NAME, SUB_PART)"
    " ORDER BY SEQ_IN_INDEX) FROM information_schema.STATISTICS"
    " WHERE TABLE_SCHEMA = {} AND INDEX_NAME <> 'PRIMARY' GROUP BY TABLE_NAME, INDEX_NAME"
)
_PARENTS = (
    "SELECT DISTINCT TABLE_NAME, REFERENCED_TABLE_NAME"
    " FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = {}"
    " AND DELETE_RULE = 'CASCADE' AND TABLE_NAME <> REFERENCED_TABLE_NAME"
    " ORDER BY TABLE_NAME, REFERENCED_TABLE_NAME"
)

_REFERENCES = (
    "SELECT CONSTRAINT_NAME, TABLE_NAME, COLUMN_NAME, REFERENCED_TABLE_SCHEMA,"
    " REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE"
    " WHERE TABLE_SCHEMA = {} AND REFERENCED_TABLE_NAME IS NOT NULL"
    " ORDER BY TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION"
)


def broken_references(connection: Connection, schema: str) -> dict[tuple[str, str], int]:
    """Return how many rows of a table refer to rows of another that are not there."""
    keys: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    for name, table, *pair in rows(connection, _REFERENCES.format(literal(schema))):
        keys.setdefault((str(table), str(name)), []).append(tuple(map(str, pair)))
    found: dict[tuple[str, str], int] = {}
    for (table, _), pairs in keys.items():
        _, place, other, _ = pairs[0]
        given = " AND ".join(f"c.{quoted(column)} IS NOT NULL" for column, *_ in pairs)
        same = " AND ".join(f"p.{quoted(theirs)} = c.{quoted(own)}" for own, *_, theirs in pairs)
        asked = (
            f"SELECT COUNT(*) FROM {quoted(schema, table)} AS c WHERE {given} AND NOT EXISTS"
            f" (SELECT 1 FROM {quoted(place, other)} AS p WHERE {same})"
        )
        try:
            count = int(rows(connection, asked)[0][0])
        except DBAPIError as error:
            if code_of(error) != _NO_TABLE:
                raise
            # The table is gone: all that refer to it refer to nothing.
            asked = f"SELECT COUNT(*) FROM {quoted(schema, table)} AS c WHERE {given}"
            count = int(rows(connection, asked)[0][0])
        if count:
            found[table, other] = found.get((table, other), 0) + count
    return found


def look(connection: Connection, schema: str, *, name: str) -> Seen:
    """Return what is in a database that nobody changes meanwhile; ``name``: for errors."""
    here = literal(schema)
    types: dict[str, list[tuple[str, str]]] = {}
    for table, column, kind in rows(connection, _COLUMNS.format(here)):
        types.setdefault(str(table), []).append((str(column), str(kind)))
    taken = inventory.take(connection, schema, name=name)
    texts = {f"{shown_kind(item.kind)} {item.name}": item.statement for item in taken.items}
    texts |= {
        f"index {table}.{index}": str(made)
        for table, index, made in rows(connection, _INDEXES.format(here))
    }
    parents: dict[str, list[str]] = {}
    for table, other in rows(connection, _PARENTS.format(here)):
        parents.setdefault(str(table), []).append(str(other))
    return Seen(
        tables=tuple(
            TableSurvey(
                table=one.name,
                parents=tuple(parents.get(one.name, ())),
                **_added_up(connection, schema, one, types.get(one.name, [])),
            )
            for one in taken.tables
        ),
        schema=texts,
        columns=tuple(
            f"{table}.{column}"
            for table in (one.name for one in taken.tables)
            for column, _ in types.get(table, ())
        ),
        kinds={(table, column): _kind(kind) for table, of in types.items() for column, kind in of},
        heads={
            (table, table): inventory.heads(connection, schema, table) or ()
            for table, of in types.items()
            if [column for column, _ in of] == ["version_num"]
        },
        identities={},
        old=frozenset(),  # the server does not tell how old a row is
        moment=0,
    )


def shown_kind(kind: str) -> str:
    """Return how a kind of thing is called."""
    return _WORDS.get(kind, kind.lower())


def _kind(name: str) -> Kind:
    if name in _TEXTS or name in _BYTES:
        return "text"
    return "number" if name in _NUMBERS else "other"


def _added_up(
    connection: Connection, schema: str, one: Found, types: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """Return how many rows a table has now, and what its columns add up to."""
    of = [pair for pair in types if pair[0] in one.columns]
    surveyed: list[ColumnSurvey] = []
    count = 0
    for start in range(0, max(1, len(of)), _COLUMNS_IN_ONE):
        some = of[start : start + _COLUMNS_IN_ONE]
        asked = ", ".join(["COUNT(*)", *(part for pair in some for part in _sums(*pair))])
        found = rows(connection, f"SELECT {asked} FROM {quoted(schema, one.name)}")[0]
        count = int(found[0])
        for number, (column, kind) in enumerate(some):
            values, length, total = found[1 + 3 * number : 4 + 3 * number]
            surveyed.append(
                ColumnSurvey(
                    column=column,
                    values=int(values),
                    texts=int(values) if _kind(kind) == "text" else 0,
                    length=int(length or 0),
                    total=float(total or 0),
                )
            )
    return {"rows": count, "columns": tuple(surveyed)}


def _sums(column: str, kind: str) -> Iterator[str]:
    name = quoted(column)
    yield f"COUNT({name})"
    if kind in _TEXTS:
        yield f"SUM(CHAR_LENGTH({name}))"
    else:
        yield f"SUM(LENGTH({name}))" if kind in _BYTES else "0"
    yield f"SUM({name})" if kind in _NUMBERS else "0"


def names_in(connection: Connection) -> list[str] | None:
    """Return the names of what there is, through a connection of the application's."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(_NAMES)
        found = cursor.fetchall()
    except Exception as error:  # noqa: BLE001 - of whichever library it is
        log_ignored("What a step finds is not known", error)
        return None
    finally:
        cursor.close()
    return sorted({f"{kind} {name}" for kind, name in found})
