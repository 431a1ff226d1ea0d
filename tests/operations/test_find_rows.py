"""Rows that only a backup has are found, and chosen by their keys."""

from __future__ import annotations

import sqlite3
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from helpers import digest, execute

from soulsense_db import BackupManager
from soulsense_db.drivers import FoundRows, LongValue
from soulsense_db.drivers.sqlite import row_search
from soulsense_db.errors import OptionError, RowsRefusedError

Make = Callable[..., tuple[BackupManager, Path]]


@pytest.fixture
def made(tmp_path: Path) -> Make:
    """Return what makes a database by a script, with a backup of it, and its manager."""

    def make(script: str) -> tuple[BackupManager, Path]:
        path = tmp_path / "app.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(script)
        manager = BackupManager.from_url(str(path), lock_timeout=5)
        manager.create("all is there")
        return manager, path

    return make


JOURNAL = """
    CREATE TABLE entries (id INTEGER PRIMARY KEY, title TEXT, body TEXT, mood REAL, photo BLOB);
    INSERT INTO entries VALUES
        (1, 'Sunday', 'warm and STRASSE', 1, x'ff00'), (2, 'Monday', 'Straße, cold', 2, NULL),
        (3, 'Tuesday', NULL, NULL, NULL), (4, 'Monday again', 'warm', 4.5, NULL);
"""


def keys(found: FoundRows) -> list[Any]:
    """Return the keys of what was found."""
    return [row.key for row in found.rows]


def test_only_rows_that_are_missing_now_are_found(made: Make) -> None:
    """Deleted rows are found with their values; those that differ only where that is asked for."""
    manager, path = made(JOURNAL)
    execute(
        path, "DELETE FROM entries WHERE id IN (1, 3)", "UPDATE entries SET mood = 9 WHERE id=2"
    )
    before = digest(path)
    found = manager.find_rows("latest", "entries")
    assert (found.table, found.key, found.is_complete) == ("entries", ("id",), True)
    assert found.columns == ("id", "title", "body", "mood", "photo")
    assert [(row.values, row.now) for row in found.rows] == [
        ((1, "Sunday", "warm and STRASSE", 1.0, b"\xff\x00"), None),
        ((3, "Tuesday", None, None, None), None),
    ]
    found = manager.find_rows("latest", "entries", differing=True)
    assert keys(found) == [(1,), (2,), (3,)]
    changed = found.rows[1]
    assert changed.now is not None
    assert (changed.values[3], changed.now[3]) == (2.0, 9.0)
    assert digest(path) == before


def test_a_search_wants_each_word_in_any_case(made: Make) -> None:
    """Words are looked for in all values of a row, text and numbers, in any case of letters."""
    manager, path = made(JOURNAL)
    execute(path, "DELETE FROM entries")

    def found(text: str) -> list[Any]:
        return [key for (key,) in keys(manager.find_rows("latest", "entries", text))]

    assert found("MONDAY") == [2, 4]
    assert found("warm monday") == [4]
    assert found("strasse") == [1, 2]
    assert found("4.5") == [4]
    assert found("nowhere") == []


def test_no_more_rows_than_the_limit(made: Make) -> None:
    """The first rows are returned, and whether there are more; a search finds the others."""
    manager, path = made(JOURNAL)
    execute(path, "DELETE FROM entries")
    found = manager.find_rows("latest", "entries", limit=2)
    assert keys(found) == [(1,), (2,)]
    assert not found.is_complete
    assert manager.find_rows("latest", "entries", limit=4).is_complete
    for wrong in (0, 1001):
        with pytest.raises(OptionError, match="cannot be found at a time"):
            manager.find_rows("latest", "entries", limit=wrong)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("(a INTEGER PRIMARY KEY, b)", [(1,), (2,)]),
        ("(a TEXT PRIMARY KEY, b)", [("1",), ("2",)]),
        ("(a, b, PRIMARY KEY (b, a))", [("x", 1), ("y", 2)]),
        ("(a, b, PRIMARY KEY (b, a)) WITHOUT ROWID", [("x", 1), ("y", 2)]),
        ("(a, b)", [(1,), (2,)]),
    ],
    ids=["rowid", "text", "two columns", "without rowid", "no key"],
)
def test_rows_of_every_kind_of_table_are_found_and_come_back(
    made: Make, table: str, expected: list[Any]
) -> None:
    """The key of each row that is found brings just that row back."""
    manager, path = made(f"CREATE TABLE t {table};INSERT INTO t VALUES (1, 'x'), (2, 'y');")
    execute(path, "DELETE FROM t")
    found = manager.find_rows("latest", "t")
    assert keys(found) == expected
    plan = manager.preview_rows("latest", "t", keys=[found.rows[1].key])
    assert plan.inserted == 1
    report = manager.restore_rows("latest", "t", keys=[found.rows[1].key], expected=plan)
    assert report.inserted == 1
    assert keys(manager.find_rows("latest", "t")) == expected[:1]


