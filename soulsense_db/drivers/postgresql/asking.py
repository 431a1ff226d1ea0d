"""A question of somebody else's: one ``SELECT``, which cannot write."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.postgresql.errors import code_of, reason_of
from soulsense_db.drivers.postgresql.statements import execute
from soulsense_db.drivers.results import QueryError

_MOST_ROWS = 2  # a drill only wants to know whether there is one, and which
# Syntax error or access rule violation, but for a table or column that a backup may lack.
_WRONG_STATEMENT = ("42601", "25006", "0A000")


def first_rows(
    connection: Connection, statement: str, *, search_path: str
) -> tuple[tuple[Any, ...], ...]:
    """Return the first rows of a ``SELECT``: as a part of another it can be nothing else.

    A semicolon is refused wherever it stands: what follows one could end the transaction that can
    only read.
    """
    asked = statement.strip().rstrip(";")
    if ";" in asked:
        raise QueryError("it has a semicolon, as if it were more than one", is_wrong=True)
    setting = sa.text("SELECT set_config('search_path', :path, true)")
    connection.execute(setting, {"path": search_path})
    connection.execute(sa.text("SET TRANSACTION READ ONLY"))
    try:
        rows = execute(connection, f"SELECT * FROM ({asked}\n) AS asked LIMIT {_MOST_ROWS}")  # noqa: S608
        return tuple(tuple(row) for row in rows)
    except DBAPIError as error:
        is_wrong = code_of(error).startswith(_WRONG_STATEMENT)
        raise QueryError(reason_of(error), is_wrong=is_wrong) from error
    finally:
        connection.rollback()
