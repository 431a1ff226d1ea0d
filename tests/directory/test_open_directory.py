"""A backup directory that others can write to is told of, where somebody sees it."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
from alembic_project import DOORS, Project
from helpers import add_child, make_database
from shell import Shell

from soulsense_db import BackupManager
from soulsense_db.health import State, check_health

CURE = "chmod go-w"


@pytest.mark.parametrize(
    ("mode", "who"),
    [
        (0o777, "Every user"),
        (0o702, "Every user"),
        (0o1777, "Every user"),
        (0o770, "Its group"),
        (0o755, ""),
        (0o700, ""),
    ],
)
def test_status_warns_of_it(manager: BackupManager, mode: int, who: str) -> None:
    """Whoever may write there could replace or remove backups: status is a warning until cured."""
    manager.create()
    manager.directory.chmod(mode)
    report = check_health(manager)
    found = {check.name: check for check in report.checks}
    assert ("directory" in found) is bool(who)
    assert report.state is (State.WARNING if who else State.OK)
    if who:
        message = found["directory"].message
        assert message.startswith(f"{who} can write to {manager.directory} (mode {mode:04o})")
        assert message.endswith(f"{CURE} {manager.directory}")


def test_the_library_warns_once(
    manager: BackupManager,
    caplog: pytest.LogCaptureFixture,
    database: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An application's log has one line per manager, when it creates or restores, not before."""
    monkeypatch.setattr(logging.getLogger("soulsense_db"), "disabled", False)  # by a stock env.py
    info = manager.create()
    manager.directory.chmod(0o777)
    with caplog.at_level(logging.WARNING, "soulsense_db"):
        manager.list()
        manager.verify(info)
        assert caplog.records == []
        manager.create()
        manager.restore(info)
        manager.create()
        assert [record.name for record in caplog.records] == ["soulsense_db"]
        another = BackupManager.from_url(str(database))
        another.restore(info)
        another.create()
    assert len(caplog.records) == 2
    assert all(CURE in record.getMessage() for record in caplog.records)


@pytest.mark.slow
def test_the_command_line_warns_on_stderr(shell: Shell) -> None:
    """One line on stderr, once; stdout is what it was, one object with --json; --quiet is quiet."""
    backups = shell.folder / "data" / "my backups"
    place = ("--directory", str(backups))
    shell.ok("create", *place)
    backups.chmod(0o775)
    expected = (
        f"Warning: Its group can write to {backups} (mode 0775): others could replace or remove "
        f"backups. To prevent that: {CURE} '{backups}'\n"
    )
    result = shell.run("create", *place)
    assert (result.returncode, result.stderr) == (0, expected)
    assert "Warning" not in result.stdout
    add_child(shell.database)
    result = shell.run("restore", "latest", "--yes", "--json", *place)
    assert (result.returncode, result.stderr) == (0, expected)
    assert json.loads(result.stdout)["ok"]
    assert shell.ok("create", "--quiet", *place) == ""
    assert "Warning" not in shell.ok("list", *place)
    result = shell.run("status", *place)
    assert result.returncode == 1
    assert result.stderr == ""
    assert result.stdout.startswith("SOULSENSE_DB WARNING - directory: Its group can write to")


@pytest.mark.parametrize("door", DOORS)
def test_a_migration_warns(tmp_path: Path, door: str) -> None:
    """Who runs alembic upgrade sees it among Alembic's own lines."""
    project = Project(tmp_path, door).standard()
    (tmp_path / "backups").chmod(0o777)
    result = project.run("upgrade", "second")
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(CURE) == 1


def test_a_directory_that_is_made_is_no_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is made here is for its owner alone, under any umask: there is nothing to warn of."""
    before = os.umask(0)
    try:
        manager = BackupManager.from_url(str(make_database(tmp_path / "app.db")))
        manager.restore(manager.create())
    finally:
        os.umask(before)
    assert caplog.records == []
