"""SQLite: what its journal modes, page sizes, locks and other processes must not change."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from conftest import EngineMaker
from helpers import (
    MODES,
    ROWS,
    Child,
    Mode,
    add_child,
    ask,
    balanced,
    digest,
    digest_of,
    held_by_another_process,
    make_database,
    scalar,
    snapshot_of,
)
from sqlalchemy.pool import StaticPool

from soulsense_db.drivers import SQLiteDriver
from soulsense_db.drivers.sqlite import pages
from soulsense_db.drivers.sqlite.files import beside
from soulsense_db.errors import DatabaseLockedError

COUNT = "SELECT count(*) FROM child"


def driver_of(make_engine: EngineMaker, path: Path, *, lock_timeout: float = 5) -> SQLiteDriver:
    """Return a driver on a database file."""
    return SQLiteDriver(make_engine(path), lock_timeout=lock_timeout)


def taken(driver: SQLiteDriver, path: Path) -> Path:
    """Take a snapshot to ``path``."""
    path.touch()
    driver.snapshot(path)
    return path


def test_a_snapshot_is_whole_and_not_in_wal_mode(
    tmp_path: Path, make_engine: EngineMaker, mode: Mode
) -> None:
    """A backup opens read-only anywhere: its mode is DELETE; the source's is noted in the facts."""
    live = make_database(tmp_path / "app.db", mode=mode)
    backup = tmp_path / "backup.db"
    backup.touch()
    snapshot = driver_of(make_engine, live).snapshot(backup)
    assert scalar(backup, "PRAGMA journal_mode") == "delete"
    assert scalar(backup, "PRAGMA integrity_check") == "ok"
    assert snapshot.facts["journal_mode"] == mode
    assert snapshot.facts["page_size"] == "4096"
    assert digest(backup) == digest(live)
    assert scalar(live, "PRAGMA journal_mode") == mode
    assert sorted(os.listdir(tmp_path)) == ["app.db", "backup.db"]


@pytest.mark.parametrize("backup_mode", MODES)
def test_a_restore_keeps_the_live_journal_mode(
    tmp_path: Path, make_engine: EngineMaker, mode: Mode, backup_mode: Mode
) -> None:
    """Whatever mode a backup's header says, the live database goes on in its own."""
    live = make_database(tmp_path / "app.db", mode=mode)
    backup = make_database(tmp_path / "backup.db", mode=backup_mode, rows=50)
    expected, before = digest(backup), backup.read_bytes()
    driver_of(make_engine, live).load(backup)
    assert digest(live) == expected
    assert scalar(live, "PRAGMA journal_mode") == mode
    assert backup.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["app.db", "backup.db"]


