"""The call of a schedule: what it does, when, and what it leaves alone."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from conftest import EngineMaker
from helpers import Child, add_child, execute, flip, make_database, run_unprivileged, write_marker

from soulsense_db import BackupManager, RetentionPolicy
from soulsense_db.errors import DatabaseDamagedError, DatabaseFileNotFoundError, DatabaseLockedError
from soulsense_db.scheduled import run_auto

ONE = RetentionPolicy(keep_last=1)


def test_only_what_has_changed_is_backed_up(manager: BackupManager, database: Path) -> None:
    """A run takes a backup when there is something new, and verifies the newest in any case."""
    first = run_auto(manager, None)
    assert first is not None
    assert first.created is not None
    assert (first.created.kind, first.pruned) == ("automatic", None)
    second = run_auto(manager, None)
    assert second is not None
    assert second.created is None
    assert second.verified.backup.id == first.created.id
    assert manager.get(first.created).verified_at != first.created.verified_at
    add_child(database)
    third = run_auto(manager, None)
    assert third is not None
    assert third.created is not None
    assert len(manager.list()) == 2


def test_any_kind_of_backup_saves_the_run_one(manager: BackupManager) -> None:
    """A backup made by hand a moment ago is as good as one that a schedule would take."""
    manager.create("By hand")
    report = run_auto(manager, ONE)
    assert report is not None
    assert report.created is None


def test_a_schedule_removes_what_schedules_made(manager: BackupManager, database: Path) -> None:
    """Backups made by hand, imported or taken before a migration stay, whatever the policy says."""
    by_hand = [manager.create("by hand") for _ in range(2)]
    others = [manager.import_file(by_hand[0].path) for _ in range(2)]
    others += [manager.create(kind="pre_migration") for _ in range(2)]
    scheduled = [manager.create(kind="automatic") for _ in range(2)]
    add_child(database)
    report = run_auto(manager, ONE)
    assert report is not None
    assert report.created is not None
    assert report.pruned is not None
    removed = {decision.backup.filename for decision in report.pruned.removed}
    assert removed == {info.filename for info in scheduled}
    left = {info.filename for info in manager.list()}
    assert left == {info.filename for info in (*by_hand, *others, report.created)}


def test_a_schedule_bounds_its_own_by_the_managers_policy_as_well(
    database: Path, make_engine: EngineMaker
) -> None:
    """A manager with a policy of its own keeps what was made by hand when a schedule uses it."""
    manager = BackupManager(make_engine(database), retention=ONE)
    plain = BackupManager(make_engine(database))
    by_hand = [plain.create() for _ in range(2)]
    plain.create(kind="automatic")
    add_child(database)
    report = run_auto(manager)
    assert report is not None
    assert report.created is not None
    left = {info.filename for info in manager.list()}
    assert left == {info.filename for info in (*by_hand, report.created)}


def test_a_damaged_newest_is_replaced(manager: BackupManager) -> None:
    """When the newest backup has rotted, a run takes another one and names the rotten."""
    info = manager.create()
    flip(Path(info.path), 5000)
    report = run_auto(manager, None)
    assert report is not None
    assert report.created is not None
    assert report.damaged is not None
    assert report.damaged.id == info.id
    manager.verify("latest")


def test_one_that_cannot_be_read_is_replaced(open_path: Path) -> None:
    """A newest backup that may not be read, or a bad sector, does not stop the schedule."""
    open_path.chmod(0o777)
    result = run_unprivileged("auto_with_an_unreadable_one", open_path)
    assert result == {"error": None, "state": "CRITICAL", "created": True}


def test_a_strange_file_is_not_the_newest(manager: BackupManager) -> None:
    """A file without meta file, dated ahead by its name, does not make each run back up anew."""
    manager.create()
    (manager.directory / "soulsense_backup_29990101_000000_odd.db").write_bytes(b"odd")
    report = run_auto(manager)
    assert report is not None
    assert report.created is None


def test_the_applications_own_table_counts(manager: BackupManager, database: Path) -> None:
    """A table `backups` of the application is data: a change in it is a change."""
    plain = BackupManager.from_url(str(database), catalog=False)
    execute(database, "CREATE TABLE backups (what TEXT)")
    plain.create()
    execute(database, "INSERT INTO backups VALUES ('new')")
    assert not manager.compare("latest").identical
    report = run_auto(plain)
    assert report is not None
    assert report.created is not None


def _with_collation(path: Path) -> BackupManager:
    """Make a table with a key in an order that only the application knows."""
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)

    @sa.event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.create_collation("backwards", lambda a, b: (a < b) - (a > b))

    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE w (k TEXT COLLATE backwards PRIMARY KEY, v) WITHOUT ROWID"
        )
        connection.exec_driver_sql("INSERT INTO w VALUES ('a', 1), ('b', 2), ('c', 3)")
    return BackupManager(engine)


def test_a_collation_of_the_application_makes_no_backup_on_every_run(
    database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A table WITHOUT ROWID is compared also where only the application knows its order."""
    manager = _with_collation(database)
    for made in (True, False, False):
        report = run_auto(manager)
        assert report is not None
        assert (report.created is not None) is made
    with manager._repository.driver.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE w SET v = 4 WHERE k = 'b'")
    (table,) = manager.compare("latest").tables
    assert (table.table, table.changed) == ("w", 1)
    report = run_auto(manager)
    assert report is not None
    assert report.created is not None
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("CREATE TABLE wide (" + ", ".join(f"c{n}" for n in range(1999)) + ")", "too many columns"),
        ("", "by its name"),
    ],
)
def test_what_cannot_be_compared_is_told_on_each_run(
    database: Path,
    make_engine: EngineMaker,
    caplog: pytest.LogCaptureFixture,
    statement: str,
    why: str,
) -> None:
    """A backup on every run fills a disk: the log says, once per run, what makes it so."""
    manager = BackupManager(make_engine(database), catalog=False)
    if statement:
        execute(database, statement)
    else:
        execute(database, "CREATE TABLE xx_name (a)")
        database.write_bytes(database.read_bytes().replace(b"xx_name", b"\xf6\xdf_name"))
    run_auto(manager)
    assert caplog.messages == []
    for _ in range(2):
        report = run_auto(manager)
        assert report is not None
        assert report.created is not None
        (told,) = caplog.messages
        assert why in told
        assert "a backup is made on every run" in told
        caplog.clear()


