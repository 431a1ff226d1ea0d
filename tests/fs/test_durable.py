"""Durable file operations."""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
import stat
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from helpers import NOBODY, run_unprivileged

from soulsense_db import BackupManager
from soulsense_db.drivers.sqlite.files import beside, connect_new
from soulsense_db.errors import (
    BackupNotFoundError,
    DirectoryIsAFileError,
    NotEnoughSpaceError,
    Outcome,
    PermissionDeniedError,
    StorageError,
)
from soulsense_db.fs import copying, durable, errors, space, temporary


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, NotEnoughSpaceError),
        (errno.EDQUOT, NotEnoughSpaceError),
        (errno.EACCES, PermissionDeniedError),
        (errno.EPERM, PermissionDeniedError),
        (errno.EROFS, PermissionDeniedError),
        (errno.ENOTDIR, DirectoryIsAFileError),
        (errno.EIO, StorageError),
    ],
)
def test_system_errors_become_errors_of_the_tree(number: int, expected: type[StorageError]) -> None:
    """Every refusal of the system has its class, names the path, and says what to do."""
    with (
        pytest.raises(StorageError) as caught,
        errors.storage_errors("write", "/some/file"),
    ):
        raise OSError(number, os.strerror(number))
    assert type(caught.value) is expected
    assert "/some/file" in caught.value.message
    assert os.strerror(number) in caught.value.message
    assert caught.value.hint


@pytest.mark.usefixtures("no_umask")
def test_a_directory_is_made_private(tmp_path: Path) -> None:
    """The directory of journals and exam results is 0700 whatever the umask; parents are made."""
    made = tmp_path / "a" / "b"
    durable.make_private_directory(made)
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_an_existing_directory_keeps_its_mode(tmp_path: Path) -> None:
    """A directory that somebody made and shared on purpose is left as it is."""
    tmp_path.chmod(0o755)
    durable.make_private_directory(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


@pytest.mark.parametrize("below", ["", "below", "below/deeper"])
def test_a_file_in_the_way_of_a_directory_is_named(tmp_path: Path, below: str) -> None:
    """A file where the directory, or one above it, should be: the error says just that."""
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(DirectoryIsAFileError, match="taken"):
        durable.make_private_directory(tmp_path / "taken" / below)
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_directory_made_meanwhile_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes that make the directory at once both go on."""
    made = tmp_path / "backups"
    is_dir = Path.is_dir

    def absent_at_first(path: Path) -> bool:
        if path == made and not os.path.lexists(made):
            os.mkdir(made)  # noqa: PTH102 - the other process
            return False
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", absent_at_first)
    durable.make_private_directory(made)
    assert is_dir(made)


@pytest.mark.usefixtures("no_umask")
def test_a_file_is_made_private_and_never_through_a_link(tmp_path: Path) -> None:
    """Files are 0600 whatever the umask; a name that is taken, by a link too, is an error."""
    durable.create_private_file(tmp_path / "new")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("new", "link"):
        with pytest.raises(StorageError):
            durable.create_private_file(tmp_path / name)
    assert not (tmp_path / "elsewhere").exists()


def test_writing_replaces_in_one_step(tmp_path: Path) -> None:
    """A file written durably has the new contents, is private, and leaves nothing beside it."""
    path = tmp_path / "facts"
    path.write_text("old")
    (tmp_path / ".facts.partial").write_text("left by a process that died")
    durable.write_durably(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["facts"]


def test_a_full_disk_leaves_the_old_file(small_disk: Path) -> None:
    """When the disk is full the old contents stay and no partial file takes up room."""
    path = small_disk / "facts"
    path.write_text("old")
    with pytest.raises(NotEnoughSpaceError):
        durable.write_durably(path, b"x" * 2_000_000)
    assert path.read_text() == "old"
    assert os.listdir(small_disk) == ["facts"]


def test_flushing_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Nobody is told that a file is on disk when it is not."""
    with pytest.raises(StorageError, match="gone"):
        durable.sync_file(tmp_path / "gone")
    with pytest.raises(StorageError, match="gone"):
        durable.sync_directory(tmp_path / "gone")


def test_removing_twice_is_no_error(tmp_path: Path) -> None:
    """Removing what is gone already succeeds; what cannot be removed is an error."""
    path = tmp_path / "file"
    path.touch()
    durable.remove(path)
    durable.remove(path)
    (tmp_path / "directory").mkdir()
    with pytest.raises(StorageError):
        durable.remove(tmp_path / "directory")


def test_removing_without_permission_is_an_error(open_path: Path) -> None:
    """A user who may not write the directory is told so."""
    (open_path / "file").touch()
    open_path.chmod(0o555)
    answer = run_unprivileged("remove", open_path / "file")
    assert answer["error"] == "PermissionDeniedError"


def test_space_is_asked_of_the_disk_the_directory_will_be_on(small_disk: Path) -> None:
    """Room is measured before a byte is written, also for a directory that is not there yet."""
    space.require_space(small_disk / "not" / "yet", 100_000)
    with pytest.raises(NotEnoughSpaceError, match="5,262,144 bytes are needed"):
        space.require_space(small_disk / "not" / "yet", 5_000_000)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="/proc is there on Linux alone")
