"""What is done at the end of a session of a server, which may be lost by then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, PendingRollbackError


@contextmanager
def closed_quietly(connection: Connection) -> Iterator[Connection]:
    """Close ``connection`` after the block; that it is lost by then is no error of its own.

    Whatever was to be committed was committed in the block. An error of closing would take the
    place of the block's, which tells what became of the database.
    """
    try:
        yield connection
    finally:
        with suppress(DBAPIError):
            connection.close()


@contextmanager
def releasing() -> Iterator[None]:
    """Release a lock of a session in the block; where the session is lost, so is the lock."""
    with suppress(DBAPIError, PendingRollbackError):
        yield
