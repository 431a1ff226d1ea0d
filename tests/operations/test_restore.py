"""Restoring, undoing, and everything that must be as it was when that fails."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import EngineMaker
from helpers import (
    ROWS,
    Mode,
    add_child,
    ask,
    digest,
    held_by_another_process,
    leftovers,
    make_database,
    read_marker,
    run_unprivileged,
    scalar,
    snapshot_of,
    write_marker,
)
from sqlalchemy import event
from sqlalchemy.engine import Engine

from soulsense_db import BackupManager
from soulsense_db.backup_info.meta_format import from_meta
from soulsense_db.drivers import SQLiteDriver
from soulsense_db.errors import (
    BackupError,
    DatabaseDamagedError,
    DatabaseLockedError,
    InvalidBackupError,
    NotEnoughSpaceError,
    NothingToUndoError,
    PermissionDeniedError,
    RestoreError,
)
from soulsense_db.fs import space
from soulsense_db.sidecars.migration_marker import marker_path

COUNT = "SELECT count(*) FROM child"


def safety_of(database: Path) -> Path:
    """Return where the safety backup of ``database`` is."""
    return database.with_name(f"{database.name}.safety_backup")


def test_a_restore_brings_back_every_row(
    tmp_path: Path, make_engine: EngineMaker, mode: Mode
) -> None:
    """After a restore the rows are the backup's, the mode is the database's own, and it is told."""
    database = make_database(tmp_path / "app.db", mode=mode)
    manager = BackupManager(make_engine(database))
    info = manager.create()
    expected = digest(database)
    add_child(database)
    changed = digest(database)
    report = manager.restore(info)
    assert digest(database) == expected
    assert scalar(database, "PRAGMA journal_mode") == mode
    assert (report.source, report.moved_aside) == (info, ())
    assert report.safety_backup == safety_of(database)
    assert report.duration_seconds >= 0
    assert digest(safety_of(database)) == changed
    assert manager.verify(info).checksum  # not consumed
    assert leftovers(tmp_path) == []


def _write_over(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"x" * 100)


def _write_over_and_hide_it(path: Path) -> None:
    status = path.stat()
    _write_over(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _put_another_in_its_place(path: Path) -> None:
    other = path.with_name("other")
    shutil.copy2(path, other)
    _write_over(other)
    other.replace(path)


@pytest.mark.parametrize(
    "change", [_write_over, _write_over_and_hide_it, _put_another_in_its_place]
)
def test_what_was_verified_before_the_lock_counts_for_that_file_only(
    manager: BackupManager, database: Path, change: Callable[[Path], None]
) -> None:
    """A backup that changes while a restore waits for its lock is read again, and refused."""
    info = manager.create()
    add_child(database)
    before = digest(database)
    verified = manager.verify(info)
    assert verified.is_of(info)
    change(Path(info.path))
    assert not verified.is_of(info)
    with manager.exclusive() as access, pytest.raises(InvalidBackupError):
        access.restore(info, verified=verified)
    assert digest(database) == before


@pytest.mark.usefixtures("no_umask")
def test_the_safety_backup_is_private_and_has_a_meta_file(
    manager: BackupManager, database: Path
) -> None:
    """The copy beside the database is 0600 and has its checksum, so that undoing can trust it."""
    manager.restore(manager.create())
    safety = safety_of(database)
    meta = Path(f"{safety}.meta")
    for path in (safety, meta):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    info = from_meta(meta.read_bytes(), safety, size_bytes=0, found_at=None)  # type: ignore[arg-type]
    assert (info.kind, info.database, info.size_bytes) == (
        "pre_restore",
        "app.db",
        safety.stat().st_size,
    )


def test_undoing_twice_goes_back_and_forth(manager: BackupManager, database: Path) -> None:
    """Undo goes back to before the restore, a second undo forth again, as often as wanted."""
    info = manager.create()
    old = digest(database)
    add_child(database)
    new = digest(database)
    manager.restore(info)
    for expected in (new, old, new, old):
        report = manager.undo_restore()
        assert digest(database) == expected
        assert report.safety_backup == safety_of(database)
    assert leftovers(database.parent) == []


def test_nothing_to_undo_is_an_error(manager: BackupManager, database: Path) -> None:
    """Before any restore there is nothing to go back to."""
    before = digest(database)
    with pytest.raises(NothingToUndoError, match="nothing to undo"):
        manager.undo_restore()
    assert digest(database) == before


def test_a_damaged_safety_backup_is_not_gone_back_to(
    manager: BackupManager, database: Path
) -> None:
    """Undoing verifies too: a damaged safety backup is refused and the rows stay."""
    manager.restore(manager.create())
    os.truncate(safety_of(database), 4096)
    before = digest(database)
    with pytest.raises(BackupError, match="Invalid backup file"):
        manager.undo_restore()
    assert digest(database) == before


@pytest.mark.parametrize("locked_by", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_locked_restore_changes_nothing(
    tmp_path: Path, make_engine: EngineMaker, mode: Mode, locked_by: str
) -> None:
    """A restore that gets no lock by the deadline leaves rows, backups and the way back alone."""
    database = make_database(tmp_path / "app.db", mode=mode)
    manager = BackupManager(make_engine(database), lock_timeout=0.3)
    info = manager.create()
    manager.restore(info)
    add_child(database)
    way_back = {k: v for k, v in snapshot_of(tmp_path).items() if "safety" in k}
    before = digest(database)
    with (
        held_by_another_process(database, locked_by),
        pytest.raises(DatabaseLockedError) as caught,
    ):
        manager.restore(info)
    assert caught.value.hint
    assert digest(database) == before
    assert manager.verify(info)
    after = {k: v for k, v in snapshot_of(tmp_path).items() if "safety" in k}
    assert {k: v[2] for k, v in after.items()} == {k: v[2] for k, v in way_back.items()}
    assert leftovers(tmp_path) == []
    manager.restore(info)


def test_a_first_restore_that_fails_leaves_no_safety_backup(engine: Engine, database: Path) -> None:
    """A way back from a restore that never was would go back to the wrong rows later."""
    manager = BackupManager(engine, lock_timeout=0.2)
    info = manager.create()
    with (
        held_by_another_process(database, "BEGIN IMMEDIATE"),
        pytest.raises(DatabaseLockedError),
    ):
        manager.restore(info)
    with pytest.raises(NothingToUndoError):
        manager.undo_restore()


class CancelledError(Exception):
    """The person pressed "Cancel"."""


def test_a_restore_that_is_cancelled_too_late_keeps_a_way_back(
    manager: BackupManager, database: Path
) -> None:
    """Progress that raises at the very end: the old rows are live, or a way back to them is."""
    info = manager.create()
    add_child(database)
    before = digest(database)

    def cancel(done: int, total: int) -> None:
        if done == total:
            raise CancelledError

    with suppress(CancelledError):
        manager.restore(info, progress=cancel)
    if digest(database) != before:
        manager.undo_restore()
    assert digest(database) == before


def test_progress_of_a_restore_goes_up_to_the_end(manager: BackupManager) -> None:
    """A dialog sees the restore end."""
    info = manager.create()
    calls: list[tuple[int, int]] = []
    manager.restore(info, progress=lambda *call: calls.append(call))
    assert calls == sorted(calls)
    assert calls[-1] == (info.size_bytes, info.size_bytes)


def test_a_restore_that_fails_its_check_is_taken_back(
    manager: BackupManager, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When what was written is not what was read, the rows and the way back of before return."""
    info = manager.create("good")
    manager.restore(info)
    first_way_back = digest(safety_of(database))
    add_child(database)
    before = digest(database)
    calls: list[Path] = []

    def fail(_driver: SQLiteDriver, source: Path) -> None:
        calls.append(source)
        raise DatabaseDamagedError("It is not the same.")

    monkeypatch.setattr(SQLiteDriver, "check_loaded", fail)
    with pytest.raises(RestoreError, match="The previous database was put back") as caught:
        manager.restore(info)
    assert isinstance(caught.value.__cause__, DatabaseDamagedError)
    assert calls
    assert digest(database) == before
    assert digest(safety_of(database)) == first_way_back
    assert manager.verify(info)


