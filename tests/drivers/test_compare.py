"""What a restore would change, table by table."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
import sqlalchemy as sa
from conftest import EngineMaker
from helpers import Mode, add_child, execute, make_database, snapshot_of
from hypothesis import given
from hypothesis import strategies as st

from soulsense_db import BackupManager
from soulsense_db.drivers import TableDiff
from soulsense_db.drivers.sqlite.compare import compare
from soulsense_db.errors import DatabaseFileNotFoundError, InvalidBackupError


def _tables(manager: BackupManager) -> dict[str, tuple[int, int, int | None]]:
    found = manager.compare("latest").tables
    return {t.table: (t.gained, t.lost, t.changed) for t in found}


def test_a_new_backup_is_the_same(tmp_path: Path, make_engine: EngineMaker, mode: Mode) -> None:
    """A restore of what was just taken would change nothing: our own table does not count."""
    database = make_database(tmp_path / "app.db", mode=mode)
    manager = BackupManager(make_engine(database))
    manager.create()
    manager.create()
    assert manager.compare("latest").identical
    assert manager.compare("latest~1").identical


def test_rows_gained_lost_and_changed(manager: BackupManager, database: Path) -> None:
    """Deleted rows come back, new ones go, edited ones change back; each is counted as that."""
    manager.create()
    execute(
        database,
        "DELETE FROM child WHERE id <= 5",
        "UPDATE child SET body = 'edited' WHERE id BETWEEN 10 AND 12",
        "INSERT INTO child VALUES (1000, 1, 0, 'new'), (1001, 1, 0, 'new')",
        "UPDATE parent SET total = total + 1 WHERE id = 3",
    )
    assert _tables(manager) == {"child": (5, 2, 3), "parent": (0, 0, 1)}


def test_tables_that_only_one_has(manager: BackupManager, database: Path) -> None:
    """A table made since loses all its rows, one dropped since gains them."""
    manager.create()
    execute(
        database,
        "DROP TABLE child",
        "CREATE TABLE mood (name TEXT)",
        "INSERT INTO mood VALUES ('calm')",
    )
    found = manager.compare("latest")
    assert _tables(manager) == {"child": (300, 0, 0), "mood": (0, 1, 0)}
    assert not found.same_schema


def _newer(manager: BackupManager) -> dict[str, int | None]:
    return {t.table: t.newer for t in manager.compare("latest").tables}


def test_newer_are_the_rows_behind_the_backup_s_last(
    manager: BackupManager, database: Path
) -> None:
    """Of the rows that a restore takes away, those inserted since are told from those put between.

    Whatever became of the last row itself, and all of a table that was empty or is new.
    """
    execute(database, "CREATE TABLE empty (a)", "DELETE FROM child WHERE id = 100")
    manager.create()
    execute(database, "INSERT INTO child VALUES (100, 1, 0, 'put between')")
    assert _newer(manager) == {"child": 0}
    execute(
        database,
        "DELETE FROM child WHERE id = 300",
        "INSERT INTO child VALUES (301, 1, 0, 'new'), (1000, 1, 0, 'new')",
        "INSERT INTO empty VALUES (1), (2), (3)",
        "CREATE TABLE made (k TEXT PRIMARY KEY) WITHOUT ROWID",
        "INSERT INTO made VALUES ('a'), ('b')",
        "UPDATE parent SET total = 0",
    )
    assert _newer(manager) == {"child": 2, "empty": 3, "made": 2, "parent": 0}
    execute(database, "DELETE FROM child", "DROP TABLE parent")
    assert _newer(manager) == {"child": 0, "empty": 3, "made": 2, "parent": 0}


@pytest.mark.parametrize(
    ("table", "newer"),
    [
        ("t (a INTEGER PRIMARY KEY, b)", 1),
        ("t (b, a INTEGER, PRIMARY KEY (a))", 1),
        ("t (a, b)", 1),
        ("t (a INTEGER UNIQUE, b, rowid)", 1),
        ("t (a INT PRIMARY KEY, b)", None),
        ("t (a INTEGER PRIMARY KEY DESC, b)", None),
        ("t (a TEXT PRIMARY KEY, b)", None),
        ("t (a INTEGER, b INTEGER, PRIMARY KEY (a, b))", None),
        ("t (a INTEGER PRIMARY KEY, b) WITHOUT ROWID", None),
        ("t (a, b, rowid INTEGER, oid, _rowid_)", None),
    ],
)
def test_newer_is_known_where_the_key_grows(
    manager: BackupManager, database: Path, table: str, newer: int | None
) -> None:
    """Only SQLite's own numbering of rows says which came later; any other key says nothing."""
    execute(database, f"CREATE TABLE {table}", "INSERT INTO t (a, b) VALUES (1, 1), (5, 5)")
    manager.create()
    execute(database, "INSERT INTO t (a, b) VALUES (9, 9)")
    assert _newer(manager) == {"t": newer}


