"""Values of rows, out of the text that a server's program writes for them."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar

from soulsense_db.drivers.diff_report import LongValue
from soulsense_db.drivers.dump_rows import DumpedRow
from soulsense_db.drivers.schema_parts import TableSchema

_NULL = b"\\N"


class Kind(enum.Enum):
    """What values a column has; ``OTHER``: such as times, of which the text is shown."""

    INTEGER = enum.auto()
    FLOAT = enum.auto()
    DECIMAL = enum.auto()
    TEXT = enum.auto()
    BYTES = enum.auto()
    BOOLEAN = enum.auto()
    OTHER = enum.auto()


NUMBERS = (Kind.INTEGER, Kind.FLOAT, Kind.DECIMAL)


class RowFormat(ABC):
    """How rows are written in a dump, and what their values are."""

    null: ClassVar[bytes]
    """How it is written that there is no value."""

    @abstractmethod
    def columns(self, row: DumpedRow) -> tuple[str, ...]:
        """Return the columns of which a row has values, in their order."""

    @abstractmethod
    def fields(self, line: bytes) -> Sequence[bytes]:
        """Return what is written for each column of a row."""

    @abstractmethod
    def joined(self, fields: Sequence[bytes]) -> bytes:
        """Return a row of these fields, as it is written."""

    @abstractmethod
    def key(self, fields: Sequence[bytes]) -> bytes:
        """Return the key that a row of such fields has, as it tells it itself."""

    @abstractmethod
    def value(self, field: bytes, kind: Kind) -> Any:
        """Return the value that is written so."""

    @abstractmethod
    def kind(self, declared: str) -> Kind:
        """Return what values a column of this type has."""

    def kinds(self, columns: Sequence[str], table: TableSchema | None) -> list[Kind]:
        """Return the kinds of some columns of a table."""
        declared = {} if table is None else table.columns
        return [
            self.kind(declared[name].declared) if name in declared else Kind.OTHER
            for name in columns
        ]

    @property
    def encoding(self) -> str:
        """What texts are written in."""
        return "utf-8"


def number(text: str, kind: Kind) -> int | float | Decimal | str:
    """Return a number that a server has written; what is none, as it was written."""
    try:
        if kind is Kind.INTEGER:
            return int(text)
        if kind is Kind.FLOAT:
            return float(text)
        return Decimal(text)
    except (ValueError, InvalidOperation):
        return text


def needs_value(one: Kind, other: Kind, *, same_type: bool) -> bool:
    """Whether equal values may be written in two ways, for columns of these kinds."""
    if one is not other:
        return True
    return not same_type and one in (Kind.DECIMAL, Kind.FLOAT)


def canonical(value: Any) -> bytes:
    """Return the same bytes for the same value, of whatever kind its column is."""
    if value is None:
        return _NULL
    if isinstance(value, bytes):
        return b"\\x" + value.hex().encode()
    if isinstance(value, str):
        return value.encode(errors="surrogateescape")
    if isinstance(value, LongValue):
        return value.sha256.encode()
    return _canonical_number(Decimal(str(value))).encode()


def _canonical_number(number: Decimal) -> str:
    if not number.is_finite():
        return str(number)
    if number == 0:
        return "0"
    # Not by normalize(): that rounds to the digits of a context.
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def not_text(columns: Sequence[str], kinds: Sequence[Kind]) -> frozenset[str]:
    """Return the columns whose values are only shown as texts."""
    return frozenset(
        column for column, kind in zip(columns, kinds, strict=True) if kind is Kind.OTHER
    )
