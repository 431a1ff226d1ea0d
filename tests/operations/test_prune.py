"""Pins and pruning on a real directory: what a clean-up removes, and what it never does."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import EngineMaker
from helpers import add_child, flip, make_database, run_unprivileged, scalar, write_marker

from soulsense_db import BackupInfo, BackupManager, RetentionPolicy
from soulsense_db.backup_info.info import BackupKind
from soulsense_db.backup_info.meta_format import from_meta, to_meta
from soulsense_db.errors import (
    ChecksumMismatchError,
    InvalidDescriptionError,
    MetaFileError,
    ProtectedBackupError,
)
from soulsense_db.sidecars.migration_marker import marker_path

ONE = RetentionPolicy(keep_last=1)


def _names(manager: BackupManager) -> set[str]:
    return {info.filename for info in manager.list()}


def _create(manager: BackupManager, number: int, kind: BackupKind = "manual") -> list[BackupInfo]:
    """Make backups; return them, newest first."""
    return [manager.create(kind=kind) for _ in range(number)][::-1]


def _redate(info: BackupInfo, when: datetime) -> None:
    """Let a backup say that it was taken at another time."""
    Path(info.meta_path).write_bytes(to_meta(replace(info, created_at=when)))


def test_pruning_removes_what_the_policy_does_not_keep(
    manager: BackupManager, database: Path
) -> None:
    """Data, meta file and row of what is not kept go; the rest is untouched, and says why."""
    newest, *older = _create(manager, 4)
    report = manager.prune(ONE)
    assert [d.backup for d in report.removed] == older
    assert [(d.backup, d.reasons) for d in report.kept] == [(newest, ("last (1 of 1)",))]
    assert manager.list()[0].id == newest.id
    assert {name for name in os.listdir(manager.directory) if not name.startswith(".")} == {
        newest.filename,
        newest.filename + ".meta",
    }
    assert scalar(database, "SELECT group_concat(filename) FROM backups") == newest.filename


def test_a_dry_run_removes_nothing(manager: BackupManager) -> None:
    """A dry run says the same as the run after it, and does nothing."""
    _create(manager, 3)
    before = _names(manager)
    planned = manager.prune(ONE, dry_run=True)
    assert _names(manager) == before
    done = manager.prune(ONE)
    assert [d.backup.id for d in planned.removed] == [d.backup.id for d in done.removed]
    assert [d.reasons for d in planned.removed] == [d.reasons for d in done.removed]


def test_without_a_policy_nothing_goes(manager: BackupManager) -> None:
    """Pruning without any rule removes nothing."""
    _create(manager, 3)
    assert manager.prune().removed == ()
    assert len(manager.list()) == 3


def test_only_the_kinds_asked_for(manager: BackupManager) -> None:
    """`kinds` leaves backups of other kinds alone, and out of the report."""
    _create(manager, 3)
    _create(manager, 3, "automatic")
    report = manager.prune(ONE, kinds=["automatic"])
    assert {d.backup.kind for d in (*report.removed, *report.kept)} == {"automatic"}
    assert [info.kind for info in manager.list()] == ["automatic", *["manual"] * 3]


def test_a_pinned_backup_stays(manager: BackupManager) -> None:
    """Neither a policy nor `delete` removes a pinned backup; unpinned it may go."""
    oldest = _create(manager, 3)[-1]
    pinned = manager.pin(oldest.id, "for the tax office")
    assert (pinned.pinned, pinned.pin_note) == (True, "for the tax office")
    assert oldest.filename in {d.backup.filename for d in manager.prune(ONE).kept}
    with pytest.raises(ProtectedBackupError, match="for the tax office"):
        manager.delete(oldest)
    assert manager.verify(oldest).backup.pinned
    assert not manager.unpin(oldest).pinned
    manager.delete(oldest)
    assert len(manager.list()) == 1


def test_a_pin_that_comes_between_counts(
    manager: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup that somebody pins while a prune is running is not removed, and is reported kept."""
    oldest = _create(manager, 3)[-1]
    planned = manager.list()
    manager.pin(oldest)
    # What the run listed before the pin.
    monkeypatch.setattr("soulsense_db.operations.references.Finder.list", lambda self: planned)
    report = manager.prune(ONE)
    monkeypatch.undo()
    assert oldest.filename in _names(manager)
    assert ("it was pinned a moment ago",) in [d.reasons for d in report.kept]
    assert len(report.removed) == 1