def test_newer_is_not_known_where_columns_or_keys_differ(
    manager: BackupManager, database: Path
) -> None:
    """What was only counted, or has another key now, says nothing about the age of rows."""
    key = "id INTEGER PRIMARY KEY, body TEXT"
    ways = [("t", "", "WITHOUT ROWID"), ("u", "WITHOUT ROWID", "")]
    for name, before, _ in ways:
        execute(database, f"CREATE TABLE {name} ({key}) {before}")
    manager.create()
    execute(
        database,
        "ALTER TABLE parent ADD COLUMN nick TEXT",
        "INSERT INTO parent VALUES (100, 'x', 0, '')",
    )
    for name, _, now in ways:
        execute(database, f"DROP TABLE {name}", f"CREATE TABLE {name} ({key}) {now}")
        execute(database, f"INSERT INTO {name} VALUES (2, 'b')")
    assert _newer(manager) == {"parent": None, "t": None, "u": None}
    assert _tables(manager) == {"parent": (0, 1, None), "t": (0, 1, 0), "u": (0, 1, 0)}


def test_other_columns_compare_in_numbers(manager: BackupManager, database: Path) -> None:
    """Rows of a table whose columns differ are counted, and not said to be the same."""
    manager.create()
    execute(database, "ALTER TABLE parent ADD COLUMN nick TEXT", "DELETE FROM parent WHERE id = 9")
    assert _tables(manager) == {"parent": (1, 0, None)}
    execute(database, "INSERT INTO parent VALUES (9, 'x', 0, '')")
    assert _tables(manager) == {"parent": (0, 0, None)}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("CREATE TABLE t (a)", "INSERT INTO t VALUES (1)"),
        ("CREATE TABLE t (a); INSERT INTO t VALUES (1)", "UPDATE t SET a = 1.0"),
        ("CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('x')", "UPDATE t SET a = x'78'"),
        (
            "CREATE TABLE t (a TEXT COLLATE NOCASE); INSERT INTO t VALUES ('x')",
            "UPDATE t SET a='X'",
        ),
        ("CREATE TABLE t (a); INSERT INTO t VALUES ('')", "UPDATE t SET a = NULL"),
        ("CREATE TABLE t (a TEXT); INSERT INTO t VALUES (CAST(x'ff' AS TEXT))", "DELETE FROM t"),
        ("CREATE TABLE t (k TEXT PRIMARY KEY, a) WITHOUT ROWID", "INSERT INTO t VALUES ('k', 1)"),
        ("CREATE TABLE t (a)", "CREATE INDEX i ON t (a)"),
        ("CREATE TABLE t (a)", "CREATE VIEW v AS SELECT a FROM t"),
        ("CREATE TABLE t (a)", "PRAGMA user_version = 7"),
        ("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT)", "INSERT INTO t VALUES (NULL)"),
        (
            "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT)",
            "INSERT INTO t VALUES (NULL); DELETE FROM t",  # the next id will be another
        ),
        ('CREATE TABLE "odd "" name" ("a b")', 'INSERT INTO "odd "" name" VALUES (1)'),
        ("CREATE TABLE t (rowid, oid, a)", "INSERT INTO t VALUES (1, 2, 3)"),
    ],
)
def test_no_difference_is_overlooked(
    manager: BackupManager, database: Path, before: str, after: str
) -> None:
    """Type, case, NULL, schema and odd names: whatever differs is not the same content."""
    execute(database, *before.split("; "))
    manager.create()
    assert manager.compare("latest").identical
    execute(database, *after.split("; "))
    assert not manager.compare("latest").identical


