"""What a sync leaves at a mirror, whatever is there and whatever fails."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Unpack

import pytest
import time_machine
from age_keys import Key
from conftest import EngineMaker
from filelock import FileLock
from helpers import add_child, digest, flip, make_database

from soulsense_db import BackupManager, MirrorTarget, RetentionPolicy
from soulsense_db.errors import (
    ChecksumMismatchError,
    DirectoryLockedError,
    MirrorNotFoundError,
    OptionError,
)
from soulsense_db.manager import ManagerOptions
from soulsense_db.mirrors import mirror_for

MakeManager = Callable[..., BackupManager]


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """Return the directory of a mirror on another drive, which is set up."""
    place = tmp_path / "drive" / "soulsense"
    place.parent.mkdir()
    with mirror_for(f"file://{place}") as mirror:
        mirror.prepare()
    return place


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Return a database in a folder of its own."""
    (tmp_path / "app").mkdir()
    return make_database(tmp_path / "app" / "app.db")


@pytest.fixture
def managed(app: Path, drive: Path, make_engine: EngineMaker) -> MakeManager:
    """Return a function that makes a manager of ``app`` with one mirror."""

    def make(**options: Unpack[ManagerOptions]) -> BackupManager:
        usual = ManagerOptions(mirrors=f"file://{drive}", mirror_folder="laptop-app")
        return BackupManager(make_engine(app), **usual | options)

    return make


def _files(drive: Path) -> list[str]:
    """Return the names of all files in the folder of the app."""
    folder = drive / "laptop-app"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_mirror_gets_all_that_it_lacks(managed: MakeManager, drive: Path) -> None:
    """Each backup becomes two files with its id in their names; a second sync has nothing to do."""
    manager = managed()
    taken = [manager.create(f"number {number}") for number in range(3)]
    (report,) = manager.mirrors.sync()
    assert report.ok
    assert [info.id for info in report.uploaded] == [info.id for info in taken]
    names = [f"{Path(info.filename).stem}_{info.id}.db" for info in taken]
    assert _files(drive) == sorted([*names, *(f"{name}.meta" for name in names)])
    for info, name in zip(taken, names, strict=True):
        assert (drive / "laptop-app" / name).read_bytes() == Path(info.path).read_bytes()
    (again,) = manager.mirrors.sync()
    assert (again.ok, again.uploaded, again.kept) == (True, (), 3)


def test_a_folder_of_a_mirror_is_a_backup_directory(
    managed: MakeManager, drive: Path, app: Path
) -> None:
    """A person without this feature copies the folder, and restores from it."""
    manager = managed()
    before = digest(app)
    manager.create("Evening")
    manager.mirrors.sync()
    add_child(app)
    copied = app.parent / "copied"
    shutil.copytree(drive / "laptop-app", copied)
    other = BackupManager.from_url(str(app), copied)
    other.restore("latest")
    assert digest(app) == before


def test_what_is_deleted_here_stays_there(managed: MakeManager) -> None:
    """A mirror is no image of the directory: who empties that one empties no mirror."""
    manager = managed()
    info = manager.create("Evening")
    manager.mirrors.sync()
    manager.delete(info)
    (report,) = manager.mirrors.sync()
    assert (report.removed, report.kept) == ((), 1)
    assert [one.id for one in manager.mirrors.only_there()] == [info.id]


def test_each_side_keeps_what_its_own_policy_says(managed: MakeManager) -> None:
    """The mirror keeps more than the directory, and not what its own policy lets go."""
    manager = managed(
        retention=RetentionPolicy(keep_last=1), mirror_retention=RetentionPolicy(keep_last=3)
    )
    taken = []
    for number in range(5):
        taken.append(manager.create(f"number {number}", kind="automatic").id)
        manager.mirrors.sync()
    assert [info.id for info in manager.list()] == taken[-1:]
    (listing,) = manager.mirrors.list()
    assert [info.id for info in listing.backups] == taken[:1:-1]


def test_what_the_policy_of_the_mirror_would_remove_is_not_uploaded(managed: MakeManager) -> None:
    """Nothing goes up to be removed at once, nor each time anew."""
    manager = managed(mirror_retention=RetentionPolicy(keep_last=2))
    taken = [manager.create(f"number {number}").id for number in range(5)]
    (report,) = manager.mirrors.sync()
    assert [info.id for info in report.uploaded] == taken[-2:]
    (again,) = manager.mirrors.sync()
    assert (again.uploaded, again.removed) == ((), ())
    assert manager.mirrors.status()[0].owed == ()


