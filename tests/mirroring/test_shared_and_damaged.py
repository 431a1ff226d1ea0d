"""What a mirror keeps, lists and gives back when others use it too, or when something is wrong."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Unpack

import pytest
import time_machine
from conftest import EngineMaker
from helpers import add_child, flip, make_database

from soulsense_db import BackupManager, RetentionPolicy
from soulsense_db.backup_info import BackupInfo
from soulsense_db.errors import (
    AmbiguousReferenceError,
    BackupNotFoundError,
    MirrorDeniedError,
    MirrorError,
    MirrorFullError,
    OptionError,
)
from soulsense_db.manager import ManagerOptions
from soulsense_db.mirroring.job import Stop, waited_for
from soulsense_db.mirrors import Mirror, MirrorRecord, MirrorUrl, Outgoing, mirror_for
from soulsense_db.mirrors.file import FileMirror
from soulsense_db.operations import DifferentialPolicy

MakeManager = Callable[..., BackupManager]
KEEP_ONE = RetentionPolicy(keep_last=1)
START = datetime(2026, 1, 15, 9, tzinfo=UTC)


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """Return the directory of a mirror on another drive, which is set up."""
    place = tmp_path / "drive" / "soulsense"
    place.parent.mkdir()
    with mirror_for(f"file://{place}") as mirror:
        mirror.prepare()
    return place


@pytest.fixture
def managed(tmp_path: Path, drive: Path, make_engine: EngineMaker) -> MakeManager:
    """Return a function that makes a manager of a database of that name, with one mirror."""

    def make(
        name: str = "app", directory: str = "backups", **options: Unpack[ManagerOptions]
    ) -> BackupManager:
        path = tmp_path / "app" / f"{name}.db"
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            make_database(path)
        usual = ManagerOptions(mirrors=f"file://{drive}", mirror_folder="laptop")
        return BackupManager(make_engine(path), tmp_path / directory, **usual | options)

    return make


def _descriptions(manager: BackupManager) -> list[str]:
    """Return those of the backups that the mirror has whole, newest first."""
    return [info.description for one in manager.mirrors.list() for info in one.backups]


def _stored(drive: Path, description: str) -> Path:
    """Return the data of a backup at the mirror."""
    found = (drive / "laptop").glob(f"*_{description}_*")
    return next(path for path in found if path.suffix != ".meta")


def test_a_policy_removes_nothing_of_another_database(managed: MakeManager) -> None:
    """Two databases of one configuration have the same folder: each removes its own alone."""
    with time_machine.travel(START, tick=False) as clock:
        one = managed("app", mirror_retention=KEEP_ONE)
        other = managed("billing", mirror_retention=KEEP_ONE)
        one.create("of-app")
        one.mirrors.sync()
        for number in range(2):
            clock.shift(timedelta(hours=1))
            other.create(f"of-billing-{number}")
            (report,) = other.mirrors.sync()
        assert [info.description for info in report.removed] == ["of-billing-0"]
        assert _descriptions(one) == ["of-billing-1", "of-app"]


def test_latest_is_never_another_databases(
    managed: MakeManager, drive: Path, tmp_path: Path, make_engine: EngineMaker
) -> None:
    """It is the newest of this database; of a third one nobody knows which one is meant."""
    with time_machine.travel(START, tick=False) as clock:
        for name in ("app", "billing"):
            clock.shift(timedelta(hours=1))
            manager = managed(name)
            manager.create(f"of-{name}")
            manager.mirrors.sync()
        clock.shift(timedelta(hours=1))
        assert managed("app", "new").mirrors.fetch("latest").description == "of-app"
        third = BackupManager(make_engine(tmp_path / "new.db"), tmp_path / "third")
        with pytest.raises(AmbiguousReferenceError, match="2 databases"):
            third.mirrors.fetch("latest", f"file://{drive}/laptop")


def test_a_pin_of_another_machine_is_seen_before_something_is_removed(
    managed: MakeManager,
) -> None:
    """What is known of the mirror may be old: the meta file is read again before it goes."""
    with time_machine.travel(START, tick=False) as clock:
        here = managed(mirror_retention=KEEP_ONE)
        info = here.create("Audit")
        here.mirrors.sync()
        elsewhere = managed(directory="elsewhere")
        elsewhere.pin(elsewhere.mirrors.fetch(info.id))
        elsewhere.mirrors.sync()
        here.delete(info)
        clock.shift(timedelta(hours=1))
        here.create("Later")
        (report,) = here.mirrors.sync()
        assert report.removed == ()
        assert _descriptions(here) == ["Later", "Audit"]
        # And it is known from now on.
        assert [one.pinned for one in here.mirrors.status()[0].backups] == [False, True]


def test_a_machine_takes_back_its_own_pins_alone(managed: MakeManager) -> None:
    """Of two machines that both have a backup, one pins it: the other's sync leaves it pinned."""
    with time_machine.travel(START, tick=False) as clock:
        here, elsewhere = managed(mirror_retention=KEEP_ONE), managed(directory="elsewhere")
        info = here.create("Audit")
        here.mirrors.sync()
        there = elsewhere.pin(elsewhere.mirrors.fetch(info.id), "for the auditors")
        elsewhere.mirrors.sync()
        clock.shift(timedelta(hours=1))
        here.create("Later")
        assert here.mirrors.sync()[0].removed == ()
        elsewhere.mirrors.sync()
        notes = {one.description: one.pin_note for one in here.mirrors.list()[0].backups}
        assert notes == {"Audit": "for the auditors", "Later": ""}
        elsewhere.unpin(there)
        elsewhere.mirrors.sync()
        assert [one.description for one in here.mirrors.sync()[0].removed] == ["Audit"]


