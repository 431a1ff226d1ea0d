"""Which files the backup directory hands out, and which meta files it believes."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import run_unprivileged, within
from test_directory import put, storage_in

from soulsense_db.backup_info.info import BackupInfo
from soulsense_db.directory.directory import BackupDirectory
from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    MetaFileError,
    NewerFormatError,
    NotADatabaseError,
    OutsideDirectoryError,
    PermissionDeniedError,
    StorageError,
)
from soulsense_db.meta_file import read_backup, trusted_meta

OTHER_NAME = "soulsense_backup_20260101_000000_other.db"


@pytest.fixture
def storage(tmp_path: Path) -> BackupDirectory:
    """Return a storage beside which there is a file named like a backup."""
    (tmp_path / OTHER_NAME).write_bytes(b"outside")
    return storage_in(tmp_path / "backups")


@pytest.fixture
def info(storage: BackupDirectory) -> BackupInfo:
    """Return one published backup of ``storage``."""
    return put(storage, "mine")


def test_a_backup_is_found_by_any_spelling_of_its_path(
    storage: BackupDirectory, info: BackupInfo, tmp_path: Path
) -> None:
    """Dots, links to the directory, and links inside it all lead to the one real backup."""
    (tmp_path / "door").symlink_to(storage.directory)
    link = storage.directory / "soulsense_backup_link.db"
    link.symlink_to(info.filename)
    for path in (
        Path(info.path),
        storage.directory / ".." / "backups" / info.filename,
        tmp_path / "door" / info.filename,
        link,
    ):
        found = storage.find(path)
        assert (found.path, found.id) == (info.path, info.id)


def test_a_directory_that_is_itself_a_link_works(tmp_path: Path) -> None:
    """An operator may keep the backups on another disk and link to them."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "backups").symlink_to(tmp_path / "disk")
    storage = storage_in(tmp_path / "backups")
    info = put(storage)
    assert storage.find(Path(info.path)).id == info.id
    assert [found.id for found in storage.list()] == [info.id]


Maker = Callable[[Path, BackupInfo], Path]


def _link(directory: Path, target: Path) -> Path:
    link = directory / "soulsense_backup_link.db"
    link.symlink_to(target)
    return link


def _subdirectory(directory: Path, _info: BackupInfo) -> Path:
    (directory / "below").mkdir()
    path = directory / "below" / OTHER_NAME
    path.touch()
    return path


OUTSIDE: dict[str, Maker] = {
    "outside": lambda directory, _: directory.parent / OTHER_NAME,
    "dotdot": lambda directory, _: directory / ".." / OTHER_NAME,
    "link out": lambda directory, _: _link(directory, directory.parent / OTHER_NAME),
    "below": _subdirectory,
    "the directory": lambda directory, _: directory,
    "its meta file": lambda _, info: Path(info.meta_path),
    "its lock": lambda directory, _: directory / ".soulsense_backup.lock",
    "system file": lambda _directory, _info: Path("/etc/passwd"),
    "device": lambda _directory, _info: Path("/dev/zero"),
}


@pytest.mark.parametrize("make", OUTSIDE.values(), ids=OUTSIDE.keys())
def test_only_backups_of_the_directory_are_handed_out(
    storage: BackupDirectory, info: BackupInfo, make: Maker
) -> None:
    """Whatever is not a backup directly inside is refused, and the error says how to use it."""
    with pytest.raises(OutsideDirectoryError) as caught:
        storage.find(make(storage.directory, info))
    assert "import it" in caught.value.hint


@pytest.mark.parametrize("name", ["link.db", ".hidden.db", "soulsense_backup_x.txt"])
def test_files_inside_without_a_backups_name_are_refused(
    storage: BackupDirectory, info: BackupInfo, name: str
) -> None:
    """Hidden files and files of other names are no backups, though they lie inside."""
    os.link(info.path, storage.directory / name)
    with pytest.raises(OutsideDirectoryError):
        storage.find(storage.directory / name)


ABSENT: dict[str, Maker] = {
    "absent": lambda directory, _: directory / OTHER_NAME,
    "absent outside": lambda directory, _: directory.parent / "nothing.db",
    "NUL": lambda directory, _: directory / "soulsense_backup_\0.db",
    "dangling": lambda directory, _: _link(directory, directory / "gone"),
}


