"""The backup directory: names, publishing, listing, cleaning up."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import subprocess
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from helpers import Child, leftovers, run_unprivileged
from hypothesis import given
from hypothesis import strategies as st

from soulsense_db import BackupManager
from soulsense_db.backup_info.info import BackupInfo
from soulsense_db.backup_info.meta_format import to_meta
from soulsense_db.directory.directory import BackupDirectory
from soulsense_db.directory.names import safe_name
from soulsense_db.directory.staging import Staging
from soulsense_db.drivers import SQLiteDriver
from soulsense_db.errors import (
    BackupNotFoundError,
    DirectoryIsAFileError,
    DirectoryLockedError,
    NotEnoughSpaceError,
    OutsideDirectoryError,
    StorageError,
)
from soulsense_db.fs import durable

TAKEN_AT = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
GIT = shutil.which("git")
NAME = "soulsense_backup_20260115_160000"


def storage_in(directory: Path, *, lock_timeout: float = 5) -> BackupDirectory:
    """Return the storage of ``directory`` with the usual names."""
    return BackupDirectory(
        directory,
        prefix="soulsense_backup",
        suffix=".db",
        companions=SQLiteDriver.companions,
        lock_timeout=lock_timeout,
    )


@pytest.fixture
def storage(tmp_path: Path) -> BackupDirectory:
    """Return the storage of a directory that is not there yet."""
    return storage_in(tmp_path / "backups")


def fill_up(disk: Path) -> None:
    """Take all the room there is on a small disk."""
    with pytest.raises(OSError, match="space"):
        disk.joinpath("filler").write_bytes(bytes(2_000_000))


def put(storage: BackupDirectory, description: str = "", *, at: datetime = TAKEN_AT) -> BackupInfo:
    """Publish a backup of a few bytes."""
    with storage.stage(at, description) as staging:
        staging.path.write_bytes(b"data")
        info = BackupInfo(
            id=os.urandom(6).hex(),
            path=str(staging.final),
            created_at=at,
            size_bytes=4,
            description=description,
        )
        storage.publish(staging, info)
    return info


@pytest.mark.usefixtures("in_kolkata")
@pytest.mark.parametrize(
    ("description", "name"),
    [
        ("", NAME),
        ("weekly backup", f"{NAME}_weekly_backup"),
        ("Before Import!", f"{NAME}_Before_Import"),
        ("../../etc/passwd", f"{NAME}_etc_passwd"),
        ("////", NAME),
        ("\n\n\r\n", NAME),
        ("a\0b", f"{NAME}_a_b"),
        ("\u202e\u200fabc", f"{NAME}_abc"),
        ("😀😀", NAME),
        ("Zoë 日記", f"{NAME}_Zoë_日記"),
        ("Zoe\u0308", f"{NAME}_Zoë"),
        ("-rf --no", f"{NAME}_rf_--no"),
        ("x" * 10_000, f"{NAME}_{'x' * 30}"),
        ("twelve words that go on for far longer", f"{NAME}_twelve_words_that_go_on_for_fa"),
    ],
)
def test_names_tell_time_and_description(
    storage: BackupDirectory, description: str, name: str
) -> None:
    """A file name has the local time and 30 safe characters of the description."""
    info = put(storage, description)
    assert info.filename == f"{name}.db"
    assert [found.description for found in storage.list()] == [description]


@given(st.text())
def test_no_description_makes_a_dangerous_name(description: str) -> None:
    """Whatever is typed, its part of the name has at most 30 letters, digits, ``_`` and ``-``."""
    safe = safe_name(description)
    assert len(safe) <= 30
    assert re.fullmatch(r"([\w-]*)", safe)
    assert not safe.startswith(("-", "."))


def test_letters_that_grow_in_lower_case_stay_within_30() -> None:
    """A letter whose lower case is two characters does not make the name longer."""
    assert len(safe_name("\u0130" * 40)) <= 30


def test_a_number_is_added_to_a_name_that_is_taken(storage: BackupDirectory) -> None:
    """Backups of one second do not replace each other; a lone meta file keeps its name too."""
    first, second = put(storage, "x"), put(storage, "x")
    stem = first.filename.removesuffix(".db")
    assert second.filename == f"{stem}_2.db"
    (storage.directory / f"{stem}_3.db.meta").touch()
    assert put(storage, "x").filename == f"{stem}_4.db"


@pytest.mark.parametrize("prefix", ["", ".hidden", "a/b", "a b", "-x", "x" * 101, "a\n"])
def test_a_prefix_that_is_no_name_is_refused(tmp_path: Path, prefix: str) -> None:
    """A prefix that would hide backups or lead elsewhere is a programmer's error."""
    with pytest.raises(ValueError, match="prefix"):
        BackupDirectory(
            tmp_path,
            prefix=prefix,
            suffix=".db",
            companions=SQLiteDriver.companions,
            lock_timeout=1,
        )