def test_a_pin_counts_at_the_mirror_too(managed: MakeManager) -> None:
    """What is pinned here after it was uploaded stays there; once it is unpinned, it goes."""
    manager = managed(mirror_retention=RetentionPolicy(keep_last=1))
    first = manager.create("first")
    manager.mirrors.sync()
    manager.pin(first, "for the auditors")
    second = manager.create("second")
    manager.mirrors.sync()
    (listing,) = manager.mirrors.list()
    assert {info.id: info.pin_note for info in listing.backups} == {
        first.id: "for the auditors",
        second.id: "",
    }
    manager.unpin(first)
    (report,) = manager.mirrors.sync()
    assert [info.id for info in report.removed] == [first.id]


def test_a_base_goes_up_first_and_stays(managed: MakeManager, app: Path, drive: Path) -> None:
    """A differential is never at a mirror without its base, whatever the policies say."""
    manager = managed(differential=True, mirror_retention=RetentionPolicy(keep_last=1))
    base = manager.create("full")
    add_child(app)
    changed = manager.create("differential")
    assert changed.form.is_differential
    manager.mirrors.sync(only=[changed])
    (listing,) = manager.mirrors.list()
    assert {info.id for info in listing.backups} == {base.id, changed.id}
    (report,) = manager.mirrors.sync()
    assert report.removed == ()
    shutil.rmtree(manager.directory)
    before = digest(app)
    app.unlink()
    manager.restore(manager.mirrors.fetch("latest"))
    assert digest(app) == before


def test_a_differential_whose_base_is_nowhere_is_not_uploaded(
    managed: MakeManager, app: Path
) -> None:
    """It could not be restored from there: the report says so, and the others go up."""
    manager = managed(differential=True)
    base = manager.create("full")
    add_child(app)
    changed = manager.create("differential")
    Path(base.path).unlink()
    full = managed(compression="zstd").create("full again")
    (report,) = manager.mirrors.sync()
    assert [info.id for info in report.uploaded] == [full.id]
    assert changed.filename in report.problems[0].what
    assert not report.ok


def test_a_backup_that_is_damaged_here_is_not_uploaded(managed: MakeManager, drive: Path) -> None:
    """Nothing that is not what it was gets a name there; the others do."""
    manager = managed()
    bad, good = manager.create("bad"), manager.create("good")
    flip(Path(bad.path), 5000)
    (report,) = manager.mirrors.sync()
    assert [info.id for info in report.uploaded] == [good.id]
    assert isinstance(report.problems[0], ChecksumMismatchError)
    assert not any(bad.id in name for name in _files(drive))


@pytest.mark.parametrize("how", ["cut off", "emptied", "longer", "meta file cut off"])
def test_what_was_changed_there_is_replaced(
    managed: MakeManager, drive: Path, app: Path, how: str
) -> None:
    """A sync sees it by its size or its meta file, and uploads what is still here again."""
    manager = managed()
    info = manager.create("Evening")
    manager.mirrors.sync()
    (there,) = (drive / "laptop-app").glob("*.db")
    path = Path(f"{there}.meta") if how.startswith("meta") else there
    size = {"cut off": 4096, "emptied": 0, "longer": 10**6, "meta file cut off": 100}[how]
    os.truncate(path, size)
    (app.parent / "backups").joinpath(next(iter(_records(app)))).unlink()  # nothing is remembered
    (listing,) = manager.mirrors.list()
    assert (listing.backups, len(listing.damaged)) == ((), 1)
    (report,) = manager.mirrors.sync()
    assert [one.id for one in report.uploaded] == [info.id]
    assert there.read_bytes() == Path(info.path).read_bytes()
    assert [one.id for one in manager.mirrors.list()[0].backups] == [info.id]


def _records(app: Path) -> list[str]:
    return [path.name for path in (app.parent / "backups").glob(".mirrors_*.json")]


def test_what_is_flipped_there_is_found_by_reading_it(managed: MakeManager, drive: Path) -> None:
    """One bit: verify says so, it is listed no more, and the next sync replaces it."""
    manager = managed()
    info = manager.create("Evening")
    manager.create("Night")
    manager.mirrors.sync()
    (there,) = (drive / "laptop-app").glob("*Evening*.db")
    flip(there, 5000, mask=1)
    (check,) = manager.mirrors.verify()
    assert [name for name, error in check.damaged] == [there.name]
    assert len(check.verified) == 1
    assert manager.mirrors.status()[0].damaged[0][0] == there.name
    assert info in manager.mirrors.status()[0].owed
    manager.mirrors.sync()
    (check,) = manager.mirrors.verify()
    assert (check.damaged, len(check.verified)) == ((), 2)


