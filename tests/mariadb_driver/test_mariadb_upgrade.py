"""A backup is restored migrated to today's code, and drilled so: by way of a private server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic_project import Project

from mariadb_driver.databases import Database, new_database
from mariadb_driver.projects import project_on
from mariadb_driver.server import Server
from mariadb_driver.test_mariadb_rehearsal import TABLES
from soulsense_db import BackupManager
from soulsense_db.alembic import restore_and_upgrade, upgrade_to
from soulsense_db.errors import RehearsalFailedError


@pytest.fixture
def database(server: Server, tmp_path: Path) -> Iterator[Database]:
    """Return a new database."""
    with new_database(server, tmp_path) as made:
        yield made
        assert made.left() == set()


@pytest.fixture
def project(database: Database, tmp_path: Path) -> Project:
    """Return a project on it, at revision ``second``, with a backup of the first."""
    made = project_on(database, tmp_path / "project")
    made.revision("first", None, TABLES)
    made.revision(
        "second",
        "first",
        'op.add_column("entry", sa.Column("loud", sa.Text))\n'
        'op.execute("UPDATE entry SET loud = UPPER(text)")\n'
        'op.execute("CREATE VIEW louder AS SELECT loud FROM entry")\n'
        'op.execute("DELETE FROM entry WHERE id = 3")',
    )
    made.upgrade("first")
    later = "EVERY 1 DAY STARTS '2037-01-01 00:00:00'"
    database.run(f"CREATE EVENT later ON SCHEDULE {later} DO DELETE FROM entry")
    manager_of(made, database).create("old")
    database.run("DROP EVENT later")
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
    database.run("UPDATE entry SET text = 'newest'")
    before = database.dump()
    manager = manager_of(project, database)
    report = in_folder(
        project, lambda: restore_and_upgrade(project.config(), "latest", manager=manager)
    )
    assert report.upgrade.steps == ("second",)
    assert report.upgrade.new_columns == ("entry.loud",)
    assert [str(one) for one in report.upgrade.fewer_rows] == ["entry has 2 of 3 rows"]
    assert database.run("SELECT GROUP_CONCAT(loud ORDER BY id) FROM entry").strip() == "ONE,TWO"
    assert database.run("SELECT version_num FROM alembic_version").strip() == "second"
    assert "later" in database.run("SHOW EVENTS")
    assert database.run("SELECT COUNT(*) FROM louder").strip() == "2"
    manager.undo_restore()
    assert database.dump() == before


def test_what_does_not_migrate_is_not_restored(project: Project, database: Database) -> None:
    """A step that fails leaves the live database as it is; what does passes a drill."""
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
    project.revision("third", "second", 'op.drop_table("entry")\nop.execute("SELECT no_such")')
    before = database.dump()
    with pytest.raises(RehearsalFailedError, match="cannot be migrated to head"):
        in_folder(project, lambda: restore_and_upgrade(project.config(), "latest", manager=manager))
    assert database.dump() == before
