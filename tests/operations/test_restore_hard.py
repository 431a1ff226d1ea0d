"""Restores where other tools lose something: odd databases, late interrupts, writers."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from conftest import EngineMaker
from helpers import PROGRAMS, add_child, digest, execute, leftovers, make_database, scalar
from sqlalchemy import event

from soulsense_db import BackupManager
from soulsense_db.drivers import SQLiteDriver
from soulsense_db.errors import DatabaseLockedError, InvalidBackupError, RestoreError, StorageError
from soulsense_db.fs import durable


def _safety(database: Path) -> Path:
    return database.with_name(f"{database.name}.safety_backup")


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_an_interrupt_after_the_last_step_keeps_what_was_there(
    manager: BackupManager, database: Path, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C when the data was just replaced leaves the safety backup of what was replaced."""
    execute(database, f"PRAGMA journal_mode = {journal}")
    first = manager.create("first")
    add_child(database, "second")
    manager.restore(first)
    add_child(database, "third")
    before = digest(database)
    load = SQLiteDriver.load

    def load_and_interrupt(self: SQLiteDriver, source: Path, **options: Any) -> None:
        load(self, source, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(SQLiteDriver, "load", load_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        manager.restore(first)
    monkeypatch.undo()
    assert digest(database) != before
    manager.undo_restore()
    assert digest(database) == before
    # And the safety backup of the restore before is kept under a name of its own.
    assert len(list(database.parent.glob("app.db.safety_backup.2*"))) == 2


def test_an_interrupt_by_a_real_signal(database: Path) -> None:
    """A SIGINT leaves the old rows, or the new ones with the old in the safety backup."""
    engine = sa.create_engine(f"sqlite:///{database}")
    manager = BackupManager(engine)
    manager.create()
    add_child(database, "after")
    before = digest(database)
    result = subprocess.run(
        [sys.executable, PROGRAMS / "interrupted_while_pages_are_written.py", database],
        check=False,
        timeout=60,
    )
    assert result.returncode in (0, 3)
    if digest(database) != before:
        manager.undo_restore()
    assert digest(database) == before
    engine.dispose()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["OFF", "MEMORY"])
def test_a_restore_without_the_application_s_journal_is_still_atomic(
    database: Path, make_engine: EngineMaker, mode: str
) -> None:
    """A connect event that switches the rollback journal off does not make a restore half."""
    execute(database, "CREATE TABLE filler (body BLOB)")
    with closing(sqlite3.connect(database)) as connection:
        connection.executemany(
            "INSERT INTO filler VALUES (?)", [(os.urandom(60_000),) for _ in range(600)]
        )
        connection.commit()
    engine = make_engine(database)

    @event.listens_for(engine, "connect")
    def fast(connection: sqlite3.Connection, record: object) -> None:
        connection.execute(f"PRAGMA journal_mode = {mode}")

    manager = BackupManager(engine)
    manager.create()
    execute(database, "UPDATE filler SET body = zeroblob(60000)", "DELETE FROM child")
    before = digest(database)

    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise StopError

    with pytest.raises(StopError):
        manager.restore("latest", progress=stop)
    assert digest(database) == before
    assert scalar(database, "PRAGMA integrity_check") == "ok"


ODD_SCHEMAS = {
    "reference to a column that is not unique": [
        "CREATE TABLE p (a INTEGER)",
        "CREATE TABLE c (a INTEGER REFERENCES p (a))",
        "INSERT INTO c VALUES (1)",
    ],
    "row against a constraint": [
        "CREATE TABLE t (v TEXT)",
        "INSERT INTO t VALUES (NULL)",
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET sql = 'CREATE TABLE t (v TEXT NOT NULL)' WHERE name = 't'",
    ],
    "index that misses a row": [
        "CREATE TABLE t (v TEXT)",
        "INSERT INTO t VALUES ('a')",
        "PRAGMA writable_schema = ON",
        "INSERT INTO sqlite_master SELECT 'index', 'i', 't', rootpage, 'CREATE INDEX i ON t (v)' "
        "FROM sqlite_master WHERE name = 'empty_index'",
        "DELETE FROM sqlite_master WHERE name = 'empty_index'",
    ],
}


@pytest.mark.parametrize("schema", ODD_SCHEMAS.values(), ids=ODD_SCHEMAS.keys())
def test_what_create_accepts_can_be_restored(
    tmp_path: Path, make_engine: EngineMaker, schema: list[str]
) -> None:
    """A faithful backup of a database with odd rows or references is verified and restored."""
    path = make_database(tmp_path / "app.db")
    execute(path, "CREATE TABLE e (v TEXT)", "CREATE INDEX empty_index ON e (v)", *schema)
    manager = BackupManager(make_engine(path))
    info = manager.create()
    expected = digest(path)
    execute(path, "DELETE FROM child")
    assert manager.verify(info).warnings
    report = manager.restore(info)
    assert digest(path) == expected
    # It was not taken for damaged: it has a safety backup, and nothing was moved aside.
    assert report.safety_backup == _safety(path)
    assert report.moved_aside == ()


def test_functions_and_collations_of_the_application(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """Indexes on what only the application's connections know are no reason to refuse."""
    path = make_database(tmp_path / "app.db")
    engine = make_engine(path)

    @event.listens_for(engine, "connect")
    def own(connection: sqlite3.Connection, record: object) -> None:
        connection.create_function("isok", 1, lambda value: 1, deterministic=True)
        connection.create_collation("german", lambda a, b: (a > b) - (a < b))

    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE w (word TEXT COLLATE german)")
        connection.exec_driver_sql("INSERT INTO w VALUES ('a'), ('b')")
        connection.exec_driver_sql("CREATE INDEX wi ON w (word)")
        connection.exec_driver_sql("CREATE INDEX we ON w (isok(word))")
    manager = BackupManager(engine)
    info = manager.create()
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM w")
    report = manager.restore(info)
    assert report.moved_aside == ()
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM w").scalar() == 2


def test_a_fault_without_a_checksum_is_refused(manager: BackupManager, database: Path) -> None:
    """Where no checksum tells a faithful copy from a damaged one, a faulty index is damage."""
    execute(database, "CREATE TABLE e (v TEXT)", "CREATE INDEX empty_index ON e (v)")
    execute(database, *ODD_SCHEMAS["index that misses a row"])
    info = manager.create()
    Path(info.meta_path).unlink()
    with pytest.raises(InvalidBackupError, match="Without a checksum"):
        manager.restore(info)


def test_commits_during_the_safety_backup_wait(
    manager: BackupManager, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can commit between the safety backup and the restore: it would be in neither."""
    info = manager.create()
    tried: list[str] = []
    snapshot = SQLiteDriver.snapshot

    def snapshot_and_write(self: SQLiteDriver, target: Path, **options: object) -> object:
        result = snapshot(self, target)
        with closing(sqlite3.connect(database, timeout=0)) as connection:
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                connection.execute("DELETE FROM child")
            tried.append("write")
            connection.rollback()
            assert connection.execute("SELECT count(*) FROM child").fetchone()
        return result

    monkeypatch.setattr(SQLiteDriver, "snapshot", snapshot_and_write)
    manager.restore(info)
    assert tried == ["write"]


def test_rowids_survive_another_page_size(tmp_path: Path, make_engine: EngineMaker) -> None:
    """A table without INTEGER PRIMARY KEY keeps its rowids: other tables may refer to them."""
    live = make_database(tmp_path / "app.db", mode="wal", page_size=4096)
    manager = BackupManager(make_engine(live))
    other = make_database(tmp_path / "other.db", page_size=1024)
    execute(
        other, "CREATE TABLE n (v)", "INSERT INTO n VALUES (1), (2), (3)", "DELETE FROM n WHERE v=1"
    )
    info = manager.import_file(other)
    manager.restore(info)
    assert scalar(live, "SELECT group_concat(rowid) FROM n") == "2,3"
    assert leftovers(tmp_path) == []


def test_a_table_of_sqlite_s_own_may_go(tmp_path: Path, make_engine: EngineMaker) -> None:
    """What SQLite drops by itself, when it changes the page size, is no sign of damage."""
    live = make_database(tmp_path / "app.db", mode="wal", page_size=4096)
    other = make_database(tmp_path / "other.db", page_size=1024)
    execute(other, "CREATE TABLE n (id INTEGER PRIMARY KEY AUTOINCREMENT)", "DROP TABLE n")
    expected = digest(other)
    manager = BackupManager(make_engine(live))
    assert manager.restore(manager.import_file(other)).verified
    assert digest(live) == expected


def test_another_text_encoding_is_refused_before_anything(
    manager: BackupManager, database: Path, tmp_path: Path
) -> None:
    """SQLite cannot change the encoding of a live database: the error comes first."""
    other = tmp_path / "utf16.db"
    execute(other, "PRAGMA encoding = 'UTF-16le'", "CREATE TABLE t (v)")
    info = manager.import_file(other)
    before = digest(database)
    with pytest.raises(InvalidBackupError, match="UTF-16le"):
        manager.restore(info)
    assert digest(database) == before
    database.unlink()
    manager.restore(info)
    assert scalar(database, "PRAGMA encoding") == "UTF-16le"


def test_a_lock_right_after_the_restore_is_no_failure(
    manager: BackupManager, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When somebody locks the restored database at once, it stays restored; the report says so."""
    info = manager.create()
    add_child(database)

    def locked(self: SQLiteDriver, contents: object) -> None:
        raise DatabaseLockedError("locked by a reader")

    monkeypatch.setattr(SQLiteDriver, "check_loaded", locked)
    report = manager.restore(info)
    assert report.verified is False
    assert scalar(database, "SELECT count(*) FROM child WHERE body = 'one more'") == 0


def test_a_way_back_that_is_blocked_names_the_safety_backup(
    manager: BackupManager, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the check fails and going back fails too, the error says where the old rows are."""
    from soulsense_db.errors import DatabaseDamagedError

    info = manager.create()
    add_child(database)
    before = digest(database)
    load = SQLiteDriver.load

    def once(self: SQLiteDriver, source: Path, **options: Any) -> None:
        if source == _safety(database):
            raise DatabaseLockedError("locked by a reader")
        load(self, source, **options)

    def damaged(self: SQLiteDriver, contents: object) -> None:
        raise DatabaseDamagedError("torn")

    monkeypatch.setattr(SQLiteDriver, "load", once)
    monkeypatch.setattr(SQLiteDriver, "check_loaded", damaged)
    with pytest.raises(RestoreError, match=r"The previous database is in .*app\.db\.safety_backup"):
        manager.restore(info)
    monkeypatch.undo()
    assert digest(_safety(database)) == before
    manager.undo_restore()
    assert digest(database) == before


def test_a_restore_killed_while_it_puts_the_way_back(
    manager: BackupManager, database: Path
) -> None:
    """A meta file that was left behind between two renames goes to its safety backup."""
    info = manager.create()
    add_child(database)
    manager.restore(info)
    safety = _safety(database)
    previous = Path(f"{safety}.previous.meta")
    Path(f"{safety}.meta").rename(previous)  # as after the first of the two renames
    manager.undo_restore()
    assert not previous.exists()


@pytest.mark.parametrize("failing", ["first", "second"])
def test_a_rename_that_fails_loses_no_safety_backup(
    manager: BackupManager, database: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """When the disk refuses to move the safety backups, the one that was there is still there."""
    info = manager.create()
    add_child(database)
    manager.restore(info)
    safety = _safety(database)
    before, live = safety.read_bytes(), digest(database)
    move = durable.move_durably

    def refuse(source: Path, target: Path) -> None:
        if (source if failing == "first" else target) == safety and "previous" not in source.name:
            raise StorageError("the disk refuses")
        move(source, target)

    monkeypatch.setattr(durable, "move_durably", refuse)
    with pytest.raises(StorageError, match="the disk refuses"):
        manager.restore(info)
    monkeypatch.undo()
    assert safety.read_bytes() == before
    assert digest(database) == live
    assert leftovers(database.parent) == []
    manager.undo_restore()
    assert scalar(database, "SELECT count(*) FROM child WHERE body = 'one more'") == 1
