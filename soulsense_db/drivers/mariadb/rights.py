"""Which rights the user has, as ``SHOW GRANTS`` says: those of roles that are on, too."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.mariadb.statements import pattern_of, quoted, rows, scalar
from soulsense_db.drivers.server_errors import missing_right

_GRANT = re.compile(r"^GRANT (?P<rights>.+?) ON (?P<what>\*\.\*|`(?:[^`]|``)+`\.\*) TO ")
FOR_RESTORES = frozenset(
    {
        "ALTER",
        "ALTER ROUTINE",
        "CREATE",
        "CREATE ROUTINE",
        "CREATE VIEW",
        "DROP",
        "EVENT",
        "INDEX",
        "INSERT",
        "LOCK TABLES",
        "REFERENCES",
        "SELECT",
        "SHOW VIEW",
        "TRIGGER",
    }
)
# Without one of these the server says nothing of routines that are there, and without the other
# nothing of triggers.
_TO_SEE_ROUTINES = frozenset({"ALTER ROUTINE", "CREATE ROUTINE", "EXECUTE"})
_TO_SEE_TRIGGERS = frozenset({"TRIGGER"})
_TO_NAME_OTHERS = frozenset({"ALL PRIVILEGES", "SET USER", "SUPER"})
# Not a role, which has no host: who has it may name it.
_DEFINER = re.compile(r"\bDEFINER=`((?:[^`]|``)*)`@`((?:[^`]|``)+)`")


def rights_on(connection: Connection, schema: str) -> frozenset[str]:
    """Return the rights on all of a schema, which need not exist; ``ALL PRIVILEGES`` is one."""
    return _given(connection, lambda what: _covers(what, schema))


def _given(connection: Connection, is_meant: Callable[[str], bool]) -> frozenset[str]:
    found: set[str] = set()
    for (said,) in rows(connection, "SHOW GRANTS"):
        match = _GRANT.match(str(said))
        if match and is_meant(match["what"]):
            found |= {one.strip() for one in match["rights"].split(",")}
    return frozenset(found)


def _covers(what: str, schema: str) -> bool:
    if what == "*.*":
        return True
    pattern = what[1:-3].replace("``", "`")
    parts = re.findall(r"\\.|%|_|[^\\%_]+|\\", pattern, re.DOTALL)
    known = {"%": ".*", "_": "."}
    wanted = "".join(
        known.get(part, re.escape(part[1:] if part[:1] == "\\" and len(part) == 2 else part))
        for part in parts
    )
    return re.fullmatch(wanted, schema, re.DOTALL) is not None


def lacking(connection: Connection, schema: str, wanted: Iterable[str]) -> list[str]:
    """Return the rights of ``wanted`` that are missing on a schema, sorted."""
    have = rights_on(connection, schema)
    return [] if "ALL PRIVILEGES" in have else sorted(set(wanted) - have)


def require_definers(connection: Connection, statements: Iterable[str], *, name: str) -> None:
    """Raise where somebody else has made views, triggers, routines or events of ``statements``."""
    found = {match for one in statements for match in _DEFINER.findall(one)[:1]}
    others = {f"`{user}`@`{host}`" for user, host in found} - {user(connection)}
    if others and not _given(connection, lambda what: what == "*.*") & _TO_NAME_OTHERS:
        raise missing_right(
            name,
            f"what others have made is restored as theirs: {', '.join(sorted(others))}",
            statement=f"GRANT SET USER ON *.* TO {user(connection)};",
        )


def is_trusted(connection: Connection) -> bool:
    """Whether the user may make functions and triggers of a server with a binary log."""
    have = _given(connection, lambda what: what == "*.*")
    return bool(have & {"ALL PRIVILEGES", "SUPER"})


def require_sight(connection: Connection, schema: str, *, name: str) -> None:
    """Raise where the server would keep silent about routines or triggers that are there."""
    have = rights_on(connection, schema)
    if "ALL PRIVILEGES" in have:
        return
    if not have & _TO_SEE_TRIGGERS:
        raise missing_right(
            name,
            "its triggers cannot be seen",
            statement=f"GRANT TRIGGER ON {pattern_of(schema)}.* TO {user(connection)};",
        )
    if not have & _TO_SEE_ROUTINES and not _reads_all_routines(connection):
        raise missing_right(
            name,
            "its routines cannot be seen",
            statement=f"GRANT EXECUTE ON {pattern_of(schema)}.* TO {user(connection)};",
        )


def _reads_all_routines(connection: Connection) -> bool:
    try:
        rows(connection, "SELECT 1 FROM mysql.proc LIMIT 0")
    except DBAPIError:
        return False
    return True


def user(connection: Connection) -> str:
    """Return the user as a statement names one."""
    name, _, host = str(scalar(connection, "SELECT CURRENT_USER()")).rpartition("@")
    return f"{quoted(name)}@{quoted(host)}"