@pytest.mark.usefixtures("no_umask")
def test_everything_made_is_private(storage: BackupDirectory) -> None:
    """The directory is 0700 and every file in it 0600, locks too, whatever the umask."""
    put(storage, "x")
    assert stat.S_IMODE(storage.directory.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in storage.directory.iterdir()}
    assert set(modes.values()) == {0o600}, modes


@pytest.mark.skipif(GIT is None, reason="needs git")
def test_a_new_directory_is_no_part_of_a_repository(storage: BackupDirectory) -> None:
    """`git add .` takes no backup along, nor anything else of a directory that we made."""
    repository = storage.directory.parent
    assert GIT is not None
    subprocess.run([GIT, "init", "-q", str(repository)], check=True)
    (repository / "code.py").touch()
    put(storage, "x")
    git = [GIT, "-C", str(repository), "status", "--porcelain", "--untracked-files=all"]
    listed = subprocess.run(git, check=True, capture_output=True, text=True).stdout
    assert [line for line in listed.splitlines() if storage.directory.name in line] == []
    assert "?? code.py" in listed
    assert "*" in (storage.directory / ".gitignore").read_text().splitlines()


def test_the_gitignore_is_no_backup_and_no_left_over(storage: BackupDirectory) -> None:
    """It is neither listed nor cleaned up, and named it is refused as any other file."""
    put(storage, "x")
    put(storage, "y")
    assert len(storage.list()) == 2
    assert storage.orphans() == set()
    assert leftovers(storage.directory) == []
    with pytest.raises(OutsideDirectoryError):
        storage.find(storage.directory / ".gitignore")
    assert (storage.directory / ".gitignore").exists()


def test_a_directory_that_is_there_gets_no_gitignore(storage: BackupDirectory) -> None:
    """Whoever made the directory says what of it belongs into a repository."""
    storage.directory.mkdir(parents=True)
    put(storage, "x")
    assert not (storage.directory / ".gitignore").exists()


