"""What stands in the way in a directory that others write to costs nobody a backup."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import add_child, digest, run_unprivileged

from soulsense_db import BackupManager, RetentionPolicy
from soulsense_db.scheduled import run_auto

_NAME = "soulsense_backup_20200101_000000.db"
PLACES = [
    ".soulsense_backup.lock",
    f".{_NAME}.staging",
    f".{_NAME}.staging.lock",
    f".{_NAME}.staging-journal",
    f".{_NAME}.deleting",
    f".{_NAME}.meta.partial",
    f"{_NAME}.meta",
    _NAME,
]


def _directory(path: Path) -> None:
    path.mkdir()
    (path / "a letter").write_text("Dear diary")


def _socket(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # the name of a socket may not be long
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(before)


OBSTACLES: dict[str, Callable[[Path], object]] = {
    "directory": _directory,
    "pipe": os.mkfifo,
    "loop": lambda path: path.symlink_to(path),
    "dangling link": lambda path: path.symlink_to(path.with_name("made by following")),
    "socket": _socket,
    "unwritable file": lambda path: path.touch(0o000),
}


@pytest.mark.skipif(os.name == "nt", reason="POSIX files")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("obstacle", OBSTACLES.values(), ids=OBSTACLES.keys())
def test_what_is_in_the_way_is_passed_by(
    manager: BackupManager, database: Path, place: str, obstacle: Callable[[Path], object]
) -> None:
    """Backups are made, restored, deleted and pruned beside it, and nothing is led anywhere."""
    manager.directory.mkdir()
    obstacle(manager.directory / place)
    before = digest(database)
    made = manager.create("one")
    add_child(database)
    assert run_auto(manager) is not None
    add_child(database)
    assert run_auto(manager, RetentionPolicy(keep_last=2)) is not None
    manager.restore(made)
    assert digest(database) == before
    manager.delete(made)
    manager.prune(RetentionPolicy(keep_last=1))
    assert manager.verify("latest").checksum
    assert not (manager.directory / "made by following").exists()


def test_what_cannot_be_removed_is_told_once(
    manager: BackupManager, caplog: pytest.LogCaptureFixture
) -> None:
    """A manager that makes many backups does not repeat what it said of a left-over."""
    manager.directory.mkdir()
    left = manager.directory / f".{_NAME}.deleting"
    _directory(left)
    for _ in range(3):
        manager.create()
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith(f"{left} is left over and cannot be removed (")
    assert (left / "a letter").exists()


@pytest.mark.parametrize("obstacle", OBSTACLES.values(), ids=OBSTACLES.keys())
def test_the_lock_of_auto_is_passed_by(
    manager: BackupManager, obstacle: Callable[[Path], object]
) -> None:
    """Something in the place of the lock of scheduled runs: they run, and one at a time."""
    manager.directory.mkdir()
    name = hashlib.sha256(str(manager.database).encode()).hexdigest()[:12]
    obstacle(manager.directory / f".auto_{name}.lock")
    report = run_auto(manager)
    assert report is not None
    overlapping = []
    add_child(Path(str(manager.database)))
    again = run_auto(manager, progress=lambda *_: overlapping.append(run_auto(manager)))
    assert again is not None
    assert overlapping[0] is None


def test_a_directory_in_the_place_of_the_database_s_lock(
    manager: BackupManager, database: Path
) -> None:
    """Restores pass it by, and exclude each other all the same."""
    from soulsense_db.errors import DatabaseLockedError

    info = manager.create()
    before = digest(database)
    _directory(database.with_name(".app.db.lock"))
    add_child(database)
    manager.restore(info)
    assert digest(database) == before
    with manager.exclusive(), pytest.raises(DatabaseLockedError):
        manager.exclusive(timeout=0)


@pytest.mark.parametrize("ending", [".lock", ".partial", ".meta.partial"])
@pytest.mark.parametrize("obstacle", OBSTACLES.values(), ids=OBSTACLES.keys())
def test_an_export_passes_by_what_is_in_the_way(
    manager: BackupManager, tmp_path: Path, ending: str, obstacle: Callable[[Path], object]
) -> None:
    """The copy and its meta file are written all the same, and can be imported."""
    info = manager.create("x")
    to = tmp_path / "to"
    to.mkdir()
    obstacle(to / f".out.db{ending}")
    copy = manager.export(info, to / "out.db")
    assert manager.import_file(copy).sha256 == info.sha256
    assert not (to / "made by following").exists()


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="files of several users")
def test_files_of_another_user_cost_nobody_a_backup(open_path: Path) -> None:
    """In a directory that all may write to, with files that only another user may touch."""
    directory = open_path / "backups"
    directory.mkdir()
    directory.chmod(0o1777)
    for place in PLACES:
        (directory / place).touch(0o600)
    open_path.chmod(0o777)
    result = run_unprivileged("back_up_and_restore", open_path)
    assert result == {"error": None, "auto": True, "level": "full"}
    assert {place for place in PLACES if (directory / place).exists()} == set(PLACES)
