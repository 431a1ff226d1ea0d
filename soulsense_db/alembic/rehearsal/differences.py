"""What ``alembic check`` finds, a sentence each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

_MOST = 20
_ONE: dict[str, Callable[..., str]] = {
    "add_table": lambda table: f"table {table.name} is missing",
    "remove_table": lambda table: f"table {table.name} is not in the models",
    "add_column": lambda _schema, table, column: f"column {table}.{column.name} is missing",
    "remove_column": lambda _schema, table, column: (
        f"column {table}.{column.name} is not in the models"
    ),
    "add_index": lambda index: f"index {index.name} is missing",
    "remove_index": lambda index: f"index {index.name} is not in the models",
    "add_constraint": lambda one: f"constraint {_named(one)} is missing",
    "remove_constraint": lambda one: f"constraint {_named(one)} is not in the models",
    "add_fk": lambda one: f"foreign key {_named(one)} is missing",
    "remove_fk": lambda one: f"foreign key {_named(one)} is not in the models",
}
_MODIFIED = {
    "modify_type": "type",
    "modify_nullable": "nullability",
    "modify_default": "default",
    "modify_comment": "comment",
}


def sentences_of(error: Any) -> list[str]:
    """Return what the error of ``alembic check`` tells of; before Alembic 1.14 only its text."""
    found = getattr(error, "diffs", None)
    if found is None:
        return [str(error).partition(":")[2].strip() or str(error)]
    sentences = [_sentence(one) for one in _flat(found)]
    more = len(sentences) - _MOST
    return [*sentences[:_MOST], f"and {more} more"] if more > 0 else sentences


def _flat(found: Iterable[Any]) -> Iterable[Any]:
    """Yield each difference: those of one column come as a list."""
    for one in found:
        if isinstance(one, list):
            yield from one
        else:
            yield one


def _sentence(one: Any) -> str:
    kind, *facts = one
    if kind in _MODIFIED:
        return f"the {_MODIFIED[kind]} of column {facts[1]}.{facts[2]} differs"
    if kind in _ONE:
        return _ONE[kind](*facts)
    return str(kind).replace("_", " ")


def _named(constraint: Any) -> str:
    """Return its name, else its table."""
    name = getattr(constraint, "name", None)
    return str(name) if name else f"of table {getattr(constraint.table, 'name', '?')}"
