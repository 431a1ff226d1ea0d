"""A year and more of a schedule, with a clock of its own: what is there at the end, and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import time_machine
import typer.main
from alembic_project import Project
from helpers import execute

from soulsense_db import BackupInfo, BackupManager
from soulsense_db.cli import app

pytestmark = pytest.mark.slow

DAYS = 400
START = datetime(2025, 1, 1, 3, 30, tzinfo=ZoneInfo("UTC"))
# Of the policy below: option, bucket of a local time, how many buckets.
RULES: list[tuple[str, Callable[[datetime], str], int]] = [
    ("daily", lambda when: f"{when:%Y-%m-%d}", 7),
    ("weekly", lambda when: "{}-W{:02}".format(*when.isocalendar()), 5),
    ("monthly", lambda when: f"{when:%Y-%m}", 12),
]


def expected_reasons(history: list[datetime]) -> dict[datetime, list[str]]:
    """Return what the policy keeps of ``history`` and why, by looking at all of it at once."""
    kept: dict[datetime, list[str]] = {}
    for name, bucket_of, count in RULES:
        newest: dict[str, datetime] = {}
        for when in sorted(history):
            newest[bucket_of(when)] = when
        buckets = sorted(newest, reverse=True)[:count]
        for number, bucket in enumerate(buckets, 1):
            kept.setdefault(newest[bucket], []).append(f"{name} {bucket} ({number} of {count})")
    return kept


class Operator:
    """Runs the program on one project, at a time that the test sets."""

    def __init__(self, project: Project, capsys: pytest.CaptureFixture[str]) -> None:
        self._options = ["--config", str(project.ini)]
        self._capsys = capsys
        # Once for all: made anew from the signatures at each of 412 calls, it takes two seconds.
        self._program = typer.main.get_command(app)

    def run(self, *arguments: str) -> str:
        """Run a command; return what it printed."""
        self._capsys.readouterr()
        self._program([*arguments, *self._options], standalone_mode=False)
        return self._capsys.readouterr().out


def test_400_days_end_with_what_the_policy_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One `auto` a day, a migration a week, a restore now and then: exactly the policy is left."""
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path / "project", "env.py")
    for name, _, count in RULES:
        project.set_option(f"soulsense_keep_{name}", str(count))
    operator = Operator(project, capsys)
    history: dict[str, list[datetime]] = {"automatic": [], "manual": [], "pre_migration": []}
    summaries: list[str] = []

    with time_machine.travel(START, tick=True) as clock:
        project.standard()
        history["pre_migration"] = [_newest(project).timestamp]
        at_second = False
        for day in range(DAYS):
            clock.move_to(START + timedelta(days=day))
            if day % 10 != 9:  # on the tenth day nobody writes
                execute(project.database, f"INSERT INTO entry (text) VALUES ('day {day}')")
            if day % 7 == 3:
                project.call(*(("downgrade", "first") if at_second else ("upgrade", "second")))
                at_second = not at_second
                history["pre_migration"].append(_newest(project).timestamp)
            if day % 90 == 45:
                operator.run("create", "By hand")
                history["manual"].append(_newest(project).timestamp)
            if day % 60 == 30:
                operator.run("restore", "latest~2", "--yes")
                at_second = (
                    "second" in BackupManager.from_url(str(project.database)).live.alembic_heads()
                )
            clock.shift(timedelta(minutes=5))
            summaries.append(operator.run("auto"))
            if "created" in summaries[-1]:
                history["automatic"].append(_newest(project).timestamp)
        plan = json.loads(operator.run("prune", "--dry-run", "--json"))["result"]
        manager = BackupManager.from_url(str(project.database))
        left = manager.list()
        for info in left:
            manager.verify(info)

    # The manual ones have no schedule of their own: the policy is the same for every kind.
    for kind, times in history.items():
        reasons = expected_reasons(times)
        shown = {
            datetime.fromisoformat(decision["backup"]["created_at"])
            .astimezone()
            .replace(tzinfo=None): decision["reasons"]
            for decision in plan["kept"]
            if decision["backup"]["kind"] == kind
        }
        assert shown == reasons, kind
        assert {info.timestamp for info in left if info.kind == kind} == set(reasons)
    assert plan["removed"] == []
    unchanged = sum("nothing has changed" in line for line in summaries)
    assert unchanged >= 20
    assert len(history["automatic"]) == DAYS - unchanged
    assert all("verified" in line for line in summaries)


def _newest(project: Project) -> BackupInfo:
    return BackupManager.from_url(str(project.database)).get("latest")