def test_a_backup_in_wal_mode_keeps_delete_mode_with_another_process_connected(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """A connected process keeps SQLite from changing the mode back: it must never change."""
    live = make_database(tmp_path / "app.db", mode="delete")
    backup = make_database(tmp_path / "backup.db", mode="wal", rows=50)
    with held_by_another_process(live, COUNT) as other:
        driver_of(make_engine, live).load(backup)
        assert ask(other, COUNT) == "50"
        assert ask(other, "PRAGMA journal_mode") == "delete"
    assert scalar(live, "PRAGMA journal_mode") == "delete"


def test_a_backup_in_wal_mode_keeps_delete_mode_under_a_busy_reader(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """A process that reads all the time never finds the database in WAL mode and keeps it there."""
    live = make_database(tmp_path / "app.db", mode="delete")
    backup = make_database(tmp_path / "backup.db", mode="wal", rows=50)
    driver = driver_of(make_engine, live, lock_timeout=20)
    with Child("read_all_the_time.py", live) as reader:
        reader.expect("reading")
        for _ in range(5):
            driver.load(backup)
            assert scalar(live, "PRAGMA journal_mode") == "delete"
    assert scalar(live, COUNT) == 50


def note(seen: list[int], done: int, _total: int) -> None:
    """Keep what progress reports."""
    seen.append(done)


def test_a_snapshot_ends_while_another_process_writes_all_the_time(
    tmp_path: Path, make_engine: EngineMaker, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writers can neither delay a backup for ever nor tear it: sums over two tables agree."""
    monkeypatch.setattr(pages, "_STEP_PAGES", 50)  # many steps, each a chance to start over
    live = make_database(tmp_path / "app.db", mode=mode, rows=20_000)
    driver = driver_of(make_engine, live, lock_timeout=30)
    with Child("write_all_the_time.py", live) as writer:
        writer.expect("writing")
        for number in range(3):
            backup = tmp_path / f"{number}.db"
            backup.touch()
            seen: list[int] = []
            driver.snapshot(backup, progress=partial(note, seen))
            assert len(seen) > 10
            assert seen == sorted(seen)  # it never started over
            assert balanced(backup)
            assert scalar(backup, COUNT) >= 20_020
        assert writer.process.poll() is None  # all the time


@pytest.mark.parametrize(("live_size", "backup_size"), [(4096, 1024), (1024, 4096), (512, 65536)])
def test_page_sizes_may_differ(
    tmp_path: Path, make_engine: EngineMaker, mode: Mode, live_size: int, backup_size: int
) -> None:
    """A backup of another page size is restored, with another process connected too."""
    live = make_database(tmp_path / "app.db", mode=mode, page_size=live_size)
    backup = make_database(tmp_path / "backup.db", rows=50, page_size=backup_size)
    expected, before = digest(backup), snapshot_of(tmp_path)["backup.db"]
    driver = driver_of(make_engine, live)
    with held_by_another_process(live, COUNT) as other:
        driver.load(backup)
        driver.check_loaded(driver.schema_of(backup))
        assert ask(other, COUNT) == "50"
    assert digest(live) == expected
    assert scalar(live, "PRAGMA journal_mode") == mode
    assert snapshot_of(tmp_path)["backup.db"] == before
    assert sorted(os.listdir(tmp_path)) == ["app.db", "backup.db"]


@pytest.mark.parametrize("page_size", [1024, 4096, 16384])
def test_page_sizes_may_differ_in_memory(
    tmp_path: Path, make_engine: EngineMaker, page_size: int
) -> None:
    """A backup of any page size is restored into an in-memory database."""
    backup = make_database(tmp_path / "backup.db", page_size=page_size, mode="wal")
    engine = make_engine("sqlite://", poolclass=StaticPool)
    driver = SQLiteDriver(engine, lock_timeout=1)
    driver.load(backup)
    driver.check_loaded(driver.schema_of(backup))
    with engine.connect() as connection:
        live = connection.connection.driver_connection
        assert live is not None
        assert digest_of(live) == digest(backup)
    assert os.listdir(tmp_path) == ["backup.db"]


def test_memory_has_working_files_of_its_own() -> None:
    """Two in-memory databases that are restored at once never write to the same file."""
    with beside(None, "restoring") as first:
        first.write_text("first")
        with beside(None, "restoring") as second:
            assert second.read_bytes() == b""
        assert first.read_text() == "first"
    assert not first.parent.exists() and not second.parent.exists()


def test_a_locked_database_is_an_error_by_the_deadline(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """A snapshot of a database that is locked throughout ends before the lock does, with help."""
    live = make_database(tmp_path / "app.db")
    driver = driver_of(make_engine, live, lock_timeout=0.3)
    (tmp_path / "backup.db").touch()
    with held_by_another_process(live, "BEGIN EXCLUSIVE") as other:
        with pytest.raises(DatabaseLockedError) as caught:
            driver.snapshot(tmp_path / "backup.db")
        assert ask(other, COUNT) == str(ROWS)  # it has the lock still
    assert "Close the other programs" in caught.value.hint


@pytest.mark.parametrize("seconds", [0.3, 12])
def test_the_deadline_is_sqlite_s_own(
    tmp_path: Path, make_engine: EngineMaker, seconds: float
) -> None:
    """A connection waits for a lock as long as it is told to, to the millisecond."""
    driver = driver_of(make_engine, make_database(tmp_path / "app.db"))

    def ask_timeout(connection: sa.Connection) -> object:
        return connection.scalar(sa.text("PRAGMA busy_timeout"))

    waits = driver.transaction(ask_timeout, lock_timeout=seconds, write=False)
    assert waits == int(seconds * 1000)


@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_load_into_a_locked_database_changes_nothing(
    tmp_path: Path, make_engine: EngineMaker, mode: Mode, statement: str
) -> None:
    """A restore that gets no lock ends before the lock does, and leaves rows and mode alone."""
    live = make_database(tmp_path / "app.db", mode=mode)
    backup = make_database(tmp_path / "backup.db", rows=5)
    before = digest(live)
    driver = driver_of(make_engine, live, lock_timeout=0.3)
    with held_by_another_process(live, statement) as other:
        with pytest.raises(DatabaseLockedError):
            driver.load(backup)
        assert ask(other, COUNT) == str(ROWS)  # it has the lock still
    assert digest(live) == before
    assert scalar(live, "PRAGMA journal_mode") == mode


def test_a_load_waits_for_a_lock_that_clears(
    tmp_path: Path, make_engine: EngineMaker, mode: Mode
) -> None:
    """A short transaction of another process delays a restore and does not fail it."""
    live = make_database(tmp_path / "app.db", mode=mode)
    backup = make_database(tmp_path / "backup.db", rows=5)
    with Child("hold_the_write_lock.py", live) as other:
        other.expect("locked")
        driver_of(make_engine, live, lock_timeout=30).load(backup)
        other.finish()
    assert scalar(live, COUNT) == 5


def test_a_reader_does_not_stop_a_restore_in_wal_mode(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """In WAL mode a process in the middle of reading keeps its old rows, then sees the new."""
    live = make_database(tmp_path / "app.db", mode="wal")
    backup = make_database(tmp_path / "backup.db", rows=5)
    with held_by_another_process(live, "BEGIN", COUNT) as reader:
        driver_of(make_engine, live).load(backup)
        assert ask(reader, COUNT) == str(ROWS)
    assert scalar(live, COUNT) == 5


class CancelledError(Exception):
    """The person pressed "Cancel"."""


def test_work_that_is_cancelled_half_way_changes_nothing(
    tmp_path: Path, make_engine: EngineMaker, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What progress raises comes out as it is, and the live rows are those of before."""
    monkeypatch.setattr(pages, "_STEP_PAGES", 2)
    live = make_database(tmp_path / "app.db", mode=mode)
    backup = make_database(tmp_path / "backup.db", rows=200)
    (tmp_path / "other.db").touch()
    before = digest(live)
    driver = driver_of(make_engine, live)

    def cancel(done: int, total: int) -> None:
        if done * 2 > total:
            raise CancelledError

    with pytest.raises(CancelledError):
        driver.snapshot(tmp_path / "other.db", progress=cancel)
    with pytest.raises(CancelledError):
        driver.load(backup, progress=cancel)
    assert digest(live) == before
    assert scalar(live, "PRAGMA journal_mode") == mode
    add_child(live)
