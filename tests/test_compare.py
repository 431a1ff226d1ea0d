"""What a restore would change, table by table."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from conftest import EngineMaker
from helpers import Mode, add_child, execute, make_database, snapshot_of
from hypothesis import given
from hypothesis import strategies as st

from soulsense_db import BackupManager
from soulsense_db.drivers import TableComparison
from soulsense_db.drivers.sqlite_compare import compare
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
        TableComparison(table="t", gained=expected[0], lost=expected[1], changed=expected[2])
    ]
    assert list(found.tables) == (counted if expected != (0, 0, 0) else [])


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