def test_one_that_is_gone_already_is_no_error(
    manager: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup that somebody else deletes meanwhile does not stop the others from going."""
    infos = _create(manager, 4)
    planned = manager.list()
    manager.delete(infos[2])
    monkeypatch.setattr("soulsense_db.operations.references.Finder.list", lambda self: planned)
    manager.prune(ONE)
    monkeypatch.undo()
    assert _names(manager) == {infos[0].filename}


def test_a_damaged_newest_does_not_cost_the_good_one(manager: BackupManager) -> None:
    """Before anything goes the newest is read: a rotten one takes no sound one's place."""
    newest, good, oldest = _create(manager, 3)
    flip(Path(newest.path), 5000)
    report = manager.prune(ONE)
    assert {d.backup.filename: d.reasons for d in report.kept} == {
        newest.filename: ("last (1 of 1)",),
        good.filename: ("newest verified backup",),
    }
    assert _names(manager) == {newest.filename, good.filename}
    assert oldest.filename not in _names(manager)
    manager.verify(good)


def test_where_nothing_is_sound_nothing_goes(manager: BackupManager) -> None:
    """When no backup of a kind passes its check, none is removed: perhaps one can be mended."""
    infos = _create(manager, 4)
    for info in infos:
        flip(Path(info.path), 5000)
    report = manager.prune(ONE)
    assert report.removed == ()
    assert {d.reasons[-1] for d in report.kept} == {"no backup of kind manual passed a check"}
    assert len(manager.list()) == 4


def test_another_kind_does_not_stand_in(manager: BackupManager, tmp_path: Path) -> None:
    """A sound file imported from elsewhere is no reason to remove the last sound backup."""
    newest, good, *_ = _create(manager, 3, "automatic")
    flip(Path(newest.path), 5000)
    manager.import_file(make_database(tmp_path / "other.db"))
    manager.prune(ONE)
    assert {newest.filename, good.filename} <= _names(manager)
    manager.verify(good)


def test_an_unverified_newest_is_checked_too(manager: BackupManager) -> None:
    """A meta file that says nothing of a check is no reason to believe in its backup."""
    newest, good, _ = _create(manager, 3)
    for info in (newest, good):
        Path(info.meta_path).write_bytes(to_meta(replace(info, verified_at=None)))
    flip(Path(newest.path), 5000)
    report = manager.prune(ONE)
    assert {newest.filename, good.filename} <= _names(manager)
    assert report is not None


def test_one_without_a_checksum_does_not_stand_in(manager: BackupManager) -> None:
    """A backup of which only the header can be checked is no reason to remove a sound one."""
    newest, good, oldest = _create(manager, 3)
    manager.create(kind="automatic")  # the newest verified of all
    for hours, info in ((1, good), (2, oldest)):
        _redate(info, datetime.now(UTC) - timedelta(hours=hours))
    Path(newest.meta_path).unlink()
    manager.prune(ONE)
    assert {newest.filename, good.filename} <= _names(manager)


def test_a_note_has_a_limit(manager: BackupManager) -> None:
    """A note that the meta file could not hold is refused, and the backup stays as it was."""
    info = manager.create("\x01" * 100_000)
    with pytest.raises(InvalidDescriptionError, match="note"):
        manager.pin(info, "x" * 10_001)
    assert manager.pin(info, "\x01" * 10_000).pinned
    assert manager.get(info).meta_problem == ""


def test_what_nobody_knows_is_left_alone(manager: BackupManager) -> None:
    """A backup without a meta file, or with a damaged one, is no clean-up's to remove."""
    infos = _create(manager, 4)
    Path(infos[3].meta_path).unlink()
    Path(infos[2].meta_path).write_text("{")
    report = manager.prune(ONE)
    assert _names(manager) == {infos[i].filename for i in (0, 2, 3)}
    reasons = {reason for d in report.kept for reason in d.reasons}
    assert {"it has no meta file", "its meta file is damaged"} <= reasons


def test_the_way_back_from_a_migration_stays(manager: BackupManager, database: Path) -> None:
    """What the marker of a half-run migration names is neither pruned nor deleted."""
    oldest = _create(manager, 3, "pre_migration")[-1]
    write_marker(database, backup=oldest.path, alembic_heads=(), target_revision="b")
    manager.prune(ONE)
    assert oldest.filename in _names(manager)
    with pytest.raises(ProtectedBackupError, match="has not finished"):
        manager.delete(oldest)
    manager.alarm.accept()
    manager.delete(oldest)


def test_another_databases_backups_stay(tmp_path: Path, make_engine: EngineMaker) -> None:
    """In a shared directory a policy only sees the backups of its own database."""
    one, two = (
        BackupManager(make_engine(make_database(tmp_path / name)), tmp_path / "shared")
        for name in ("one.db", "two.db")
    )
    _create(one, 3)
    _create(two, 3)
    one.prune(ONE)
    assert (len(one.list()), len(two.list())) == (1, 3)


def test_foreign_files_stay(manager: BackupManager) -> None:
    """Of 10,000 files that are no backups of ours none is touched, and pruning is still quick."""
    _create(manager, 3)
    for number in range(10_000):
        (manager.directory / f"soulsense_backup_{number}.db").touch()
    started = datetime.now(UTC)
    manager.prune(ONE)
    assert datetime.now(UTC) - started < timedelta(seconds=5)
    assert len(list(manager.directory.glob("*.db"))) == 10_001


def test_create_with_a_policy_prunes(database: Path, make_engine: EngineMaker) -> None:
    """A manager with a policy bounds its backups by itself, and never removes the new one."""
    manager = BackupManager(make_engine(database), retention=RetentionPolicy(keep_last=2))
    infos = [manager.create(str(number)) for number in range(5)]
    assert _names(manager) == {info.filename for info in infos[-2:]}
    assert scalar(database, "SELECT count(*) FROM backups") == 2


def test_create_with_a_policy_prunes_its_own_kind(
    database: Path, make_engine: EngineMaker, caplog: pytest.LogCaptureFixture
) -> None:
    """What was made by hand or imported stays when a nightly backup prunes; what goes is logged."""
    manager = BackupManager(make_engine(database), retention=ONE)
    plain = BackupManager(make_engine(database))
    others = [plain.create("by hand") for _ in range(2)]
    others += [plain.import_file(others[0].path) for _ in range(2)]
    old = plain.create(kind="automatic")
    with caplog.at_level("INFO", logger="soulsense_db"):
        new = manager.create("nightly", kind="automatic")
    assert _names(manager) == {info.filename for info in (*others, new)}
    removed = f"The backup {old.filename} ({old.size_display}) was removed: no rule keeps it"
    assert any(removed in message for message in caplog.messages)
    manager.prune()  # explicit code means all kinds
    assert {info.kind for info in manager.list()} == {"manual", "imported", "automatic"}
    assert len(manager.list()) == 3


def test_create_after_the_clock_was_set_back(database: Path, make_engine: EngineMaker) -> None:
    """With the clock a year back the new backup stays, and so do those of the lost year."""
    manager = BackupManager(make_engine(database), retention=ONE)
    ahead = manager.create()
    _redate(ahead, datetime.now(UTC) + timedelta(days=365))
    old = manager.create()
    new = manager.create()
    assert _names(manager) == {ahead.filename, new.filename}
    assert old.filename not in _names(manager)


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_policy_that_cannot_be_applied_says_so(open_path: Path) -> None:
    """When old backups cannot be removed, the new one was made, and a warning says both."""
    open_path.chmod(0o777)
    result = run_unprivileged("create_and_prune", open_path)
    assert result["error"] is None
    assert (open_path / "backups" / result["made"]).exists()
    told = f"{result['made']} was created. Old backups could not be removed (Permission denied"
    assert told in (open_path / "log").read_text()


def test_a_check_is_remembered(manager: BackupManager) -> None:
    """What failed its check counts as unverified until it passes one."""
    info = manager.create()
    flip(Path(info.path), 5000)
    with pytest.raises(ChecksumMismatchError):
        manager.verify(info)
    assert manager.get(info).verified_at is None
    flip(Path(info.path), 5000)
    report = manager.verify(info, level="quick")
    assert report.recorded
    assert manager.get(info).verified_at is not None


def test_a_check_without_checksum_writes_nothing(manager: BackupManager) -> None:
    """The description that an older program left as meta file is not rewritten by `verify`."""
    info = manager.create()
    Path(info.meta_path).write_text("typed by a person")
    assert not manager.verify(info).recorded
    assert Path(info.meta_path).read_text() == "typed by a person"


def test_a_read_only_directory_is_verified_too(open_path: Path) -> None:
    """On a medium that cannot be written a backup is verified, and the report says the rest."""
    open_path.chmod(0o777)
    result = run_unprivileged("verify_read_only", open_path)
    assert result == {"error": None, "recorded": False}


def test_a_backup_of_an_older_program_can_be_pinned(manager: BackupManager) -> None:
    """Pinning a backup without our meta file keeps its description, and the pin."""
    info = manager.create()
    Path(info.meta_path).write_text("typed by a person")
    manager.pin(info.filename)
    found = manager.get(info.filename)
    assert (found.description, found.pinned, found.sha256) == ("typed by a person", True, None)
    manager.verify(found)


def test_a_damaged_meta_file_cannot_be_pinned(manager: BackupManager) -> None:
    """A pin never writes over a meta file that is damaged."""
    info = manager.create()
    Path(info.meta_path).write_text('{"format": 1, "id":')
    with pytest.raises(MetaFileError):
        manager.pin(info)
    assert Path(info.meta_path).read_text() == '{"format": 1, "id":'


def test_a_meta_file_of_before_pins_is_whole(manager: BackupManager) -> None:
    """A meta file written before backups could be pinned or verified is read as it was."""
    info = manager.create()
    import hashlib
    import json

    facts = json.loads(Path(info.meta_path).read_text())
    for name in ("verified_at", "pinned", "pin_note", "meta_sha256"):
        del facts[name]
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    facts["meta_sha256"] = hashlib.sha256(canonical.encode()).hexdigest()
    read = from_meta(
        json.dumps(facts).encode(), Path(info.path), size_bytes=1, found_at=info.created_at
    )
    assert read == replace(info, verified_at=None)


def test_two_amendments_at_once_both_stay(manager: BackupManager, database: Path) -> None:
    """A pin set while a verification runs is not lost when that one writes its outcome."""
    info = manager.create()
    add_child(database)

    def pin_meanwhile(done: int, total: int) -> None:
        if done == total:
            manager.pin(info, "meanwhile")

    manager.verify(info, progress=pin_meanwhile)
    found = manager.get(info)
    assert found.pinned
    assert found.verified_at is not None
    assert info.verified_at is not None
    assert found.verified_at > info.verified_at


def test_a_damaged_marker_protects_what_may_be_the_way_back(
    manager: BackupManager, database: Path
) -> None:
    """While nobody can read which backup a dead migration needs, none from before one goes."""
    before = _create(manager, 3, "pre_migration")
    other = manager.create()
    write_marker(database, backup=before[-1].path, alembic_heads=("r1",), target_revision="r3")
    flip(marker_path(database), 30, 0x02)
    manager.prune(ONE)
    assert {info.filename for info in before} <= _names(manager)
    with pytest.raises(ProtectedBackupError, match="may be needed to undo a migration"):
        manager.delete(before[-1])
    manager.delete(other)