def test_all_are_verified_within_the_days_that_are_asked_for(managed: MakeManager) -> None:
    """A share a day reads all in time, though a new backup comes every day."""
    now = datetime.now(UTC)
    manager = managed()
    read: dict[str, int] = {}
    with time_machine.travel(now, tick=False) as clock:
        for number in range(20):
            manager.create(f"old {number}")
            clock.shift(1)
        manager.mirrors.sync()
        first = {info.id for info in manager.list()}
        for day in range(10):
            clock.shift(86400)
            manager.create(f"new {day}")
            manager.mirrors.sync()
            (check,) = manager.mirrors.verify(within_days=10)
            assert 2 <= len(check.verified) <= 3
            read |= dict.fromkeys((info.id for info in check.verified), day)
    assert first <= read.keys()


def test_an_upload_that_was_cut_off_is_not_listed_and_is_completed(
    managed: MakeManager, drive: Path
) -> None:
    """One file without the other is no backup; the next sync makes it one."""
    manager = managed()
    info = manager.create("Evening")
    manager.mirrors.sync()
    (data,) = (drive / "laptop-app").glob("*.db")
    for half in (data, Path(f"{data}.meta")):
        half.unlink()
        assert not any(listing.backups for listing in manager.mirrors.list())
        (report,) = manager.mirrors.sync()
        assert [one.id for one in report.uploaded] == [info.id]
        assert len(manager.mirrors.list()[0].backups) == 1


def test_halves_that_nobody_completes_are_removed_after_a_week(
    managed: MakeManager, drive: Path
) -> None:
    """What a dead machine left takes no room for ever; what is younger may be an upload."""
    manager = managed()
    manager.mirrors.sync()
    folder = drive / "laptop-app"
    folder.mkdir(exist_ok=True)
    old, young, foreign = (
        folder / "soulsense_backup_20250101_000000_0123456789ab.db",
        folder / "soulsense_backup_20250101_000000_ba9876543210.db",
        folder / "somebody.txt",
    )
    for path in (old, young, foreign):
        path.write_bytes(b"half")
    week = datetime.now(UTC) - timedelta(days=8)
    for path in (old, foreign):
        os.utime(path, (week.timestamp(), week.timestamp()))
    manager.mirrors.sync()
    assert (old.exists(), young.exists(), foreign.exists()) == (False, True, True)


def test_a_drive_that_is_not_mounted_costs_nothing(managed: MakeManager, drive: Path) -> None:
    """No backup fails for it, the empty mount point stays empty, and later it catches up."""
    away = drive.with_name("unmounted")
    drive.rename(away)
    drive.mkdir()
    manager = managed()
    info = manager.create("Evening", wait_for_mirrors=True)
    (report,) = manager.mirrors.sync()
    assert isinstance(report.error, MirrorNotFoundError)
    assert list(drive.iterdir()) == []
    (status,) = manager.mirrors.status()
    assert (status.owed, status.failures) == ((info,), 2)
    assert "not mounted" in status.error
    drive.rmdir()
    away.rename(drive)
    (report,) = manager.mirrors.sync()
    assert report.ok
    assert manager.mirrors.status()[0].failures == 0


def test_failures_are_followed_by_growing_pauses(managed: MakeManager, drive: Path) -> None:
    """What nobody asked for is not tried during one; it is at most six hours."""
    drive.rename(drive.with_name("unmounted"))
    manager = managed()
    manager.create("Evening")
    pauses = []
    with time_machine.travel(datetime.now(UTC), tick=False) as clock:
        for _ in range(12):
            (report,) = manager.mirrors.sync(if_not_paused=True)
            assert report.error is not None
            (status,) = manager.mirrors.status()
            assert status.next_try_at is not None
            pause = status.next_try_at - datetime.now(UTC)
            pauses.append(pause)
            clock.shift(pause / 2)
            (report,) = manager.mirrors.sync(if_not_paused=True)
            assert (report.skipped, report.ok) == ("it failed a short time ago", False)
            clock.shift(pause / 2)
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (timedelta(minutes=1), timedelta(hours=6))


