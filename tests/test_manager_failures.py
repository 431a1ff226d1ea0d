"""BackupManager: backups that were damaged, and databases that cannot be backed up."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from conftest import EngineMaker
from helpers import (
    digest,
    flip,
    held_by_another_process,
    leftovers,
    make_database,
    run_unprivileged,
    snapshot_of,
)

from soulsense_db import BackupManager
from soulsense_db.errors import (
    BackupError,
    ChecksumMismatchError,
    DatabaseDamagedError,
    DatabaseLockedError,
    DirectoryIsAFileError,
    EmptyBackupError,
    InvalidBackupError,
    MetaFileError,
    NotADatabaseError,
    NotEnoughSpaceError,
    PermissionDeniedError,
    TruncatedBackupError,
)
from soulsense_db.fs import space


def spoiled(path: Path, kind: str) -> None:
    """Empty a file, replace it, or cut it to a number of bytes."""
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("hello " * 500)
    elif kind == "directory":
        path.unlink()
        path.mkdir()
    else:
        os.truncate(path, int(kind))


SPOILED: dict[str, type[BackupError]] = {
    "empty": EmptyBackupError,
    "text": NotADatabaseError,
    "directory": NotADatabaseError,
    "1": NotADatabaseError,
    "99": TruncatedBackupError,
    "100": TruncatedBackupError,
    "4096": TruncatedBackupError,
    "20000": TruncatedBackupError,
    "20480": TruncatedBackupError,
}


@pytest.mark.parametrize("with_meta", [True, False])
@pytest.mark.parametrize(("kind", "expected"), SPOILED.items())
def test_a_spoiled_backup_is_never_restored(
    manager: BackupManager,
    database: Path,
    kind: str,
    expected: type[BackupError],
    with_meta: bool,
) -> None:
    """Cut short, emptied or replaced: each has its own error, and the live rows stay."""
    info = manager.create()
    if not with_meta:
        Path(info.meta_path).unlink()
    spoiled(Path(info.path), kind)
    before = digest(database)
    for call in (manager.verify, manager.restore):
        with pytest.raises(expected, match="Invalid backup file"):
            call(info)
    assert digest(database) == before
    assert not (database.parent / "app.db.safety_backup").exists()


def test_one_flipped_byte_anywhere_is_found(manager: BackupManager, database: Path) -> None:
    """A single changed byte, in header, pages or free space, keeps a backup from being used."""
    info = manager.create()
    before = digest(database)
    path = Path(info.path)
    offsets = {*range(0, 100, 7), *range(100, info.size_bytes, 1777), info.size_bytes - 1}
    for offset in sorted(offsets):
        flip(path, offset, 0x10)
        with pytest.raises(InvalidBackupError, match="Invalid backup file"):
            manager.verify(info, level="quick")
        flip(path, offset, 0x10)
    assert manager.verify(info).checksum
    flip(path, info.size_bytes // 2)
    with pytest.raises(ChecksumMismatchError, match="checksum mismatch"):
        manager.restore(info)
    assert digest(database) == before


def test_a_damaged_meta_file_keeps_a_backup_from_being_used(
    manager: BackupManager, database: Path
) -> None:
    """The list shows the backup with its problem; restoring it is refused, the rows stay."""
    info = manager.create()
    flip(Path(info.meta_path), 200)
    before = digest(database)
    (listed,) = manager.list()
    assert listed.meta_problem
    for call in (manager.verify, manager.restore):
        with pytest.raises(MetaFileError):
            call(listed.filename)
    assert digest(database) == before


def test_a_locked_database_is_not_backed_up(
    manager: BackupManager, database: Path, engine: Any
) -> None:
    """A database that stays locked is an error by the deadline, and nothing is left."""
    impatient = BackupManager(engine, lock_timeout=0.3)
    with (
        held_by_another_process(database, "BEGIN EXCLUSIVE"),
        pytest.raises(DatabaseLockedError),
    ):
        impatient.create()
    assert impatient.list() == []
    assert not manager.directory.exists() or leftovers(manager.directory) == []
    assert impatient.create().size_bytes


def test_a_damaged_database_is_not_backed_up(manager: BackupManager, database: Path) -> None:
    """A faithful copy of damaged data is no backup: the error says to restore an earlier one."""
    flip(database, 4096 * 3, 0xFF)
    with pytest.raises(DatabaseDamagedError) as caught:
        manager.create()
    assert "Restore an earlier backup" in caught.value.hint
    assert manager.list() == []
    assert leftovers(manager.directory) == []


def test_an_empty_database_gets_a_good_backup(tmp_path: Path, make_engine: EngineMaker) -> None:
    """A file of 0 bytes is an empty database: its backup verifies and restores."""
    (tmp_path / "new.db").touch()
    manager = BackupManager(make_engine(tmp_path / "new.db"), catalog=False)
    info = manager.create()
    manager.verify(info)
    manager.restore(info)


def test_a_full_disk_makes_no_backup(
    database: Path, make_engine: EngineMaker, small_disk: Path, tmp_path: Path
) -> None:
    """Room is asked for first: too little is an error, and not a byte is written."""
    large = make_database(tmp_path / "large.db", rows=8000)
    manager = BackupManager(make_engine(large), small_disk / "backups")
    with pytest.raises(NotEnoughSpaceError):
        manager.create()
    source = make_database(tmp_path / "source.db", rows=8000)
    with pytest.raises(NotEnoughSpaceError):
        manager.import_file(source)
    assert os.listdir(small_disk) == []


def test_a_disk_that_fills_up_leaves_nothing(
    small_disk: Path, tmp_path: Path, make_engine: EngineMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that another program fills during the copy: an error, and no half backup."""
    large = make_database(tmp_path / "large.db", rows=8000)
    manager = BackupManager(make_engine(large), small_disk / "backups")
    monkeypatch.setattr(space, "require_space", lambda *_: None)
    with pytest.raises(NotEnoughSpaceError):
        manager.create()
    assert manager.list() == []
    assert leftovers(small_disk / "backups") == []


def test_a_file_where_the_directory_should_be(engine: Any, tmp_path: Path) -> None:
    """A backup directory that is a file is named as such by create, list and import."""
    (tmp_path / "taken").write_text("mine")
    source = make_database(tmp_path / "source.db")
    manager = BackupManager(engine, tmp_path / "taken")
    for call in (manager.create, manager.list, lambda: manager.import_file(source)):
        with pytest.raises(DirectoryIsAFileError):
            call()


def test_without_permission_nothing_is_made(open_path: Path) -> None:
    """A user who may not write beside the database is told so, and the database is untouched."""
    database = make_database(open_path / "app.db")
    database.chmod(0o644)
    open_path.chmod(0o555)
    before = snapshot_of(open_path)
    assert run_unprivileged("create", database)["error"] == PermissionDeniedError.__name__
    assert snapshot_of(open_path) == before
    database.chmod(0)
    assert run_unprivileged("create", database)["error"] == PermissionDeniedError.__name__


def test_damage_is_found_without_a_checksum(manager: BackupManager, database: Path) -> None:
    """A damaged backup whose meta file is lost is still refused: its pages are checked."""
    info = manager.create()
    Path(info.meta_path).unlink()
    data = bytearray(Path(info.path).read_bytes())
    data[4096 * 4 : 4096 * 6] = b"\xee" * 8192
    Path(info.path).write_bytes(bytes(data))
    before = digest(database)
    for call in (manager.verify, manager.restore):
        with pytest.raises(InvalidBackupError, match="is damaged"):
            call(info.filename)
    assert digest(database) == before