def test_of_equal_rows_without_a_key_as_many_are_found_as_are_missing(made: Make) -> None:
    """Three equal rows of which one is left: two are found, and each comes back once."""
    manager, path = made(
        "CREATE TABLE t (a, b);INSERT INTO t VALUES (1, 2), (1, 2), (1, 2), (3, 4)"
    )
    execute(path, "DELETE FROM t WHERE rowid < 3")
    found = manager.find_rows("latest", "t", differing=True)
    assert [row.values for row in found.rows] == [(1, 2), (1, 2)]
    manager.restore_rows("latest", "t", keys=keys(found))
    assert manager.find_rows("latest", "t").rows == ()


def test_rows_without_a_key_are_compared_as_far_as_they_fit_into_memory(
    made: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of too many the first are compared, and it is said that there are more; words help."""
    monkeypatch.setattr(row_search, "_MOST_UNKEYED", 50)
    values = ", ".join(f"('row {number}')" for number in range(200))
    manager, path = made(f"CREATE TABLE t (a);INSERT INTO t VALUES {values}")
    execute(path, "DELETE FROM t WHERE a = 'row 177'")
    found = manager.find_rows("latest", "t")
    assert (found.rows, found.is_complete) == ((), False)
    found = manager.find_rows("latest", "t", "177")
    assert [row.values for row in found.rows] == [("row 177",)]
    assert found.is_complete


def test_keys_that_are_no_text_or_null_are_found_again(made: Make) -> None:
    """A key that is not valid text, bytes or NULL is given back as it was found."""
    manager, path = made(
        "CREATE TABLE t (k PRIMARY KEY, v);"
        "INSERT INTO t VALUES (CAST(x'61ff' AS TEXT), 1), (x'61ff', 2), (NULL, 3), (1.5, 4);"
    )
    execute(path, "DELETE FROM t")
    found = manager.find_rows("latest", "t")
    assert sorted(map(str, keys(found))) == sorted(
        map(str, [("a\udcff",), (b"a\xff",), (None,), (1.5,)])
    )
    assert manager.restore_rows("latest", "t", keys=keys(found)).inserted == 4
    assert manager.find_rows("latest", "t", differing=True).rows == ()


def test_a_key_is_a_value_or_a_tuple(made: Make) -> None:
    """``keys=[1]`` is ``keys=[(1,)]``; both bring the row back."""
    manager, path = made(JOURNAL)
    execute(path, "DELETE FROM entries")
    assert manager.restore_rows("latest", "entries", keys=[1]).inserted == 1
    assert manager.restore_rows("latest", "entries", keys=[(2,), 1]).inserted == 1


@pytest.mark.parametrize(
    "wrong",
    [[(1, 2)], [()], [object()], [[1]], [True], [2**63], ["\ud800"], []],
    ids=["too many", "too few", "object", "list", "truth", "too large", "half a pair", "none"],
)
def test_what_is_no_key_is_refused(made: Make, wrong: list[Any]) -> None:
    """A key with other columns, of no type of a database or none at all is an option error."""
    manager, path = made(JOURNAL)
    before = digest(path)
    with pytest.raises(OptionError, match=r"is no key of entries"):
        manager.restore_rows("latest", "entries", keys=wrong)
    assert digest(path) == before


def test_a_text_is_no_list_of_keys(made: Make) -> None:
    """Its characters are not taken for keys."""
    manager, _ = made("CREATE TABLE t (k TEXT PRIMARY KEY);INSERT INTO t VALUES ('a'), ('b')")
    with pytest.raises(OptionError, match="not a list of keys") as caught:
        manager.preview_rows("latest", "t", keys="ab")
    assert caught.value.hint == "Write keys=['ab']."


def test_a_key_of_several_rows_stands_for_none_of_them(made: Make) -> None:
    """A key with NULL in it may be that of several rows: all of them come back, or none."""
    manager, path = made(
        "CREATE TABLE t (a, b, v, PRIMARY KEY (a, b));"
        "INSERT INTO t VALUES (1, NULL, 'x'), (1, NULL, 'y'), (1, 2, 'z')"
    )
    execute(path, "DELETE FROM t")
    before = digest(path)
    with pytest.raises(RowsRefusedError, match="has 2 rows of t with a 1, b NULL"):
        manager.restore_rows("latest", "t", keys=[(1, None)])
    assert digest(path) == before
    assert manager.restore_rows("latest", "t", keys=[(1, None), (1, 2), (1, None)]).inserted == 3


def test_a_key_that_the_backup_does_not_have_is_refused(made: Make) -> None:
    """Nothing is written when one of the keys is not there, and it is named."""
    manager, path = made(JOURNAL)
    execute(path, "DELETE FROM entries")
    before = digest(path)
    with pytest.raises(RowsRefusedError, match="no row of entries with id 5"):
        manager.restore_rows("latest", "entries", keys=[1, 5])
    assert digest(path) == before


def test_rows_are_chosen_in_one_way(made: Make) -> None:
    """A condition and keys at once are refused."""
    manager, _ = made(JOURNAL)
    with pytest.raises(OptionError, match="both where and keys"):
        manager.preview_rows("latest", "entries", "id = 1", keys=[1])


def test_tables_that_rows_cannot_come_back_to_are_refused(made: Make) -> None:
    """A view, the catalog, Alembic's table and one that is gone are refused before a search."""
    manager, path = made(
        JOURNAL + "CREATE VIEW v AS SELECT 1; CREATE TABLE gone (a);"
        "CREATE TABLE alembic_version (version_num PRIMARY KEY);"
    )
    execute(path, "DROP TABLE gone")
    for table in ("v", "backups", "alembic_version", "gone", "absent"):
        with pytest.raises(RowsRefusedError):
            manager.find_rows("latest", table)


def test_a_row_of_another_type_now_is_not_taken_for_another_one(made: Make) -> None:
    """Where a column has another type now, what would be kept the same does not differ."""
    manager, path = made(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER);INSERT INTO t VALUES (1, 5)"
    )
    execute(
        path,
        "DROP TABLE t",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n TEXT)",
        "INSERT INTO t VALUES (1, '5')",
    )
    assert manager.find_rows("latest", "t", differing=True).rows == ()


