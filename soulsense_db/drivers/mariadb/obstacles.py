"""What is in a schema, or in a backup of one, and keeps it from being restored."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.mariadb.errors import code_of
from soulsense_db.drivers.mariadb.inventory import Item
from soulsense_db.drivers.mariadb.restore_errors import in_other_directories
from soulsense_db.drivers.mariadb.rights import user
from soulsense_db.drivers.mariadb.statements import quoted, rows
from soulsense_db.drivers.server_errors import missing_right

_TEXT = re.compile(r"'(?:[^'\\]|\\.|'')*'", re.DOTALL)
_NAME = "`((?:[^`]|``)+)`"
# As the server writes a view: of what is read from, not of a column.
_READ = re.compile(rf"\b(?:from|join)\s+\(*{_NAME}\.{_NAME}")
_DIRECTORY = re.compile(r"\bDATA DIRECTORY ?= ?''")
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
        granted = " ".join(f"GRANT SELECT ON {one} TO {user(connection)};" for one in denied)
        raise missing_right(
            name, f"views of it read {', '.join(denied)}, and the user may not", statement=granted
        )


def _may_read(connection: Connection, schema: str, table: str) -> bool:
    try:
        rows(connection, f"SELECT 1 FROM {quoted(schema, table)} LIMIT 0")
    except DBAPIError as error:
        return code_of(error) not in _NOT_ALLOWED  # what is missing is told by others
    return True
