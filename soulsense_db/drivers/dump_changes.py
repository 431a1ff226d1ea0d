"""What differs between the rows of two dumps, value by value: what a rehearsal wants to know.

Rows go to parts on disk by their keys, so that both sides of a row are in the same part, and only
a part is in memory. Values are compared as the server's own program writes them.
"""

from __future__ import annotations

import re
import struct
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import IO, Literal, NamedTuple, Self
from zlib import crc32

from soulsense_db.drivers.diff_report import ColumnChange, DiffReport, ShorterValue, TableChange
from soulsense_db.drivers.dump_rows import DumpedRow, DumpedTable

Kind = Literal["text", "padded", "number", "other"]
"""Text may become shorter, a number less exact; of anything else only its beginning may be left.

``padded``: text that ends in blanks which mean nothing.
"""

_BYTES_OF_A_PART = 4 * 1024 * 1024
_MOST_PARTS = 400  # open files
_HEAD = struct.Struct(">III")  # the table, and the lengths of key and line
_DECIMAL = re.compile(rb"-?\d+\.\d+")


class Names(NamedTuple):
    """New names of what has its old one here: tables, and columns by table (old name) and name."""

    tables: Mapping[str, str] = {}
    columns: Mapping[tuple[str, str], str] = {}


@dataclass(frozen=True, slots=True)
class Side:
    r"""One of two dumps: its tables, its rows, and the kinds of its columns by table and name.

    In the line of a row its values are apart by tabs, as the server's ``COPY`` writes them: ``\N``
    is NULL, and no value has a tab. ``names``: what is to be taken under an old name.
    """

    tables: Sequence[DumpedTable]
    rows: Callable[[], Iterator[DumpedRow]]
    kinds: Mapping[tuple[str, str], Kind]
    names: Names

    def by_old_name(self) -> dict[str, _Table]:
        """Return the tables, with the columns that they have, all by their old names."""
        old_tables = {new: old for old, new in self.names.tables.items()}
        found = {}
        for table in self.tables:
            name = old_tables.get(table.shown, table.shown)
            old = {new: one for (of, one), new in self.names.columns.items() if of == name}
            columns = tuple(old.get(column, column) for column in table.columns)
            key = tuple(old.get(column, column) for column in table.key)
            kinds = tuple(self.kinds.get((table.shown, one), "other") for one in table.columns)
            found[name] = _Table(table.shown, columns, key, table.rows, kinds)
        return found


class _Table(NamedTuple):
    shown: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    rows: int
    kinds: tuple[Kind, ...]


class _Pair(NamedTuple):
    """A table that both have: ``compared`` are the columns of both, ``key`` those that match."""

    name: str
    before: _Table
    after: _Table
    compared: tuple[str, ...]
    key: tuple[str, ...]


@dataclass
class _Column:
    differing: int = 0
    became_null: int = 0
    became_shorter: int = 0
    became_inexact: int = 0
    first_shorter: ShorterValue | None = None


@dataclass
class _Count:
    added: int = 0
    removed: int = 0
    changed: int = 0
    columns: dict[str, _Column] = field(default_factory=dict)


