"""Rows of two dumps are counted by what is different, in little memory."""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pytest

from soulsense_db.drivers.dump_rows import Comparison


class _Table(NamedTuple):
    shown: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    rows: int


class _Dump(NamedTuple):
    tables: Sequence[_Table]
    size_bytes: int = 0
    heads: tuple[str, ...] = ()


class _Row(NamedTuple):
    table: _Table
    line: bytes

    @property
    def key(self) -> bytes:
        return self.line.split(b"=")[0] if self.table.key else self.line


def _side(rows: Mapping[str, Sequence[bytes]], *, key: tuple[str, ...] = ("id",)) -> _Dump:
    return _Dump([_Table(name, ("id", "v"), key, len(lines)) for name, lines in rows.items()])


def _rows(dump: _Dump, rows: Mapping[str, Sequence[bytes]]) -> Iterator[_Row]:
    for table in dump.tables:
        for line in rows[table.shown]:
            yield _Row(table, line)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("key", [("id",), ()], ids=["key", "no_key"])
def test_no_difference_is_overlooked(seed: int, key: tuple[str, ...]) -> None:
    """What is found is what counting all rows would find, with rows that are there twice."""
    chance = random.Random(seed)

    def some() -> dict[str, list[bytes]]:
        return {
            name: [b"%d=%d" % (chance.randrange(60), chance.randrange(3)) for _ in range(80)]
            for name in ("a", "b")
        }

    backup, live = some(), some()
    before, after = _side(backup, key=key), _side(live, key=key)
    found = Comparison(before, after, ()).run(_rows(before, backup), _rows(after, live), None)
    for table in found:
        more = Counter(backup[table.table]) - Counter(live[table.table])
        less = Counter(live[table.table]) - Counter(backup[table.table])
        by_key = [
            Counter(line.split(b"=")[0] if key else line for line in one.elements())
            for one in (more, less)
        ]
        both = (by_key[0] & by_key[1]).total()
        expected = (more.total() - both, less.total() - both, both)
        assert (table.gained, table.lost, table.changed) == expected
    assert len(found) == 2


def test_rows_that_all_differ_take_little_memory() -> None:
    """However many rows there are: a restore says what it changed in less than 10 MB."""
    rows = [{"a": [b"%d=%s" % (number, one) for number in range(120_000)]} for one in (b"x", b"y")]
    before, after = _side(rows[0]), _side(rows[1])
    tracemalloc.start()
    try:
        (found,) = Comparison(before, after, ()).run(
            _rows(before, rows[0]), _rows(after, rows[1]), None
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.changed == 120_000
    assert peak < 10_000_000
