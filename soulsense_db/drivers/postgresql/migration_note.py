"""What a running migration leaves word of in the database: the comment of its version table.

A comment is copied to no subscriber, and takes no lock that the steps need. As a part of the
database it goes with what it is about: a copy of a half-migrated one has it, in whatever way it was
made, and with a restore of what was there before it is gone.
"""

from __future__ import annotations

import json
from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from soulsense_db.drivers.postgresql.statements import execute, literal, quoted

BEGINNING = "soulsense_db: a migration is running, or died half-way. "

# Not of a table that belongs to somebody else: whoever may make one could say so, true or not.
_FOUND = sa.text(
    "SELECT n.nspname, c.relname, d.description FROM pg_class c"
    " JOIN pg_namespace n ON n.oid = c.relnamespace"
    " JOIN pg_description d ON d.objoid = c.oid AND d.classoid = 'pg_class'::regclass"
    " AND d.objsubid = 0"
    " WHERE c.relkind IN ('r', 'p') AND left(d.description, length(:beginning)) = :beginning"
    " AND (pg_has_role(current_user, c.relowner, 'USAGE') OR c.relowner IN"
    " (SELECT datdba FROM pg_database WHERE datname = current_database()"
    " UNION ALL SELECT oid FROM pg_roles WHERE rolsuper))"
    " ORDER BY 1, 2"
)
_TABLE = sa.text(
    "SELECT n.nspname, c.relname, obj_description(c.oid, 'pg_class') FROM pg_class c"
    " JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.oid = to_regclass(:name) AND c.relkind IN ('r', 'p')"
    " AND pg_has_role(current_user, c.relowner, 'USAGE')"
)


def read(connection: Connection) -> str:
    """Return the note in the database of ``connection``, empty without one."""
    found = connection.execute(_FOUND, {"beginning": BEGINNING}).first()
    return "" if found is None else _parts(found[2])[0]


def write(connection: Connection, text: str, tables: Collection[tuple[str | None, str]]) -> None:
    """Make ``text`` the comment of those of ``tables``, schema and name, that there are.

    What else has the note gets back the comment that it had; all do without a ``text``.
    """
    for schema, name, comment in connection.execute(_FOUND, {"beginning": BEGINNING}).all():
        _comment(connection, schema, name, _parts(comment)[1])
    for one in sorted(tables, key=str) if text else ():
        written = ".".join(quoted(part) for part in one if part)
        for schema, name, comment in connection.execute(_TABLE, {"name": written}):
            said = BEGINNING + json.dumps({"note": text, "comment": comment})
            _comment(connection, schema, name, said)


def _parts(comment: str) -> tuple[str, str | None]:
    """Return the note in a comment, and the comment that was there before."""
    said = comment.removeprefix(BEGINNING)
    try:
        found = json.loads(said)
        return str(found["note"]), found["comment"] and str(found["comment"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return said or "?", None  # somebody has changed it: it still tells that there is one


def _comment(connection: Connection, schema: str, name: str, said: str | None) -> None:
    text = "NULL" if said is None else literal(connection, said)
    execute(connection, f"COMMENT ON TABLE {quoted(schema)}.{quoted(name)} IS {text}")