def changes_of_rows(
    first: Side, second: Side, *, ignore: Collection[str], folder: Path, size_bytes: int
) -> DiffReport:
    """Return what differs from ``first`` to ``second``; tables named in ``ignore`` are left out.

    ``folder``: where there is room for as much as both dumps have; ``size_bytes``: of the larger.
    """
    before, after = first.by_old_name(), second.by_old_name()
    names = sorted(name for name in before.keys() & after.keys() if name not in ignore)
    pairs = [_pair(name, before[name], after[name]) for name in names]
    if not pairs:
        return DiffReport(schema=(), tables=(), alembic_heads_before=(), alembic_heads_after=())
    parts = min(_MOST_PARTS, size_bytes // _BYTES_OF_A_PART + 1)
    counts = {pair.name: _Count() for pair in pairs}
    with ExitStack() as stack:
        sides = [
            [stack.enter_context(tempfile.TemporaryFile(dir=folder)) for _ in range(parts)]
            for _ in (first, second)
        ]
        for side, files, name in zip((first, second), sides, ("before", "after"), strict=True):
            places = {
                getattr(pair, name).shown: _Places.of(number, pair, getattr(pair, name))
                for number, pair in enumerate(pairs)
            }
            _divide(side.rows(), places, files)
        numbered = dict(enumerate(pairs))
        for one, other in zip(*sides, strict=True):
            _compare_part(one, other, numbered, counts)
    return DiffReport(
        schema=(),
        tables=tuple(_reported(pair, counts[pair.name]) for pair in pairs),
        alembic_heads_before=(),
        alembic_heads_after=(),
    )


def _pair(name: str, before: _Table, after: _Table) -> _Pair:
    compared = tuple(column for column in before.columns if column in after.columns)
    key = before.key if before.key and set(before.key) == set(after.key) else ()
    return _Pair(name, before, after, compared, key)


class _Places(NamedTuple):
    """Where in a line the values of the key are, and those that are compared; None: all of it."""

    number: int
    key: tuple[int, ...]
    values: tuple[int, ...] | None
    few: int  # parts of a line that have the key

    @classmethod
    def of(cls, number: int, pair: _Pair, table: _Table) -> Self:
        place = {column: number for number, column in enumerate(table.columns)}
        key = tuple(place[one] for one in pair.key)
        values = tuple(place[one] for one in pair.compared)
        is_whole = values == tuple(range(len(table.columns)))
        return cls(number, key, None if is_whole else values, max(key, default=0) + 1)


def _divide(
    rows: Iterator[DumpedRow], places: Mapping[str, _Places], parts: Sequence[IO[bytes]]
) -> None:
    """Write each row of a pair of tables to the part that its key belongs to."""
    known: dict[int, _Places | None] = {}
    many = len(parts)
    for row in rows:
        table = row.table
        try:
            found = known[id(table)]
        except KeyError:
            found = known[id(table)] = places.get(table.shown)
        if found is None:
            continue
        line = row.line
        key = line
        if found.key:
            values = line.split(b"\t", found.few)
            key = b"\t".join([_as_key(values[place]) for place in found.key])
        if found.values is not None:
            values = line.split(b"\t")
            line = b"\t".join([values[place] for place in found.values])
        # The same in each process; what is equal comes to the same part.
        part = parts[crc32(key if found.key else line) % many]
        head = _HEAD.pack(found.number, len(key) if found.key else 0, len(line))
        part.write(head + key + line if found.key else head + line)


def _as_key(value: bytes) -> bytes:
    """Return a value as a part of a key: a number the same, however many digits are written."""
    if b"." not in value or not _DECIMAL.fullmatch(value):
        return value
    return value.rstrip(b"0").rstrip(b".")


def _split(line: bytes) -> list[bytes | None]:
    return [None if value == b"\\N" else value for value in line.split(b"\t")]


def _compare_part(
    first: IO[bytes],
    second: IO[bytes],
    pairs: Mapping[int, _Pair],
    counts: Mapping[str, _Count],
) -> None:
    rows: dict[tuple[int, bytes], bytes] = {}
    without_key: Counter[tuple[int, bytes]] = Counter()
    for number, key, line in _records(first):
        if pairs[number].key:
            rows[number, key] = line
        else:
            without_key[number, line] += 1
    for number, key, line in _records(second):
        pair = pairs[number]
        if not pair.key:
            without_key[number, line] -= 1
            continue
        count = counts[pair.name]
        old = rows.pop((number, key), None)
        if old is None:
            count.added += 1
        elif old != line and _note(pair, count, key, old, line):
            count.changed += 1
    for number, _ in rows:
        counts[pairs[number].name].removed += 1
    for (number, _), more in without_key.items():
        counts[pairs[number].name].removed += max(0, more)
        counts[pairs[number].name].added += max(0, -more)


def _records(part: IO[bytes]) -> Iterator[tuple[int, bytes, bytes]]:
    part.seek(0)
    while head := part.read(_HEAD.size):
        number, of_key, of_line = _HEAD.unpack(head)
        both = part.read(of_key + of_line)
        yield number, both[:of_key], both[of_key:]


def _note(pair: _Pair, count: _Count, key: bytes, old: bytes, new: bytes) -> bool:
    """Note what differs between the two sides of a row; return whether a value does."""
    differs = False
    for column, old_value, new_value in zip(pair.compared, _split(old), _split(new), strict=True):
        before = pair.before.kinds[pair.before.columns.index(column)]
        after = pair.after.kinds[pair.after.columns.index(column)]
        was, before = _unpadded(old_value, before)
        now, after = _unpadded(new_value, after)
        if was == now or _is_equal(was, now, before, after):
            continue
        differs = True
        found = count.columns.setdefault(column, _Column())
        found.differing += 1
        if now is None:
            found.became_null += 1
        elif was is not None and _is_less_exact(was, now, before, after):
            found.became_inexact += 1
        elif was is not None and _is_shorter(was, now, before, after):
            found.became_shorter += 1
            if found.first_shorter is None:
                found.first_shorter = ShorterValue(
                    key=tuple(_number_or_none(one) for one in _split(key)),
                    before=_length(was),
                    after=_length(now),
                )
    return differs


def _unpadded(value: bytes | None, kind: Kind) -> tuple[bytes | None, Kind]:
    if kind != "padded":
        return value, kind
    return None if value is None else value.rstrip(b" "), "text"


def _is_equal(was: bytes | None, now: bytes | None, before: Kind, after: Kind) -> bool:
    """Whether two numbers are the same, however many digits are written."""
    if was is None or now is None or not before == after == "number":
        return False
    one, other = _number(was), _number(now)
    return one is not None and one == other


def _is_less_exact(was: bytes, now: bytes, before: Kind, after: Kind) -> bool:
    """Whether a number was rounded, or a text with more in it became one."""
    if after != "number":
        return False
    if before == "text":
        return True
    one, other = _number(was), _number(now)
    if before != "number" or one is None or other is None or not (one.is_finite()):
        return False
    if not other.is_finite():
        return False
    digits = other.as_tuple().exponent
    assert isinstance(digits, int)
    unit = Decimal(1).scaleb(min(0, digits))
    return abs(one - other) <= unit and one != other and _decimals(one) > _decimals(other)


def _decimals(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _is_shorter(was: bytes, now: bytes, before: Kind, after: Kind) -> bool:
    if before == after == "text":
        return _length(now) < _length(was)
    return len(now) < len(was) and was.startswith(now)  # a time of which the date is left


def _number(value: bytes) -> Decimal | None:
    try:
        return Decimal(value.decode("ascii"))
    except (InvalidOperation, UnicodeDecodeError):
        return None


def _number_or_none(value: bytes | None) -> int | None:
    return int(value) if value is not None and re.fullmatch(rb"-?\d+", value) else None


def _length(value: bytes) -> int:
    """Return how many characters a text has, or bytes."""
    if value.startswith(b"\\\\x"):
        return (len(value) - 3) // 2
    return len(re.sub(r"\\.", "x", value.decode("utf-8", errors="replace")))


def _reported(pair: _Pair, count: _Count) -> TableChange:
    return TableChange(
        table=pair.name,
        rows_before=pair.before.rows,
        rows_after=pair.after.rows,
        added=count.added,
        removed=count.removed,
        changed=count.changed,
        matched_by="key" if pair.key else "values",
        key=pair.key,
        compared=pair.compared,
        columns=tuple(
            ColumnChange(
                column=name,
                differing=one.differing,
                became_null=one.became_null,
                became_shorter=one.became_shorter,
                became_inexact=one.became_inexact,
                first_shorter=one.first_shorter,
            )
            for name, one in count.columns.items()
        ),
        columns_added=tuple(set(pair.after.columns) - set(pair.before.columns)),
        columns_removed=tuple(set(pair.before.columns) - set(pair.after.columns)),
    )
