"""What the server shows of a thing: the statement that makes it, also where it is no text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.lost_sessions import releasing
from soulsense_db.drivers.mariadb.errors import code_of
from soulsense_db.drivers.mariadb.statements import execute, quoted, rows

_UNKNOWN = (1146, 1305, 1347, 1360, 1539, 4091)  # gone since it was listed
# Clients whose statements the server does not convert.
_AS_THEY_ARE = ("utf8mb4", "utf8mb3", "utf8", "binary")


class Kind(NamedTuple):
    """How a kind of thing is called in ``SHOW CREATE``, and which column has its statement."""

    word: str
    column: int


KINDS = {
    "BASE TABLE": Kind("TABLE", 1),
    "SYSTEM VERSIONED": Kind("TABLE", 1),
    "SEQUENCE": Kind("SEQUENCE", 1),
    "VIEW": Kind("VIEW", 1),
    "PROCEDURE": Kind("PROCEDURE", 2),
    "FUNCTION": Kind("FUNCTION", 2),
    "PACKAGE": Kind("PACKAGE", 2),
    "PACKAGE BODY": Kind("PACKAGE BODY", 2),
    "EVENT": Kind("EVENT", 3),
    "TRIGGER": Kind("TRIGGER", 2),
}


def shown(
    connection: Connection,
    schema: str,
    things: Sequence[tuple[str, str]],
    *,
    errors: str = "backslashreplace",
) -> Iterator[tuple[Any, ...] | None]:
    """Yield the row of ``SHOW CREATE`` of each kind and name; None where it has gone.

    ``errors``: what is done with bytes that are no text, as the one that the server shows of
    ``DEFAULT X'FF'``. No library makes the same of them.
    """
    with _unconverted(connection):
        found = [_row(connection, schema, *thing, errors) for thing in things]
    for row, thing in zip(found, things, strict=True):
        client = row[KINDS[thing[0]].column + 1 :][:1] if row else ()
        if not client or client[0] in _AS_THEY_ARE:
            yield row
        else:  # it is in that character set, which the server converts
            yield _row(connection, schema, *thing, errors)


def _row(
    connection: Connection, schema: str, kind: str, one: str, errors: str
) -> tuple[Any, ...] | None:
    asked = f"SHOW CREATE {KINDS[kind].word} {quoted(schema, one)}"
    try:
        return rows(connection, asked, errors=errors)[0]
    except DBAPIError as error:
        if code_of(error) in _UNKNOWN:
            return None
        raise


@contextmanager
def _unconverted(connection: Connection) -> Iterator[None]:
    execute(connection, "SET SESSION character_set_results = binary")
    try:
        yield
    finally:
        with releasing():
            execute(connection, "SET SESSION character_set_results = utf8mb4")