def test_a_gitignore_that_cannot_be_written_keeps_nobody_from_a_backup(
    storage: BackupDirectory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is a help and no more: the backup is made, and the log says at DEBUG what failed."""
    opened = os.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if str(path).endswith(".gitignore"):
            raise PermissionError(errno.EACCES, "refused")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    with caplog.at_level("DEBUG", logger="soulsense_db"):
        put(storage, "x")
    assert len(storage.list()) == 1
    assert not (storage.directory / ".gitignore").exists()
    assert ".gitignore could not be written" in caplog.text


def test_a_staged_backup_is_not_listed_before_it_is_published(storage: BackupDirectory) -> None:
    """A backup exists when it has its final name, and not a moment before."""
    with storage.stage(TAKEN_AT, "") as staging:
        staging.path.write_bytes(b"half")
        assert storage.list() == []
        assert storage.names() == set()
        with pytest.raises(BackupNotFoundError):
            storage.find(staging.final)
    assert leftovers(storage.directory) == []


def test_an_error_while_staging_leaves_nothing(storage: BackupDirectory) -> None:
    """What was written of a backup that failed is gone, with SQLite's files beside it."""
    with pytest.raises(ZeroDivisionError), storage.stage(TAKEN_AT, "[x]*?") as staging:
        staging.path.with_name(f"{staging.path.name}-journal").touch()
        staging.final.with_name(f"{staging.final.name}.meta").touch()
        raise ZeroDivisionError
    assert leftovers(storage.directory) == []
    assert list(storage.directory.glob("*.meta")) == []


def test_the_newest_comes_first(storage: BackupDirectory) -> None:
    """The list is ordered by the time in the meta file, not by name or by the file's own time."""
    old = put(storage, "z old", at=TAKEN_AT - timedelta(days=400))
    new = put(storage, "a new", at=TAKEN_AT + timedelta(microseconds=1))
    middle = put(storage, "middle")
    os.utime(old.path)
    assert [info.id for info in storage.list()] == [new.id, middle.id, old.id]
    assert storage.names() == {old.filename, new.filename, middle.filename}


def test_a_bad_sector_in_a_meta_file_is_a_problem_of_one_backup(
    storage: BackupDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the disk cannot read one meta file the other backups are listed, and new ones made."""
    spoilt, good = put(storage, "spoilt"), put(storage, "good")
    inode = os.stat(spoilt.meta_path).st_ino
    read = os.read

    def failing(descriptor: int, size: int) -> bytes:
        if os.fstat(descriptor).st_ino == inode:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", failing)
    problems = {info.filename: info.meta_problem for info in storage.list()}
    assert problems[good.filename] == ""
    assert "Input/output error" in problems[spoilt.filename]
    with pytest.raises(StorageError):
        storage.amend(spoilt, pinned=True)
    assert len(storage.list()) == 2
    put(storage, "new")


def test_what_is_no_backup_is_not_listed(storage: BackupDirectory, tmp_path: Path) -> None:
    """Other files, directories, pipes and links are not backups, whatever their names."""
    info = put(storage)
    directory = storage.directory
    (directory / "notes.txt").touch()
    (directory / "other_20260101_000000.db").touch()
    (directory / ".soulsense_backup_hidden.db").touch()
    (directory / "soulsense_backup_directory.db").mkdir()
    os.mkfifo(directory / "soulsense_backup_pipe.db")
    (directory / "soulsense_backup_link.db").symlink_to(info.path)
    assert [found.filename for found in storage.list()] == [info.filename]


def test_an_absent_directory_has_no_backups(storage: BackupDirectory) -> None:
    """Listing before the first backup gives an empty list and makes nothing."""
    assert storage.list() == []
    assert not storage.directory.exists()


def test_a_database_that_vanishes_hides_no_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The live file may be replaced or deleted at any moment: the list is that of the directory."""
    live = tmp_path / "app.db"
    live.touch()
    storage = BackupDirectory(
        tmp_path / "backups",
        prefix="soulsense_backup",
        suffix=".db",
        companions=SQLiteDriver.companions,
        lock_timeout=5,
        live=live,
    )
    info = put(storage)
    exists = durable.exists

    def deleted_then(path: Path) -> bool:
        found = exists(path)
        if path == live:
            live.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(durable, "exists", deleted_then)
    assert storage.list() == [info]
    live.unlink(missing_ok=True)
    assert storage.list() == [info]


def test_a_link_that_vanishes_while_listing_hides_no_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the directory itself can be absent; what goes from it meanwhile takes no other along."""
    live = tmp_path / "app.db"
    live.touch()
    storage = BackupDirectory(
        tmp_path / "backups",
        prefix="soulsense_backup",
        suffix=".db",
        companions=SQLiteDriver.companions,
        lock_timeout=5,
        live=live,
    )
    info = put(storage)
    link = storage.directory / f"{NAME}_link.db"
    os.link(live, link)
    is_name = BackupDirectory._is_backup_name

    def removed_then(self: BackupDirectory, name: str) -> bool:
        if name == link.name:
            link.unlink(missing_ok=True)  # somebody else
        return is_name(self, name)

    assert storage.names() == {info.filename}
    monkeypatch.setattr(BackupDirectory, "_is_backup_name", removed_then)
    assert info.filename in storage.names()


def test_a_list_reads_each_meta_file_once(
    storage: BackupDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long list takes as long as it is long: how long, ``benchmarks/listing.py`` tells."""
    info = put(storage)
    for number in range(999):
        path = storage.directory / f"soulsense_backup_20250101_000000_{number}.db"
        path.touch()
        path.with_name(f"{path.name}.meta").write_bytes(to_meta(info))
    read: list[str] = []
    opened = os.open

    def noted(path: str | Path, *arguments: int, **options: int) -> int:
        read.append(str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", noted)
    listed = storage.list()
    monkeypatch.undo()
    assert len(listed) == 1000
    assert sorted(read) == sorted(info.meta_path for info in listed)


def test_deleting_removes_both_files(storage: BackupDirectory) -> None:
    """A deleted backup leaves no meta file behind; deleting it again says that it is gone."""
    keep, info = put(storage, "keep"), put(storage, "go")
    storage.delete(storage.find(Path(info.path)))
    assert storage.names() == {keep.filename}
    assert not Path(info.meta_path).exists()
    with pytest.raises(BackupNotFoundError):
        storage.delete(info)


def test_deleting_spares_a_directory_named_like_a_meta_file(storage: BackupDirectory) -> None:
    """A directory is nobody's meta file: the backup is deleted and the directory stays."""
    info = put(storage)
    Path(info.meta_path).unlink()
    Path(info.meta_path).mkdir()
    storage.delete(storage.find(Path(info.path)))
    assert Path(info.meta_path).is_dir()
    assert storage.list() == []


@pytest.mark.parametrize("below", ["", "below"])
def test_a_file_where_the_directory_should_be(tmp_path: Path, below: str) -> None:
    """When the backup directory is a file, listing and staging both say so."""
    (tmp_path / "backups").write_text("mine")
    storage = storage_in(tmp_path / "backups" / below)
    with pytest.raises(DirectoryIsAFileError):
        storage.list()
    with pytest.raises(DirectoryIsAFileError), storage.stage(TAKEN_AT, ""):
        raise AssertionError("nothing may be staged here")
    assert (tmp_path / "backups").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_directory_without_permission(open_path: Path, mode: int) -> None:
    """A user who may not write the directory, or not even list it, is told so."""
    directory = open_path / "backups"
    directory.mkdir()
    directory.chmod(mode)
    stage = run_unprivileged("stage", directory)
    assert stage["error"] == "PermissionDeniedError"
    listed = run_unprivileged("list_directory", directory)
    assert listed["error"] == (None if mode else "PermissionDeniedError")
    assert os.listdir(directory) == []


def test_a_full_disk_publishes_nothing(small_disk: Path) -> None:
    """When the disk fills up during the copy nothing of it is left and nothing is listed."""
    storage = storage_in(small_disk / "backups")
    kept = put(storage)
    with pytest.raises(NotEnoughSpaceError), storage.stage(TAKEN_AT, "no room") as staging:
        staging.path.write_bytes(b"data")
        fill_up(small_disk)
        storage.publish(staging, replace(kept, path=str(staging.final)))
    assert [info.id for info in storage.list()] == [kept.id]
    assert leftovers(storage.directory) == []


def test_what_a_dead_process_left_is_removed(storage: BackupDirectory) -> None:
    """After a SIGKILL the next backup removes everything that the dead one had staged."""
    put(storage)
    with Child("stage_and_wait.py", storage.directory) as child:
        child.expect("staged")
        child.kill()
    assert leftovers(storage.directory)
    info = put(storage, "mine")
    assert leftovers(storage.directory) == []
    assert len(storage.list()) == 2
    metas = {path.name.removesuffix(".meta") for path in storage.directory.glob("*.meta")}
    assert metas == storage.names()
    assert info.filename in metas


def test_what_a_living_process_stages_is_left_alone(storage: BackupDirectory) -> None:
    """A backup that another process is writing just now goes on undisturbed."""
    put(storage)
    with Child("stage_and_wait.py", storage.directory) as child:
        child.expect("staged")
        before = leftovers(storage.directory)
        put(storage, "mine")
        assert leftovers(storage.directory) == before
        child.finish()
    assert leftovers(storage.directory) == []


def test_two_stagings_of_one_process_are_told_apart(storage: BackupDirectory) -> None:
    """Threads that back up at once each have a name of their own, in the same second too."""
    with storage.stage(TAKEN_AT, "x") as one, storage.stage(TAKEN_AT, "x") as two:
        assert one.path != two.path
        assert one.path.exists()


def test_an_interrupt_of_the_clean_up_keeps_no_mark(
    storage: BackupDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Ctrl-C left of a backup, the next one removes, in the same process too."""

    def interrupted(_: Staging) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Staging, "discard", interrupted)
        with pytest.raises(KeyboardInterrupt), storage.stage(TAKEN_AT, "x") as held:
            pass
    assert leftovers(storage.directory) != []
    put(storage)
    assert leftovers(storage.directory) == []
    assert not held.path.exists()  # held until here: else what it locks would go with it


def test_a_lock_that_does_not_clear_is_an_error(storage: BackupDirectory) -> None:
    """A directory that another process holds for too long is an error with the time waited."""
    put(storage)
    impatient = storage_in(storage.directory, lock_timeout=0.1)
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with storage._lock():
            held.set()
            go_on.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    try:
        with pytest.raises(DirectoryLockedError, match=r"0\.1 s"):
            put(impatient)
    finally:
        go_on.set()
        thread.join()
    assert len(storage.list()) == 1


def test_a_backup_that_came_back_keeps_its_meta_file(manager: BackupManager) -> None:
    """What is left of a deletion takes nothing from a backup that a copy brought back."""
    info = manager.create()
    doomed = Path(info.path).with_name(f".{info.filename}.deleting")
    shutil.copy(info.path, doomed)
    manager.create()
    assert not doomed.exists()
    assert manager.verify(info).checksum
