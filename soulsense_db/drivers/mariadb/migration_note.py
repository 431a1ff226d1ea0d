"""What a running migration leaves word of on the server: a row in a schema of ours.

The schema is not the live one: no dump has it, and no step that drops all tables takes it along.
It is there only as long as a note is.
"""

from __future__ import annotations

import hashlib

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.mariadb.errors import LOCK_TIMEOUT, code_of
from soulsense_db.drivers.mariadb.schemas import beginning, drop
from soulsense_db.drivers.mariadb.statements import execute, literal, quoted, scalar
from soulsense_db.notices import log_ignored

_SECONDS = 1  # for somebody who reads it, the end of a migration does not wait
# Who must not look is told so: nothing may be taken for an end of what others have noted.
_NOT_THERE = (1049, 1146)


def schema_of(live: str) -> str:
    """Return the name of the schema with the note about ``live``, as the server writes that."""
    return f"{beginning(live)}migrating_{hashlib.sha256(live.encode()).hexdigest()[:16]}"


def _as_written(connection: Connection, live: str) -> str:
    """Return that name: ``Shop`` and ``shop`` are one, where the server has names in lower case."""
    is_one = scalar(connection, "SELECT @@lower_case_table_names")
    return live.lower() if is_one else live


def read(connection: Connection, live: str) -> str:
    """Return the note about ``live``, empty without one, or where there is no table.

    Then it is another database of that name: whoever drops one need not know of the note.
    """
    live = _as_written(connection, live)
    try:
        found = scalar(connection, f"SELECT said FROM {quoted(schema_of(live), 'note')}")
    except DBAPIError as error:
        if code_of(error) not in _NOT_THERE:
            raise
        return ""
    tables = f"SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = {literal(live)} LIMIT 1"
    return "" if found is None or not scalar(connection, tables) else str(found)


def write(connection: Connection, live: str, text: str) -> None:
    """Make ``text`` the note; without a text there is none."""
    schema = schema_of(_as_written(connection, live))
    execute(connection, f"SET SESSION lock_wait_timeout = {_SECONDS}")
    if not text:
        execute(connection, f"DELETE FROM {quoted(schema, 'note')}")
        try:
            drop(connection, schema)
        except DBAPIError as error:
            if code_of(error) != LOCK_TIMEOUT:
                raise
            log_ignored(f"{schema} stays, empty: somebody reads it", error)
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