def test_it_prunes_after_it_verified(manager: BackupManager, database: Path) -> None:
    """With a policy the run removes what is not kept, each kind by itself."""
    manager.create("By hand")
    for _ in range(3):
        add_child(database)
        report = run_auto(manager, ONE)
    assert report is not None
    assert report.pruned is not None
    assert [d.backup.kind for d in report.pruned.removed] == ["automatic"]
    assert [info.kind for info in manager.list()] == ["automatic", "manual"]


def test_nothing_is_pruned_when_the_backup_fails(manager: BackupManager, database: Path) -> None:
    """A run that could not back up removes nothing: the old backups are all there is."""
    for _ in range(3):
        manager.create()
    database.write_bytes(b"SQLite format 3\x00" + b"\xff" * 8000)
    with pytest.raises(DatabaseDamagedError):
        run_auto(manager, ONE)
    database.unlink()
    with pytest.raises(DatabaseFileNotFoundError):
        run_auto(manager, ONE)
    assert len(manager.list()) == 3


def test_nothing_is_pruned_for_a_half_migrated_database(
    manager: BackupManager, database: Path
) -> None:
    """After a migration died half-way a run still backs up, removes nothing, and says why."""
    old = [manager.create(kind="automatic") for _ in range(3)]
    add_child(database)
    write_marker(database, backup=old[0].path, alembic_heads=("a",), target_revision="b")
    report = run_auto(manager, ONE)
    assert report is not None
    assert report.created is not None
    assert report.pruned is None
    assert report.half_run is not None
    assert old[0].filename in report.half_run.message
    assert len(manager.list()) == 4


def test_a_running_migration_is_waited_for(manager: BackupManager, database: Path) -> None:
    """While a migration runs nothing is backed up: it would be half of one thing and of another."""
    info = manager.create()
    add_child(database)
    write_marker(database, backup=info.path, alembic_heads=(), target_revision="b")
    impatient = BackupManager.from_url(str(database), lock_timeout=0.2)
    with manager.exclusive(), pytest.raises(DatabaseLockedError):
        run_auto(impatient, ONE)
    assert len(manager.list()) == 1


def test_overlapping_runs_do_the_work_once(manager: BackupManager, database: Path) -> None:
    """While a run is at work in another process, one more does nothing and is no error."""
    with Child("auto_held.py", f"sqlite:///{database}") as child:
        child.expect("at work")
        assert run_auto(manager, ONE) is None
        assert child.finish().strip() == "True"
    assert len(manager.list()) == 1
    assert run_auto(manager, ONE) is not None


def test_two_databases_do_not_wait_for_each_other(tmp_path: Path, make_engine: EngineMaker) -> None:
    """Runs for two databases with one directory are both done, also at the same time."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    one, two = (
        BackupManager(make_engine(make_database(tmp_path / name / "app.db")), tmp_path / "shared")
        for name in ("a", "b")
    )
    reports = []
    run_auto(one, progress=lambda done, total: reports.append(run_auto(two)))
    assert reports[0] is not None
    assert reports[0].created is not None
    assert (len(one.list()), len(two.list())) == (1, 1)


def test_a_clock_set_back_loses_nothing(
    manager: BackupManager, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the clock a year back a run still backs up, and removes nothing of the lost year."""
    import time_machine

    now = datetime.now(UTC)
    with time_machine.travel(now + timedelta(days=365), tick=True):
        for _ in range(3):
            add_child(database)
            run_auto(manager)
    add_child(database)
    report = run_auto(manager, ONE)
    assert report is not None
    assert report.created is not None
    assert len(manager.list()) == 4
