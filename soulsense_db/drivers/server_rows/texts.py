"""Values of rows as they are shown to a person: as SQL, shortened, on one line."""

from __future__ import annotations

from collections.abc import Sequence

from soulsense_db.drivers.server_rows.tables import LONG, Column, Row
from soulsense_db.shown_text import escaped, printable

_LONGEST = 40


def shown(value: str | None, column: Column, *, start: int = 0) -> str:
    """Return a value; ``start``: how much of a long one is left out before."""
    if value is None:
        return "NULL"
    if column.kind in {"integer", "number"}:
        return value
    if value.startswith(LONG):
        length, _, value = value[1:].split(":", 2)
        what = "bytes" if column.kind == "bytes" else "characters"
        return f"{shown(value[:_LONGEST], column).partition(' (')[0]}… ({int(length):,} {what})"
    before = "…" if start else ""
    if column.kind == "bytes":
        digits = value.removeprefix("\\x")
        part = digits[start : start + _LONGEST // 2]
        after = "…" if len(digits) > start + len(part) else ""
        return f"x'{before}{part}{after}' ({len(digits) // 2:,} bytes)"
    cut = value[start : start + _LONGEST]
    after = "…" if len(value) > start + len(cut) else ""
    text = escaped(cut).replace("'", "''")
    return f"'{before}{text}{after}'"


def shown_apart(before: str | None, after: str | None, column: Column) -> tuple[str, str]:
    """Return two values that differ as :func:`shown`: long ones from where they begin to differ."""
    texts = shown(before, column), shown(after, column)
    if texts[0] != texts[1] or before is None or after is None:
        return texts
    if before.startswith(LONG) or after.startswith(LONG):
        return texts
    pairs = enumerate(zip(before, after, strict=False))
    same = next((at for at, (one, other) in pairs if one != other), min(len(before), len(after)))
    start = max(0, same - _LONGEST // 8) & ~1
    return shown(before, column, start=start), shown(after, column, start=start)


def named(columns: Sequence[Column], values: Row) -> tuple[tuple[str, str], ...]:
    """Return the name of each column with its value as it is shown."""
    pairs = zip(columns, values, strict=True)
    return tuple((printable(one.name), shown(value, one)) for one, value in pairs)


def called(columns: Sequence[Column], values: Row) -> str:
    """Return what a person calls a row with this key; without one, what there is to say."""
    if not columns:
        return "with these values"
    return ", ".join(f"{name} {value}" for name, value in named(columns, values))
