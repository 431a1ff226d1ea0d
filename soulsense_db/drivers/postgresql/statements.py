"""Statements in which names and texts stand that no parameter may bring."""

from __future__ import annotations

import re

import sqlalchemy as sa
from sqlalchemy.engine import Connection, CursorResult

KEPT = "soulsense_kept_"
"""How the names begin of the schemas that a restore within the database has replaced, until there
is a copy of them (:mod:`.kept_schemas`): to all else they are not there."""
# Without braces, which mean something else where this is put in.
_OF_KEPT = f"{KEPT}{16 * '[0-9a-f]'}(|_{4 * '[0-9]'})"
WITHOUT_KEPT = f"--exclude-schema={_OF_KEPT}"
"""What makes ``pg_dump`` leave them out."""
NOT_OF_USERS = f"^(pg_|{_OF_KEPT}$)"
"""The pattern of the names of schemas that are the server's own, or ours."""
OF_USERS = f"n.nspname !~ '{NOT_OF_USERS}' AND n.nspname <> 'information_schema'"
"""The condition for the schemas of users, where ``n`` is ``pg_namespace``."""
_PLAIN = re.compile("[a-z_][a-z0-9_]*")
# Some of the words that are no names without quotes: those that somebody may call a user.
_RESERVED = ("all", "analyse", "current_user", "group", "public", "session_user", "user")


def execute(connection: Connection, statement: str) -> CursorResult[tuple[object, ...]]:
    """Execute a statement as it is: a colon or a percent sign in it is one."""
    return connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def quoted(name: str) -> str:
    """Return a name as it is written in a statement.

    SQLAlchemy's own function also doubles percent signs, for libraries to which they mean a
    parameter.
    """
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def quoted_if_needed(name: str) -> str:
    """Return a name as a person writes it in a statement: mostly as it is."""
    return name if _PLAIN.fullmatch(name) and name not in _RESERVED else quoted(name)


def literal(connection: Connection, text: str) -> str:
    """Return a text as it is written in a statement, where no parameter is allowed."""
    return str(connection.scalar(sa.text("SELECT quote_literal(:text)"), {"text": text}))
