"""A question of somebody else's: one ``SELECT``, which cannot write."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.dump_driver import first_rows_of
from soulsense_db.drivers.postgresql.errors import code_of, reason_of
from soulsense_db.drivers.postgresql.statements import execute
from soulsense_db.drivers.results import QueryError

# Syntax error or access rule violation, but for a table or column that a backup may lack.
_WRONG_STATEMENT = ("42601", "25006", "0A000")


def first_rows(
    connection: Connection, statement: str, *, search_path: str
) -> tuple[tuple[Any, ...], ...]:
    """Return the first rows of a ``SELECT``, which finds tables along ``search_path``."""
    asked = first_rows_of(statement)
    setting = sa.text("SELECT set_config('search_path', :path, true)")
    connection.execute(setting, {"path": search_path})
    connection.execute(sa.text("SET TRANSACTION READ ONLY"))
    try:
        return tuple(tuple(row) for row in execute(connection, asked))
    except DBAPIError as error:
        is_wrong = code_of(error).startswith(_WRONG_STATEMENT)
        raise QueryError(reason_of(error), is_wrong=is_wrong) from error
    finally:
        connection.rollback()
