"""What differs between two database files: rows, values, and how they are matched."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import EngineMaker
from helpers import execute, snapshot_of

from soulsense_db.drivers import DiffReport, LongValue, TableChange, driver_for
from soulsense_db.errors import (
    DatabaseDamagedError,
    EmptyBackupError,
    InvalidBackupError,
    NotADatabaseError,
    OptionError,
)


class Two:
    """Two database files, made by the same statements, and then changed."""

    def __init__(self, folder: Path, make_engine: EngineMaker) -> None:
        self.first, self.second = folder / "first.db", folder / "second.db"
        self.driver = driver_for(make_engine(folder / "live.db"), lock_timeout=1)

    def both(self, *statements: str) -> None:
        """Run statements on both."""
        execute(self.first, *statements)
        execute(self.second, *statements)

    def diff(self, **options: Any) -> DiffReport:
        """Tell what differs from the first to the second."""
        return self.driver.diff(self.first, self.second, **options)

    def only_table(self, **options: Any) -> TableChange:
        """Return the one table that differs."""
        (table,) = self.diff(**options).changed_tables
        return table


@pytest.fixture
def two(tmp_path: Path, make_engine: EngineMaker) -> Two:
    """Return two empty databases."""
    found = Two(tmp_path, make_engine)
    found.both("PRAGMA user_version = 1")
    return found


def _counts(table: TableChange) -> tuple[int, int, int | None]:
    return table.added, table.removed, table.changed


def test_two_equal_files_are_identical(two: Two) -> None:
    """Every table is named that was compared, and none of them differs; nothing is written."""
    two.both("CREATE TABLE t (id INTEGER PRIMARY KEY, v)", "INSERT INTO t VALUES (1, 'a')")
    two.both("CREATE TABLE u (v)", "CREATE VIEW w AS SELECT 1")
    before = snapshot_of(two.first.parent)
    report = two.diff(rows=5)
    assert report.identical
    assert [(t.table, t.rows_before, t.rows_after) for t in report.tables] == [
        ("t", 1, 1),
        ("u", 0, 0),
    ]
    assert snapshot_of(two.first.parent) == before


def test_added_is_what_only_the_second_has(two: Two) -> None:
    """Rows and values are told in the direction of time, with the rows themselves if wanted."""
    two.both("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, w)")
    two.both("INSERT INTO t VALUES (1, 'gone', 1), (2, 'longer', 2), (3, 'same', 3), (4, 'x', 4)")
    execute(two.second, "DELETE FROM t WHERE id = 1", "INSERT INTO t VALUES (9, 'new', 9)")
    execute(two.second, "UPDATE t SET v = 'short' WHERE id = 2", "UPDATE t SET w = NULL WHERE id=4")
    table = two.only_table(rows=1)
    assert _counts(table) == (1, 1, 2)
    assert (table.rows_before, table.rows_after) == (4, 4)
    assert (table.matched_by, table.key, table.note) == ("key", ("id",), None)
    told = {c.column: (c.differing, c.became_null, c.became_shorter) for c in table.columns}
    assert told == {"v": (1, 0, 1), "w": (1, 1, 0)}
    assert [(s.kind, s.key, s.before, s.after) for s in table.samples] == [
        ("added", (9,), None, (9, "new", 9)),
        ("removed", (1,), (1, "gone", 1), None),
        ("changed", (2,), (2, "longer", 2), (2, "short", 2)),
    ]
    assert two.only_table().samples == ()


def test_a_table_that_only_one_has_is_all_its_rows(two: Two) -> None:
    """Its rows came or are gone, and it is in the schema's differences."""
    execute(two.first, "CREATE TABLE old (a)", "INSERT INTO old VALUES (1), (2)")
    execute(two.second, "CREATE TABLE new (k TEXT PRIMARY KEY)", "INSERT INTO new VALUES ('x')")
    report = two.diff(rows=1)
    new, old = report.changed_tables
    assert (new.table, _counts(new), new.rows_before, new.rows_after) == ("new", (1, 0, 0), None, 1)
    assert (old.table, _counts(old), old.rows_before, old.rows_after) == ("old", (0, 2, 0), 2, None)
    assert [s.after for s in new.samples] == [("x",)]
    assert [s.before for s in old.samples] == [(1,)]
    assert [change.sentence for change in report.schema] == [
        "Table new was added.",
        "Table old was removed.",
    ]


