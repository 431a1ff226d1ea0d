"""Triggers, routines, views and events: made anew, as no table takes them with it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy.engine import Connection

from soulsense_db.drivers.mariadb import inventory
from soulsense_db.drivers.mariadb.errors import live_errors
from soulsense_db.drivers.mariadb.inventory import Item, Trigger
from soulsense_db.drivers.mariadb.login import Login
from soulsense_db.drivers.mariadb.statements import execute, literal, quoted, rows
from soulsense_db.drivers.mariadb.tools import Tools
from soulsense_db.notices import cleaning_up

Default = tuple[str, str]
"""The character set and the collation that a schema gives new tables."""

SECTIONS = ("routines", "views", "events")
"""In the order in which they are made: a view may call a function."""
_KINDS = {"routines": inventory.ROUTINES, "views": ("VIEW",), "events": ("EVENT",)}
CODECS = {
    "ascii": "ascii",
    "cp1250": "cp1250",
    "cp1251": "cp1251",
    "cp1256": "cp1256",
    "cp1257": "cp1257",
    "greek": "iso8859-7",
    "hebrew": "iso8859-8",
    "koi8r": "koi8-r",
    "koi8u": "koi8-u",
    "latin1": "cp1252",
    "latin2": "iso8859-2",
    "latin5": "iso8859-9",
    "latin7": "iso8859-13",
    "utf8": "utf-8",
    "utf8mb3": "utf-8",
    "utf8mb4": "utf-8",
}
"""Python's names of character sets that a client may have sent a program in."""


def create_triggers(connection: Connection, triggers: Iterable[Trigger], schema: str) -> None:
    """Make triggers in ``schema``, with the settings that each was made with."""
    execute(connection, f"USE {quoted(schema)}")
    for one in triggers:
        charset, data = one.client, b""
        try:
            data = one.statement.encode(CODECS[charset])
        except (LookupError, UnicodeEncodeError):
            charset, data = "utf8mb4", one.statement.encode()
        execute(
            connection,
            f"SET @soulsense_mode = @@sql_mode, sql_mode = {literal(one.sql_mode)},"
            f" character_set_client = {charset}, collation_connection = {one.collation}",
        )
        try:
            execute_bytes(connection, data)
        finally:
            execute(connection, "SET NAMES utf8mb4")
            execute(connection, "SET sql_mode = @soulsense_mode")


def execute_bytes(connection: Connection, data: bytes) -> None:
    """Execute bytes as they are; errors are SQLAlchemy's, as those of other statements."""
    from sqlalchemy.exc import DBAPIError

    library: Any = connection.dialect.dbapi
    cursor: Any = connection.connection.cursor()
    try:
        cursor.execute(data)
    except library.Error as error:
        raise DBAPIError.instance("CREATE", None, error, library.Error) from error
    finally:
        cursor.close()


def drop_triggers(connection: Connection, triggers: Iterable[Trigger], schema: str) -> None:
    """Drop triggers that are there."""
    for one in triggers:
        execute(connection, f"DROP TRIGGER IF EXISTS {quoted(schema, one.name)}")


def replace(
    login: Login,
    tools: Tools,
    connection: Connection,
    sections: Mapping[str, bytes],
    *,
    name: str,
    default: Default | None,
    wanted: Collection[Item] | None = None,
) -> None:
    """Put the routines, views and events of ``sections`` in the place of those that are live.

    Kinds that are already as ``wanted`` stay. ``default``: as of :func:`default_kept`.
    """
    live = login.database
    now = inventory.take(connection, live, name=name).items
    for section in reversed(SECTIONS):
        if wanted is None or _of(now, section) != _of(wanted, section):
            for item in sorted(_of(now, section), key=lambda one: _KINDS[section].index(one.kind)):
                execute(connection, f"DROP {item.kind} IF EXISTS {quoted(live, item.name)}")
    with default_kept(login, live, name=name, default=default):
        for section in SECTIONS:
            is_new = wanted is None or _of(now, section) != _of(wanted, section)
            if is_new and sections.get(section):
                tools.load(login, live, [sections[section]])


@contextmanager
def default_kept(
    login: Login, schema: str, *, name: str, default: Default | None = None
) -> Iterator[None]:
    """Leave the character set that a schema gives new tables as it was before the block.

    For each program a dump sets that which it was made with, and at the end that which the schema
    had when it was dumped. ``default``: what it was before a block that was cut off.
    """
    with login.connected(name=name) as connection:
        before = default or default_of(connection, schema)
        try:
            yield
        except BaseException:
            with (
                cleaning_up(f"The default character set of {schema} could not be put back"),
                live_errors(name),
            ):
                _set_default(connection, schema, before)
            raise
        _set_default(connection, schema, before)


def default_of(connection: Connection, schema: str) -> Default | None:
    """Return the character set and the collation that a schema gives new tables."""
    found = rows(
        connection,
        "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME"
        f" FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {literal(schema)}",
    )
    return (str(found[0][0]), str(found[0][1])) if found else None


def _set_default(connection: Connection, schema: str, default: Default | None) -> None:
    if default is None or default_of(connection, schema) == default:
        return
    charset, collation = default
    execute(
        connection,
        f"ALTER DATABASE {quoted(schema)} CHARACTER SET {charset} COLLATE {collation}",
    )


def _of(items: Collection[Item], section: str) -> set[Item]:
    return {item for item in items if item.kind in _KINDS[section]}
