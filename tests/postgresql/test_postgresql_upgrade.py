"""A backup is restored migrated to today's code, and drilled so: by way of a scratch database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic_project import Project
from rehearsals import TABLES

from postgresql.conftest import VERSIONS, Servers
from postgresql.database import Database
from postgresql.projects import project_on
from soulsense_db import BackupManager
from soulsense_db.alembic import restore_and_upgrade, upgrade_to
from soulsense_db.errors import DrillError, RehearsalFailedError


@pytest.fixture
def database(servers: Servers) -> Iterator[Database]:
    """Return a new database on the newest server; at its end nothing of ours is left there."""
    with Database(servers.of(VERSIONS[-1])) as made:
        yield made


@pytest.fixture
def project(database: Database, tmp_path: Path) -> Project:
    """Return a project on it, at revision ``second``, with a backup of the first."""
    made = project_on(database, tmp_path / "project")
    made.revision("first", None, TABLES)
    made.revision(
        "second",
        "first",
        'op.add_column("entry", sa.Column("loud", sa.Text))\n'
        'op.execute("UPDATE entry SET loud = upper(text)")\n'
        'op.execute("DELETE FROM entry WHERE id = 3")',
    )
    made.upgrade("first")
    manager_of(made, database).create("old")
    made.upgrade("second")
    return made


def manager_of(project: Project, database: Database) -> BackupManager:
    """Return a manager of the project's database."""
    return BackupManager(database.engine, project.folder.parent / "backups")


def in_folder(project: Project, call: Any) -> Any:
    """Call in the folder of the project."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.folder)
        return call()


def test_a_backup_is_restored_as_the_migrations_make_it(
    project: Project, database: Database
) -> None:
    """The live database is the migrated data of the backup; what it was can be brought back."""
    database.execute("UPDATE entry SET text = 'newest'")
    manager = manager_of(project, database)
    report = in_folder(
        project, lambda: restore_and_upgrade(project.config(), "latest", manager=manager)
    )
    assert report.upgrade.steps == ("second",)
    assert report.upgrade.new_columns == ("entry.loud",)
    assert [str(one) for one in report.upgrade.fewer_rows] == ["entry has 2 of 3 rows"]
    assert database.scalar("SELECT string_agg(loud, ',' ORDER BY id) FROM entry") == "ONE,TWO"
    assert database.scalar("SELECT version_num FROM alembic_version") == "second"
    manager.undo_restore()
    assert database.scalar("SELECT min(text) FROM entry") == "newest"


def test_what_does_not_migrate_is_not_restored(project: Project, database: Database) -> None:
    """A step that fails leaves the live database as it is."""
    project.revision("third", "second", 'op.drop_table("entry")\nop.execute("SELECT no_such")')
    manager = manager_of(project, database)
    before = database.scalar("SELECT oid FROM pg_database WHERE datname = current_database()")
    with pytest.raises(RehearsalFailedError, match="cannot be migrated to head"):
        in_folder(project, lambda: restore_and_upgrade(project.config(), "latest", manager=manager))
    found = database.scalar("SELECT oid FROM pg_database WHERE datname = current_database()")
    assert found == before
    assert database.scalar("SELECT count(*) FROM entry WHERE loud IS NOT NULL") == 2


def test_a_drill_migrates_and_checks(project: Project, database: Database) -> None:
    """A drill with migrations: checks see the migrated data; what does not migrate fails it."""
    manager = manager_of(project, database)
    upgrade = upgrade_to(project.config())
    report = in_folder(
        project,
        lambda: manager.verify(
            "latest",
            level="drill",
            upgrade=upgrade,
            checks=["SELECT 1 FROM entry WHERE loud = 'ONE'"],
        ),
    )
    assert report.drill.upgrade.alembic_heads == ("second",)
    assert any("entry has 2 of 3 rows" in line for line in report.warnings)
    project.revision("third", "second", 'op.execute("SELECT no_such")')
    with pytest.raises(DrillError, match="no_such"):
        in_folder(project, lambda: manager.verify("latest", level="drill", upgrade=upgrade))
    check = in_folder(project, lambda: manager.can_restore("latest", upgrade=upgrade))
    assert not check.ok