def test_a_file_system_that_does_not_tell_is_not_full() -> None:
    """Some network shares say that they have no bytes at all, as /proc does: nothing is refused."""
    assert space.free_space(Path("/proc/backups")) is None
    space.require_space(Path("/proc/backups"), 10**15)


def test_sha256_is_the_usual_one(tmp_path: Path) -> None:
    """The checksum is what ``sha256sum`` prints."""
    (tmp_path / "file").write_bytes(b"abc" * 1000)
    assert copying.sha256_of_own(tmp_path / "file") == hashlib.sha256(b"abc" * 1000).hexdigest()
    with pytest.raises(StorageError):
        copying.sha256_of_own(tmp_path / "gone")


def copy(source: Path, target: Path) -> None:
    """Copy with nothing to do before the copy has its name."""
    with copying.durable_copy(source, target):
        pass


@pytest.mark.usefixtures("no_umask")
def test_a_copy_is_complete_and_private(tmp_path: Path) -> None:
    """A copy has all bytes and belongs to one person."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(3_000_000))
    copy(source, target)
    assert target.read_bytes() == source.read_bytes()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_copy_never_replaces(tmp_path: Path, kind: str) -> None:
    """A copy to a name that is taken is refused and changes nothing."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("new")
    if kind == "file":
        target.write_text("mine")
    else:
        target.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="already exists"):
        copy(source, target)
    assert sorted(os.listdir(tmp_path)) == ["source", "target"]


def test_a_copy_has_no_name_until_the_block_ends(tmp_path: Path) -> None:
    """What is done with the whole copy before it has its name can still cancel it."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("new")

    def refuse() -> None:
        with copying.durable_copy(source, target) as whole:
            assert whole.read_text() == "new"
            assert not target.exists()
            raise NotEnoughSpaceError("no room for what goes with it")

    with pytest.raises(NotEnoughSpaceError):
        refuse()
    assert os.listdir(tmp_path) == ["source"]


def test_a_copy_without_room_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    """A copy that does not fit is refused before a byte is written."""
    (tmp_path / "source").write_bytes(bytes(2_000_000))
    with pytest.raises(NotEnoughSpaceError):
        copy(tmp_path / "source", small_disk / "target")
    assert os.listdir(small_disk) == []


def test_a_copy_that_runs_out_of_room_leaves_nothing(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that another program fills during the copy leaves no partial file behind."""
    (tmp_path / "source").write_bytes(bytes(2_000_000))
    monkeypatch.setattr(space, "require_space", lambda _directory, _needed: None)
    with pytest.raises(NotEnoughSpaceError):
        copy(tmp_path / "source", small_disk / "target")
    assert os.listdir(small_disk) == []


def test_a_copy_of_what_is_gone_is_an_error_of_the_tree(tmp_path: Path) -> None:
    """A source that vanished is a StorageError, as all else in this module."""
    with pytest.raises(StorageError, match="gone"):
        copy(tmp_path / "gone", tmp_path / "target")
    assert os.listdir(tmp_path) == []