def test_a_record_that_is_lost_or_damaged_is_made_anew(managed: MakeManager, app: Path) -> None:
    """What is at a mirror is found there: nothing depends on what is remembered."""
    manager = managed()
    manager.create("Evening")
    manager.mirrors.sync()
    (name,) = _records(app)
    record = manager.directory / name
    good = json.loads(record.read_text())
    for text in ("", "{", '{"format": 1, "mirrors": 7}', "\0" * 100):
        record.write_text(text)
        assert manager.mirrors.status()[0].seen_at is None
        (report,) = manager.mirrors.sync()
        assert (report.ok, report.uploaded) == (True, ())
    assert json.loads(record.read_text())["mirrors"].keys() == good["mirrors"].keys()


def test_one_mirror_that_fails_does_not_keep_the_others(
    managed: MakeManager, drive: Path, tmp_path: Path
) -> None:
    """Each is brought in step by itself."""
    missing = f"file://{tmp_path}/drive/missing"
    manager = managed(mirrors=[missing, f"file://{drive}"])
    info = manager.create("Evening")
    first, second = manager.mirrors.sync()
    assert (first.ok, second.ok) == (False, True)
    assert manager.mirrors.places_of(info) == (f"file://{drive}",)


def test_each_mirror_may_have_a_policy_of_its_own(
    managed: MakeManager, drive: Path, tmp_path: Path
) -> None:
    """A target's own policy comes before that of all."""
    other = drive.with_name("other")
    targets = [
        MirrorTarget(url=f"file://{other}", retention=RetentionPolicy(keep_last=1)),
        f"file://{drive}",
    ]
    manager = managed(mirrors=targets, mirror_retention=RetentionPolicy(keep_last=2))
    manager.mirrors.add(f"file://{other}")
    for number in range(3):
        manager.create(f"number {number}")
    assert [report.kept for report in manager.mirrors.sync()] == [1, 2]


def test_a_mirror_that_would_be_lost_with_the_database_is_refused(
    managed: MakeManager, app: Path, drive: Path
) -> None:
    """So is one through a link, one with a secret in its URL, one with two policies."""
    (app.parent / "backups").mkdir()
    link = drive.parent / "link"
    link.symlink_to(app.parent)
    for url in (
        f"file://{app.parent}/backups/mirror",
        f"file://{app.parent}/mirror",
        f"file://{app.parent}",
        f"file://{link}/mirror",
        "sftp://me:secret@host/path",
        "s3://bucket/prefix?key=secret",
        "nosuch://bucket",
        "/mnt/usb",
    ):
        with pytest.raises(OptionError) as caught:
            managed(mirrors=url).mirrors.sync()
        assert "secret" not in str(caught.value)
    place = f"file://{drive}"
    assert managed(mirrors=[place, f"{place}/"]).mirrors.addresses == (place,)
    other = MirrorTarget(url=place, retention=RetentionPolicy(keep_last=1))
    with pytest.raises(OptionError, match="twice"):
        managed(mirrors=[place, other])


def test_two_databases_in_one_place_stay_apart(
    managed: MakeManager, drive: Path, tmp_path: Path, make_engine: EngineMaker
) -> None:
    """Each has a folder by itself, and a policy of the one removes nothing of the other."""
    (tmp_path / "second").mkdir()
    other = BackupManager(
        make_engine(make_database(tmp_path / "second" / "app.db")),
        mirrors=f"file://{drive}",
        mirror_retention=RetentionPolicy(keep_last=1),
    )
    manager = managed()
    for one in (manager, manager, other, other):
        one.create("Evening")
    manager.mirrors.sync()
    other.mirrors.sync()
    counts = {listing.folder: len(listing.backups) for listing in manager.mirrors.list()}
    assert counts.pop("laptop-app") == 2
    (folder,) = counts
    assert "-app-" in folder
    assert counts[folder] == 1


def test_the_folder_stays_what_it_was_first(managed: MakeManager, drive: Path) -> None:
    """A machine that gets another name goes on where it was, unless a folder is named."""
    manager = managed(mirror_folder=None)
    manager.create("Evening")
    (first,) = manager.mirrors.sync()
    shutil.move(drive / first.folder, drive / "before-the-renaming")
    (record,) = manager.directory.glob(".mirrors_*.json")
    record.write_text(record.read_text().replace(first.folder, "before-the-renaming"))
    (report,) = managed(mirror_folder=None).mirrors.sync()
    assert (report.folder, report.uploaded) == ("before-the-renaming", ())
    (report,) = managed(mirror_folder="named").mirrors.sync()
    assert (report.folder, len(report.uploaded)) == ("named", 1)