def test_common_columns_are_compared(two: Two) -> None:
    """Where a column came or went, the rows are compared by the others; types that differ count."""
    execute(two.first, "CREATE TABLE t (id INTEGER PRIMARY KEY, a, gone, n TEXT)")
    execute(two.second, "CREATE TABLE t (n INTEGER, id INTEGER PRIMARY KEY, a, came)")
    execute(two.first, "INSERT INTO t (id, a, n) VALUES (1, 'x', '1'), (2, 'y', 'z')")
    execute(two.second, "INSERT INTO t (id, a, n) VALUES (1, 'x', '1'), (2, 'changed', 'z')")
    table = two.only_table()
    assert table.compared == ("id", "a", "n")
    assert (table.columns_added, table.columns_removed) == (("came",), ("gone",))
    assert _counts(table) == (0, 0, 2)
    assert {c.column: c.differing for c in table.columns} == {"a": 1, "n": 1}  # 1 is not '1'


def test_a_column_that_came_is_a_difference_of_the_table(two: Two) -> None:
    """Where all rows are the same by the other columns, the numbers are all zero."""
    two.both("CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    execute(two.second, "ALTER TABLE t ADD COLUMN nick TEXT")
    table = two.only_table()
    assert _counts(table) == (0, 0, 0)
    assert table.columns_added == ("nick",)


def test_without_a_key_the_rowid_counts(two: Two) -> None:
    """A row without a key is the one with its number, and that is said."""
    two.both("CREATE TABLE t (a, b)", "INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, 'z')")
    execute(two.second, "UPDATE t SET b = 'changed' WHERE a = 2")
    table = two.only_table(rows=1)
    assert (table.matched_by, table.key, _counts(table)) == ("rowid", (), (0, 0, 1))
    assert table.samples[0].key == (2,)
    assert "no primary key" in str(table.note)


def test_rows_that_are_only_numbered_anew_are_the_same(two: Two) -> None:
    """A migration that copies a table, or VACUUM, numbers the rows anew: no row was changed."""
    two.both("CREATE TABLE t (a)", "INSERT INTO t VALUES (1), (2), (3), (4)")
    two.both("DELETE FROM t WHERE a = 2")
    execute(two.second, "CREATE TABLE c AS SELECT * FROM t", "DROP TABLE t")
    execute(two.second, "CREATE TABLE t (a)", "INSERT INTO t SELECT a FROM c", "DROP TABLE c")
    report = two.diff(rows=3)
    assert report.identical
    assert "only the numbers" in str(report.tables[0].note)
    execute(two.second, "UPDATE t SET a = 5 WHERE a = 4")
    assert _counts(two.only_table()) == (1, 1, 1)


@pytest.mark.parametrize(
    "table",
    ["t (id TEXT PRIMARY KEY, v)", "t (id TEXT, v, PRIMARY KEY (id, v))"],
)
def test_null_keys_are_matched_by_all_values(two: Two, table: str) -> None:
    """SQLite lets many rows have a key with NULL in it: which of them differ is found all the same.

    A row that is the same in both does not count, wherever it lies.
    """
    two.both(f"CREATE TABLE {table}", "INSERT INTO t VALUES ('k', 1), (NULL, 1), (NULL, 3)")
    execute(two.second, "DELETE FROM t WHERE v = 1 AND id IS NULL")
    execute(two.second, "INSERT INTO t VALUES (NULL, 2), (NULL, 4)")
    change = two.only_table(rows=9)
    assert _counts(change) == (2, 1, 0)
    assert {s.after for s in change.samples} == {(None, 2), (None, 4), None}
    assert "NULL in the primary key" in str(change.note)


def test_no_row_has_a_number_of_its_own(two: Two) -> None:
    """Where columns took all names of the rowid, rows are matched by all their values."""
    two.both("CREATE TABLE t (rowid, oid, _rowid_)")
    two.both("INSERT INTO t VALUES (1, 1, 1), (1, 1, 1), (2, 2, 2)")
    execute(two.second, "DELETE FROM t WHERE rowid = 1", "INSERT INTO t VALUES (1, 1, 1)")
    table = two.only_table(rows=3)
    assert (table.matched_by, _counts(table)) == ("values", (0, 1, 0))
    assert "no primary key" in str(table.note)


def test_another_key_is_compared_by_values(two: Two) -> None:
    """A key that came with a migration makes no row another one."""
    execute(two.first, "CREATE TABLE t (a, b)", "INSERT INTO t VALUES (1, 2), (3, 4)")
    execute(two.second, "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)")
    execute(two.second, "INSERT INTO t (a, b) VALUES (3, 4), (1, 2), (5, 6)")
    table = two.only_table()
    assert (table.matched_by, _counts(table)) == ("values", (1, 0, 0))
    assert "the primary key is another one" in str(table.note)


def test_without_a_common_column_rows_are_counted(two: Two) -> None:
    """Then nothing is known of the rows but how many there are, and that is said."""
    execute(two.first, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1), (2)")
    execute(two.second, "CREATE TABLE t (b)", "INSERT INTO t VALUES (1)")
    table = two.only_table(rows=1)
    assert (table.matched_by, _counts(table)) == ("count", (0, 1, None))
    assert "only counted" in str(table.note)


@pytest.mark.parametrize("key", ["id INTEGER PRIMARY KEY", "id TEXT PRIMARY KEY"])
def test_text_in_another_encoding(tmp_path: Path, make_engine: EngineMaker, key: str) -> None:
    """The same text is the same; where the order of keys depends on it, rows are counted."""
    two = Two(tmp_path, make_engine)
    execute(two.first, "PRAGMA encoding = 'UTF-8'")
    execute(two.second, "PRAGMA encoding = 'UTF-16le'")
    for path, encoding in ((two.first, "UTF-8"), (two.second, "UTF-16le")):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA encoding = '{encoding}'")
            connection.execute(f"CREATE TABLE t ({key}, v TEXT)")
            connection.execute("INSERT INTO t VALUES (1, 'é'), (2, 'b')")
            connection.commit()
    execute(two.second, "UPDATE t SET v = 'c' WHERE id = 2")
    report = two.diff()
    assert [change.name for change in report.schema] == ["encoding"]
    (table,) = report.changed_tables
    counted = "TEXT" in key
    assert table.matched_by == ("count" if counted else "key")
    assert _counts(table) == (0, 0, None if counted else 1)


@pytest.mark.parametrize("declared", ["", "BLOB", "TEXT"])
def test_another_type_is_another_value(two: Two, declared: str) -> None:
    """1 is not 1.0 and not '1', wherever a column may hold them both."""
    two.both(
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared})", "INSERT INTO t VALUES (1, 1)"
    )
    execute(two.second, "UPDATE t SET v = 1.0")
    table = two.only_table()
    assert _counts(table) == (0, 0, 1)
    assert [c.differing for c in table.columns] == [1]


