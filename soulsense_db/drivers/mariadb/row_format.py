"""Rows as ``mariadb-dump`` writes them, and what their values are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from soulsense_db.drivers.dump_rows import DumpedRow
from soulsense_db.drivers.dump_values import NUMBERS, Kind, RowFormat, number
from soulsense_db.drivers.mariadb.contents import Row, fields_of

_ESCAPED = re.compile(rb"\\(.)|''", re.DOTALL)
_ESCAPES = {b"0": b"\0", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"Z": b"\x1a"}
_KINDS = {
    Kind.INTEGER: ("tinyint", "smallint", "mediumint", "int", "bigint", "year"),
    Kind.FLOAT: ("float", "double"),
    Kind.DECIMAL: ("decimal",),
    Kind.TEXT: ("char", "varchar", "tinytext", "text", "mediumtext", "longtext"),
    Kind.BYTES: ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "bit"),
}
_KIND_OF = {name: kind for kind, names in _KINDS.items() for name in names}
_WORD = re.compile(r"\w+")


class InsertFormat(RowFormat):
    """The values of an ``INSERT``, in brackets."""

    null = b"NULL"

    def columns(self, row: DumpedRow) -> tuple[str, ...]:
        """Return those that the statement names."""
        assert isinstance(row, Row)
        return row.columns

    def fields(self, line: bytes) -> Sequence[bytes]:
        """Return what is between the commas."""
        return fields_of(line)

    def joined(self, fields: Sequence[bytes]) -> bytes:
        """Put brackets around them, and commas between."""
        return b"(" + b",".join(fields) + b")"

    def key(self, fields: Sequence[bytes]) -> bytes:
        """Put commas between them."""
        return b",".join(fields)

    def value(self, field: bytes, kind: Kind) -> Any:
        """Undo quotation marks and escapes."""
        if field == self.null:
            return None
        if field.startswith(b"0x"):
            return bytes.fromhex(field[2:].decode("ascii"))
        if not field.startswith(b"'"):
            text = field.decode()
            if kind in NUMBERS:
                return number(text, kind)
            return text
        plain = field[1:-1]
        if b"\\" in plain or b"''" in plain:
            plain = _ESCAPED.sub(_unescaped, plain)
        if kind is Kind.BYTES:
            return plain
        text = plain.decode(errors="surrogateescape")
        return number(text, kind) if kind in NUMBERS else text

    def kind(self, declared: str) -> Kind:
        """By its first word."""
        match = _WORD.match(declared)
        return _KIND_OF.get(match[0], Kind.OTHER) if match else Kind.OTHER


def _unescaped(match: re.Match[bytes]) -> bytes:
    one = match[1]
    return b"'" if one is None else _ESCAPES.get(one, one)
