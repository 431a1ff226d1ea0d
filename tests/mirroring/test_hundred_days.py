"""A hundred days with a mirror that fails on a third of them."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from conftest import EngineMaker
from forms import ALWAYS
from helpers import add_child, make_database

from soulsense_db import BackupManager, RetentionPolicy
from soulsense_db.backup_info import BackupInfo, bases_for
from soulsense_db.manager import ManagerOptions
from soulsense_db.mirrors import mirror_for
from soulsense_db.retention import apply_policy
from soulsense_db.scheduled import run_auto

DAYS = 100
START = datetime(2026, 1, 1, 3, 30, tzinfo=UTC)
HERE = RetentionPolicy(keep_daily=7)
THERE = RetentionPolicy(keep_daily=14, keep_weekly=8, keep_monthly=12)

pytestmark = pytest.mark.slow


def _kept(backups: list[BackupInfo], policy: RetentionPolicy, now: datetime) -> set[str]:
    """Return the ids of what a policy keeps of all that was ever made, with what that needs."""
    kept = {decision.backup.id for decision in apply_policy(backups, policy, now=now).kept}
    known = {info.id: info for info in backups}
    for identity in list(kept):
        kept |= {base.id for base in bases_for(known[identity], backups)[:1]}
    return kept


@pytest.mark.parametrize("is_differential", [False, True], ids=["full", "differential"])
def test_both_sides_end_as_their_policies_say(
    tmp_path: Path, make_engine: EngineMaker, is_differential: bool
) -> None:
    """Every day a backup, on a third of the days no mirror, now and then a few in a row."""
    (tmp_path / "app").mkdir()
    app = make_database(tmp_path / "app" / "app.db", rows=20)
    drive = tmp_path / "drive"
    with mirror_for(f"file://{drive}") as mirror:
        mirror.prepare()
    options = ManagerOptions(mirrors=f"file://{drive}", mirror_retention=THERE)
    if is_differential:
        options["differential"] = ALWAYS
    manager = BackupManager(make_engine(app), **options)
    fails = random.Random(7)
    made: list[BackupInfo] = []
    failed_days = 0
    with time_machine.travel(START, tick=False) as clock:
        for day in range(DAYS):
            clock.move_to(START + timedelta(days=day))
            add_child(app, f"day {day}")
            is_away = fails.random() < 1 / 3 and day < DAYS - 1
            if is_away:
                drive.rename(tmp_path / "away")
            report = run_auto(manager, HERE)
            if is_away:
                (tmp_path / "away").rename(drive)
            assert report is not None and report.created is not None
            assert [one.ok for one in report.mirrors] == [not is_away]
            failed_days += is_away
            made.insert(0, report.created)
        now = datetime.now(UTC)
    assert DAYS / 4 < failed_days < DAYS / 2
    # What a policy says of all at once; pruned day by day, bases of what went may have stayed.
    (listing,) = manager.mirrors.list()
    there = {info.id for info in listing.backups}
    here = {info.id for info in manager.list()}
    assert _kept(made, HERE, now) == here
    assert _kept(made, THERE, now) == there
    (check,) = manager.mirrors.verify()
    assert (check.damaged, len(check.verified)) == ((), len(there))
