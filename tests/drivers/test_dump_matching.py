"""Rows of two dumps are matched, however many there are, and in whatever order they come."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from soulsense_db.drivers import dump_matching
from soulsense_db.drivers.dump_matching import KeptRows, Line, keep_differing, matched
from soulsense_db.errors import StorageError

Pairs = list[tuple[bytes | None, bytes | None]]


def _lines(rows: Sequence[bytes], *, keyed: bool) -> Iterator[Line]:
    for row in rows:
        yield Line(row, row, row.split(b"=")[0] if keyed else row)


def _matched(
    first: Sequence[bytes], second: Sequence[bytes], folder: Path, *, keyed: bool
) -> Pairs:
    with ExitStack() as stack:
        kept = stack.enter_context(KeptRows(folder)), stack.enter_context(KeptRows(folder))
        keep_differing(_lines(first, keyed=keyed), _lines(second, keyed=keyed), kept)
        return [
            (before and kept[0].text(before), after and kept[1].text(after))
            for before, after in matched(*kept)
        ]


@pytest.fixture
def in_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let few rows wait, and few be kept in memory."""
    monkeypatch.setattr(dump_matching, "_MOST_WAITING", 7)
    monkeypatch.setattr(dump_matching, "_MOST_WAITING_BYTES", 500)
    monkeypatch.setattr(dump_matching, "_RECORDS_OF_A_RUN", 40)
    monkeypatch.setattr(dump_matching, "_IN_MEMORY", 1000)
    monkeypatch.setattr(dump_matching, "_WRITTEN_AT_ONCE", 100)
    monkeypatch.setattr(dump_matching, "_READ_AT_ONCE", 2 * dump_matching._RECORD)


@pytest.mark.usefixtures("in_little_memory")
@pytest.mark.parametrize("seed", range(20))
def test_no_difference_is_overlooked(seed: int, tmp_path: Path) -> None:
    """What is found is what a dictionary of all rows would find, in whatever order they come."""
    chance = random.Random(seed)
    keys = [f"{number}".encode() for number in range(400)]

    def some() -> dict[bytes, bytes]:
        return {key: chance.randbytes(chance.choice([0, 5, 90])).replace(b"=", b"") for key in keys}

    before = some()
    after = {key: value for key, value in before.items() if chance.random() > 0.1}
    after |= {key: b"other" for key in list(after) if chance.random() < 0.1}
    after |= {b"new" + key: b"x" for key in keys if chance.random() < 0.05}
    first, second = ([key + b"=" + side[key] for key in side] for side in (before, after))
    if seed % 2:
        chance.shuffle(second)
    found = _matched(first, second, tmp_path, keyed=True)
    expected = {
        (
            key + b"=" + before[key] if key in before else None,
            key + b"=" + after[key] if key in after else None,
        )
        for key in before.keys() | after.keys()
        if before.get(key) != after.get(key)
    }
    assert len(found) == len(expected)
    assert set(found) == expected
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("in_little_memory")
@pytest.mark.parametrize("seed", range(10))
def test_equal_rows_count_as_often_as_they_are_there(seed: int, tmp_path: Path) -> None:
    """Without a key, what is more on one side is what differs."""
    chance = random.Random(seed)
    first, second = (
        [bytes([chance.randrange(97, 105)]) * 30 for _ in range(chance.randrange(300))]
        for _ in range(2)
    )
    found = _matched(first, second, tmp_path, keyed=False)
    assert Counter(one for one, _ in found if one) == Counter(first) - Counter(second)
    assert Counter(other for _, other in found if other) == Counter(second) - Counter(first)
    assert all(None in pair for pair in found)


@pytest.mark.usefixtures("in_little_memory")
def test_a_folder_that_cannot_be_written_to_is_an_error_of_the_tree(tmp_path: Path) -> None:
    """It names the folder."""
    gone = tmp_path / "gone"
    rows = [f"{number}=x".encode() for number in range(1000)]
    with pytest.raises(StorageError, match="gone"):
        _matched(rows, [], gone, keyed=True)
