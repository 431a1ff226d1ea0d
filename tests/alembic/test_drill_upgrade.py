"""A drill with an upgrade: an old backup is known to come back to today's code."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic_project import Project
from rehearsals import manager_of, project, run_sql
from sqlalchemy.engine import Engine

from soulsense_db import BackupManager
from soulsense_db.alembic import upgrade_to
from soulsense_db.errors import DrillError, RehearsalFailedError
from soulsense_db.health import check_health
from soulsense_db.scheduled import run_auto

pytestmark = pytest.mark.slow

NOTE = 'op.add_column("entry", sa.Column("note", sa.Text, server_default="empty"))'


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project at head, in the current directory, with a backup from before that."""
    made = project(tmp_path / "project")
    manager_of(made).create("old")
    made.revision("second", "first", NOTE)
    made.upgrade("head")
    monkeypatch.chdir(made.folder)
    return made


def has_notes(engine: Engine) -> None:
    """Require what only today's tables have."""
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(note) FROM entry")).scalar_one() == 3


def test_the_checks_see_todays_tables(made: Project) -> None:
    """What is drilled is migrated first; that is recorded, and the live database is untouched."""
    manager = manager_of(made)
    before = made.database.read_bytes(), made.database.stat().st_mtime_ns
    with pytest.raises(DrillError, match="no such column: note"):
        manager.verify("latest", level="drill", checks=[has_notes])
    report = manager.verify(
        "latest", level="drill", checks=[has_notes], upgrade=upgrade_to(made.config())
    )
    assert report.drill is not None
    assert report.drill.upgrade is not None
    assert report.drill.alembic_heads == ("first",), "as recorded"
    assert report.drill.upgrade.alembic_heads == ("second",)
    info = manager.get("latest")
    assert (info.drill_result, info.drill_revision) == ("passed", "second")
    assert (made.database.read_bytes(), made.database.stat().st_mtime_ns) == before
    assert list(made.folder.glob(".app.db.work-*")) == []
    (check,) = [one for one in check_health(manager).checks if one.name == "drill"]
    assert check.message.endswith("ago, and migrated to second")


def test_a_drill_without_one_says_nothing_of_the_code(made: Project) -> None:
    """What an earlier drill found of it is of an earlier day."""
    manager = manager_of(made)
    manager.verify("latest", level="drill", upgrade=upgrade_to(made.config()))
    manager.verify("latest", level="drill")
    assert manager.get("latest").drill_revision is None


def test_a_backup_that_does_not_migrate_fails(made: Project) -> None:
    """The drill failed, and the step is named; the backup itself is as sound as before."""
    manager = manager_of(made)
    made.revision("third", "second", "raise ValueError('no such mood')")
    with pytest.raises(DrillError) as caught:
        manager.verify("latest", level="drill", upgrade=upgrade_to(made.config()))
    assert "does not migrate to head: Step third fails: ValueError: no such mood" in (
        caught.value.what
    )
    info = manager.get("latest")
    assert (info.drill_result, info.drill_revision) == ("failed", None)
    assert info.verified_at == info.drilled_at, "it was restored, and is what it was"


def test_migrations_that_cannot_be_run_say_nothing_of_the_backup(made: Project) -> None:
    """An env.py that fails is no failed drill."""
    manager = manager_of(made)
    before = manager.get("latest")
    made.write_env("import nowhere_to_be_found\n")
    with pytest.raises(RehearsalFailedError, match="nowhere_to_be_found"):
        manager.verify("latest", level="drill", upgrade=upgrade_to(made.config()))
    assert manager.get("latest") == before


def test_an_upgrade_is_for_drills(made: Project) -> None:
    """Of a backup that is only read, nothing migrates."""
    with pytest.raises(ValueError, match="drill"):
        manager_of(made).verify("latest", upgrade=upgrade_to(made.config()))


@pytest.mark.parametrize("options", [{"compression": "zstd"}, {"differential": True}])
def test_other_forms(made: Project, options: dict[str, object]) -> None:
    """Whatever form it is in, a backup migrates."""
    manager = BackupManager.from_url(f"sqlite:///{made.database}", **options)  # type: ignore[arg-type]
    manager.restore(manager.list()[-1])
    manager.create("base")
    run_sql(made.database, "UPDATE entry SET mood = 4")
    manager.create("another")
    upgrade = upgrade_to(made.config())
    report = manager.verify("latest", level="drill", upgrade=upgrade)
    assert report.drill is not None
    assert report.drill.upgrade is not None
    assert report.drill.upgrade.steps == ("second",)
    assert manager.restore("latest", upgrade=upgrade).verified
    assert manager.live.alembic_heads() == ("second",)


def test_at_a_mirror_and_on_a_schedule(made: Project, tmp_path: Path) -> None:
    """Those that are due are migrated, here and there."""
    manager = BackupManager.from_url(
        f"sqlite:///{made.database}", mirrors=[f"file://{tmp_path / 'mirror'}"]
    )
    manager.mirrors.add(f"file://{tmp_path / 'mirror'}")
    manager.restore("latest")
    run_auto(manager)
    (check,) = manager.mirrors.verify(level="drill", upgrade=upgrade_to(made.config()))
    assert check.damaged == ()
    assert len(check.verified) == check.total
    made.revision("third", "second", "raise ValueError('no such mood')")
    (check,) = manager.mirrors.verify(level="drill", upgrade=upgrade_to(made.config()))
    assert len(check.damaged) == check.total
    assert all("does not migrate" in error.what for _, error in check.damaged)
