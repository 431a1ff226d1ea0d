"""Statements as MariaDB reads them, sent as they are: no library looks for parameters in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy.engine import Connection

_AS_IT_IS = {"no_parameters": True}


def quoted(*names: str) -> str:
    """Return a name as it is written in a statement, after the schema's where both are given."""
    return ".".join(f"`{name.replace('`', '``')}`" for name in names)


def pattern_of(schema: str) -> str:
    """Return a schema's name as it is written in a ``GRANT``, where it is a pattern."""
    return quoted(schema.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%"))


def is_schema(column: str, name: str) -> str:
    """Return the condition for a schema's name in ``information_schema``; ``name``: an expression.

    The server compares some of its columns without regard to capitals, those of triggers and events
    for two, also where two databases may differ in these alone.
    """
    exactly = f"BINARY {column} = BINARY {name}"
    return f"({column} = {name} AND (@@lower_case_table_names <> 0 OR {exactly}))"


def literal(text: str) -> str:
    """Return a text as it is written in a statement, where backslashes are escapes."""
    escaped = text.replace("\\", "\\\\").replace("'", "''").replace("\0", "\\0")
    return f"'{escaped}'"


def literals(texts: Iterable[str]) -> str:
    """Return several texts, in parentheses; never none."""
    return f"({', '.join(map(literal, texts)) or 'NULL'})"


def execute(connection: Connection, statement: str) -> None:
    """Execute a statement as it is."""
    connection.exec_driver_sql(statement, execution_options=_AS_IT_IS)


def rows(
    connection: Connection, statement: str, *, errors: str = "surrogateescape"
) -> list[tuple[Any, ...]]:
    """Return the rows of a statement, texts as texts; ``errors``: what is done with other bytes."""
    found = connection.exec_driver_sql(statement, execution_options=_AS_IT_IS).fetchall()
    return [tuple(_plain(value, errors) for value in row) for row in found]


def scalar(connection: Connection, statement: str) -> Any:
    """Return the first value of the first row, None without one."""
    found = rows(connection, statement)
    return found[0][0] if found else None


def _plain(value: Any, errors: str) -> Any:
    # Some libraries return a text of the server's own tables as bytes.
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode(errors=errors)
    return value