@pytest.mark.parametrize("make", ABSENT.values(), ids=ABSENT.keys())
def test_what_is_not_there_is_not_found(
    storage: BackupDirectory, info: BackupInfo, make: Maker
) -> None:
    """A name that leads to nothing is "Backup file not found", never a Python error."""
    with pytest.raises(BackupNotFoundError, match="Backup file not found"):
        storage.find(make(storage.directory, info))


@pytest.mark.parametrize("name", ["loop", "soulsense_backup_" + "x" * 300 + ".db"])
def test_odd_names_are_errors_of_the_tree(
    storage: BackupDirectory, info: BackupInfo, name: str
) -> None:
    """A link to itself and a name too long for the file system are refused in our own words."""
    if name == "loop":
        (storage.directory / name).symlink_to(name)
    with pytest.raises(BackupError):
        storage.find(storage.directory / name)


@pytest.mark.parametrize("kind", ["directory", "pipe", "socket"])
def test_other_things_named_like_a_backup_are_refused(
    storage: BackupDirectory, info: BackupInfo, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory, a pipe or a socket is no database file; a pipe never makes anybody wait."""
    path = storage.directory / OTHER_NAME
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        monkeypatch.chdir(storage.directory)  # the name of a socket is short
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(OTHER_NAME)
    with within(10), pytest.raises(NotADatabaseError, match="not a regular file"):
        storage.find(path)


def _garbage(meta: Path) -> None:
    meta.write_bytes(os.urandom(500))


def _huge(meta: Path) -> None:
    meta.touch()
    os.truncate(meta, 5 * 1024**3)  # a sparse file: it takes no room


def _directory(meta: Path) -> None:
    meta.mkdir()


def _fifo(meta: Path) -> None:
    os.mkfifo(meta)


def _link_out(meta: Path) -> None:
    meta.symlink_to("/etc/passwd")


def _newer(meta: Path) -> None:
    meta.write_text('{"format": 4}')


BAD_METAS = [_garbage, _huge, _directory, _fifo, _link_out, _newer]


@pytest.mark.parametrize("spoil", BAD_METAS)
def test_a_bad_meta_file_is_told_of_and_hides_nothing(
    storage: BackupDirectory, info: BackupInfo, spoil: Callable[[Path], None]
) -> None:
    """The list goes on past a bad meta file, at once; who wants to use the backup is stopped."""
    good = put(storage, "good")
    Path(info.meta_path).unlink()
    spoil(Path(info.meta_path))
    with within(10):
        listed = {found.filename: found for found in storage.list()}
        found = storage.find(Path(info.path))
    assert set(listed) == {good.filename, info.filename}
    assert not listed[good.filename].meta_problem
    assert listed[info.filename].meta_problem
    assert found.meta_problem
    assert (found.sha256, found.size_bytes) == (None, 4)
    expected = NewerFormatError if spoil is _newer else MetaFileError
    with within(10), pytest.raises(expected):
        trusted_meta(found)


def test_a_meta_problem_that_was_mended_is_forgotten(
    storage: BackupDirectory, info: BackupInfo
) -> None:
    """Who deletes the bad meta file, as the hint says, can use the backup."""
    good = Path(info.meta_path).read_bytes()
    Path(info.meta_path).write_text("{")
    found = storage.find(Path(info.path))
    assert found.meta_problem
    Path(info.meta_path).write_bytes(good)
    assert trusted_meta(found) == info
    Path(info.meta_path).unlink()
    assert not trusted_meta(found).meta_problem
    assert trusted_meta(info) is info


def test_a_meta_file_without_permission_is_told_of(open_path: Path) -> None:
    """A meta file one may not read is a problem of that backup, not of the list."""
    storage = storage_in(open_path / "backups")
    info = put(storage)
    storage.directory.chmod(0o755)
    Path(info.meta_path).chmod(0)
    answer = run_unprivileged("trust_the_meta_file", storage.directory)
    assert answer["error"] == PermissionDeniedError.__name__


def test_a_backup_that_vanishes_while_listing_is_no_error(
    storage: BackupDirectory, info: BackupInfo
) -> None:
    """Another process may delete a backup between the names and the facts."""
    (entry,) = storage._entries()
    Path(info.path).unlink()
    Path(info.meta_path).unlink()
    assert storage._read(entry).size_bytes == 0


def test_a_backup_outside_can_be_read_but_an_absent_one_not(
    storage: BackupDirectory, tmp_path: Path
) -> None:
    """Facts of a file anywhere come from its name and size; one that is absent is an error."""
    assert read_backup(tmp_path / OTHER_NAME).size_bytes == 7
    with pytest.raises(StorageError):
        read_backup(tmp_path / "gone")
