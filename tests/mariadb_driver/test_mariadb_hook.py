"""Alembic's migrations of a MariaDB database, whose statements are committed, are protected."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic_project import DOORS, FIRST, Project

from mariadb_driver.databases import Database, new_database
from mariadb_driver.server import Server
from soulsense_db import BackupManager
from soulsense_db.alembic.errors import MigrationRefusedError


@pytest.fixture
def database(server: Server, tmp_path: Path) -> Iterator[Database]:
    """Return a new database."""
    with new_database(server, tmp_path) as made:
        yield made


@pytest.fixture
def project(database: Database, tmp_path: Path) -> Project:
    """Return a project on the database, at its first revision, with a broken one."""
    made = Project(tmp_path / "project", DOORS[-1])
    url = database.engine.url.render_as_string(hide_password=False).replace("%", "%%")
    lines = made.ini.read_text().splitlines()
    lines = [f"sqlalchemy.url = {url}" if "sqlalchemy.url =" in one else one for one in lines]
    made.ini.write_text("\n".join(lines) + "\n")
    made.set_option("soulsense_backup_directory", str(tmp_path / "backups"))
    made.revision("first", None, FIRST)
    broken = (
        'op.execute("UPDATE entry SET text = 1")\n'
        'op.create_table("extra", sa.Column("id", sa.Integer))\n'
    )
    made.revision("broken", "first", broken + 'op.execute("SELECT no_such_thing")')
    made.revision("killed", "first", broken + "os.kill(os.getpid(), signal.SIGKILL)")
    made.upgrade("first")
    return made


def test_what_a_failed_migration_did_is_taken_back(
    project: Project, database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    """The table that it made and the rows that it changed are as they were."""
    before = database.dump("--ignore-table", f"{database.name}.backups")
    with pytest.raises(sa.exc.DBAPIError, match="no_such_thing"):
        project.upgrade("broken")
    assert "was put back, at first" in capfd.readouterr().err
    assert database.dump("--ignore-table", f"{database.name}.backups") == before
    assert database.left() == set()


def test_a_kill_leaves_a_marker(project: Project, database: Database, tmp_path: Path) -> None:
    """A migration that dies is found, and the backup from before it ends that."""
    died = subprocess.run(
        [sys.executable, "-m", "alembic", "-c", str(project.ini), "upgrade", "killed"],
        cwd=project.folder,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    with pytest.raises(MigrationRefusedError, match="was interrupted"):
        project.upgrade("broken")
    manager = BackupManager(database.engine, tmp_path / "backups")
    error = manager.alarm.error()
    assert error is not None
    assert error.backup is not None
    manager.restore(error.backup)
    assert manager.alarm.error() is None
    assert database.run("SELECT text FROM entry ORDER BY id").split() == ["one", "two", "three"]
