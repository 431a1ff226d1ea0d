"""What a running migration leaves word of on the server: a row in a schema of ours.

The schema is not the live one: no dump has it, and no step that drops all tables takes it along.
It is there only as long as a note is.
"""

from __future__ import annotations

import hashlib

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.mariadb.errors import code_of
from soulsense_db.drivers.mariadb.schemas import beginning, drop
from soulsense_db.drivers.mariadb.statements import execute, literal, quoted, scalar

# Who must not look is told so: nothing may be taken for an end of what others have noted.
_NOT_THERE = (1049, 1146)


def schema_of(live: str) -> str:
    """Return the name of the schema with the note about the database ``live``."""
    return f"{beginning(live)}migrating_{hashlib.sha256(live.encode()).hexdigest()[:16]}"


def read(connection: Connection, live: str) -> str:
    """Return the note about ``live``, empty without one."""
    try:
        found = scalar(connection, f"SELECT said FROM {quoted(schema_of(live), 'note')}")
    except DBAPIError as error:
        if code_of(error) not in _NOT_THERE:
            raise
        return ""
    return "" if found is None else str(found)


def write(connection: Connection, live: str, text: str) -> None:
    """Make ``text`` the note; without a text there is none."""
    schema = schema_of(live)
    if not text:
        drop(connection, schema)
        return
    execute(
        connection,
        f"CREATE DATABASE IF NOT EXISTS {quoted(schema)} CHARACTER SET utf8mb4"
        " COMMENT 'A migration is running, or died: soulsense_db'",
    )
    table = quoted(schema, "note")
    execute(
        connection,
        f"CREATE TABLE IF NOT EXISTS {table} (id INT PRIMARY KEY, said LONGTEXT NOT NULL)"
        " ENGINE=InnoDB",
    )
    execute(connection, f"REPLACE INTO {table} VALUES (1, {literal(text)})")
