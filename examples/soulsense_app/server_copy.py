"""What the tour needs on a database server: an empty database, and another one for a copy."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from soulsense_db import BackupManager

# The databases that a restore keeps for an undo: their comment says of which database they are.
_KEPT = {
    "postgresql": "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database "
    "WHERE starts_with(datname, 'soulsense_')",
    "mariadb": "SELECT schema_name, schema_comment FROM information_schema.schemata "
    "WHERE locate('~soulsense_', schema_name)",
}
_KEPT["mysql"] = _KEPT["mariadb"]
_ENDINGS = {"postgresql": (), "mariadb": ("_old", "_new"), "mysql": ("_old", "_new")}


class UnusableError(Exception):
    """The database is none of a server, or has tables: the tour would mix its own with them."""


def require_server(engine: sa.Engine) -> None:
    """Raise :class:`UnusableError` for what is no empty database of a server.

    Raises an error of soulsense_db's, which says what to do, where the server cannot be reached.
    """
    if engine.dialect.name not in _KEPT:
        raise UnusableError(
            "--url names no database of a server. Without it, the tour makes an SQLite file of its "
            "own, in a temporary folder."
        )
    BackupManager(engine).live.size()
    found = sa.inspect(engine).get_table_names()
    if found:
        raise UnusableError(
            f"the database has the table {found[0]}. Name an empty one: the tour fills it, and "
            "drops its own tables at the end."
        )


def leave_empty(engine: sa.Engine) -> None:
    """Drop all tables of a database that was empty, and what its last restore has kept."""
    tables = sa.MetaData()
    tables.reflect(engine)
    tables.drop_all(engine)
    quoted = engine.dialect.identifier_preparer.quote_identifier
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        found = connection.exec_driver_sql(_KEPT[engine.dialect.name]).all()
        about = f'"live":{json.dumps(engine.url.database)}'
        for kept in [name for name, comment in found if about in (comment or "")]:
            for name in (kept, *(f"{kept}{ending}" for ending in _ENDINGS[engine.dialect.name])):
                connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {quoted(name)}")


@contextmanager
def new_database(engine: sa.Engine) -> Iterator[sa.Engine]:
    """Yield an engine on a new name on the same server; a database that gets it is dropped."""
    name = f"tour_copy_{secrets.token_hex(4)}"
    copy = sa.create_engine(engine.url.set(database=name))
    try:
        yield copy
    finally:
        exists = _is_there(copy)
        copy.dispose()
        if exists:
            maintenance = engine.execution_options(isolation_level="AUTOCOMMIT")
            with maintenance.connect() as connection:
                connection.exec_driver_sql(f"DROP DATABASE {name}")


def _is_there(engine: sa.Engine) -> bool:
    try:
        engine.connect().close()
    except DBAPIError:
        return False
    return True
