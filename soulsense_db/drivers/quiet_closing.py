"""Close a connection to a server, whose session may be gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError


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
