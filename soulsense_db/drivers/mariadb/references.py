"""Foreign keys that a swap leaves between the live schema and those beside it.

The server has a foreign key to a missing table by the name alone: so it stays where it was when
other tables change places, and holds for whatever table comes under that name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlalchemy.engine import Connection

from soulsense_db.drivers.mariadb.shown import shown
from soulsense_db.drivers.mariadb.statements import execute, is_schema, literal, quoted, rows
from soulsense_db.notices import warn

_NAME = r"`(?:[^`]|``)+`"


def part_from_live(connection: Connection, schema: str, live: str, *, name: str) -> None:
    """Drop the foreign keys of replaced tables to live ones, for these would obey them.

    Their own table was missing when they were replaced.
    """
    for table, key, _ in _between(connection, schema, live):
        execute(
            connection,
            f"ALTER TABLE {quoted(schema, table)} DROP FOREIGN KEY IF EXISTS {quoted(key)}",
        )
        warn(
            f"What an undo of the restore of {name} goes back to is without the foreign key {key} "
            f"of {table}: the table that it refers to was missing."
        )


def point_to_live(connection: Connection, live: str, schema: str) -> None:
    """Let foreign keys of live tables name tables of their own schema, in the place of ``schema``.

    The backup has not the table, so it has not come along from there.
    """
    for table, key, other in _between(connection, live, schema):
        row = next(shown(connection, live, [("BASE TABLE", table)]))
        if row is None:  # somebody has dropped it since
            continue
        found = re.search(
            rf"^  (CONSTRAINT {re.escape(quoted(key))} FOREIGN KEY \({_NAME}(?:, {_NAME})*\)"
            rf" REFERENCES ){re.escape(quoted(schema, other))}( .*?),?$",
            str(row[1]),
            re.MULTILINE,
        )
        assert found is not None, "a foreign key is not as the server writes one"
        altered = f"ALTER TABLE {quoted(live, table)}"
        execute(connection, f"{altered} DROP FOREIGN KEY {quoted(key)}")
        execute(connection, f"{altered} ADD {found[1]}{quoted(live, other)}{found[2]}")


def _between(connection: Connection, schema: str, other: str) -> Iterator[tuple[str, str, str]]:
    """Yield table and name of each foreign key from one schema to another, and its other table."""
    for found in rows(
        connection,
        "SELECT TABLE_NAME, CONSTRAINT_NAME, REFERENCED_TABLE_NAME"
        " FROM information_schema.REFERENTIAL_CONSTRAINTS"
        f" WHERE CONSTRAINT_SCHEMA = {literal(schema)}"
        f" AND {is_schema('UNIQUE_CONSTRAINT_SCHEMA', literal(other))}",
    ):
        table, key, referred = map(str, found)
        yield table, key, referred
