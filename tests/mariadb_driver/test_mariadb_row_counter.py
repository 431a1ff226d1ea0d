"""Rows are counted while a dump passes by, in whatever pieces it comes."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from soulsense_db.drivers.mariadb.contents import RowCounter


@pytest.mark.parametrize("seed", range(20))
def test_the_pieces_of_a_dump_make_no_difference(seed: int) -> None:
    """Each row is counted once, with statements, comments and long rows between and at the ends."""
    chance = random.Random(seed)
    expected: Counter[str] = Counter()
    revisions: list[bytes] = []
    lines: list[bytes] = []
    for number in range(40):
        table = chance.choice(["a", "b", "alembic_version"])
        lines += [b"CREATE TABLE `%s` (" % table.encode(), b"  `id` int", b");", b""]
        lines.append(b"INSERT INTO `%s` VALUES" % table.encode())
        count = chance.choice([1, 2, 300])
        expected[table] += count
        for row in range(count):
            value = b"'%04d%04d'" % (number, row)
            if table == "alembic_version":
                revisions.append(value.strip(b"'"))
            elif row % 100 == 99:
                value += b",'" + b"x" * chance.choice([10, 400_000]) + b"(\\n('"
            lines.append(b"(" + value + (b");" if row == count - 1 else b"),"))
    lines.append(b"-- Dump completed")
    dump = b"\n".join(lines)
    counter = RowCounter()
    while dump:
        size = chance.choice([1, 7, 5_000, 256 * 1024])
        counter.feed(dump[:size])
        dump = dump[size:]
    counter.finish()
    assert counter.counts == expected
    assert counter.heads == tuple(sorted(one.decode() for one in revisions))
    assert counter.tables == set(expected)
    assert counter.is_completed
    long = [len(line) for line in lines if line.startswith(b"(") and len(line) > 300_000]
    assert not long or max(long) - 100 <= counter.longest <= max(long)