VALUES = st.one_of(st.none(), st.integers(-3, 3), st.floats(-2, 2), st.text("aAb", max_size=2))
ROWS = st.dictionaries(st.text("aBc\u00e9", max_size=2), VALUES, max_size=8)


@pytest.mark.slow
@given(live=ROWS, backup=ROWS)
def test_the_walk_counts_as_sets_do(
    tmp_path_factory: pytest.TempPathFactory, live: dict[str, object], backup: dict[str, object]
) -> None:
    """For any rows under any keys the numbers are those of a comparison of the two sets."""
    folder = tmp_path_factory.mktemp("walk")
    sides = []
    for name, rows in (("live.db", live), ("backup.db", backup)):
        connection = sqlite3.connect(folder / name)
        connection.execute("CREATE TABLE t (k TEXT PRIMARY KEY COLLATE NOCASE, v) WITHOUT ROWID")
        connection.executemany("INSERT OR IGNORE INTO t VALUES (?, ?)", rows.items())
        connection.commit()
        sides.append(connection)
    with closing(sides[0]), closing(sides[1]):
        ours, theirs = (
            dict(side.execute("SELECT k, v || typeof(v) FROM t").fetchall()) for side in sides
        )
        found = compare(sides[0], sides[1], folder / "backup.db", ignore=())
    differ = sum(ours[key] != theirs[key] for key in ours.keys() & theirs.keys())
    expected = (len(theirs.keys() - ours.keys()), len(ours.keys() - theirs.keys()), differ)
    counted = [
        TableDiff(table="t", gained=expected[0], lost=expected[1], changed=expected[2], newer=None)
    ]
    assert list(found.tables) == (counted if expected != (0, 0, 0) else [])


@pytest.fixture
def many(manager: BackupManager, database: Path) -> int:
    """Have a backup, and a live database with other rows; return how many rows there are of both.

    One table has other columns, one is only in the backup, one only in the live database.
    """
    many_rows = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})"
    insert = f"INSERT INTO {{}} {many_rows} SELECT i FROM n"
    for name in ("kept", "dropped", "altered"):
        execute(database, f"CREATE TABLE {name} (i)", insert.format(name, 2500))
    manager.create()
    execute(
        database,
        "DROP TABLE dropped",
        "DELETE FROM kept WHERE i % 7 = 0",
        "ALTER TABLE altered ADD COLUMN more",
        "CREATE TABLE made (i)",
        insert.format("made", 40),
    )
    return 2 * (300 + 10) + 2500 + (2500 - 357) + 2500 + 2 * 2500 + 40


def test_a_comparison_tells_how_far_it_is(manager: BackupManager, many: int) -> None:
    """A dialog sees rows read grow to all of both, and is asked often whether to go on."""
    calls: list[tuple[int, int]] = []
    found = manager.compare("latest", progress=lambda *call: calls.append(call))
    assert calls == sorted(calls)
    assert {total for _, total in calls} == {many}
    assert calls[-1] == (many, many)
    steps = [after - before for (before, _), (after, _) in pairwise([(0, 0), *calls])]
    # What is only counted is told of at once, with the rows of "child" before it.
    assert [step for step in steps if step > 1000] == [5000, 2500 + 600]
    assert len(steps) >= 8
    assert found == manager.compare("latest")


def test_a_comparison_can_be_cancelled_at_any_report(
    manager: BackupManager, database: Path, many: int
) -> None:
    """What a report raises comes out as it is, nothing stays open, and no file has changed."""

    class CancelledError(Exception):
        pass

    before = snapshot_of(database.parent)
    reports = 0
    while True:
        left = reports

        def cancel(done: int, total: int) -> None:
            nonlocal left
            if left == 0:
                raise CancelledError
            left -= 1

        try:
            manager.compare("latest", progress=cancel)
        except CancelledError:
            reports += 1
        else:
            break
        assert _opened_below(database.parent) == []
        assert snapshot_of(database.parent) == before
    assert reports > 5


def _opened_below(folder: Path) -> list[str]:
    """Return the files in ``folder`` that this process has open."""
    links = Path("/proc/self/fd")
    if not links.exists():
        pytest.skip("only Linux tells")
    found = (os.path.realpath(link) for link in links.iterdir())
    return [path for path in found if path.startswith(f"{folder}/")]


