"""Values of rows, short enough to be read, and such that nothing in them acts on a terminal."""

from __future__ import annotations

from soulsense_db.drivers import LongValue, Value
from soulsense_db.shown_text import escaped

_MOST = 40
_BEFORE = 12
"""How much is shown of what two long texts share before they differ."""


def shown(value: Value, *, start: int = 0, most: int = _MOST) -> str:
    """Return ``value`` as a person reads it, of a long one a piece that begins at ``start``."""
    if value is None:
        return "NULL"
    if isinstance(value, LongValue):
        return _piece(value.start, value.length, start, most, is_long=True)
    if isinstance(value, str | bytes):
        return _piece(value, len(value), start, most)
    return str(value)


def shown_pair(before: Value, after: Value) -> tuple[str, str]:
    """Return both such that it can be seen where they differ."""
    one, other = _beginning(before), _beginning(after)
    start = 0
    if type(one) is type(other) and max(len(one), len(other)) > _MOST:
        shared = _shared(one, other)
        start = max(0, shared - _BEFORE) if shared >= _MOST - _BEFORE else 0
    texts = shown(before, start=start), shown(after, start=start)
    if texts[0] != texts[1]:
        return texts
    # They differ behind what is kept, or in their type only.
    return f"{texts[0]} {_identity(before)}", f"{texts[1]} {_identity(after)}"


def _piece(value: str | bytes, length: int, start: int, most: int, *, is_long: bool = False) -> str:
    unit = "bytes" if isinstance(value, bytes) else "characters"
    if isinstance(value, bytes):
        most //= 2  # each byte takes two places
    part = value[start : start + most]
    is_cut = start + len(part) < length
    before, behind = "…" * (start > 0), "…" * is_cut
    if isinstance(part, bytes):
        text = f"x'{before}{part.hex().upper()}{behind}'"
    else:
        text = f"'{before}{escaped(part)}{behind}'"
    return f"{text} ({length:,} {unit})" if start or is_cut or is_long else text


def _beginning(value: Value) -> str | bytes:
    if isinstance(value, LongValue):
        return value.start
    return value if isinstance(value, str | bytes) else ""


def _shared(one: str | bytes, other: str | bytes) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _identity(value: Value) -> str:
    if isinstance(value, LongValue):
        return f"[sha256 {value.sha256[:12]}]"
    if isinstance(value, str):  # characters that are not shown as what they are
        return ascii(value[:_MOST])
    return f"[{type(value).__name__}]"