VALUES = [None, 0, 1.0, 2**63 - 1, -(2**63), 2**53 + 1, float("inf"), float("-inf"), "", "é", b""]
VALUES += ["\x00a", b"\x00\xff", "x" * 5000, b"y" * 300_000]


@pytest.mark.parametrize("declared", ["", "TEXT", "INTEGER", "BLOB", "REAL"])
def test_every_value_is_told_as_it_is(two: Two, declared: str) -> None:
    """Numbers of 64 bits, infinity, bytes, and long ones with their digest and length."""
    two.both(f"CREATE TABLE t (id INTEGER PRIMARY KEY, v {declared})")
    with closing(sqlite3.connect(two.second)) as connection:
        connection.executemany("INSERT INTO t (v) VALUES (?)", [(value,) for value in VALUES])
        connection.commit()
        stored = [row[0] for row in connection.execute("SELECT v FROM t ORDER BY id")]
    samples = two.only_table(rows=50).samples
    for sample, value in zip(samples, stored, strict=True):
        assert sample.after is not None
        told = sample.after[1]
        if isinstance(value, str | bytes) and len(value) > 4096:
            assert isinstance(told, LongValue)
            assert (told.length, told.start) == (len(value), value[:200])
        else:
            assert (told, type(told)) == (value, type(value))