def test_rows_are_counted_in_advance_only_for_a_progress(tmp_path: Path) -> None:
    """Nobody waits for a count that nobody wants to see."""
    path = make_database(tmp_path / "app.db")
    statements: list[str] = []
    with closing(sqlite3.connect(path)) as live, closing(sqlite3.connect(path)) as backup:
        live.set_trace_callback(statements.append)
        compare(live, backup, path, ignore=())
        assert not [statement for statement in statements if "count(" in statement]
        compare(live, backup, path, ignore=(), progress=lambda *_: None)
        assert len([statement for statement in statements if "count(" in statement]) == 2


def test_comparing_changes_nothing(manager: BackupManager, database: Path) -> None:
    """Neither a backup nor the live database nor what lies beside them changes."""
    manager.create()
    add_child(database)
    before = snapshot_of(database.parent)
    manager.compare("latest")
    assert snapshot_of(database.parent) == before


def test_in_memory_and_in_use(make_engine: EngineMaker, tmp_path: Path) -> None:
    """An in-memory database is compared too, and its connection stays as the application had it."""
    engine = make_engine("sqlite://")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t (a TEXT)"))
    manager = BackupManager(engine, tmp_path)
    manager.create()
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO t VALUES ('x')"))
    assert _tables(manager) == {"t": (0, 1, 0)}
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT a FROM t")) == "x"


def test_what_undo_would_change_can_be_asked(manager: BackupManager, database: Path) -> None:
    """The safety backup is compared like a backup, though it lies outside the directory."""
    assert manager.safety_backup() is None
    manager.create()
    add_child(database)
    manager.restore("latest")
    safety = manager.safety_backup()
    assert safety is not None
    assert {t.table: (t.gained, t.lost) for t in manager.compare(safety).tables} == {
        "child": (1, 0),
        "parent": (0, 0),
    }


def test_what_cannot_be_compared_is_an_error(manager: BackupManager, database: Path) -> None:
    """A damaged backup and an absent database are errors of the tree."""
    info = manager.create()
    path = Path(info.path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InvalidBackupError):
        manager.compare(info)
    database.unlink()
    with pytest.raises(DatabaseFileNotFoundError):
        manager.compare(info)


def test_a_column_named_rowid_is_no_rowid(manager: BackupManager, database: Path) -> None:
    """Rows are told apart by their real rowid where a column of the table has that name."""
    execute(
        database, "CREATE TABLE t (rowid, oid)", "INSERT INTO t VALUES (7, 'a'), (7, 'b'), (7, 'c')"
    )
    manager.create()
    execute(database, "DELETE FROM t WHERE oid = 'a'")
    assert _tables(manager) == {"t": (1, 0, 0)}


@pytest.mark.parametrize("columns", [1100, 1980])
def test_very_many_columns_are_compared(
    manager: BackupManager, database: Path, columns: int
) -> None:
    """A table may have so many untyped columns that their types have no columns of their own."""
    names = ", ".join(f"c{number}" for number in range(columns))
    execute(database, f"CREATE TABLE wide ({names})", "INSERT INTO wide (c0) VALUES (1), (2)")
    manager.create()
    assert manager.compare("latest").identical
    execute(database, "UPDATE wide SET c0 = 1.0 WHERE c0 = 1")
    assert _tables(manager) == {"wide": (0, 0, 1)}


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_text_keys_are_ordered_in_any_encoding(
    tmp_path: Path, make_engine: EngineMaker, encoding: str
) -> None:
    """Rows are counted right where SQLite orders text by the bytes of UTF-16."""
    database = tmp_path / "app.db"
    keys = ["a", "b", "c", "\u0101", "\u0201", "\uffee", "\U0001f642"]
    execute(
        database,
        f"PRAGMA encoding = '{encoding}'",
        "CREATE TABLE t (k TEXT PRIMARY KEY, v)",
        *(f"INSERT INTO t VALUES ('{key}', 1)" for key in keys),
    )
    manager = BackupManager(make_engine(database))
    manager.create()
    execute(
        database,
        "DELETE FROM t WHERE k IN ('\u0201', '\U0001f642')",
        "INSERT INTO t VALUES ('d', 1)",
    )
    assert _tables(manager) == {"t": (2, 1, 0)}
