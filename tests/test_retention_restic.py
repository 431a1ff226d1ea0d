"""The rules of a policy against ``restic forget``, whose rules they are.

The comparison makes room for two differences between versions of restic, and for nothing else:

- -1 is no count in restic 0.14, which then keeps nothing by that rule; later ones made it mean
  all. A count above the length of any history means all to every version.
- Later versions than 0.14 keep the oldest snapshot of all for any rule that has counts left, its
  bucket taken or not. So each history ends for restic in one more snapshot, years older, and only
  the others are compared: restic goes from the newest to the oldest, so nothing else depends on it.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from restic_repository import ResticRepository

from soulsense_db.backup_info.info import BackupInfo
from soulsense_db.retention import ALL, COUNTS, Period, RetentionPolicy, apply_policy

pytestmark = pytest.mark.slow

POLICIES = 60
HISTORIES = 10  # for each policy
LONGEST = 60
# Restic looks at the clock: what is dated after it does not count as the newest.
NEWEST = datetime(2025, 1, 1, tzinfo=UTC)
NOW = NEWEST + timedelta(days=1)
OLDEST = datetime(1990, 1, 1, 12, tzinfo=UTC)

needs_restic = pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not installed")


@pytest.fixture(params=["Asia/Kolkata", "Europe/Berlin"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ZoneInfo]:
    """Set the local time zone, for restic too: one without, one with summer time."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield ZoneInfo(request.param)
    monkeypatch.undo()
    time.tzset()


def random_policy(rng: random.Random) -> RetentionPolicy:
    """Return a policy with one rule at least, each small enough to remove something."""
    counts: dict[str, Any] = {
        name: rng.choice([0, 0, 0, 0, 0, 1, 2, 3, 5, 8, 13, ALL if name != "keep_last" else 1])
        for name in COUNTS
    }
    periods = [
        Period(hours=rng.randint(1, 72)),
        Period(days=rng.randint(1, 60)),
        Period(months=rng.randint(1, 14)),
        Period(
            years=1, months=rng.randint(0, 6), days=rng.randint(0, 40), hours=rng.randint(0, 30)
        ),
    ]
    within = rng.choice([None, rng.choice(periods)])
    if within is None and not any(counts.values()):
        counts["keep_daily"] = 4
    return RetentionPolicy(keep_within=within, **counts)


def random_times(rng: random.Random) -> list[datetime]:
    """Return moments, newest first: bursts and long breaks, half of the time on the hour."""
    hour = 3600.0
    scales = rng.sample([0.01, 0.3, 1, 6, 24, 24, 24 * 7, 24 * 30, 24 * 31, 24 * 90], k=2)
    exact = rng.random() < 0.5
    gaps = (
        hour * (max(1, round(scale)) if exact else scale * rng.uniform(0.2, 1.8))
        for scale in rng.choices(scales, k=rng.randint(0, LONGEST - 1))
    )
    newest = NEWEST - timedelta(hours=rng.randint(0, 24 * 365), seconds=(not exact) * rng.random())
    return [newest - timedelta(seconds=gap) for gap in accumulate(gaps, initial=0.0)]


def options_of(policy: RetentionPolicy) -> list[str]:
    """Return the policy as options of ``restic forget``."""
    options: list[str] = []
    for name in COUNTS:
        count = getattr(policy, name)
        if count:
            options += [f"--{name.replace('_', '-')}", str(LONGEST * 2 if count == ALL else count)]
    if policy.keep_within is not None:
        options += ["--keep-within", str(policy.keep_within)]
    return options


def add_backup(
    repository: ResticRepository, moment: datetime, zone: ZoneInfo, tag: str
) -> BackupInfo:
    """Put one moment into the repository; return a backup of it with the snapshot's id."""
    identity = repository.add(moment.astimezone(zone), tag)
    return BackupInfo(
        id=identity,
        path=f"/backups/{identity}.db",
        created_at=moment,
        size_bytes=1,
        verified_at=moment,
    )


def kept_by(policy: RetentionPolicy, backups: list[BackupInfo]) -> set[str]:
    """Return the ids of what the policy keeps."""
    return {decision.backup.id for decision in apply_policy(backups, policy, now=NOW).kept}


@needs_restic
def test_restic_keeps_the_same(tmp_path: Path, zone: ZoneInfo) -> None:
    """Of 600 random histories in each zone, a policy keeps what restic keeps."""
    rng = random.Random(zone.key)
    compared = kept = removed = 0
    rules: set[str] = set()
    for number in range(POLICIES):
        policy = random_policy(rng)
        repository = ResticRepository(tmp_path / str(number))
        histories: dict[str, list[BackupInfo]] = {}
        for tag in map(str, range(HISTORIES)):
            moments = random_times(rng)
            histories[tag] = [add_backup(repository, at, zone, tag) for at in moments]
            repository.add(OLDEST.astimezone(zone), tag)
        by_restic = repository.forget(options_of(policy))
        assert by_restic.keys() == histories.keys()
        for tag, backups in histories.items():
            ids = {backup.id for backup in backups}
            ours, theirs = kept_by(policy, backups), by_restic[tag][0] & ids
            different = [b.timestamp_display for b in backups if b.id in ours ^ theirs]
            assert not different, f"{policy}: history {number}/{tag}"
            compared += 1
            kept += len(ours)
            removed += len(ids - ours)
        rules |= {option for option in options_of(policy) if option.startswith("--")}
    assert compared >= 200
    assert min(kept, removed) > 1000  # backups, of all histories together
    assert len(rules) == len(COUNTS) + 1  # every rule took part


@needs_restic
@pytest.mark.parametrize("zone", ["Europe/Berlin"], indirect=True)
@pytest.mark.parametrize("change", ["2024-03-31T01:00Z", "2024-10-27T01:00Z"])
def test_restic_keeps_the_same_when_clocks_change(
    tmp_path: Path, zone: ZoneInfo, change: str
) -> None:
    """Hours and buckets count alike for both over the hour that is left out or comes twice."""
    newest = datetime.fromisoformat(change) + timedelta(hours=8)
    for hours in range(1, 24):
        policy = RetentionPolicy(keep_hourly=4, keep_within=Period(hours=hours))
        repository = ResticRepository(tmp_path / str(hours))
        half_hours = [newest - timedelta(minutes=30 * n) for n in range(LONGEST)]
        backups = [add_backup(repository, at, zone, "all") for at in half_hours]
        repository.add(OLDEST.astimezone(zone), "all")
        theirs = repository.forget(options_of(policy))["all"][0]
        assert kept_by(policy, backups) == theirs, policy