def test_a_full_disk_changes_nothing(
    small_disk: Path, make_engine: EngineMaker, tmp_path: Path
) -> None:
    """Without room for the safety backup nothing is restored and no backup is consumed."""
    database = make_database(small_disk / "app.db", rows=2500)
    manager = BackupManager(make_engine(database), tmp_path / "backups", catalog=False)
    info = manager.create()
    before = digest(database)
    with pytest.raises(NotEnoughSpaceError):
        manager.restore(info)
    assert digest(database) == before
    assert manager.verify(info)
    assert not safety_of(database).exists()


def test_restores_of_one_database_exclude_each_other(
    engine: Engine, database: Path, tmp_path: Path
) -> None:
    """A second restore waits for the first, whatever its backup directory is, then says so."""
    manager = BackupManager(engine)
    info = manager.create()
    other = BackupManager(engine, tmp_path / "elsewhere", lock_timeout=0.2)
    with manager.exclusive() as access:
        with pytest.raises(DatabaseLockedError, match="another restore or migration"):
            other.undo_restore()
        access.restore(info)
    before = digest(database)
    other.undo_restore()
    assert digest(database) == before


def test_the_lock_can_be_let_go_early(engine: Engine) -> None:
    """Who holds the database's lock may release it before the block ends."""
    manager = BackupManager(engine)
    with manager.exclusive() as access:
        access.release()
        with BackupManager(engine).exclusive(timeout=0):
            pass


def test_a_restore_clears_the_marker_of_a_dead_migration(
    manager: BackupManager, database: Path
) -> None:
    """Restoring the named backup, or accepting the database as it is, lets migrations run again."""
    info = manager.create()
    for leave in (lambda: manager.restore(info), manager.alarm.accept):
        write_marker(database, backup=info.path, alembic_heads=(), target_revision="a")
        assert leave()
        assert read_marker(database) is None
    assert not manager.alarm.accept()
    assert not marker_path(database).exists()


