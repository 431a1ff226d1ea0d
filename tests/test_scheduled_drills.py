"""Drills on a schedule: all that is kept has its turn, and what is damaged is found in time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from conftest import EngineMaker
from helpers import add_child, flip, leftovers, make_database
from shell import Shell

from soulsense_db import BackupInfo, BackupManager, RetentionPolicy
from soulsense_db.errors import ChecksumMismatchError, DrillError, OptionError
from soulsense_db.health import HealthCheck, State, Thresholds, check_health
from soulsense_db.mirrors import mirror_for
from soulsense_db.operations import DRILL_DAYS, drill_turn
from soulsense_db.scheduled import AutoReport, run_auto

START = datetime(2026, 1, 1, 3, 30, tzinfo=UTC)
DAY = timedelta(days=1)
MONTH = timedelta(days=31)


def _auto(manager: BackupManager, *checks: str, keep: RetentionPolicy | None = None) -> AutoReport:
    report = run_auto(manager, keep, drill=True, drill_checks=checks)
    assert report is not None
    return report


def _drill(manager: BackupManager, **options: object) -> HealthCheck | None:
    report = check_health(manager, **options)  # type: ignore[arg-type]
    return next((check for check in report.checks if check.name == "drill"), None)


# Whose turn it is


def _infos(count: int) -> list[BackupInfo]:
    return [
        BackupInfo(path=f"/b/{n:03}.db", created_at=START + n * DAY, size_bytes=1)
        for n in range(count)
    ]


def test_each_has_its_turn_within_the_days() -> None:
    """However many there are, those that waited longest are first, and no day is idle or full."""
    infos = _infos(75)
    drilled: dict[str, datetime] = {}
    now = START + 75 * DAY
    for day in range(90):
        turn = drill_turn(infos, drilled, now=now + day * DAY)
        assert 3 <= len(turn) <= 6
        drilled |= dict.fromkeys((info.filename for info in turn), now + day * DAY)
        if day >= DRILL_DAYS:
            waiting = [now + day * DAY - drilled[info.filename] for info in infos]
            assert max(waiting) <= DRILL_DAYS * DAY


def test_several_runs_a_day_do_the_work_of_one() -> None:
    """A schedule of every hour restores no more than one of every night."""
    infos = _infos(20)
    now = START + 20 * DAY
    first = drill_turn(infos, {}, now=now)
    assert [info.filename for info in first] == ["000.db"]
    drilled = {"000.db": now}
    for hour in range(1, 22):
        assert drill_turn(infos, drilled, now=now + timedelta(hours=hour)) == []
    (second,) = drill_turn(infos, drilled, now=now + DAY - timedelta(minutes=5))
    assert second.filename == "001.db"


def test_a_clock_that_was_set_back_stops_no_drills() -> None:
    """A drill that is dated in the future was not one of today."""
    (turn,) = drill_turn(_infos(3), {"000.db": START + 900 * DAY}, now=START + 3 * DAY)
    assert turn.filename == "001.db"


def test_fewer_backups_than_before_do_not_let_one_wait() -> None:
    """What is overdue is drilled sooner than its share would have it."""
    infos = _infos(20)
    assert len(drill_turn(infos, {}, now=START + 100 * DAY)) == 2
    assert drill_turn([], {}, now=START) == []


# A run


def test_a_run_drills_and_says_so(manager: BackupManager, database: Path) -> None:
    """The one that waited longest is restored, and its meta file says when."""
    first = manager.create()
    add_child(database)
    report = _auto(manager, "SELECT count(*) FROM child")
    (drilled,) = report.drilled
    assert drilled.backup.id == first.id
    assert drilled.drill is not None
    assert drilled.drill.checks == ("SELECT count(*) FROM child",)
    assert report.drill_errors == ()
    assert manager.get(first).drill_result == "passed"
    assert _auto(manager).drilled == (), "today's share is done"


def test_without_being_asked_a_run_drills_nothing(manager: BackupManager) -> None:
    """It takes room and time."""
    report = run_auto(manager, None)
    assert report is not None
    assert report.drilled == ()
    assert manager.last_drill() is None


def test_a_check_that_says_nothing_stops_a_run_before_it_begins(manager: BackupManager) -> None:
    """What is wrong in the configuration is said at once, not at the end."""
    with pytest.raises(OptionError):
        _auto(manager, "DELETE FROM child")
    assert manager.list() == []


def test_a_failed_drill_ends_nothing_else(manager: BackupManager, database: Path) -> None:
    """The run creates, prunes and verifies, and tells which backup failed, and why."""
    first = manager.create()
    add_child(database)
    report = _auto(manager, "SELECT count(*) > 100000 FROM child")
    assert report.created is not None
    ((info, error),) = report.drill_errors
    assert info.id == first.id
    assert isinstance(error, DrillError)
    assert manager.get(first).verified_at is None


@pytest.mark.slow
def test_a_year_of_drills(tmp_path: Path, make_engine: EngineMaker) -> None:
    """Each backup that is kept for more than a month was restored; a damaged one is found in it."""
    database = make_database(tmp_path / "app.db", rows=5)
    manager = BackupManager(make_engine(database), catalog=False)
    policy = RetentionPolicy(keep_daily=7, keep_weekly=5, keep_monthly=12)
    damaged: BackupInfo | None = None
    damaged_at = found_at = None
    most = 0
    with time_machine.travel(START, tick=False) as clock:
        for day in range(365):
            now = START + day * DAY
            clock.move_to(now)
            add_child(database, f"day {day}")
            report = _auto(manager, keep=policy)
            most = max(most, len(report.drilled) + len(report.drill_errors))
            for info, error in report.drill_errors:
                assert damaged is not None
                assert info.id == damaged.id
                assert isinstance(error, ChecksumMismatchError)
                found_at = found_at or now
            if day == 200:
                # Of months that are kept, the one that was drilled most recently.
                old = (i for i in manager.list() if 60 * DAY < now - i.created_at < 150 * DAY)
                damaged = max(old, key=lambda info: info.drilled_at or START)
                flip(Path(damaged.path), damaged.size_bytes // 2)
                damaged_at = now
            for info in manager.list():
                since = info.drilled_at or info.created_at
                assert now - since <= MONTH, (day, info.filename)
        assert most <= 2, "a day's share is small"
        assert damaged_at is not None
        assert found_at is not None
        assert found_at - damaged_at <= MONTH
        assert leftovers(tmp_path) == []


@pytest.mark.slow
def test_backups_at_a_mirror_are_drilled_too(tmp_path: Path, make_engine: EngineMaker) -> None:
    """Those that are only there have their turn; what is damaged there is found in a month."""
    (tmp_path / "app").mkdir()
    database = make_database(tmp_path / "app" / "app.db", rows=5)
    drive = tmp_path / "drive"
    with mirror_for(f"file://{drive}") as mirror:
        mirror.prepare()
    manager = BackupManager(make_engine(database), catalog=False, mirrors=f"file://{drive}")
    drilled: dict[str, datetime] = {}
    victim: Path | None = None
    found_at = None
    with time_machine.travel(START, tick=False) as clock:
        for day in range(78):
            now = START + day * DAY
            clock.move_to(now)
            add_child(database, f"day {day}")
            report = _auto(manager, keep=RetentionPolicy(keep_daily=3))
            (there,) = report.mirror_drills
            assert there.error is None
            assert there.check is not None
            assert there.check.level == "drill"
            assert len(there.check.verified) <= 6
            drilled |= {info.filename: now for info in there.check.verified}
            if there.check.damaged:
                assert victim is not None
                assert {name for name, _ in there.check.damaged} == {victim.name}
                found_at = found_at or now
            if day == 45:
                (folder,) = (path for path in drive.iterdir() if path.is_dir())
                victim = sorted(folder.glob("*.db"))[3]
                flip(victim, 5000)
            (listing,) = manager.mirrors.list()
            for info in listing.backups:
                if victim is not None and info.filename == victim.name:
                    continue
                since = drilled.get(info.filename, info.created_at)
                assert now - since <= MONTH, (day, info.filename)
    assert victim is not None
    assert found_at is not None
    assert found_at - (START + 45 * DAY) <= MONTH


def test_a_check_that_fails_at_a_mirror_uploads_nothing_again(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """The bytes there are right: another upload would not help, so it is not called damaged."""
    (tmp_path / "app").mkdir()
    database = make_database(tmp_path / "app" / "app.db", rows=5)
    drive = tmp_path / "drive"
    with mirror_for(f"file://{drive}") as mirror:
        mirror.prepare()
    manager = BackupManager(make_engine(database), mirrors=f"file://{drive}")
    manager.create()
    manager.mirrors.sync()
    (check,) = manager.mirrors.verify(level="drill", checks=["SELECT 0"])
    ((_, error),) = check.damaged
    assert isinstance(error, DrillError)
    (report,) = manager.mirrors.sync()
    assert report.uploaded == ()
    (check,) = manager.mirrors.verify(level="drill")
    assert len(check.verified) == 1
    assert manager.last_drill() is not None
    with pytest.raises(ValueError, match="are for level='drill'"):
        manager.mirrors.verify(checks=["SELECT 1"])


# What status says


def test_status_says_nothing_of_drills_before_the_first(manager: BackupManager) -> None:
    """Who never asked for one is not told of a lack."""
    manager.create()
    assert _drill(manager) is None
    assert check_health(manager).numbers["drill_age_seconds"] is None


def test_status_is_critical_when_no_drill_passed_for_long(
    manager: BackupManager, database: Path
) -> None:
    """Once one was made, the next ones are expected, even if the drilled backup is gone."""
    first = manager.create()
    manager.verify(first, level="drill")
    found = _drill(manager)
    assert found is not None
    assert found.state is State.OK
    add_child(database)
    manager.create()
    manager.delete(first)
    for days, state in ((34, State.OK), (36, State.CRITICAL)):
        found = _drill(manager, now=datetime.now(UTC) + days * DAY)
        assert found is not None
        assert found.state is state
        assert f"one passed {days} days ago" in found.message
    never = Thresholds(critical_drill=None)
    found = _drill(manager, thresholds=never, now=datetime.now(UTC) + 900 * DAY)
    assert found is not None
    assert found.state is State.OK


def test_status_names_backups_that_failed_a_drill(manager: BackupManager, database: Path) -> None:
    """Also after a later check by reading alone: that says less."""
    first = manager.create()
    manager.verify(first, level="drill")
    with pytest.raises(DrillError):
        manager.verify(first, level="drill", checks=["SELECT 0"])
    manager.verify(first)
    found = _drill(manager)
    assert found is not None
    assert found.state is State.CRITICAL, "it is the newest"
    assert first.filename in found.message
    add_child(database)
    manager.create()
    found = _drill(manager)
    assert found is not None
    assert found.state is State.WARNING
    manager.verify(first, level="drill")
    found = _drill(manager)
    assert found is not None
    assert found.state is State.OK


# The command line


def test_auto_tells_of_drills(shell: Shell) -> None:
    """Cron gets a line for what failed, and an exit code; a person sees what was done."""
    shell.create()
    (shell.folder / "pyproject.toml").write_text(
        '[tool.soulsense-db.drill]\nchecks = [{ sql = "SELECT 0", name = "never" }]\n'
    )
    failed = shell.run("auto", "--drill", "--quiet")
    assert failed.returncode == DrillError.exit_code
    assert "the check 'never' failed" in failed.stderr
    (shell.folder / "pyproject.toml").unlink()
    assert "no drill was due" in shell.ok("auto", "--drill")
    status = shell.run("status", "--json")
    assert status.returncode == int(State.CRITICAL)
    checks = {one["name"]: one for one in json.loads(status.stdout)["result"]["checks"]}
    assert "none has passed; FAILED: " in checks["drill"]["message"]
    assert shell.json("verify", "latest", "--level", "drill")["drill"]["rows_compared"]
    assert "drilled" in shell.ok("show", "latest")
