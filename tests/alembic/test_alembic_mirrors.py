"""No migration begins before its backup is somewhere else, where that is asked for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from alembic_project import Project, digest

from soulsense_db.mirrors import mirror_for
from soulsense_db.sidecars.migration_marker import marker_path

REFUSED = 255
"""The exit code of alembic for an error that it shows as a line."""


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """Return the directory of a mirror that is not set up yet."""
    (tmp_path / "drive").mkdir()
    return tmp_path / "drive" / "soulsense"


@pytest.fixture
def project(tmp_path: Path, drive: Path) -> Project:
    """Return a project whose backups have to be at a mirror before a migration."""
    made = Project(tmp_path / "project", "env.py").standard()
    made.set_option("soulsense_mirrors", f"file://{drive}")
    made.set_option("soulsense_mirror_before_upgrade", "true")
    made.set_option("soulsense_mirror_deadline", "10")
    return made


def _prepare(drive: Path) -> None:
    with mirror_for(f"file://{drive}") as mirror:
        mirror.prepare()


def _change(project: Project, name: str, value: str) -> None:
    """Give an option that is set another value."""
    text = project.ini.read_text(encoding="utf-8")
    changed = re.sub(rf"^{name} = .*$", lambda _: f"{name} = {value}", text, flags=re.MULTILINE)
    project.ini.write_text(changed, encoding="utf-8")


def test_the_backup_is_there_before_the_first_step(project: Project, drive: Path) -> None:
    """A step that fails finds it there; nothing but that backup was uploaded."""
    _prepare(drive)
    project.revision(
        "looks",
        "first",
        f"import pathlib\nprint(list(pathlib.Path({str(drive)!r}).rglob('*.db.meta')))",
    )
    earlier = len(project.backups())
    done = project.run("upgrade", "looks")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(".db.meta") == 1
    assert len(list(drive.rglob("*.db"))) == 1
    assert len(project.backups()) == earlier + 1


def test_without_a_mirror_that_takes_it_no_step_is_run(project: Project, drive: Path) -> None:
    """Refused in one line that says why; the database is what it was, and no backup is left."""
    before, backups = digest(project.database), project.backups()
    done = project.run("upgrade", "head")
    assert done.returncode == REFUSED
    assert "No migration was run" in done.stderr
    assert "did not reach a mirror" in done.stderr
    assert "not mounted" in done.stderr
    assert digest(project.database) == before
    assert project.backups() == backups
    assert not marker_path(project.database).exists()
    _prepare(drive)
    assert project.run("upgrade", "first").returncode == 0


def test_without_any_mirror_the_option_is_an_error(project: Project) -> None:
    """Nobody believes in a copy somewhere else that cannot be."""
    _change(project, "soulsense_mirrors", "none")
    done = project.run("upgrade", "head")
    assert done.returncode == REFUSED
    assert "No mirror is configured" in done.stderr


def test_one_of_several_mirrors_is_enough(project: Project, drive: Path) -> None:
    """The first one that takes it lets the migration begin."""
    _prepare(drive)
    _change(project, "soulsense_mirrors", f"file://{drive.parent}/missing, file://{drive}")
    project.revision("empty", "first", "pass")
    assert project.run("upgrade", "empty").returncode == 0
    assert len(list(drive.rglob("*.db.meta"))) == 1


def test_by_default_a_migration_asks_no_mirror(project: Project, drive: Path) -> None:
    """The option is off: an upgrade goes on without a network."""
    _change(project, "soulsense_mirror_before_upgrade", "false")
    project.revision("empty", "first", "pass")
    assert project.run("upgrade", "empty").returncode == 0
    assert not drive.exists()