def test_the_application_reads_restored_rows_through_its_own_pool(
    manager: BackupManager, database: Path, engine: Engine
) -> None:
    """Connections that lay idle in the pool during a restore do not show old rows."""
    info = manager.create()
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM child")
    manager.restore(info)
    with engine.connect() as connection:
        assert connection.exec_driver_sql(COUNT).scalar_one() == ROWS


def test_another_process_goes_on_writing_after_a_restore(
    tmp_path: Path, make_engine: EngineMaker, mode: Mode
) -> None:
    """A program that was connected all the time writes into the restored database."""
    database = make_database(tmp_path / "app.db", mode=mode)
    manager = BackupManager(make_engine(database))
    info = manager.create()
    add_child(database)
    insert = "INSERT INTO parent VALUES (77, 'theirs', 0) RETURNING id"
    with held_by_another_process(database, COUNT) as other:
        manager.restore(info)
        assert ask(other, COUNT) == str(ROWS)
        assert ask(other, insert) == "77"
    assert scalar(database, "SELECT count(*) FROM parent") == 11
    assert scalar(database, "PRAGMA integrity_check") == "ok"


def test_without_permission_nothing_is_restored(open_path: Path, make_engine: EngineMaker) -> None:
    """A user who may not write the database cannot restore it and is told so."""
    database = make_database(open_path / "app.db")
    engine = make_engine(database)
    manager = BackupManager(engine)
    info = manager.create()
    engine.dispose()
    for path in (manager.directory, *manager.directory.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    database.chmod(0o444)
    before = digest(database)
    open_path.chmod(0o555)
    assert (
        run_unprivileged("restore_file", database, info.path)["error"]
        == PermissionDeniedError.__name__
    )
    open_path.chmod(0o777)
    assert (
        run_unprivileged("restore_file", database, info.path)["error"]
        == PermissionDeniedError.__name__
    )
    assert digest(database) == before
    assert not safety_of(database).exists()
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute(COUNT).fetchone() == (ROWS,)


def test_a_disk_that_fills_up_changes_nothing(
    small_disk: Path, make_engine: EngineMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room that vanishes while the safety backup is written: an error, and no half file."""
    database = make_database(small_disk / "app.db", rows=2500)
    manager = BackupManager(make_engine(database), tmp_path / "backups", catalog=False)
    info = manager.create()
    before = digest(database)
    monkeypatch.setattr(space, "require_space", lambda _directory, _needed: None)
    with pytest.raises(NotEnoughSpaceError):
        manager.restore(info)
    assert digest(database) == before
    assert leftovers(small_disk) == []


def test_a_function_of_the_application_that_fails_is_no_failure_of_the_restore(
    database: Path, make_engine: EngineMaker
) -> None:
    """A restore that is done says so, though a check of the application's chokes on its rows."""
    engine = make_engine(database)
    working = True

    @event.listens_for(engine, "connect")
    def define(connection: sqlite3.Connection, _: object) -> None:
        connection.create_function("valid", 1, lambda _: 1 if working else 1 / 0)

    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE phone (number TEXT CHECK (valid(number)))")
        connection.exec_driver_sql("INSERT INTO phone VALUES ('0900 123')")
    manager = BackupManager(engine)
    info = manager.create()
    add_child(database)
    working = False
    engine.dispose()
    report = manager.restore(info)
    assert report.verified is False
    assert scalar(database, COUNT) == ROWS


@pytest.mark.parametrize("offset", [0, 3000])
def test_a_backup_that_goes_bad_before_it_is_written_costs_a_sound_database_nothing(
    manager: BackupManager, database: Path, monkeypatch: pytest.MonkeyPatch, offset: int
) -> None:
    """A fault of the backup file is never told of the live database, which is not moved aside."""
    info = manager.create()
    add_child(database)
    before = digest(database)
    load = manager._repository.driver.load

    def spoil_then_load(source: Path, **options: Any) -> None:
        with source.open("r+b") as file:
            file.seek(offset)
            file.write(b"\xff" * 1096)
        load(source, **options)

    monkeypatch.setattr(manager._repository.driver, "load", spoil_then_load)
    with pytest.raises(InvalidBackupError, match=info.filename):
        manager.restore(info)
    assert digest(database) == before
    assert not list(database.parent.glob("*damaged*"))


def test_what_fails_while_a_failure_is_tidied_up_is_a_warning(
    manager: BackupManager,
    database: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first error is the one that is told: the second knows nothing of the database."""
    info = manager.create()
    manager.restore(info)  # there is an older safety backup, which must have its name back
    add_child(database)
    before = digest(database)

    def full(*_: object, **__: object) -> None:
        raise NotEnoughSpaceError("The disk is full.")

    monkeypatch.setattr(manager._repository.driver, "load", full)
    replace = os.replace

    def refuse(source: Path, target: Path) -> None:
        if Path(source).name.endswith(".previous"):
            raise OSError(errno.EROFS, "Read-only file system")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(NotEnoughSpaceError):
        manager.restore(info)
    assert digest(database) == before
    assert "could not be given its name back" in caplog.text