def test_long_values_are_shortened(made: Make) -> None:
    """What is too long to be kept is told by its beginning and its length."""
    manager, path = made(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v);"
        "INSERT INTO t VALUES (1, 'Dear diary' || printf('%.*c', 9000, 'x'))"
    )
    execute(path, "DELETE FROM t")
    (row,) = manager.find_rows("latest", "t", "xxx").rows
    value = row.values[1]
    assert isinstance(value, LongValue)
    assert (value.length, str(value.start)[:10]) == (9010, "Dear diary")


def test_a_search_can_be_cancelled_and_says_how_far_it_is(made: Make) -> None:
    """The progress counts the rows that were read, and what it raises ends the search."""
    manager, path = made(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v);"
        "INSERT INTO t SELECT value, 'x' FROM (WITH RECURSIVE n(value) AS"
        " (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 3000) SELECT value FROM n)"
    )
    told: list[tuple[int, int]] = []
    manager.find_rows("latest", "t", progress=lambda done, total: told.append((done, total)))
    assert told[0] == (0, 3000)
    assert told[-1] == (3000, 3000)

    class StopError(Exception):
        """What a progress raises."""

    def stop(done: int, _total: int) -> None:
        if done:
            raise StopError

    with pytest.raises(StopError):
        manager.find_rows("latest", "t", progress=stop)
    execute(path, "DELETE FROM t")  # nothing is locked


def test_never_all_of_a_table_is_in_memory(made: Make) -> None:
    """A table of 40 MB is searched with a fraction of that."""
    manager, path = made(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v);"
        "INSERT INTO t SELECT value, hex(randomblob(2000)) FROM (WITH RECURSIVE n(value) AS"
        " (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 10000) SELECT value FROM n)"
    )
    execute(path, "DELETE FROM t")
    tracemalloc.start()
    try:
        found = manager.find_rows("latest", "t", limit=100)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found.rows) == 100
    assert most < 5_000_000


def test_keys_are_compared_as_the_database_compares_them(made: Make) -> None:
    """What is one key to the database is one here: another case, 1 and 1.0, but not text and bytes.

    Text that is not valid and the same bytes are two keys.
    """
    manager, path = made(
        "CREATE TABLE names (name TEXT PRIMARY KEY COLLATE NOCASE, v);"
        "INSERT INTO names VALUES ('ann', 1), ('bob', 2);"
        "CREATE TABLE numbers (n PRIMARY KEY, v);"
        "INSERT INTO numbers VALUES (1, 1), (CAST(x'61ff' AS TEXT), 2), (x'61ff', 3);"
    )
    execute(
        path,
        "UPDATE names SET name = 'ANN' WHERE v = 1",
        "DELETE FROM names WHERE v = 2",
        "UPDATE numbers SET n = 1.0 WHERE v = 1",
        "DELETE FROM numbers WHERE v = 2",
    )
    assert keys(manager.find_rows("latest", "names")) == [("bob",)]
    assert keys(manager.find_rows("latest", "numbers")) == [("a\udcff",)]
    assert keys(manager.find_rows("latest", "names", differing=True)) == [("ann",), ("bob",)]