def test_a_head_start_that_fails_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flushing in the background is a help: what is wrong with the disk shows at the last fsync."""
    path = tmp_path / "file"
    path.touch()
    tried = threading.Event()

    def refuse(_descriptor: int) -> None:
        tried.set()
        raise OSError(errno.EIO, "it broke")

    monkeypatch.setattr(os, "fdatasync", refuse)
    with durable.flushing(path):
        assert tried.wait(10)


def test_a_rename_that_fails_takes_nothing_from_its_target(tmp_path: Path) -> None:
    """What somebody else has under the new name stays there, whatever became of the source."""
    (tmp_path / "target").write_text("somebody else's")
    with pytest.raises(StorageError, match="could not rename to"):
        durable.rename_or_not(tmp_path / "gone", tmp_path / "target")
    assert os.listdir(tmp_path) == ["target"]
    assert (tmp_path / "target").read_text() == "somebody else's"


def sync_refused_with(number: int) -> Callable[[int], None]:
    """Return an ``os.fsync`` that a file system without it for directories has."""
    fsync = os.fsync

    def sync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    return sync


def test_a_rename_that_cannot_be_flushed_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk fails after the rename, the file has its old name, and the error says so."""
    (tmp_path / "source").touch()
    monkeypatch.setattr(os, "fsync", sync_refused_with(errno.EIO))
    with pytest.raises(StorageError, match=r"could not flush .* Nothing was changed"):
        durable.rename_or_not(tmp_path / "source", tmp_path / "target")
    assert os.listdir(tmp_path) == ["source"]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_flushes_no_directories_takes_backups(
    manager: BackupManager, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Some network and FUSE file systems have no fsync for directories: that fails no backup."""
    monkeypatch.setattr(os, "fsync", sync_refused_with(number))
    info = manager.create()
    assert manager.verify(info).checksum
    manager.delete(info)
    assert manager.list() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_system_without_owners_takes_backups_of_root(
    database: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A USB stick or a share that has no owners is as good as any: one warning says what it is."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    os.chown(database, NOBODY, NOBODY)
    monkeypatch.setattr(durable, "_has_warned_of_owners", False)
    monkeypatch.setattr(os, "chown", refuse)
    monkeypatch.setattr(os, "fchown", refuse)
    engine = sa.create_engine(f"sqlite:///{database}")
    manager = BackupManager(engine, database.parent / "new" / "backups")
    manager.create()
    assert manager.verify(manager.create()).checksum
    engine.dispose()
    (warning,) = [text for text in caplog.messages if "set the owner" in text]
    assert "may not be able to use" in warning


def test_what_has_its_owner_already_is_not_given_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that gives all files one owner refuses to set it: there is nothing to set."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "chown", refuse)
    monkeypatch.setattr(os, "fchown", refuse)
    (tmp_path / "app.db").touch()
    (tmp_path / "copy").touch()
    durable.give_to_owner_of(tmp_path / "app.db", tmp_path / "copy")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_that_cannot_be_given_away_is_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails is an error, and no file stays that only root could use."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fchown", refuse)
    os.chown(tmp_path, NOBODY, NOBODY)
    with pytest.raises(StorageError, match="set the owner"):
        durable.create_private_file(tmp_path / "file")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("method", "error"), [("start", RuntimeError("no thread left")), ("join", KeyboardInterrupt())]
)
def test_flushing_leaves_no_descriptor_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, error: BaseException
) -> None:
    """A thread that cannot start, and Ctrl-C while one ends, leave no file open."""
    path = tmp_path / "file"
    path.touch()

    def fail(*_: object) -> None:
        raise error

    before = os.listdir("/dev/fd")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, method, fail)
        with pytest.raises(type(error)), durable.flushing(path):
            pass
    assert os.listdir("/dev/fd") == before


def test_without_a_directory_for_temporary_files(
    manager: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that is read-only, with nowhere to write to, gets an error of the tree."""

    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    with (
        pytest.raises(StorageError, match="No usable temporary"),
        temporary.temporary_file(size_bytes=1),
    ):
        pass
    with pytest.raises(StorageError, match="No usable temporary"), beside(None, "copy"):
        pass
    assert manager.create()  # which needs none


def test_without_a_current_directory(
    manager: BackupManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path in a directory that was removed names nothing, and is no raw error."""
    info = manager.create()
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(BackupNotFoundError):
        manager.get("below/some.db")
    with pytest.raises(BackupNotFoundError):
        manager.import_file("some.db")
    with pytest.raises(StorageError, match="not a valid path"):
        manager.export(info, "some.db")


def test_a_file_that_sqlite_rejects_is_closed(tmp_path: Path) -> None:
    """What is no database leaves no descriptor open, also while somebody holds the error."""
    path = tmp_path / "file"
    path.write_bytes(b"no database" * 1000)
    before = os.listdir("/dev/fd")
    with pytest.raises(sqlite3.DatabaseError) as held:
        connect_new(path)
    assert os.listdir("/dev/fd") == before
    assert held.value


@pytest.mark.parametrize("rename", [durable.move_durably, durable.rename_or_not])
def test_a_rename_that_fails_after_it_was_done_is_not_called_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rename: Callable[[Path, Path], None]
) -> None:
    """A file server may do what it is asked, and its answer is lost."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.touch()
    replace = os.replace

    def done_and_failed(old: Path, new: Path) -> None:
        replace(old, new)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "replace", done_and_failed)
    with pytest.raises(StorageError) as caught:
        rename(source, target)
    assert caught.value.outcome is Outcome.UNSURE
