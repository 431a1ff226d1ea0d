"""What a restore notes down before its swap, for whoever finishes it after a kill.

The notes are rows of a table of its own schema. The statement that swaps all tables renames that
one too: its name tells whether it was done.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.mariadb.errors import code_of
from soulsense_db.drivers.mariadb.inventory import Inventory, Trigger
from soulsense_db.drivers.mariadb.statements import execute, literal, quoted, rows

_PART = 1024 * 1024
_NO_TABLE = (1146, 1049)
BEFORE, AFTER = "soulsense_state", "soulsense_swapped"
"""The table's name before the swap, and after it."""
KEPT = "soulsense_kept"
"""Its name once all is done that a swap leaves to do, where what was replaced is kept."""
UNDONE = "soulsense_undone"
"""Its name in a cluster when somebody tidies up: whatever still comes of the swap must fail."""
FIRST, FIRST_AFTER = "soulsense_probe", "soulsense_probed"
"""A table that is renamed with it, whose lock the server takes first of all in this schema."""

GATE = "soulsense_gate"
"""A table that is never unlocked while a swap lasts: who waits for it goes no further."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept: what was in the schema, and the statements of what no table takes with it.

    ``purpose``: what its copy will be for; ``sections``: as in a backup, those of
    :attr:`.archive.Description.sections` but ``tables``.
    """

    purpose: str

    inventory: Inventory
    sections: dict[str, bytes]


class Notes(msgspec.Struct, frozen=True, kw_only=True):
    """Triggers of before and after, programs that come, and sequences made for the load.

    ``kept``: where what is replaced is kept. ``default``: the live schema's character set and
    collation, which a load of programs changes for a while.
    """

    old_triggers: tuple[Trigger, ...]
    new_triggers: tuple[Trigger, ...]
    programs: dict[str, bytes]
    sequences: tuple[str, ...] = ()
    kept: Kept | None = None
    default: tuple[str, str] | None = None


def write(connection: Connection, schema: str, notes: Notes) -> None:
    """Note something down, in the place of what was noted before."""
    table, writing, replaced = (quoted(schema, one) for one in (BEFORE, "writing", "replaced"))
    made = "(number INT PRIMARY KEY, part LONGBLOB NOT NULL) ENGINE=InnoDB"
    for one in (FIRST, GATE):
        execute(connection, f"CREATE TABLE IF NOT EXISTS {quoted(schema, one)} {made}")
    data = msgspec.json.encode(notes)
    parts = [data[begin : begin + _PART] for begin in range(0, len(data), _PART)]
    listed = [f"{number} AS number, X'{part.hex()}' AS part" for number, part in enumerate(parts)]
    # At once: whoever reads it after a kill finds all of it, or what was noted before.
    execute(connection, f"CREATE TABLE {writing} {made}")
    for one in listed:
        execute(connection, f"INSERT INTO {writing} SELECT {one}")
    execute(connection, f"RENAME TABLE IF EXISTS {table} TO {replaced}, {writing} TO {table}")
    execute(connection, f"DROP TABLE IF EXISTS {replaced}")


def read(connection: Connection, schema: str) -> tuple[Notes, str] | None:
    """Return what was noted down, and the name of its table; None where nothing was."""
    for table in (
        BEFORE,
        UNDONE,
        AFTER,
        KEPT,
    ):  # in this order: in between it may get its next name
        try:
            found = connection.exec_driver_sql(
                f"SELECT part FROM {quoted(schema, table)} ORDER BY number"
            ).fetchall()
        except DBAPIError as error:
            code = code_of(error)
            if code not in _NO_TABLE:
                raise
            continue
        data = b"".join(bytes(part) for (part,) in found)
        return msgspec.json.decode(data, type=Notes), table
    return None


def set_kept(connection: Connection, schema: str) -> None:
    """Note that all is done which the swap left to do."""
    table = quoted(schema, AFTER)
    execute(connection, f"RENAME TABLE {table} TO {quoted(schema, KEPT)}")


def set_copy(connection: Connection, schema: str, copy: str) -> None:
    """Note the checksum of the file that is a copy of what is kept."""
    execute(connection, f"ALTER TABLE {quoted(schema, KEPT)} COMMENT {literal(copy)}")


def copies(connection: Connection, schemas: Sequence[str]) -> dict[str, str]:
    """Return those checksums by schema, empty without a file; schemas without a kept one lack."""
    if not schemas:
        return {}
    listed = ", ".join(literal(one) for one in schemas)
    found = rows(
        connection,
        "SELECT TABLE_SCHEMA, TABLE_COMMENT FROM information_schema.TABLES"
        f" WHERE TABLE_NAME = {literal(KEPT)} AND TABLE_SCHEMA IN ({listed})",
    )
    return {str(schema): str(said) for schema, said in found}
