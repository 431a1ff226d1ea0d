"""Tell whether a pooler is between us and the server, and whether a session is ours alone.

One that lends a connection to each transaction (pgbouncer: ``pool_mode = transaction``) lends the
next transaction another one: what a session has set, its locks and its exported moment are then
somebody else's. ``pg_dump`` sets the search path of its session, too: the application would get
that one, and not find its tables any more (measured). So nothing is set before it is known.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from soulsense_db.drivers.postgresql.errors import pooled

_PID = sa.text("SELECT pg_catalog.pg_backend_pid()")
_ATTEMPTS = 3


def require_session(connection: Connection, engine: Engine, *, name: str) -> None:
    """Raise where ``connection``, which has done nothing yet, has no session of its own.

    ``engine`` makes others like it. Raises :class:`~soulsense_db.errors.DatabaseUnreachableError`.
    """
    raw: Any = connection.connection.driver_connection
    # A pooler has a process of its own for each of its clients, or makes up a number.
    if _process_of(connection) == raw.info.backend_pid:
        return
    if any(_is_lent_to_transactions(connection, engine) for _ in range(_ATTEMPTS)):
        raise pooled(name)


def _is_lent_to_transactions(connection: Connection, engine: Engine) -> bool:
    """Whether another client gets the server's process that was ours, or we get another one."""
    before = _process_of(connection)
    # In a transaction, which keeps its process.
    with engine.execution_options(isolation_level="READ COMMITTED").connect() as other:
        theirs = other.scalar(_PID)
        return bool(theirs == before or _process_of(connection) != before)


def _process_of(connection: Connection) -> Any:
    found = connection.scalar(_PID)
    connection.rollback()
    return found
