"""What is in a schema, or in a backup of one, and keeps it from being restored."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.mariadb import rights
from soulsense_db.drivers.mariadb.errors import code_of
from soulsense_db.drivers.mariadb.inventory import Item, is_in_a_cluster
from soulsense_db.drivers.mariadb.restore_errors import in_other_directories, row_too_long
from soulsense_db.drivers.mariadb.statements import quoted, rows, scalar
from soulsense_db.drivers.server_errors import missing_right

_TEXT = re.compile(r"'(?:[^'\\]|\\.|'')*'", re.DOTALL)
_NAME = "`((?:[^`]|``)+)`"
# As the server writes a view: of what is read from, not of a column.
_READ = re.compile(rf"\b(?:from|join)\s+\(*{_NAME}\.{_NAME}")
_DIRECTORY = re.compile(r"\bDATA DIRECTORY ?= ?''")
_AROUND_A_ROW = 1024  # the INSERT that it is in
_MEGABYTE = 1024 * 1024
_LARGEST_PACKET = 1024 * _MEGABYTE  # a server takes no larger value for it
_HARMLESS = re.compile(r"\n    (?:DETERMINISTIC|NO SQL|READS SQL DATA)\n")
_NOT_ALLOWED = (1044, 1142, 1143)


def require_none(
    connection: Connection, items: Iterable[Item], *, own: Collection[str], name: str
) -> None:
    """Raise for tables that cannot be exchanged, and views that the user could not make.

    ``own``: the names of the schema that ``items`` are of. Beside the live database a view is the
    user's own: it has to read what the view reads.
    """
    items = sorted(items)
    apart = [
        item.name
        for item in items
        if item.kind == "BASE TABLE" and _DIRECTORY.search(_TEXT.sub("''", item.statement))
    ]
    if apart:
        raise in_other_directories(name, apart)
    read = {
        (schema.replace("``", "`"), table.replace("``", "`"))
        for item in items
        if item.kind == "VIEW"
        for schema, table in _READ.findall(_TEXT.sub("''", item.statement))
    }
    others = sorted(one for one in read if one[0] not in own)
    if denied := [quoted(*one) for one in others if not _may_read(connection, *one)]:
        granted = " ".join(f"GRANT SELECT ON {one} TO {rights.user(connection)};" for one in denied)
        raise missing_right(
            name, f"views of it read {', '.join(denied)}, and the user may not", statement=granted
        )


def require_trust(connection: Connection, items: Iterable[Item], *, name: str) -> None:
    """Raise where the server's binary log keeps the user from making functions and triggers."""
    made = [item for item in items if item.kind in ("FUNCTION", "TRIGGER")]
    if not made or not _is_wary(connection):
        return
    refused = [item for item in made if _is_of_no_kind(item)]
    if not rights.is_trusted(connection):
        refused = made
    if refused:
        named = ", ".join(f"{item.kind.lower()} {item.name}" for item in sorted(refused))
        raise missing_right(
            name,
            f"the server writes a binary log, and lets the user make none of these: {named}",
            statement="SET GLOBAL log_bin_trust_function_creators = 1;",
        )


def packet_needed(connection: Connection, longest_row: int) -> str | None:
    """Return the statement without which the server would not take a row; None if it does.

    It is empty where no statement helps.
    """
    needed = longest_row + _AROUND_A_ROW
    if not longest_row or needed <= int(scalar(connection, "SELECT @@GLOBAL.max_allowed_packet")):
        return None
    if needed > _LARGEST_PACKET:
        return ""
    return f"SET GLOBAL max_allowed_packet = {-(-needed // _MEGABYTE) * _MEGABYTE};"


def require_packets(connection: Connection, longest_row: int, *, name: str) -> None:
    """Raise for a row that is longer than any statement that the server takes."""
    needed = packet_needed(connection, longest_row)
    if needed is not None:
        raise row_too_long(name, longest_row, needed)


def _is_wary(connection: Connection) -> bool:
    is_logged = "@@log_bin = 1 AND @@log_bin_trust_function_creators = 0"
    if is_in_a_cluster(connection):  # which makes the server do as if it wrote one
        is_logged = "@@log_bin_trust_function_creators = 0"
    return bool(scalar(connection, f"SELECT {is_logged}"))


def _is_of_no_kind(item: Item) -> bool:
    """Whether nobody may make a function: it may change rows, and give other results later."""
    return (
        item.kind == "FUNCTION"
        and "ORACLE" not in item.statement.partition(" ")[0]
        and _HARMLESS.search(item.statement) is None
    )


def _may_read(connection: Connection, schema: str, table: str) -> bool:
    try:
        rows(connection, f"SELECT 1 FROM {quoted(schema, table)} LIMIT 0")
    except DBAPIError as error:
        return code_of(error) not in _NOT_ALLOWED  # what is missing is told by others
    return True
