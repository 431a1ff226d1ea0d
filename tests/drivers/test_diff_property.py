"""The differences that are reported, applied to the first database, make the second of it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soulsense_db.drivers import DiffReport, TableChange
from soulsense_db.drivers.sqlite.diff import Opened, diff

_MOST = 100
# Of a table's declaration: the columns that the walk has to order by.
TABLES = {
    "integer key": "t (id INTEGER PRIMARY KEY, v, w TEXT)",
    "text key": "t (id TEXT PRIMARY KEY, v, w TEXT)",
    "folded key": "t (id TEXT PRIMARY KEY COLLATE NOCASE, v, w TEXT)",
    "descending key": "t (id INTEGER PRIMARY KEY DESC, v, w TEXT)",
    "any key": "t (id PRIMARY KEY, v, w TEXT)",
    "WITHOUT ROWID": "t (id TEXT PRIMARY KEY, v, w TEXT) WITHOUT ROWID",
    "two columns": "t (id, v, w TEXT, PRIMARY KEY (v, id))",
    "no key": "t (id, v, w TEXT)",
    "no name for the rowid": "t (id, v, w TEXT, rowid, oid, _rowid_)",
    "quoted": 't ("id" TEXT PRIMARY KEY, v, w TEXT, "odd "" name" BLOB DEFAULT 1.5)',
}
VALUES = st.one_of(
    st.none(),
    st.integers(-2, 2),
    st.sampled_from([2**53 + 1, -(2**63), 2**63 - 1]),
    st.floats(0.5, 2),
    st.sampled_from([float("inf"), float("-inf"), float("nan"), 1.0, 1e300]),
    st.text("aAb\u00e9\U0001f642", max_size=2),
    st.binary(max_size=2),
)
ROWS = st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=8)


@contextmanager
def _database(path: Path, table: str, rows: list[tuple[Any, ...]]) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(f"CREATE TABLE {table}")
        key = "CAST(? AS INTEGER)" if "INTEGER PRIMARY KEY," in table else "?"
        connection.executemany(f"INSERT OR IGNORE INTO t (id, v, w) VALUES ({key}, ?, ?)", rows)
        yield connection


def _diff(first: sqlite3.Connection, second: sqlite3.Connection) -> DiffReport:
    return diff(Opened(first, None), Opened(second, None), rows=_MOST)


def _contents(connection: sqlite3.Connection) -> Counter[str]:
    """Return all rows, by what they look like: 1 is not 1.0."""
    return Counter(map(repr, connection.execute("SELECT * FROM t").fetchall()))


def _applied(change: TableChange, rows: Counter[str]) -> Counter[str]:
    """Return ``rows`` with what a table's samples say."""
    found = Counter(rows)
    for sample in change.samples:
        if sample.before is not None:
            found[repr(sample.before)] -= 1
        if sample.after is not None:
            found[repr(sample.after)] += 1
    assert min(found.values(), default=0) >= 0, "a row is removed that is not there"
    return +found


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
@given(first=ROWS, second=ROWS, shared=ROWS)
def test_applied_to_the_first_they_make_the_second(
    tmp_path_factory: pytest.TempPathFactory,
    table: str,
    first: list[tuple[Any, ...]],
    second: list[tuple[Any, ...]],
    shared: list[tuple[Any, ...]],
) -> None:
    """For any rows, under any key: nothing is overlooked, and nothing is made up."""
    folder = tmp_path_factory.mktemp("diff")
    with (
        _database(folder / "1.db", table, shared + first) as before,
        _database(folder / "2.db", table, shared + second) as after,
    ):
        (change,) = _diff(before, after).tables
        assert _applied(change, _contents(before)) == _contents(after)
        kinds = Counter(sample.kind for sample in change.samples)
        assert (kinds["added"], kinds["removed"], kinds["changed"]) == (
            change.added,
            change.removed,
            change.changed,
        )
        assert change.rows_before == sum(_contents(before).values())
        assert change.rows_after == sum(_contents(after).values())
        same = _contents(before) == _contents(after)
        assert change.differs is not same
        _check_columns(change)
        back = _diff(after, before).tables[0]
        assert (back.added, back.removed) == (change.removed, change.added)
        assert back.changed == change.changed


def _check_columns(change: TableChange) -> None:
    """Compare what is said of the columns with the rows that changed."""
    changed = [s for s in change.samples if s.before is not None and s.after is not None]
    for at, column in enumerate(change.compared):
        pairs = [(s.before[at], s.after[at]) for s in changed if s.before and s.after]
        differing = [(old, new) for old, new in pairs if repr(old) != repr(new)]
        told = {c.column: c for c in change.columns}.get(column)
        assert (told.differing if told else 0) == len(differing)
        if told is None:
            continue
        assert told.became_null == sum(new is None for _, new in differing)
        assert told.became_shorter == sum(
            _length(new) < _length(old) and (type(old) is type(new) or new in {"", b""})
            for old, new in differing
        )


def _length(value: object) -> int:
    """Return how long text or bytes are; numbers have no length."""
    return len(value) if isinstance(value, str | bytes) else 0


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(first=ROWS, second=ROWS)
def test_another_key_is_compared_by_values(
    tmp_path_factory: pytest.TempPathFactory,
    first: list[tuple[Any, ...]],
    second: list[tuple[Any, ...]],
) -> None:
    """Where the key is another one, the rows that both have in common are still found."""
    folder = tmp_path_factory.mktemp("diff")
    with (
        _database(folder / "1.db", "t (id, v, w TEXT)", first) as before,
        _database(folder / "2.db", "t (n INTEGER PRIMARY KEY, id, v, w TEXT)", second) as after,
    ):
        (change,) = _diff(before, after).tables
        assert change.matched_by == "values"
        assert change.changed == 0
        rows = Counter(map(repr, after.execute("SELECT id, v, w FROM t").fetchall()))
        assert _applied(change, _contents(before)) == rows
