"""Whether the rows of a table that are gone are all there, under other primary keys."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain

from soulsense_db.drivers.rehearsal import NewKeys
from soulsense_db.drivers.row_tally import says_less
from soulsense_db.drivers.sqlite.compare import both_sides
from soulsense_db.drivers.sqlite.diff import Opened
from soulsense_db.drivers.sqlite.pair import Pair
from soulsense_db.drivers.sqlite.pragmas import folded, quoted
from soulsense_db.drivers.sqlite.rows import Reading, Row, Side, is_typed, values_of
from soulsense_db.drivers.sqlite.walk import UnorderedError, Walk

_DIGEST_BYTES = 32
# So many rows are told apart by what is in them, which takes some ten megabytes.
_MOST_KEPT = 50_000


@dataclass(slots=True)
class _Rows:
    """Rows of one side: how many, their values in a sum that knows no order, and some keys.

    ``keys``: by the values of a row; None where several rows have the same.
    """

    count: int = 0
    total: int = 0
    keys: dict[bytes, Row | None] = field(default_factory=dict)
    has_only_numbers: bool = True

    def add(self, row: Row, key_size: int) -> None:
        key, text = row[:key_size], repr(row[key_size:]).encode(errors="surrogatepass")
        digest = hashlib.blake2b(text, digest_size=_DIGEST_BYTES).digest()
        self.count += 1
        self.total += int.from_bytes(digest)
        self.has_only_numbers &= len(key) == 1 and type(key[0]) is int
        if self.count > _MOST_KEPT:
            return
        self.keys[digest] = None if digest in self.keys else key

    def and_those(self, other: _Rows) -> _Rows:
        keys = {**self.keys, **other.keys}
        keys.update(dict.fromkeys(self.keys.keys() & other.keys.keys()))
        return _Rows(
            self.count + other.count,
            self.total + other.total,
            keys,
            self.has_only_numbers and other.has_only_numbers,
        )

    def is_like(self, other: _Rows) -> bool:
        return (self.count, self.total) == (other.count, other.total)

    def pairs(self, other: _Rows) -> Iterator[tuple[Row, Row]]:
        """Yield the key here and there of each row that is the only one with its values."""
        if max(self.count, other.count) > _MOST_KEPT:  # of the rest nobody knows
            return
        for values, key in self.keys.items():
            if key is not None and (there := other.keys.get(values)) is not None:
                yield key, there


def new_keys(first: Opened, second: Opened, table: str) -> NewKeys | None:
    """Return which rows have other keys in ``second``; None where they cannot be shown to be so.

    The key itself must say no less than before, and is no name that a foreign key takes up.
    """
    connections = first.connection, second.connection
    with both_sides(*connections, first.path, second.path) as (before, after):
        if table not in before.tables or table not in after.tables:
            return None
        pair = Pair.of(before, after, table)
        key = before.tables[table].primary_key
        others = tuple(column for column in pair.common if column not in key)
        if pair.matched_by != "key" or pair.has_null_keys or pair.why_counted or not others:
            return None
        try:
            gone, new, old, now = _differing(before, after, table, others)
        except UnorderedError:
            return None
        has_changed = not gone.is_like(new)
        if has_changed:  # a key may be the old one of another row
            gone, new = gone.and_those(old), new.and_those(now)
        if not gone.count or not gone.is_like(new):
            return None
        pairs = [(one, other) for one, other in gone.pairs(new) if one != other]
        numbers = gone.has_only_numbers and new.has_only_numbers
        if not numbers and (len(pairs) < gone.count or any(map(_says_less, pairs))):
            return None
        return NewKeys(
            rows=gone.count,
            column=key[0] if len(key) == 1 else "",
            example=(pairs[0][0][0], pairs[0][1][0]) if numbers and pairs else None,
            is_number=numbers and not _is_reference(before, table, key),
            has_changed=has_changed,
        )


def _differing(
    before: Side, after: Side, table: str, others: Sequence[str]
) -> tuple[_Rows, _Rows, _Rows, _Rows]:
    """Return the rows whose keys are gone, those with new keys, and those that differ, twice."""
    sides = [side.tables[table] for side in (before, after)]
    types = [dict(zip(side.columns, side.declared, strict=True)) for side in sides]
    typed = [
        name for name in others if types[0][name] != types[1][name] or is_typed(types[0][name])
    ]
    values = values_of(others, typed)
    size = len(sides[0].key)
    one, other = (Reading(side.key, values, side.key) for side in sides)
    gone, new, old, now = _Rows(), _Rows(), _Rows(), _Rows()
    # Closed here: what an error leaves behind would outlive its connection.
    with (
        closing(before.read(table, one)) as first,
        closing(after.read(table, other)) as second,
    ):
        each = (chain.from_iterable(first), chain.from_iterable(second))
        for here, there in Walk(*each, key_size=size, encoding=before.encoding):
            if here is not None:
                (gone if there is None else old).add(here, size)
            if there is not None:
                (new if here is None else now).add(there, size)
    return gone, new, old, now


def _says_less(pair: tuple[Row, Row]) -> bool:
    return any(says_less(new, old) for old, new in zip(*pair, strict=True))


def _is_reference(side: Side, table: str, key: Sequence[str]) -> bool:
    """Whether a column of the key is that of another table: then it says whose row it is."""
    listed = side.query(f"PRAGMA main.foreign_key_list({quoted(table)})")
    return not {folded(str(row[3])) for row in listed}.isdisjoint(map(folded, key))
