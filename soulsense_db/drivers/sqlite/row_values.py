"""Values of rows as they are stored: read without loss, bound again, and shown to a person."""

from __future__ import annotations

import hashlib
import marshal
import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from soulsense_db.drivers.sqlite import pragmas
from soulsense_db.shown_text import escaped, printable

Row = tuple[Any, ...]
_LONGEST_SHOWN = 40


class RawText(bytes):
    """Text that is not valid in its encoding: its bytes, as UTF-8 has them or would."""

    __slots__ = ()


def as_stored(connection: sqlite3.Connection) -> AbstractContextManager[None]:
    """Read text in the block as ``str``, or as :class:`RawText` where it is none."""
    return pragmas.text_as(connection, _text)


def _text(data: bytes) -> str | RawText:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return RawText(data)


def placeholder(value: object) -> str:
    """Return how a statement has ``value``: Python sends SQLite no text that is not valid."""
    return "CAST(? AS TEXT)" if isinstance(value, RawText) else "?"


def bound(values: Sequence[Any], encoding: str) -> list[Any]:
    """Return ``values`` for a database with text in ``encoding``, as :func:`placeholder` expects.

    A cast takes the bytes for text in the database's own encoding.
    """
    return [_in_encoding(one, encoding) if isinstance(one, RawText) else one for one in values]


def _in_encoding(text: RawText, encoding: str) -> bytes:
    if encoding == "UTF-8":
        return bytes(text)
    codec = {"UTF-16le": "utf-16-le", "UTF-16be": "utf-16-be"}[encoding]
    return text.decode("utf-8", errors="surrogatepass").encode(codec, errors="surrogatepass")


def is_same(one: Row, other: Row) -> bool:
    """Whether both rows have the same values, of the same types: 1 is not 1.0."""
    return all(type(a) is type(b) and a == b for a, b in zip(one, other, strict=True))


def digest_of(row: Row) -> bytes:
    """Return what tells a row from all that are not :func:`is_same`."""
    return hashlib.sha256(_packed(row)).digest()


def _packed(row: Row) -> bytes:
    # marshal knows no subclasses; in version 2 it has no references, which would differ.
    plain = tuple(("raw", bytes(one)) if isinstance(one, RawText) else one for one in row)
    return marshal.dumps(plain, 2)


def shown(value: object, *, start: int = 0) -> str:
    """Return a value as SQL, shortened, with nothing in it that acts on a terminal.

    ``start``: how many characters or bytes of a long one are left out before.
    """
    if value is None:
        return "NULL"
    before = "…" if start else ""
    if isinstance(value, RawText):
        value, start = value[start : start + 4 * _LONGEST_SHOWN].decode(errors="replace"), 0
    if isinstance(value, bytes):
        part = value[start : start + _LONGEST_SHOWN // 4]
        after = "…" if len(value) > start + len(part) else ""
        return f"x'{before}{part.hex()}{after}' ({len(value):,} bytes)"
    if isinstance(value, str):
        cut = value[start : start + _LONGEST_SHOWN]
        text = escaped(cut).replace("'", "''")
        after = "…" if len(value) > start + len(cut) else ""
        return f"'{before}{text}{after}'"
    return str(value)


def shown_apart(before: object, after: object) -> tuple[str, str]:
    """Return two values that differ as :func:`shown`: long ones from where they begin to differ."""
    texts = shown(before), shown(after)
    if texts[0] != texts[1] or not (
        isinstance(before, str | bytes) and isinstance(after, str | bytes)
    ):
        return texts
    pairs = enumerate(zip(before, after, strict=False))
    same = next((at for at, (one, other) in pairs if one != other), min(len(before), len(after)))
    start = max(0, same - _LONGEST_SHOWN // 8)
    return shown(before, start=start), shown(after, start=start)


def named(names: Sequence[str], values: Sequence[Any]) -> tuple[tuple[str, str], ...]:
    """Return each name with its value as it is shown."""
    return tuple((printable(n), shown(v)) for n, v in zip(names, values, strict=True))
