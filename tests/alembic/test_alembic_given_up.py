"""Migrations that end without an error, and whose work is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic_project import DOORS, FIRST, HAS_PLUGINS, Project
from helpers import digest

from soulsense_db import BackupManager
from soulsense_db.health import State, check_health

pytestmark = pytest.mark.slow

MOVES = "op.execute('CREATE TABLE copy (text)')\nop.execute('DELETE FROM entry')"


@pytest.fixture(params=DOORS)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    """Return a project at ``first``, with a step to come that changes rows."""
    project = Project(tmp_path / "project", request.param)
    project.revision("first", None, FIRST)
    project.upgrade("first")
    project.revision("second", "first", MOVES)
    return project


@pytest.mark.parametrize(
    "before",
    [
        'connection.exec_driver_sql("SELECT 1")',
        'connection.exec_driver_sql("PRAGMA foreign_keys=0")',
    ],
)
def test_work_that_nobody_commits_is_put_back(project: Project, before: str) -> None:
    """A transaction that env.py began and never ended is no success, and leaves nothing half."""
    project.edit_env("        context.configure(", f"        {before}\n        context.configure(")
    whole = digest(project.database)
    ended = project.run("upgrade", "head")
    if not HAS_PLUGINS:  # nobody sees the end of env.py: the alarm stands, and names the way back
        assert "may be half migrated" in ended.stderr
        assert project.marker.exists()
        return
    assert ended.returncode != 0
    assert "were not committed" in ended.stderr
    assert digest(project.database) == whole
    assert not project.marker.exists()


@pytest.mark.parametrize("code", ["0", "None", "256", "-512"])
def test_an_exit_without_an_error_is_an_error(project: Project, code: str) -> None:
    """``sys.exit(0)`` in a step is put back, and is no success for a deployment script."""
    project.revision("second", "first", f"{MOVES}\nraise SystemExit({code})")
    whole = digest(project.database)
    ended = project.run("upgrade", "head")
    assert ended.returncode == 1
    assert digest(project.database) == whole


def test_a_purging_stamp_does_not_end_an_alarm(project: Project) -> None:
    """A version table that is rewritten is no proof that the steps were run."""
    project.revision("second", "first", f"{MOVES}\nos._exit(3)")
    whole = digest(project.database)
    assert project.run("upgrade", "head").returncode == 3
    for arguments in (("stamp", "head"), ("stamp", "--purge", "head")):
        refused = project.run(*arguments)
        assert refused.returncode != 0
        assert "was interrupted" in refused.stderr
    manager = BackupManager.from_url(str(project.database))
    assert check_health(manager).state is State.CRITICAL
    manager.restore(manager.candidates()[0])
    assert digest(project.database) == whole
    assert project.run("stamp", "--purge", "first").returncode == 0
