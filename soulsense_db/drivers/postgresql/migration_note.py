"""What a running migration leaves word of in the database: the comment of its version table.

A comment is copied to no subscriber, and takes no lock that the steps need. As a part of the
database it goes with what it is about: with a restore of what was there before it is gone. A dump
has it as well, so it names server and database: of another one it says nothing.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from soulsense_db.drivers.postgresql.statements import OF_USERS, execute, literal, quoted
from soulsense_db.drivers.server_errors import missing_right

BEGINNING = "soulsense_db: a migration is running, or died half-way. "

# Of a table that belongs to somebody else it is not believed: whoever may make one could say so,
# true or not.
_FOUND = sa.text(
    "SELECT n.nspname, c.relname, d.description,"  # noqa: S608 - a constant
    " pg_has_role(current_user, c.relowner, 'USAGE') OR c.relowner IN"
    " (SELECT datdba FROM pg_database WHERE datname = current_database()"
    " UNION ALL SELECT oid FROM pg_roles WHERE rolsuper) AS believed FROM pg_class c"
    " JOIN pg_namespace n ON n.oid = c.relnamespace"
    " JOIN pg_description d ON d.objoid = c.oid AND d.classoid = 'pg_class'::regclass"
    " AND d.objsubid = 0"
    f" WHERE {OF_USERS} AND c.relkind IN ('r', 'p')"
    " AND left(d.description, length(:beginning)) = :beginning"
    " ORDER BY believed DESC, 1, 2"
)
# Server and database, which a restore in its place leaves as they are.
_PLACE = sa.text(
    "SELECT system_identifier || ' ' || current_database() FROM pg_catalog.pg_control_system()"
)
_TABLE = sa.text(
    "SELECT n.nspname, c.relname, obj_description(c.oid, 'pg_class') FROM pg_class c"
    " JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.oid = to_regclass(:name) AND c.relkind IN ('r', 'p')"
    " AND pg_has_role(current_user, c.relowner, 'USAGE')"
)


class _Said(msgspec.Struct, frozen=True, kw_only=True):
    """What the comment says; ``comment``: the one that was there before it."""

    note: str
    comment: str | None = None
    place: str = ""


def read(connection: Connection, *, name: str) -> str:
    """Return the note in the database of ``connection``, empty without one.

    Raises :class:`~soulsense_db.errors.MissingRightError` where one is there that is not believed:
    the user cannot know whether it is true.
    """
    place = str(connection.scalar(_PLACE))
    for found in connection.execute(_FOUND, {"beginning": BEGINNING}):
        said = _said(found.description)
        if said.place in {place, ""}:
            if not found.believed:
                raise missing_right(name, f"what {found.relname} says of a migration is others'")
            return said.note
    return ""


def write(connection: Connection, text: str, tables: Collection[tuple[str | None, str]]) -> None:
    """Make ``text`` the comment of those of ``tables``, schema and name, that there are.

    What else has the note gets back the comment that it had; all do without a ``text``.
    """
    place = str(connection.scalar(_PLACE))
    for found in connection.execute(_FOUND, {"beginning": BEGINNING}).all():
        if found.believed:
            before = _said(found.description).comment
            _comment(connection, found.nspname, found.relname, before)
    for one in sorted(tables, key=str) if text else ():
        written = ".".join(quoted(part) for part in one if part)
        for schema, name, comment in connection.execute(_TABLE, {"name": written}):
            said = msgspec.json.encode(_Said(note=text, comment=comment, place=place)).decode()
            _comment(connection, schema, name, BEGINNING + said)


def _said(comment: str) -> _Said:
    text = comment.removeprefix(BEGINNING)
    try:
        return msgspec.json.decode(text, type=_Said)
    except msgspec.MsgspecError:
        return _Said(note=text or "?")  # somebody has changed it: it still tells that there is one


def _comment(connection: Connection, schema: str, name: str, said: str | None) -> None:
    text = "NULL" if said is None else literal(connection, said)
    execute(connection, f"COMMENT ON TABLE {quoted(schema)}.{quoted(name)} IS {text}")