def test_a_clock_that_was_set_back_does_not_lengthen_a_pause(
    managed: MakeManager, drive: Path
) -> None:
    """A try that failed in the future, by a clock that was wrong, keeps nobody from the next."""
    away = drive.with_name("unmounted")
    drive.rename(away)
    manager = managed()
    manager.create("Evening")
    with time_machine.travel(datetime.now(UTC) + timedelta(days=400), tick=False):
        manager.mirrors.sync()
    away.rename(drive)
    (report,) = manager.mirrors.sync(if_not_paused=True)
    assert report.ok


def test_a_second_run_leaves_the_mirrors_to_the_first(managed: MakeManager, app: Path) -> None:
    """A schedule whose runs overlap fails nothing; who asks for a sync is told who is at it."""
    manager = managed(lock_timeout=0.2)
    manager.create("Evening")
    (report,) = manager.mirrors.sync()
    (lock,) = manager.directory.glob(".mirrors_*.lock")
    manager.create("Night")
    with FileLock(lock):
        (report,) = manager.mirrors.sync(if_not_paused=True)
        assert (report.error, report.skipped) == (
            None,
            "another process is at work with the mirrors",
        )
        (report,) = manager.mirrors.sync()
        assert isinstance(report.error, DirectoryLockedError)
    assert manager.mirrors.status()[0].failures == 0
    (report,) = manager.mirrors.sync()
    assert len(report.uploaded) == 1


def test_a_backup_that_is_deleted_while_it_is_uploaded_is_passed_by(
    managed: MakeManager, drive: Path
) -> None:
    """It is no failure of the mirror, and the others go up."""
    manager = managed()
    first, second = manager.create("first"), manager.create("second")

    def delete_second(done: int, total: int) -> None:
        Path(second.path).unlink(missing_ok=True)

    (report,) = manager.mirrors.sync(progress=delete_second)
    assert report.ok
    assert [info.id for info in report.uploaded] == [first.id]
    assert not any(second.id in name for name in _files(drive))


def test_what_a_progress_raises_cancels(managed: MakeManager, drive: Path) -> None:
    """It comes out as it is; nothing half is listed, and the next sync completes."""
    manager = managed()
    manager.create("Evening")

    class CancelledError(TimeoutError):
        pass

    def cancel(done: int, total: int) -> None:
        raise CancelledError

    with pytest.raises(CancelledError):
        manager.mirrors.sync(progress=cancel)
    assert not any(listing.backups for listing in manager.mirrors.list())
    (report,) = manager.mirrors.sync()
    assert (report.ok, len(report.uploaded)) == (True, 1)
    shutil.rmtree(manager.directory)
    with pytest.raises(CancelledError):
        manager.mirrors.fetch("latest", progress=cancel)
    assert manager.list() == []
    assert [path.name for path in manager.directory.glob("*.db*")] == []


def test_what_is_not_encrypted_stays_here_once_new_backups_are(
    managed: MakeManager, drive: Path, tmp_path: Path
) -> None:
    """Who encrypts does so for the place where backups lie; the report says how many stay."""
    plain = managed().create("before")
    (tmp_path / "keys").mkdir()
    manager = managed(recipients=[Key(tmp_path / "keys").public])
    sealed = manager.create("after")
    (report,) = manager.mirrors.sync()
    assert [info.id for info in report.uploaded] == [sealed.id]
    assert (report.ok, report.unencrypted) == (True, 1)
    assert manager.mirrors.status()[0].owed == ()
    assert not any(plain.id in name for name in _files(drive))


def test_a_success_ends_a_row_of_failures(managed: MakeManager, drive: Path) -> None:
    """Setting up the mirror, or one backup that has to be there, is one as well."""
    (drive / ".soulsense_mirror").unlink()
    manager = managed()
    info = manager.create("Evening")
    for succeed in (
        lambda: manager.mirrors.add(f"file://{drive}"),
        lambda: manager.mirrors.require_uploaded(info),
    ):
        away = drive.with_name("away")
        drive.rename(away)
        manager.mirrors.sync()
        assert manager.mirrors.status()[0].failures == 1
        away.rename(drive)
        succeed()
        assert manager.mirrors.status()[0].failures == 0


