"""Restores while others write: each of their commits is in the safety backup, or comes after."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import EngineMaker
from helpers import Mode, eventually, execute, leftovers, make_database, scalar

from soulsense_db import BackupManager
from soulsense_db.drivers.sqlite.write_lock import SQLiteWriteLock
from soulsense_db.errors import DatabaseLockedError


def _safety(path: Path) -> Path:
    return path.with_name(f"{path.name}.safety_backup")


@contextmanager
def writing(path: Path) -> Iterator[list[int]]:
    """Commit row after row from another thread, 50 at least; yield the numbers committed so far."""
    stop = threading.Event()
    committed: list[int] = []

    def write() -> None:
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
            while not stop.is_set():
                number = len(committed) + 1
                connection.execute("INSERT INTO log VALUES (?)", (number,))
                committed.append(number)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert eventually(lambda: len(committed) > 50)
        yield committed
    finally:
        stop.set()
        thread.join()


def test_a_writer_s_commits_are_in_the_safety_backup_or_after(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """Whatever another thread commits around a restore is in the safety backup, or after it."""
    path = make_database(tmp_path / "app.db", mode="wal")
    execute(path, "CREATE TABLE log (id INTEGER PRIMARY KEY)")
    manager = BackupManager(make_engine(path))
    info = manager.create()
    with writing(path) as committed:
        manager.restore(info)
        done = len(committed)
        assert eventually(lambda: len(committed) > done + 50)
    kept = set()
    for database in (path, _safety(path)):
        with closing(sqlite3.connect(database)) as connection:
            kept |= {number for (number,) in connection.execute("SELECT id FROM log")}
    assert set(committed) <= kept


def test_a_writer_without_a_pause_does_not_keep_a_restore_waiting(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """In the microseconds between the commits of another thread a restore gets the lock."""
    path = make_database(tmp_path / "app.db", mode="wal")
    manager = BackupManager(make_engine(path), lock_timeout=3)
    execute(path, "CREATE TABLE log (id INTEGER PRIMARY KEY)")
    info = manager.create()
    with writing(path):
        for _ in range(4):
            manager.restore(info)


@pytest.fixture
def overtake(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, int], None]:
    """Return a function that has another program commit right where the lock changes hands."""

    def start(path: Path, times: int) -> None:
        release = SQLiteWriteLock.release
        done: list[bool] = []

        def released(write_lock: Any) -> bool:
            given = release(write_lock)
            if given and len(done) < times:
                done.append(given)
                execute(path, "INSERT INTO parent VALUES (NULL, 'in between', 0)")
            return given

        monkeypatch.setattr(SQLiteWriteLock, "release", released)

    return start


def test_a_commit_where_the_lock_changes_hands_is_kept(
    tmp_path: Path, make_engine: EngineMaker, overtake: Callable[[Path, int], None]
) -> None:
    """What somebody commits just before the restore is in the safety backup, also on an undo."""
    path = make_database(tmp_path / "app.db", mode="wal")
    manager = BackupManager(make_engine(path))
    manager.create()
    overtake(path, 2)
    manager.restore("latest")
    count = "SELECT count(*) FROM parent WHERE name = 'in between'"
    assert (scalar(path, count), scalar(_safety(path), count)) == (0, 2)
    overtake(path, 1)
    manager.undo_restore()
    assert (scalar(path, count), scalar(_safety(path), count)) == (2, 1)
    assert leftovers(tmp_path) == []


def test_a_writer_that_is_always_faster_ends_in_an_error(
    tmp_path: Path, make_engine: EngineMaker, overtake: Callable[[Path, int], None]
) -> None:
    """When somebody commits in between each time, the restore gives up and changed nothing."""
    path = make_database(tmp_path / "app.db", mode="wal")
    manager = BackupManager(make_engine(path), lock_timeout=0.3)
    manager.create()
    overtake(path, 10**6)
    with pytest.raises(DatabaseLockedError, match="keep writing"):
        manager.restore("latest")
    assert scalar(path, "SELECT count(*) FROM parent WHERE name = 'in between'") > 0
    assert not _safety(path).exists()
    assert leftovers(tmp_path) == []


def test_a_safety_backup_without_meta_file_does_not_get_another_s(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """After a restore that failed, a safety backup that has no meta file still has none."""
    path = make_database(tmp_path / "app.db")
    manager = BackupManager(make_engine(path), lock_timeout=0.2)
    manager.create()
    execute(path, "DELETE FROM child")
    manager.restore("latest")
    _safety(path).with_name("app.db.safety_backup.meta").unlink()
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM child").fetchone()
        with pytest.raises(DatabaseLockedError):
            manager.restore("latest")
    manager.undo_restore()
    assert scalar(path, "SELECT count(*) FROM child") == 0


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize(
    "first", ["SELECT 1", "CREATE VIEW v AS SELECT 1", "PRAGMA auto_vacuum = 1"]
)
def test_a_commit_before_a_backup_of_one_page_is_loaded_is_kept(
    tmp_path: Path,
    make_engine: EngineMaker,
    monkeypatch: pytest.MonkeyPatch,
    mode: Mode,
    first: str,
) -> None:
    """SQLite copies one page in one step: it is found out all the same who was faster."""
    database = tmp_path / "app.db"
    execute(database, first, f"PRAGMA journal_mode = {mode}", "PRAGMA user_version = 7")
    manager = BackupManager(make_engine(database), catalog=False)
    empty = manager.create()
    execute(database, "CREATE TABLE t (x)")
    release = SQLiteWriteLock.release
    faster: list[str] = []

    def release_and_lose(lock: SQLiteWriteLock) -> bool:
        was_held = release(lock)
        if was_held and not faster:
            faster.append("INSERT INTO t VALUES ('faster')")
            execute(database, *faster)
        return was_held

    monkeypatch.setattr(SQLiteWriteLock, "release", release_and_lose)
    report = manager.restore(empty)
    assert faster
    assert report.safety_backup is not None
    assert scalar(report.safety_backup, "SELECT x FROM t") == "faster"
    assert scalar(database, "PRAGMA integrity_check") == "ok"
    assert scalar(database, "PRAGMA user_version") == 7
    assert manager.compare(empty).identical