class _FullOnce(FileMirror):
    """A drive that has no space for data until something is removed."""

    is_full = True

    def write(self, key: str, file: Outgoing) -> None:
        """Refuse it as long as nothing was removed."""
        if type(self).is_full:
            raise MirrorFullError("There is no space left.")
        super().write(key, file)

    def delete(self, key: str) -> None:
        """Make room."""
        super().delete(key)
        type(self).is_full = False


@pytest.fixture
def full_drive(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function from whose call on the drive is full."""

    def fill() -> None:
        def made(url: MirrorUrl | str, **_: object) -> Mirror:
            return _FullOnce(url if isinstance(url, MirrorUrl) else MirrorUrl.of(url))

        _FullOnce.is_full = True
        monkeypatch.setattr("soulsense_db.mirroring.sync.mirror_for", made)

    return fill


@pytest.fixture
def three_there(managed: MakeManager) -> list[BackupInfo]:
    """Return three backups that are at the mirror, oldest first."""
    taken = []
    for hour in range(3):
        with time_machine.travel(START + timedelta(hours=hour), tick=False):
            taken.append(managed().create(f"number-{hour}"))
    managed().mirrors.sync()
    return taken


def test_what_is_pinned_here_is_not_removed_to_make_room(
    managed: MakeManager, three_there: list[BackupInfo], full_drive: Callable[[], None]
) -> None:
    """A pin of since the last sync counts before anything is removed from a full mirror."""
    manager = managed(mirror_retention=KEEP_ONE)
    manager.pin(three_there[0])
    manager.create("Newest")
    full_drive()
    (report,) = manager.mirrors.sync()
    assert report.ok
    assert _descriptions(manager) == ["Newest", "number-0"]


def test_an_upload_of_one_backup_removes_nothing_to_make_room(
    managed: MakeManager, three_there: list[BackupInfo], full_drive: Callable[[], None]
) -> None:
    """``only`` says that nothing is removed, which holds for a full mirror as well."""
    manager = managed(mirror_retention=KEEP_ONE)
    info = manager.create("Newest")
    full_drive()
    (report,) = manager.mirrors.sync(only=[info])
    assert isinstance(report.error, MirrorFullError)
    assert _descriptions(manager) == ["number-2", "number-1", "number-0"]


@pytest.fixture
def differential(managed: MakeManager) -> BackupInfo:
    """Return a differential that is at the mirror, with its base and an older full backup."""
    with time_machine.travel(START, tick=False) as clock:
        for name in ("older", "base"):
            managed().create(name)
            clock.shift(timedelta(hours=1))
        manager = managed(differential=DifferentialPolicy(share=1))
        add_child(Path(str(manager.database)))
        info = manager.create("differential")
        assert info.base_name is not None and "base" in info.base_name
        manager.mirrors.sync()
    return info


def test_a_differential_without_a_sound_base_takes_no_place_of_a_sound_backup(
    managed: MakeManager, drive: Path, differential: BackupInfo
) -> None:
    """It is not listed, ``latest`` is the one before it, and no policy lets that one go for it."""
    base = _stored(drive, "base")
    base.write_bytes(base.read_bytes()[:-100])
    later = managed(directory="new", mirror_retention=KEEP_ONE)
    (report,) = later.mirrors.sync()
    assert report.removed == ()
    assert _descriptions(later) == ["older"]
    (listing,) = later.mirrors.list()
    assert "base is neither" in dict(listing.damaged)[_stored(drive, "differential").name]
    assert later.mirrors.fetch("latest").description == "older"
    assert [info.description for info in later.mirrors.status()[0].backups] == ["older"]
    assert differential.id not in {info.id for info in later.list()}


def test_a_damaged_base_is_stored_again_for_its_differential(
    managed: MakeManager, drive: Path, differential: BackupInfo
) -> None:
    """Also where the differential is at the mirror alone, and the policy keeps nothing else."""
    base = _stored(drive, "base")
    whole = base.read_bytes()
    base.write_bytes(whole[:-100])
    manager = managed(mirror_retention=KEEP_ONE)
    manager.delete(differential)
    (report,) = manager.mirrors.sync()
    assert [info.description for info in report.uploaded] == ["base"]
    assert base.read_bytes() == whole
    assert _descriptions(manager) == ["differential", "base"]


def test_a_backup_that_is_damaged_here_is_fetched(managed: MakeManager) -> None:
    """What is here already is not downloaded, unless it is not what it was."""
    manager = managed()
    info = manager.create("Evening")
    manager.mirrors.sync()
    assert manager.mirrors.fetch(info.id).path == info.path
    flip(Path(info.path), 5000)
    fetched = manager.mirrors.fetch(info.id)
    assert fetched.path != info.path
    manager.verify(fetched)
    manager.restore(fetched)


def test_a_differential_is_fetched_with_a_base_where_the_one_here_is_damaged(
    managed: MakeManager, differential: BackupInfo
) -> None:
    """A base that is damaged here is none."""
    manager = managed()
    manager.delete(differential)
    (base,) = (info for info in manager.list() if info.description == "base")
    flip(Path(base.path), 5000)
    manager.mirrors.fetch(differential.id)
    assert [info.description for info in manager.list()].count("base") == 2


def test_a_meta_file_of_another_backup_hides_none(managed: MakeManager, drive: Path) -> None:
    """A backup is at the mirror under the name that has its id, and nothing else says so."""
    manager = managed()
    manager.create("first")
    manager.mirrors.sync()
    victim = manager.create("victim")
    folder = drive / "laptop"
    other = "soulsense_backup_20260101_000000_other_aaaaaaaaaaaa.db"
    shutil.copy(victim.path, folder / other)
    shutil.copy(victim.meta_path, folder / f"{other}.meta")
    (report,) = manager.mirrors.sync()
    assert [info.id for info in report.uploaded] == [victim.id]
    assert other in dict(report.damaged)


def test_what_is_gone_here_is_not_said_to_be_there(managed: MakeManager) -> None:
    """A migration that needs its backup elsewhere is refused when that was deleted meanwhile."""
    manager = managed()
    info = manager.create("Before the migration")
    manager.delete(info)
    with pytest.raises(MirrorError, match="gone here"):
        manager.mirrors.require_uploaded(info)
    assert _descriptions(manager) == []


def test_a_mirror_that_would_be_lost_with_the_database_is_not_set_up(
    managed: MakeManager, tmp_path: Path
) -> None:
    """What ``mirrors`` refuses is not said to work before."""
    manager = managed()
    for place in (manager.directory / "mirror", tmp_path / "app" / "mirror"):
        with pytest.raises(OptionError, match="would be lost with it"):
            manager.mirrors.add(f"file://{place}")
        assert not place.exists()


def _record_of(manager: BackupManager) -> Path:
    """Return the file with what is known of the mirrors."""
    manager.mirrors.sync()
    (path,) = manager.directory.glob(".mirrors_*.json")
    return path


def test_a_pause_ends_though_the_clock_was_set_back(managed: MakeManager, drive: Path) -> None:
    """A failure while the clock was years ahead keeps nobody from trying."""
    manager = managed()
    manager.create("Evening")
    marker = drive / ".soulsense_mirror"
    marker.rename(drive / "away")
    with time_machine.travel(datetime(2036, 1, 1, tzinfo=UTC), tick=False):
        assert manager.mirrors.sync()[0].error is not None
    (drive / "away").rename(marker)
    (report,) = manager.mirrors.sync(if_not_paused=True)
    assert (report.skipped, len(report.uploaded)) == ("", 1)


def test_a_pipe_in_the_place_of_the_record_lets_nobody_wait(managed: MakeManager) -> None:
    """It is as no record."""
    manager = managed()
    manager.create("Evening")
    path = _record_of(manager)
    path.unlink()
    os.mkfifo(path)
    waiting = threading.Thread(target=manager.mirrors.status, daemon=True)
    waiting.start()
    waiting.join(20)
    stuck = waiting.is_alive()
    if stuck:  # let it go
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    assert not stuck


def test_a_record_with_moments_of_no_zone_is_none(managed: MakeManager, drive: Path) -> None:
    """Nothing compares them: the record is made anew."""
    manager = managed()
    manager.create("Evening")
    path = _record_of(manager)
    known = {"folder": "laptop", "next_try_at": "2100-01-01T00:00:00"}
    path.write_text(json.dumps({"format": 1, "mirrors": {f"file://{drive}": known}}))
    (report,) = manager.mirrors.sync(if_not_paused=True)
    assert report.ok


def test_a_pause_is_over_in_time() -> None:
    """It is for hours at most."""
    record = MirrorRecord()
    for _ in range(30):
        record.failed("unreachable", START)
    assert record.is_paused(START + timedelta(hours=5))
    assert not record.is_paused(START + timedelta(hours=7))


def test_an_interrupt_leaves_time_to_clean_up() -> None:
    """Who is interrupted or late goes on when what was begun is removed: the program may end."""
    begun, cleaned = threading.Event(), threading.Event()

    def work(stop: Stop) -> None:
        begun.set()
        try:
            stop.pause(60)
        finally:
            cleaned.set()

    with pytest.raises(MirrorError):
        waited_for(work, address="a mirror", deadline=0.1)
    assert begun.is_set() and cleaned.is_set()


@pytest.mark.parametrize(
    "url",
    [
        "az://container/prefix?sv=2024&sig=s3cr3t",
        "https://bucket.s3.amazonaws.com/x?X-Amz-Signature=s3cr3t",
        "gs://bucket/prefix#s3cr3t",
        "ann:s3cr3t@host:/path",
    ],
)
def test_what_may_be_a_secret_in_a_url_is_not_repeated(url: str) -> None:
    """A URL as it is copied from a console is refused, without the signature in it."""
    with pytest.raises(OptionError) as caught:
        MirrorUrl.of(url)
    assert "s3cr3t" not in f"{caught.value} {caught.value.hint} {caught.value!r}"


def test_a_folder_that_nobody_may_read_keeps_no_other_from_being_listed(
    managed: MakeManager, drive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as the lost+found of a drive: what is asked of all folders passes it by."""
    manager = managed()
    manager.create("Evening")
    manager.mirrors.sync()
    (drive / "lost+found").mkdir()
    open_file = os.open

    def refusing(path: str | Path, *args: Any, **options: Any) -> int:
        if path == "lost+found":
            raise PermissionError(errno.EACCES, "Permission denied")
        return open_file(path, *args, **options)

    monkeypatch.setattr(os, "open", refusing)  # root may read everything
    assert _descriptions(manager) == ["Evening"]
    with mirror_for(f"file://{drive}") as mirror, pytest.raises(MirrorDeniedError):
        list(mirror.list_objects("lost+found"))


def test_an_object_store_in_a_forked_process_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The threads of the library are not there, and it would hang for ever."""
    monkeypatch.setattr(
        "soulsense_db.mirrors.object_store._first_used_in", {"process": os.getppid()}
    )
    with (
        mirror_for("s3://bucket/prefix") as mirror,
        pytest.raises(MirrorError, match="forked") as caught,
    ):
        list(mirror.list_objects())
    assert caught.value.reason == "forked"


def test_each_of_several_mirrors_says_why_it_gave_nothing(
    managed: MakeManager, drive: Path, tmp_path: Path
) -> None:
    """A restore that no mirror can give names each with its reason; one that can is enough."""
    other = tmp_path / "other"
    with mirror_for(f"file://{other}") as mirror:
        mirror.prepare()
    manager = managed(mirrors=[f"file://{other}", f"file://{drive}"])
    info = manager.create()
    assert manager.mirrors.sync(f"file://{drive}")[0].ok
    manager.delete(info)
    assert manager.mirrors.fetch(info.id) == info  # the first one has nothing: the second is asked
    manager.delete(info)
    with pytest.raises(BackupNotFoundError, match=rf"{other}.*; .*{drive}"):
        manager.mirrors.fetch("0000aaaa")
    shutil.rmtree(drive)
    with pytest.raises(MirrorError, match=rf"{other}.*; .*{drive}"):
        manager.mirrors.fetch(info.id)


def test_a_backup_with_a_damaged_meta_file_is_said_to_stay(
    managed: MakeManager, caplog: pytest.LogCaptureFixture
) -> None:
    """What cannot be uploaded because its facts are gone is a warning, not silence."""
    manager = managed()
    info = manager.create()
    Path(info.meta_path).write_text("{", encoding="utf-8")
    (report,) = manager.mirrors.sync()
    assert report.uploaded == ()
    assert f"{info.filename} is not uploaded" in caplog.text
