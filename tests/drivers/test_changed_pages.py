"""What pages tell: a table that is called unchanged has the same rows, whatever was done."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from soulsense_db.drivers import Unchanged
from soulsense_db.drivers.sqlite.changed_pages import unchanged_tables

_TABLES = ("a", "b", "c", "wide", "keyed")
_NOTHING = Unchanged()


def _made(path: Path, *settings: str) -> Path:
    """Make a database with tables of several pages, long values, and one without rowids."""
    with closing(sqlite3.connect(path)) as connection:
        for setting in settings:
            connection.execute(f"PRAGMA {setting}")
        for name in ("a", "b", "c"):
            connection.execute(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, text TEXT, n INT)")
            connection.execute(f"CREATE INDEX {name}_n ON {name} (n)")
            connection.executemany(
                f"INSERT INTO {name} (text, n) VALUES (?, ?)",
                ((f"{name} {i} " * 8, i % 50) for i in range(600)),
            )
        connection.execute("CREATE TABLE wide (id INTEGER PRIMARY KEY, body BLOB)")
        connection.executemany(
            "INSERT INTO wide VALUES (?, ?)", ((i, b"x" * 9000) for i in range(40))
        )
        connection.execute("CREATE TABLE keyed (k TEXT PRIMARY KEY, v TEXT) WITHOUT ROWID")
        connection.executemany(
            "INSERT INTO keyed VALUES (?, ?)", ((f"k{i}", "v" * 50) for i in range(300))
        )
        connection.commit()
    return path


def _changed(folder: Path, *statements: str, settings: tuple[str, ...] = ()) -> Unchanged:
    """Return what is unchanged after the statements."""
    first = _made(folder / "first.db", *settings)
    second = folder / "second.db"
    shutil.copyfile(first, second)
    with closing(sqlite3.connect(second, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
    return unchanged_tables(first, second)


def test_what_no_statement_touches_is_unchanged(tmp_path: Path) -> None:
    """One row of one table: that table alone is to be read, and checked."""
    same = _changed(tmp_path, "UPDATE b SET text = 'other' WHERE id = 300")
    assert same.rows == same.checks == {"a", "c", "wide", "keyed"}


def test_nothing_at_all_is_unchanged(tmp_path: Path) -> None:
    """A copy: all tables."""
    same = _changed(tmp_path)
    assert same.rows == same.checks == set(_TABLES)


def test_a_column_more_leaves_the_rows_alone(tmp_path: Path) -> None:
    """ADD COLUMN writes no row; whether they satisfy the new SQL is still to be checked."""
    same = _changed(tmp_path, "ALTER TABLE a ADD COLUMN more TEXT DEFAULT 'x'")
    assert same.rows == set(_TABLES)
    assert same.checks == {*_TABLES} - {"a"}


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE a RENAME COLUMN text TO body",
        "ALTER TABLE a RENAME TO z",
        "ALTER TABLE a DROP COLUMN n",
        "DELETE FROM a",
        "DROP TABLE a",
    ],
)
def test_other_columns_are_other_rows(tmp_path: Path, statement: str) -> None:
    """A name that means another column, or none, is not taken for the same."""
    drop = ("DROP INDEX a_n",) if "DROP COLUMN" in statement else ()
    assert "a" not in _changed(tmp_path, *drop, statement).rows


def test_another_index_is_checked_and_its_rows_are_not_read(tmp_path: Path) -> None:
    """A new unique index on rows that nobody touched."""
    same = _changed(tmp_path, "CREATE UNIQUE INDEX a_u ON a (text)", "REINDEX b_n")
    assert same.rows == set(_TABLES)
    assert "a" not in same.checks


def test_a_long_value_makes_all_doubtful(tmp_path: Path) -> None:
    """A page behind a row may be of any table: nothing is known then."""
    statement = "UPDATE wide SET body = CAST(replace(body, 'xxxx', 'yyyy') AS BLOB) WHERE id = 7"
    assert _changed(tmp_path, statement) == _NOTHING


@pytest.mark.parametrize(
    "statements",
    [
        ("PRAGMA page_size = 8192", "VACUUM"),
        ("PRAGMA auto_vacuum = FULL", "VACUUM"),
    ],
)
def test_pages_of_another_kind_tell_nothing(tmp_path: Path, statements: tuple[str, ...]) -> None:
    """Another page size, or pages that move: nothing is known."""
    assert _changed(tmp_path, *statements) == _NOTHING


def test_pages_that_move_by_themselves_tell_nothing(tmp_path: Path) -> None:
    """With auto_vacuum the pages of a table have no place of their own."""
    assert _changed(tmp_path, settings=("auto_vacuum = FULL",)) == _NOTHING


def test_what_is_no_database_tells_nothing(tmp_path: Path) -> None:
    """A file of zeros, or an empty one, is no error here: whoever reads it says what it is."""
    first = _made(tmp_path / "first.db")
    for content in (b"", b"\0" * 8192):
        (tmp_path / "odd.db").write_bytes(content)
        assert unchanged_tables(first, tmp_path / "odd.db") == _NOTHING
        assert unchanged_tables(tmp_path / "odd.db", first) == _NOTHING


def _anything(chosen: random.Random) -> str:
    """Return a statement that changes something, or nothing."""
    name = chosen.choice(("a", "b", "c"))
    number = chosen.randrange(1, 600)
    few = f"id BETWEEN {number} AND {number + chosen.choice((0, 3, 200))}"
    return chosen.choice((
        f"UPDATE {name} SET text = 'new' || n WHERE {few}",
        f"UPDATE {name} SET text = text || '{'y' * chosen.choice((1, 90, 7000))}' WHERE {few}",
        f"UPDATE {name} SET n = n + 1 WHERE {few}",
        f"DELETE FROM {name} WHERE {few}",
        f"INSERT INTO {name} (text, n) SELECT text, n FROM {name} WHERE {few}",
        f"UPDATE wide SET body = zeroblob({chosen.randrange(1, 20000)}) WHERE id = {number % 40}",
        f"UPDATE wide SET body = CAST(replace(body, 'x', 'y') AS BLOB) WHERE id = {number % 40}",
        f"DELETE FROM wide WHERE id = {number % 40}",
        f"UPDATE keyed SET v = 'w' WHERE k = 'k{number % 300}'",
        f"DELETE FROM keyed WHERE k LIKE 'k{number % 30}%'",
        f"CREATE TABLE new_{number} AS SELECT * FROM {name}",
        f"CREATE INDEX index_{number} ON {name} (text)",
        f"ALTER TABLE {name} ADD COLUMN more_{number} INT DEFAULT {number}",
        "VACUUM",
        "REINDEX",
        "ANALYZE",
    ))  # fmt: skip


@pytest.mark.parametrize("seed", range(60))
def test_random_changes_are_never_overlooked(tmp_path: Path, seed: int) -> None:
    """Whatever was done: the rows of each table that is called unchanged are the same."""
    chosen = random.Random(seed)
    first = _made(tmp_path / "first.db", f"page_size = {chosen.choice((512, 1024, 4096))}")
    second = tmp_path / "second.db"
    with closing(sqlite3.connect(first, isolation_level=None)) as connection:
        for _ in range(chosen.randrange(4)):  # free pages, and trees that have grown
            _run(connection, _anything(chosen))
    shutil.copyfile(first, second)
    with closing(sqlite3.connect(second, isolation_level=None)) as connection:
        for _ in range(chosen.randrange(1, 5)):
            _run(connection, _anything(chosen))
    same = unchanged_tables(first, second)
    assert same.checks <= same.rows
    with closing(sqlite3.connect(first)) as before, closing(sqlite3.connect(second)) as after:
        for name in same.rows:
            columns = _columns(before, name)
            rows: Callable[[sqlite3.Connection], list[object]] = lambda one: one.execute(  # noqa: E731
                f"SELECT {', '.join(columns)} FROM {name} ORDER BY 1, 2"  # noqa: B023
            ).fetchall()
            assert rows(before) == rows(after), name


def _run(connection: sqlite3.Connection, statement: str) -> None:
    if not (statement.startswith("CREATE") and _exists(connection, statement.split()[2])):
        connection.execute(statement)


def _exists(connection: sqlite3.Connection, name: str) -> bool:
    asked = "SELECT 1 FROM sqlite_master WHERE name = ?"
    return connection.execute(asked, (name,)).fetchone() is not None


def _columns(connection: sqlite3.Connection, name: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
