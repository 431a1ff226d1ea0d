"""What monitoring is told."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from age_keys import Key
from helpers import (
    add_child,
    execute,
    flip,
    held_by_another_process,
    make_database,
    snapshot_of,
    write_marker,
)
from sqlalchemy.engine import Engine

from soulsense_db import BackupManager
from soulsense_db.health import HealthCheck, State, Thresholds, check_health, display_age


def _check(manager: BackupManager, name: str, **options: object) -> HealthCheck:
    report = check_health(manager, **options)  # type: ignore[arg-type]
    return next(check for check in report.checks if check.name == name)


def test_all_is_well(manager: BackupManager) -> None:
    """After a backup every check is OK, and looking changes nothing."""
    manager.create()
    before = snapshot_of(manager.directory.parent)
    report = check_health(manager)
    assert [(c.name, c.state) for c in report.checks if c.state is not State.OK] == []
    assert report.state is State.OK
    assert report.numbers["backups"] == 1
    assert snapshot_of(manager.directory.parent) == before


def test_no_backup_is_critical(manager: BackupManager) -> None:
    """A database that was never backed up is the worst there is."""
    assert _check(manager, "newest backup").state is State.CRITICAL
    assert _check(manager, "newest verified").message == "no backup passed its last check"
    assert not manager.directory.exists()


@pytest.mark.parametrize(
    ("hours", "state"), [(1, State.OK), (27, State.WARNING), (51, State.CRITICAL)]
)
def test_old_backups(manager: BackupManager, hours: int, state: State) -> None:
    """The age of the newest backup and of the newest verified one are measured by thresholds."""
    info = manager.create()
    later = info.created_at + timedelta(hours=hours)
    assert _check(manager, "newest backup", now=later).state is state
    assert _check(manager, "newest verified", now=later).state is state
    patient = Thresholds(warning_age=timedelta(days=9), critical_age=timedelta(days=10))
    report = check_health(manager, patient, now=later)
    assert report.state is State.OK
    assert report.numbers["newest_age_seconds"] == hours * 3600


def test_a_newest_that_is_not_verified(manager: BackupManager) -> None:
    """A newest backup that failed its check is critical, and the sound one before it counts."""
    manager.create()
    info = manager.create()
    flip(Path(info.path), 5000)
    with pytest.raises(Exception, match="checksum"):
        manager.verify(info)
    assert _check(manager, "files").state is State.CRITICAL
    later = info.created_at + timedelta(hours=60)
    assert "old (" in _check(manager, "newest verified", now=later).message


def test_damaged_files(manager: BackupManager) -> None:
    """A backup that is cut, empty or has a damaged meta file is named; an old one is a warning."""
    cut, empty, odd, _ = (manager.create() for _ in range(4))
    os.truncate(cut.path, 5000)
    os.truncate(empty.path, 0)
    Path(odd.meta_path).write_text("{")
    check = _check(manager, "files")
    assert check.state is State.WARNING
    for info, why in ((cut, "5,000 bytes"), (empty, "is empty"), (odd, "meta file is damaged")):
        assert info.filename in check.message
        assert why in check.message
    assert check_health(manager).numbers["damaged"] == 3


def test_missing_files(manager: BackupManager) -> None:
    """A backup that was deleted behind our back is told by its row and by its meta file."""
    one, two, _ = (manager.create() for _ in range(3))
    Path(one.path).unlink()
    Path(two.path).unlink()
    Path(two.meta_path).unlink()
    check = _check(manager, "files")
    assert check.state is State.WARNING
    assert f"{one.filename}: the file is gone" in check.message
    assert f"{two.filename}: the file is gone" in check.message
    # Who is told this may have removed one himself, while the application was writing.
    perhaps = "or was removed while the catalog could not be written"
    assert [part.count(perhaps) for part in check.message.split("; ")] == [
        int(name == two.filename) for name in sorted((one.filename, two.filename))
    ]
    assert _check(manager, "catalog").state is State.WARNING
    manager.create()
    assert _check(manager, "catalog").state is State.OK


def test_missing_files_without_a_catalog(engine: Engine) -> None:
    """Without the table a meta file that lost its backup still tells of it."""
    manager = BackupManager(engine, catalog=False)
    info = manager.create()
    Path(info.path).unlink()
    assert f"{info.filename}: the file is gone" in _check(manager, "files").message
    assert _check(manager, "catalog").state is State.OK


@pytest.fixture
def differential(engine: Engine) -> BackupManager:
    """Return a manager with a base and two differentials on it."""
    manager = BackupManager(engine, differential=True)
    for name in ("base", "one", "two"):
        manager.create(name)
    return manager


def _forms(manager: BackupManager) -> list[str]:
    return [info.form.text for info in manager.list()]


def test_a_missing_base_is_critical(differential: BackupManager) -> None:
    """The message names the base that is gone, and all that cannot be restored without it."""
    two, one, base = differential.list()
    assert _forms(differential) == ["differential", "differential", "zstd"]
    assert check_health(differential).state is State.OK
    assert check_health(differential).numbers["without_base"] == 0
    Path(base.path).unlink()
    check = _check(differential, "bases")
    assert check.state is State.CRITICAL
    named = f"{two.filename}, {one.filename}"
    assert check.message == f"the base {base.filename} is missing, needed by {named}"
    report = check_health(differential)
    assert (report.state, report.numbers["without_base"]) == (State.CRITICAL, 2)


def test_a_base_that_is_known_to_be_damaged_is_critical(differential: BackupManager) -> None:
    """Cut, or failed in its last check: what is needed by others is worse than one backup."""
    two, one, base = differential.list()
    flip(Path(base.path), base.size_bytes // 2)
    with pytest.raises(Exception, match="checksum"):
        differential.verify(base)
    check = _check(differential, "bases")
    assert check.state is State.CRITICAL
    assert f"the base {base.filename} cannot be used: it failed its last check" in check.message
    assert two.filename in check.message
    assert one.filename in check.message
    os.truncate(base.path, 100)
    assert "it has 100 bytes" in _check(differential, "bases").message


def test_another_backup_with_the_same_content_is_a_base(
    differential: BackupManager, engine: Engine, tmp_path: Path
) -> None:
    """A base is known by what is in it: under another name, and plain, it is as good."""
    base = differential.list()[-1]
    same = BackupManager(engine).import_file(differential.export(base, tmp_path / "copy.db"))
    assert same.sha256 == base.database_sha256
    Path(base.path).unlink()
    assert "bases" not in [check.name for check in check_health(differential).checks]


def test_many_differentials_without_a_base_are_one_line(engine: Engine) -> None:
    """The first are named, the rest counted; the number has all of them."""
    manager = BackupManager(engine, differential=True)
    base = manager.create()
    for _ in range(7):
        manager.create()
    Path(base.path).unlink()
    assert _check(manager, "bases").message.endswith("and 2 more")
    assert check_health(manager).numbers["without_base"] == 7


def test_a_machine_without_a_key_looks_at_what_is_stored(engine: Engine, tmp_path: Path) -> None:
    """Where backups are made for public keys alone, all is well as long as the bytes are right."""
    key, other = Key(tmp_path), Key(tmp_path, "other.txt")
    manager = BackupManager(engine, recipients=[key.public])
    info = manager.create()
    check = _check(manager, "restore")
    assert (check.state, "no key is here" in check.message) == (State.OK, True)
    assert check_health(manager).state is State.OK
    assert "restore" not in [c.name for c in check_health(manager.with_identities(key.path)).checks]
    assert _check(manager.with_identities(other.path), "restore").state is State.WARNING
    flip(Path(info.path), info.size_bytes // 2)
    check = _check(manager, "restore")
    assert (check.state, check.message) == (
        State.CRITICAL,
        f"{info.filename}: the checksum differs",
    )


def test_an_imported_file_is_no_backup_of_ours(manager: BackupManager, tmp_path: Path) -> None:
    """A fresh import does not hide that the database was never backed up."""
    manager.import_file(make_database(tmp_path / "other.db"))
    check = _check(manager, "newest backup")
    assert (check.state, check.message) == (State.CRITICAL, "none was taken here")
    check = _check(manager, "newest verified")
    said = "no backup that was taken here passed its last check"
    assert (check.state, check.message) == (State.CRITICAL, said), "the imported one did"


def test_many_problems_are_one_line(manager: BackupManager) -> None:
    """Of many damaged files the first are named, the rest counted."""
    for _ in range(8):
        os.truncate(manager.create().path, 100)
    assert _check(manager, "files").message.endswith("and 3 more")


def test_free_space(manager: BackupManager) -> None:
    """Free space is measured against the size of the database."""
    manager.create()
    huge = Thresholds(warning_free=1e15, critical_free=1)
    assert check_health(manager, huge).state is State.WARNING
    huge = Thresholds(warning_free=1e15, critical_free=1e15)
    assert check_health(manager, huge).state is State.CRITICAL


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="/proc is there on Linux alone")
def test_free_space_that_nobody_tells(engine: Engine) -> None:
    """A file system that says nothing of its size is no full one."""
    report = check_health(BackupManager(engine, "/proc/backups"))
    (found,) = (check for check in report.checks if check.name == "free space")
    assert (found.state, found.message) == (State.OK, "the file system does not tell")
    assert report.numbers["free_bytes"] is None


def test_a_missing_database(manager: BackupManager, database: Path) -> None:
    """A database that is not there is critical, and its backups are still looked at."""
    manager.create()
    database.unlink()
    report = check_health(manager)
    assert report.state is State.CRITICAL
    assert "Database file not found" in report.checks[0].message
    assert report.numbers["backups"] == 1
    assert not database.exists()


def test_a_half_run_migration(manager: BackupManager, database: Path) -> None:
    """The marker of a dead migration is critical and names the way back; a running one is none."""
    info = manager.create()
    write_marker(database, backup=info.path, alembic_heads=("a",), target_revision="b")
    check = _check(manager, "migration")
    assert check.state is State.CRITICAL
    assert info.filename in check.message
    with manager.exclusive():
        assert _check(manager, "migration").message == "one is running"


def test_a_clock_set_back(manager: BackupManager) -> None:
    """Backups dated in the future are a warning of their own, and no negative age."""
    manager.create()
    check = _check(manager, "clock", now=datetime.now(UTC) - timedelta(days=365))
    assert check.state is State.WARNING
    assert "clock" in check.message
    report = check_health(manager, now=datetime.now(UTC) - timedelta(days=365))
    assert report.numbers["newest_age_seconds"] is None
    assert report.state is State.WARNING


def test_a_locked_database_can_be_looked_at(manager: BackupManager, database: Path) -> None:
    """While a writer holds the database, the checks that need no lock still answer."""
    manager.create()
    execute(database, "PRAGMA journal_mode = WAL")
    with held_by_another_process(database, "BEGIN EXCLUSIVE"):
        assert check_health(manager).state is State.OK


def test_rows_out_of_step(manager: BackupManager, database: Path) -> None:
    """A backup without its row is a warning that mends itself."""
    manager.create(record=True)
    manager.create(record=False)
    assert _check(manager, "catalog").state is State.WARNING
    add_child(database)
    manager.create()
    assert _check(manager, "catalog").state is State.OK


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "in the future"),
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (7199, "119 min"),
        (7200, "2 h"),
        (172799, "47 h"),
        (172800, "2 days"),
        (86400 * 400, "400 days"),
    ],
)
def test_ages(seconds: int, shown: str) -> None:
    """An age is told in the unit that a person would use."""
    assert display_age(timedelta(seconds=seconds)) == shown


def test_status_does_not_say_what_only_the_server_knows(tmp_path: Path) -> None:
    """Where it cannot be asked, no migration that died is known: that is not that there is none."""
    engine = sa.create_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    checks = check_health(BackupManager(engine, tmp_path / "backups")).checks
    (migration,) = (one for one in checks if one.name == "migration")
    assert migration.message == "no interrupted migration is known here; the server cannot be asked"
    engine.dispose()
