"""Rows whose keys SQLite compares in its own way come back, and are told apart."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import EngineMaker
from helpers import execute

from soulsense_db import BackupManager
from soulsense_db.errors import RowsRefusedError

Make = Callable[..., BackupManager]


@pytest.fixture
def made(tmp_path: Path, make_engine: EngineMaker) -> Make:
    """Return a function that makes a database, backs it up, and changes it."""

    def make(script: str, *changes: str) -> BackupManager:
        path = tmp_path / "app.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.executescript(script)
        manager = BackupManager(make_engine(path), lock_timeout=5)
        manager.create()
        execute(path, "PRAGMA foreign_keys = ON", *changes)
        return manager

    return make


def _rows(manager: BackupManager, statement: str) -> list[Any]:
    with closing(sqlite3.connect(str(manager.live.path))) as connection:
        return connection.execute(statement).fetchall()


@pytest.mark.parametrize(
    ("parent", "key", "child", "refers"),
    [
        ("TEXT COLLATE NOCASE", "'Ann'", "TEXT", "'ANN'"),
        ("TEXT", "'Ann'", "TEXT COLLATE NOCASE", "'Ann'"),
        ("TEXT", "'5'", "INTEGER", "5"),
        ("INTEGER", "5", "TEXT", "'5'"),
    ],
)
@pytest.mark.parametrize("without", ["", "WITHOUT ROWID"])
def test_children_refer_as_sqlite_compares(
    made: Make, *, parent: str, key: str, child: str, refers: str, without: str
) -> None:
    """With its parent comes each row that the cascade deletes: by the parent's own comparison."""
    manager = made(
        f"""
        CREATE TABLE users (id {parent} PRIMARY KEY NOT NULL, name TEXT) {without};
        CREATE TABLE entries (
            id INTEGER PRIMARY KEY, owner {child} REFERENCES users (id) ON DELETE CASCADE
        );
        CREATE INDEX by_owner ON entries (owner);
        INSERT INTO users VALUES ({key}, 'Ann'), ('07', 'Bob');
        INSERT INTO entries VALUES (1, {refers}), (2, NULL);
        """
    )
    assert manager.live.path is not None
    before = [_rows(manager, f"SELECT * FROM {table}") for table in ("users", "entries")]
    execute(manager.live.path, "PRAGMA foreign_keys = ON", "DELETE FROM users WHERE name = 'Ann'")
    assert _rows(manager, "SELECT id FROM entries") == [(2,)]
    manager.restore_rows("latest", "users", "name = 'Ann'", with_children=True)
    after = [_rows(manager, f"SELECT * FROM {table}") for table in ("users", "entries")]
    assert after == before


def test_what_only_looks_like_a_child_stays(made: Make) -> None:
    """A value that the child's column takes for equal, and the parent's does not, is no reference.

    SQLite does not enforce references unless it is told to: there are such rows.
    """
    manager = made(
        """
        CREATE TABLE users (id TEXT PRIMARY KEY);
        CREATE TABLE entries (id INTEGER PRIMARY KEY, owner TEXT COLLATE NOCASE REFERENCES users);
        INSERT INTO users VALUES ('Ann');
        INSERT INTO entries VALUES (1, 'Ann'), (2, 'ann');
        """,
        "DELETE FROM entries",
        "DELETE FROM users",
    )
    manager.restore_rows("latest", "users", with_children=True)
    assert _rows(manager, "SELECT id, owner FROM entries") == [(1, "Ann")]


@pytest.mark.parametrize("replaced", ["'A', 'now'", "'A', 'one'"])
def test_two_rows_that_are_one_now_do_not_overwrite_each_other(made: Make, replaced: str) -> None:
    """Where the live key ignores case and the backup's does not, one of them has to be chosen."""
    manager = made(
        "CREATE TABLE t (id TEXT PRIMARY KEY, v TEXT);"
        "INSERT INTO t VALUES ('a', 'two'), ('A', 'one')",
        "DROP TABLE t",
        "CREATE TABLE t (id TEXT COLLATE NOCASE PRIMARY KEY, v TEXT)",
        f"INSERT INTO t VALUES ({replaced})",
    )
    with pytest.raises(RowsRefusedError, match="does not tell their keys apart"):
        manager.preview_rows("latest", "t", replace=True)
    with pytest.raises(RowsRefusedError, match="does not tell their keys apart"):
        manager.restore_rows("latest", "t", replace=True)
    assert _rows(manager, f"SELECT count(*) FROM t WHERE (id, v) = ({replaced})") == [(1,)]
    manager.restore_rows("latest", "t", "v = 'two'", replace=True)
    assert _rows(manager, "SELECT v FROM t") == [("two",)]


def test_a_descending_key_is_not_the_rowid(made: Make) -> None:
    """A row of such a table keeps its rowid, by which an index of full texts knows it."""
    manager = made(
        "CREATE TABLE t (id INTEGER PRIMARY KEY DESC, v TEXT);"
        "INSERT INTO t (rowid, id, v) VALUES (70, 1, 'one'), (80, 2, 'two')",
        "DELETE FROM t WHERE id = 1",
    )
    manager.restore_rows("latest", "t", "id = 1")
    assert _rows(manager, "SELECT rowid, id FROM t ORDER BY id") == [(70, 1), (80, 2)]


@pytest.mark.parametrize("ending", ["", " WITHOUT ROWID"])
def test_a_key_with_a_collation_of_its_own_is_refused(made: Make, ending: str) -> None:
    """There "A" and "a" are two rows, and the column says that they are the same."""
    manager = made(
        f"CREATE TABLE t (a TEXT COLLATE NOCASE, v, PRIMARY KEY (a COLLATE BINARY)){ending};"
        "INSERT INTO t VALUES ('A', 'one'), ('a', 'two');",
        "DELETE FROM t WHERE v = 'one'",
    )
    before = _rows(manager, "SELECT * FROM t")
    for call in (manager.preview_rows, manager.restore_rows, manager.find_rows):
        with pytest.raises(RowsRefusedError, match="compares text in another way"):
            call("latest", "t")
    assert _rows(manager, "SELECT * FROM t") == before


def test_a_parent_with_such_a_key_is_refused(made: Make) -> None:
    """No other parent comes back in its place."""
    manager = made(
        "CREATE TABLE p (k TEXT COLLATE NOCASE, v, PRIMARY KEY (k COLLATE BINARY));"
        "CREATE TABLE t (id INTEGER PRIMARY KEY, k REFERENCES p);"
        "INSERT INTO p VALUES ('X', 'big'), ('x', 'small'); INSERT INTO t VALUES (1, 'x');",
        "DELETE FROM t",
        "DELETE FROM p",
    )
    with pytest.raises(RowsRefusedError, match="compares text in another way"):
        manager.restore_rows("latest", "t", keys=[1], with_parents=True)
    assert _rows(manager, "SELECT * FROM p") == []