def test_text_that_is_none_is_compared_by_its_bytes(two: Two) -> None:
    """Bytes that are no UTF-8 neither stop the comparison nor are taken for others."""
    two.both("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    two.both("INSERT INTO t VALUES (1, CAST(x'ff41' AS TEXT)), (2, 'valid'), (3, 'b')")
    assert two.diff().identical
    execute(two.second, "UPDATE t SET v = CAST(x'fe41' AS TEXT) WHERE id = 1")
    table = two.only_table(rows=1)
    assert _counts(table) == (0, 0, 1)
    assert table.samples[0].before == (1, "\udcffA")


@pytest.mark.parametrize("size", [20_000, 300_000, 2_000_000])
def test_long_values_became_shorter(two: Two, size: int) -> None:
    """Of values that are never in memory as a whole it is known how long they are, too."""
    two.both("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, b BLOB)")
    two.both(f"INSERT INTO t VALUES (1, printf('%.*c', {size}, 'é'), zeroblob({size}))")
    execute(two.second, "UPDATE t SET v = substr(v, 2), b = CAST(x'01' || substr(b, 2) AS BLOB)")
    table = two.only_table(rows=1)
    told = {c.column: (c.differing, c.became_shorter) for c in table.columns}
    assert told == {"v": (1, 1), "b": (1, 0)}
    before, after = table.samples[0].before, table.samples[0].after
    assert before is not None and after is not None
    assert isinstance(before[1], LongValue) and isinstance(after[1], LongValue)
    assert (before[1].length, after[1].length) == (size, size - 1)
    assert isinstance(after[2], LongValue)
    assert isinstance(after[2].start, bytes)


def test_a_key_too_long_for_memory_is_counted(two: Two) -> None:
    """Where rows cannot be put in order, it is said that they were only counted."""
    two.both("CREATE TABLE t (k TEXT PRIMARY KEY)", "INSERT INTO t VALUES (hex(zeroblob(200000)))")
    assert two.diff().identical
    execute(two.second, "UPDATE t SET k = k || 'x'", "INSERT INTO t VALUES ('short')")
    table = two.only_table()
    assert (table.matched_by, _counts(table)) == ("count", (1, 0, None))
    assert "too long" in str(table.note)


def test_what_only_the_application_knows_is_not_needed(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """Neither its collations, nor its functions in checks, indexes and computed columns."""
    two = Two(tmp_path, make_engine)
    for path in (two.first, two.second):
        with closing(sqlite3.connect(path)) as connection:
            connection.create_collation("mine", lambda a, b: (a > b) - (a < b))
            connection.create_function("f", 1, lambda value: value, deterministic=True)
            connection.execute(
                "CREATE TABLE t (k TEXT PRIMARY KEY COLLATE mine CHECK (f(k) IS NOT NULL), "
                "g AS (f(k)), v) WITHOUT ROWID"
            )
            connection.execute("CREATE INDEX i ON t (f(v))")
            connection.execute("INSERT INTO t VALUES ('b', 1), ('a', 1)")
            if path == two.second:
                connection.execute("UPDATE t SET v = 2 WHERE k = 'a'")
            connection.commit()
    table = two.only_table(rows=1)
    assert _counts(table) == (0, 0, 1)
    assert table.samples[0].after == ("a", 2)


def test_odd_names_and_virtual_tables(two: Two) -> None:
    """Names need quotes, and the tables of an index say what they are part of."""
    two.both(
        'CREATE TABLE "a ""b"" [c] \'d\' \n" ("x ""y""" INTEGER PRIMARY KEY, "sel ect")',
        "CREATE VIRTUAL TABLE notes USING fts5(body)",
        "CREATE VIRTUAL TABLE places USING rtree(id, x0, x1)",
        "INSERT INTO notes VALUES ('a')",
    )
    assert two.diff().identical
    execute(two.second, 'INSERT INTO "a ""b"" [c] \'d\' \n" VALUES (1, 2)')
    execute(two.second, "INSERT INTO notes VALUES ('b')", "INSERT INTO places VALUES (1, 2, 3)")
    changed = two.diff(rows=1).changed_tables
    assert {table.part_of for table in changed} == {None, "notes", "places"}
    assert [s.after for t in changed if t.part_of is None for s in t.samples] == [(1, 2)]
    chosen = two.diff(only=["notes"])
    assert {table.part_of for table in chosen.changed_tables} == {"notes"}


def test_a_name_that_is_no_text_is_not_compared(two: Two) -> None:
    """A table that nothing here can name is told of, and never taken for the same."""
    two.both("CREATE TABLE odd_name (a)")
    for path in (two.first, two.second):
        data = path.read_bytes()
        path.write_bytes(data.replace(b"odd_name", b"odd\xffname"))
    (table,) = two.diff().changed_tables
    assert (table.matched_by, table.changed) == ("nothing", None)
    assert "not valid text" in str(table.note)


def test_chosen_tables(two: Two) -> None:
    """Only what was asked for is compared; a name that neither has is an error with the nearest."""
    two.both("CREATE TABLE Users (id INTEGER PRIMARY KEY)", "CREATE TABLE entries (a)")
    execute(two.second, "INSERT INTO Users VALUES (1)", "INSERT INTO entries VALUES (1)")
    execute(two.second, "CREATE VIEW v AS SELECT 1", "CREATE INDEX i ON entries (a)")
    report = two.diff(only=["users"])
    assert [table.table for table in report.tables] == ["Users"]
    assert report.schema == ()
    assert [t.table for t in two.diff(ignore=["Users"]).tables] == ["entries"]
    with pytest.raises(OptionError, match="entires") as error:
        two.diff(only=["entires", "users"])
    assert "entries" in error.value.hint
    with pytest.raises(OptionError) as error:
        two.diff(only=["nothing like it"])
    assert "Users" in error.value.hint


def test_empty_databases(two: Two) -> None:
    """Two files without a table are identical."""
    assert two.diff().identical
    assert two.diff().tables == ()


@pytest.mark.parametrize(
    ("contents", "error"),
    [
        (b"", EmptyBackupError),
        (b"no database" * 100, NotADatabaseError),
        (None, InvalidBackupError),
    ],
    ids=["empty", "text", "cut"],
)
@pytest.mark.parametrize("which", ["first", "second"])
def test_what_is_no_database(
    two: Two, which: str, contents: bytes | None, error: type[InvalidBackupError]
) -> None:
    """A file that is none is named in the error, whichever of the two it is."""
    two.both("CREATE TABLE t (a)", "INSERT INTO t VALUES (zeroblob(20000))")
    path: Path = getattr(two, which)
    path.write_bytes(path.read_bytes()[:9000] if contents is None else contents)
    with pytest.raises(error, match=path.name):
        two.diff()


@pytest.mark.parametrize("which", ["first", "second"])
def test_damage_is_said_of_the_file_that_has_it(two: Two, which: str) -> None:
    """Of a backup by its name; of a copy of the live database as of that."""
    two.both("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
    two.both("INSERT INTO t SELECT value, hex(zeroblob(400)) FROM json_each('[1,2,3,4,5,6,7,8,9]')")
    path: Path = getattr(two, which)
    data = bytearray(path.read_bytes())
    data[4096:8192] = b"\xff" * 4096
    path.write_bytes(data)
    with pytest.raises(InvalidBackupError, match=path.name):
        two.diff()
    with pytest.raises(DatabaseDamagedError, match=r"live\.db"):
        two.diff(of_live=[path])


class CancelledError(Exception):
    """The person pressed "Cancel"."""


def test_progress_and_cancel(two: Two) -> None:
    """At the end all rows of both are told; what it raises comes out, and nothing stays open."""
    two.both("CREATE TABLE t (a)", "INSERT INTO t VALUES (1), (2)")
    execute(two.second, "INSERT INTO t VALUES (3)")
    calls: list[tuple[int, int]] = []
    two.diff(progress=lambda *call: calls.append(call))
    assert calls[-1] == (5, 5)

    def cancel(_done: int, _total: int) -> None:
        raise CancelledError

    with pytest.raises(CancelledError):
        two.diff(progress=cancel)
    two.first.unlink()
    two.second.unlink()


def test_rows_of_a_million_take_no_more_memory(two: Two) -> None:
    """No more rows are kept than were asked for, however many differ."""
    many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
    two.both("CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    execute(two.second, f"INSERT INTO t {many} SELECT i, i FROM n")
    table = two.only_table(rows=3)
    assert table.added == 5000
    assert len(table.samples) == 3