def test_what_a_killed_upload_left_is_removed(managed: MakeManager, drive: Path) -> None:
    """Files that a dead process had not named yet go with the next sync; those of others stay."""
    manager = managed()
    manager.create("Evening")
    manager.mirrors.sync()
    before = _files(drive)
    folder = drive / "laptop-app"
    # Of the meta file: the process died between giving it its name and removing the other one.
    meta = next(name for name in before if name.endswith(".meta"))
    os.link(folder / meta, folder / f".{meta}.0123456789abcdef.partial")
    (folder / ".gone.db.0123456789abcdef.partial").write_bytes(b"of a backup that nobody has")
    (folder / ".written.db.0123456789abcdef.partial").write_bytes(b"of a process that lives")
    (folder / ".others.partial").write_bytes(b"of another program")
    (folder / ".place.0123456789abcdef.partial").mkdir()
    with (folder / ".written.db.0123456789abcdef.partial").open("r+b") as written:
        fcntl.flock(written, fcntl.LOCK_EX)
        (report,) = manager.mirrors.sync()
        assert report.ok
        names = [".others.partial", ".place.0123456789abcdef.partial"]
        assert _files(drive) == sorted([*before, *names, ".written.db.0123456789abcdef.partial"])
    assert manager.mirrors.sync()[0].ok
    assert _files(drive) == sorted([*before, *names])


def test_what_cannot_be_read_here_is_a_problem(
    managed: MakeManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup whose meta file cannot be read is owed: nobody is told that all is there."""
    manager = managed()
    info = manager.create("Evening")
    opened = os.open

    def denied(path: Any, *flags: Any, **options: Any) -> int:
        if os.fspath(path) == os.fspath(info.meta_path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return opened(path, *flags, **options)

    with monkeypatch.context() as patch:  # a mode would not keep root out
        patch.setattr(os, "open", denied)
        (report,) = manager.mirrors.sync()
    assert (report.ok, report.uploaded) == (False, ())
    (problem,) = report.problems
    assert problem.path is not None
    assert info.filename in str(problem)
    (report,) = manager.mirrors.sync()
    assert report.ok
    assert [one.id for one in report.uploaded] == [info.id]


def test_a_full_mirror_is_not_relieved_of_what_is_pinned_here(
    app: Path, small_disk: Path, make_engine: EngineMaker
) -> None:
    """What was pinned here since the last sync stays there when room has to be made first."""
    place = small_disk / "soulsense"
    with mirror_for(f"file://{place}") as mirror:
        mirror.prepare()
    options = ManagerOptions(mirrors=f"file://{place}", mirror_folder="laptop-app")
    manager = BackupManager(make_engine(app), **options)
    first, second, third = (manager.create(name) for name in ("first", "second", "third"))
    assert manager.mirrors.sync()[0].ok
    manager.pin(first, "a note")
    manager.create("fourth")
    (small_disk / "junk").write_bytes(
        bytes(shutil.disk_usage(small_disk).free - second.size_bytes // 2)
    )
    policy = ManagerOptions(mirror_retention=RetentionPolicy(keep_last=1))
    pruning = BackupManager(make_engine(app), **options | policy)
    (report,) = pruning.mirrors.sync()
    assert report.ok
    assert [info.id for info in report.removed] == [second.id, third.id]
    (listing,) = manager.mirrors.list()
    assert first.id in {info.id for info in listing.backups}


def test_what_was_damaged_and_mended_there_counts_again(managed: MakeManager, drive: Path) -> None:
    """Each verify reads it, also one of a share; a verify that fails forgets nothing."""
    manager = managed()
    info = manager.create("Evening")
    manager.mirrors.sync()
    Path(info.path).unlink()
    (there,) = (drive / "laptop-app").glob("*.db")
    flip(there, 5000)
    manager.mirrors.verify()
    assert manager.mirrors.status()[0].backups == ()
    drive.rename(drive.with_name("away"))
    with pytest.raises(MirrorNotFoundError):
        manager.mirrors.verify()
    drive.with_name("away").rename(drive)
    assert manager.mirrors.status()[0].damaged[0][0] == there.name
    flip(there, 5000)
    (check,) = manager.mirrors.verify(within_days=1000)
    assert (check.damaged, len(check.verified)) == ((), 1)
    (status,) = manager.mirrors.status()
    assert (len(status.backups), status.damaged) == (1, ())
