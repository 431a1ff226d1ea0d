"""Find rows of a backup by their keys: the primary key, or the rowid in a table without one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from soulsense_db.drivers.diff_report import Value
from soulsense_db.drivers.row_errors import (
    no_row_with_key,
    several_with_key,
    unreachable,
    wrong_key,
)
from soulsense_db.drivers.sqlite.pragmas import quoted
from soulsense_db.drivers.sqlite.row_selection import Ident, ident_columns
from soulsense_db.drivers.sqlite.row_tables import Shape, Tables
from soulsense_db.drivers.sqlite.row_values import RawText, Row, bound, named, placeholder

_ASK_EVERY = 200
_MOST, _LEAST = 2**63 - 1, -(2**63)
_SURROGATES = "surrogateescape"


def rows_with_keys(
    backup: Tables,
    shape: Shape,
    keys: Sequence[tuple[Value, ...]],
    *,
    poll: Callable[[], object] | None = None,
) -> list[Ident]:
    """Return what the rows with ``keys`` are found by; ``poll`` is called now and then.

    A key that several rows have, for it has NULL in it, stands for all of them if it is given as
    often. Raises :class:`~soulsense_db.errors.OptionError` for what is no key of the table, and
    :class:`~soulsense_db.errors.RowsRefusedError` where no row of the backup has it, or more.
    """
    idents = ident_columns(shape)
    names = key_names(shape)
    if not idents:
        raise unreachable(shape.name)
    by = key_columns(shape)
    wanted = ", ".join(f'+{one} AS "soulsense_{n}"' for n, one in enumerate(idents))
    select = f"SELECT {wanted} FROM main.{quoted(shape.name)} WHERE "  # noqa: S608 - quoted
    found: dict[Ident, None] = {}
    for key in keys:
        if len(key) != len(by) or not all(map(_can_be_sent, key)):
            raise wrong_key(shape.name, names, repr(tuple(key)))
    times = Counter(keys)
    for number, key in enumerate(times):
        if poll is not None and number % _ASK_EVERY == 0:
            poll()
        values = [_as_stored(one) for one in key]
        rows = backup.rows(*_with_values(select, by, values, backup.encoding))
        if not rows:
            raise no_row_with_key(shape.name, _called(names, values))
        if len(rows) > times[key]:  # a key with NULL in it may be that of several rows
            raise several_with_key(shape.name, _called(names, values), len(rows))
        found |= dict.fromkeys(row[0] if shape.rowid else row for row in rows)
    if not found:
        raise wrong_key(shape.name, names, "()")
    return list(found)


def key_columns(shape: Shape) -> tuple[str, ...]:
    """Return the expressions for the key of a row."""
    return tuple(map(quoted, shape.key)) or ident_columns(shape)


def key_names(shape: Shape) -> tuple[str, ...]:
    """Return what the values of a key are called."""
    return shape.key or ident_columns(shape)


def public_value(value: Any) -> Value:
    """Return a value as it is shown and given back: text that is none has surrogates."""
    return value.decode(errors=_SURROGATES) if isinstance(value, RawText) else value


def _as_stored(value: Value) -> Any:
    if isinstance(value, str) and not _is_valid(value):
        return RawText(value.encode(errors=_SURROGATES))
    return value


def _is_valid(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _can_be_sent(value: object) -> bool:
    if isinstance(value, str):
        try:
            value.encode(errors=_SURROGATES)
        except UnicodeEncodeError:  # a half of a pair, which no text of a database has
            return False
        return True
    if isinstance(value, bool):  # which is an int in Python, and equal to 1 or 0
        return False
    if isinstance(value, int):
        return _LEAST <= value <= _MOST
    return value is None or isinstance(value, float | bytes)


def _with_values(
    select: str, names: Sequence[str], values: Sequence[Any], encoding: str
) -> tuple[str, Row]:
    """Return the statement for the rows in which ``names`` have ``values``, and its parameters."""
    parts = (
        f"{name} IS NULL" if value is None else f"{name} = {placeholder(value)}"
        for name, value in zip(names, values, strict=True)
    )
    given = [value for value in values if value is not None]
    return select + " AND ".join(parts), tuple(bound(given, encoding))


def _called(names: Sequence[str], values: Sequence[Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in named(names, values))
