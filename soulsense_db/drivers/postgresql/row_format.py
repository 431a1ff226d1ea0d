"""Rows as ``COPY`` writes them, and what their values are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from soulsense_db.drivers.dump_rows import DumpedRow
from soulsense_db.drivers.dump_values import NUMBERS, Kind, RowFormat, number

_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
# Source: https://www.postgresql.org/docs/current/sql-copy.html
_ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_KINDS = {
    Kind.INTEGER: ("smallint", "integer", "bigint", "oid"),
    Kind.FLOAT: ("real", "double precision"),
    Kind.DECIMAL: ("numeric",),
    Kind.TEXT: ("text", "character", "character varying", '"char"', "name", "json", "jsonb", "xml"),
    Kind.BYTES: ("bytea",),
    Kind.BOOLEAN: ("boolean",),
}
_KIND_OF = {name: kind for kind, names in _KINDS.items() for name in names}
_LENGTH = re.compile(r"\([\d, -]+\)")
_BOOLEANS = {"t": "true", "f": "false"}


class CopyFormat(RowFormat):
    """The format of ``COPY``; ``domains``: the types that domains are of."""

    null = b"\\N"

    def __init__(self, encoding: str, domains: Mapping[str, str]) -> None:
        self._encoding = encoding
        self._domains = domains

    @property
    def encoding(self) -> str:
        """That of the database."""
        return self._encoding

    def columns(self, row: DumpedRow) -> tuple[str, ...]:
        """Return all but generated ones."""
        return row.table.columns

    def fields(self, line: bytes) -> Sequence[bytes]:
        """Split it at its tabs."""
        return line.split(b"\t")

    def joined(self, fields: Sequence[bytes]) -> bytes:
        """Put tabs between them."""
        return b"\t".join(fields)

    def key(self, fields: Sequence[bytes]) -> bytes:
        """Put tabs between them."""
        return b"\t".join(fields)

    def value(self, field: bytes, kind: Kind) -> Any:
        """Undo the escapes."""
        if field == self.null:
            return None
        plain = _ESCAPED.sub(_unescaped, field) if b"\\" in field else field
        if kind is Kind.BYTES and plain.startswith(b"\\x"):
            return bytes.fromhex(plain[2:].decode("ascii"))
        text = plain.decode(self._encoding, errors="surrogateescape")
        if kind in NUMBERS:
            return number(text, kind)
        return _BOOLEANS.get(text, text) if kind is Kind.BOOLEAN else text

    def kind(self, declared: str) -> Kind:
        """Without its length; of a domain, that of its type."""
        for _ in range(len(self._domains) + 1):
            if declared not in self._domains:
                break
            declared = self._domains[declared]
        # An extension's type may be in any schema.
        name = "text" if declared.endswith(".citext") else _LENGTH.sub("", declared)
        return _KIND_OF.get(name, Kind.OTHER)


def _unescaped(match: re.Match[bytes]) -> bytes:
    return _ESCAPES.get(match[1], match[1])
