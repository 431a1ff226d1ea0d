"""Foreign keys that a swap leaves between the live schema and those beside it.

The server has a foreign key to a missing table by the name alone: so it stays where it was when
other tables change places, and holds for whatever table comes under that name.

To have it name another one takes two statements, for in one it may not be dropped and made under
one name. So it is noted before: what a kill between them leaves is mended by the next one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.mariadb import schemas
from soulsense_db.drivers.mariadb.errors import code_of, reason_of
from soulsense_db.drivers.mariadb.shown import shown
from soulsense_db.drivers.mariadb.statements import (
    execute,
    is_schema,
    literal,
    quoted,
    rows,
    scalar,
)
from soulsense_db.notices import warn

_NAME = r"`(?:[^`]|``)+`"
_NOTES = "soulsense_references"
_NOT_THERE = (1049, 1146)
# There is another table by that name now: its columns are not those that the key needs.
_DOES_NOT_FIT = (1005, 1072, 1215, 1822)


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """A foreign key, and how it is to be: ``clause`` names a table of its own schema.

    ``indexes``: those that its table has.
    """

    schema: str
    table: str
    key: str
    clause: str
    indexes: tuple[str, ...]


def bring_home(
    connection: Connection, found_in: Sequence[str], live: str, *, noted_in: str, name: str
) -> None:
    """Let foreign keys name tables of their own schema, in the place of others of the database.

    Its schemas are ``live`` and ours; ``found_in`` are those to look at. The table that a key
    refers to was missing, so it has not come along.
    """
    led_astray = [*_noted(connection, noted_in)]
    known = {(one.schema, one.table, one.key) for one in led_astray}
    for schema in found_in:
        led_astray += [
            one
            for one in _astray(connection, schema, live)
            if (one.schema, one.table, one.key) not in known
        ]
    if not led_astray:
        return
    _note(connection, noted_in, led_astray)
    for one in led_astray:
        _bring_home(connection, one, name)
    execute(connection, f"DROP TABLE {quoted(noted_in, _NOTES)}")


def _bring_home(connection: Connection, one: Reference, name: str) -> None:
    indexes = _indexes(connection, one.schema, one.table)
    if not indexes:  # somebody has dropped the table since
        return
    altered = f"ALTER TABLE {quoted(one.schema, one.table)}"
    leads_to = scalar(
        connection,
        "SELECT UNIQUE_CONSTRAINT_SCHEMA FROM information_schema.REFERENTIAL_CONSTRAINTS"
        f" WHERE {_is_of(one.schema)} AND {is_schema('TABLE_NAME', literal(one.table))}"
        f" AND CONSTRAINT_NAME = {literal(one.key)}",
    )
    if leads_to != one.schema:
        execute(connection, f"{altered} DROP FOREIGN KEY IF EXISTS {quoted(one.key)}")
        try:
            execute(connection, f"{altered} ADD {one.clause}")
        except DBAPIError as error:
            if code_of(error) not in _DOES_NOT_FIT:
                raise
            warn(
                f"The table {one.table} of {name} is without the foreign key {one.key}: the table "
                f"that it refers to is another one now ({reason_of(error)})."
            )
        indexes = _indexes(connection, one.schema, one.table)
    # An index that the server had made itself gets the key's name.
    gone, made = set(one.indexes) - set(indexes), set(indexes) - set(one.indexes)
    if len(gone) == 1 and made == {one.key}:
        execute(connection, f"{altered} RENAME KEY {quoted(one.key)} TO {quoted(*gone)}")


def _astray(connection: Connection, schema: str, live: str) -> Iterator[Reference]:
    """Yield the foreign keys of ``schema`` that lead to other schemas of the database."""
    other = "UNIQUE_CONSTRAINT_SCHEMA"
    is_ours = f"{other} LIKE {schemas.like_ours(live)}"
    for found in rows(
        connection,
        f"SELECT TABLE_NAME, CONSTRAINT_NAME, {other}, REFERENCED_TABLE_NAME"
        f" FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE {_is_of(schema)}"
        f" AND NOT {is_schema(other, literal(schema))}"
        f" AND ({is_schema(other, literal(live))} OR {is_ours})",
    ):
        table, key, elsewhere, referred = map(str, found)
        row = next(shown(connection, schema, [("BASE TABLE", table)]))
        if row is None:  # somebody has dropped it since
            continue
        clause = re.search(
            rf"^  (CONSTRAINT {re.escape(quoted(key))} FOREIGN KEY \({_NAME}(?:, {_NAME})*\)"
            rf" REFERENCES ){re.escape(quoted(elsewhere, referred))}( .*?),?$",
            str(row[1]),
            re.MULTILINE,
        )
        assert clause is not None, "a foreign key is not as the server writes one"
        yield Reference(
            schema=schema,
            table=table,
            key=key,
            clause=f"{clause[1]}{quoted(schema, referred)}{clause[2]}",
            indexes=tuple(_indexes(connection, schema, table)),
        )


def _is_of(schema: str) -> str:
    return is_schema("CONSTRAINT_SCHEMA", literal(schema))


def _indexes(connection: Connection, schema: str, table: str) -> list[str]:
    """Return the names of a table's indexes: one with a foreign key has some."""
    found = rows(
        connection,
        "SELECT DISTINCT INDEX_NAME FROM information_schema.STATISTICS"
        f" WHERE {is_schema('TABLE_SCHEMA', literal(schema))}"
        f" AND {is_schema('TABLE_NAME', literal(table))}",
    )
    return [str(one) for (one,) in found]


def _note(connection: Connection, schema: str, references: Iterable[Reference]) -> None:
    table = quoted(schema, _NOTES)
    execute(
        connection,
        f"CREATE TABLE IF NOT EXISTS {table} (id INT PRIMARY KEY, said LONGTEXT NOT NULL)"
        " ENGINE=InnoDB CHARACTER SET utf8mb4",
    )
    said = msgspec.json.encode(list(references)).decode()
    execute(connection, f"REPLACE INTO {table} VALUES (1, {literal(said)})")


def _noted(connection: Connection, schema: str) -> list[Reference]:
    try:
        said = scalar(connection, f"SELECT said FROM {quoted(schema, _NOTES)}")
    except DBAPIError as error:
        if code_of(error) not in _NOT_THERE:
            raise
        return []
    return msgspec.json.decode(str(said or "[]"), type=list[Reference])
