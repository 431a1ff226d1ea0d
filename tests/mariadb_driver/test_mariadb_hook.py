"""Alembic's migrations of a MariaDB database, whose statements are committed, are protected."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic_project import DOORS, FIRST, Project
from printed_commands import printed_commands, run_printed

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


@pytest.fixture
def long_row(project: Project, database: Database) -> Iterator[str]:
    """Have a row that cannot be restored; return the statement that would help."""
    database.run(
        "CREATE TABLE picture (id INT PRIMARY KEY, data LONGBLOB);"
        "INSERT INTO picture VALUES (1, REPEAT('x', 900000));"
        "SET GLOBAL max_allowed_packet = 1048576"
    )
    assert project.ini.exists()
    yield "SET GLOBAL max_allowed_packet = 2097152;"
    database.run("SET GLOBAL max_allowed_packet = 67108864")


def test_a_migration_that_could_not_be_put_back_is_refused(
    project: Project, database: Database, tmp_path: Path, long_row: str
) -> None:
    """Before its first step, with what helps; no backup is left of it, and then it is put back."""
    manager = BackupManager(database.engine, tmp_path / "backups")
    listed = manager.list()
    with pytest.raises(MigrationRefusedError, match=long_row) as refused:
        project.upgrade("broken")
    assert "soulsense_on_failure = keep" in str(refused.value)
    assert database.run("SHOW TABLES LIKE 'extra'") == ""
    assert manager.list() == listed
    assert manager.alarm.error() is None
    database.run(long_row)
    with pytest.raises(sa.exc.DBAPIError, match="no_such_thing"):
        project.upgrade("broken")
    assert database.run("SHOW TABLES LIKE 'extra'") == ""
    assert manager.alarm.error() is None


def test_a_migration_that_is_not_put_back_needs_no_longer_statement(
    project: Project, database: Database, long_row: str
) -> None:
    """With ``soulsense_on_failure = keep`` the backup is made, and nothing is loaded by us."""
    assert long_row
    project.set_option("soulsense_on_failure", "keep")
    with pytest.raises(sa.exc.DBAPIError, match="no_such_thing"):
        project.upgrade("broken")
    assert database.run("SHOW TABLES LIKE 'extra'") == "extra\n"


def test_a_version_table_in_another_database_is_refused(
    project: Project, database: Database
) -> None:
    """On MariaDB a schema is a database: that of the name is not backed up."""
    project.edit_env(
        "connection=connection, target_metadata=target_metadata",
        "connection=connection, target_metadata=target_metadata, version_table_schema='meta'",
    )
    database.run("CREATE DATABASE meta")
    try:
        with pytest.raises(MigrationRefusedError, match="in another database of the server"):
            project.upgrade("broken")
    finally:
        database.run("DROP DATABASE meta")
    assert database.run("SHOW TABLES LIKE 'extra'") == ""


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


@pytest.mark.parametrize("where", ["alembic.ini", "another folder", "env.py"])
def test_the_printed_commands_reach_the_server(
    project: Project, database: Database, tmp_path: Path, where: str
) -> None:
    """What a refused upgrade prints works as it is, where a password is needed, and shows none."""
    password = "Zq7-secret"  # noqa: S105 - of a user of the test
    database.run(
        "DROP USER IF EXISTS secretive@localhost;"
        f"CREATE USER secretive@localhost IDENTIFIED BY '{password}';"
        "GRANT ALL ON *.* TO secretive@localhost WITH GRANT OPTION"
    )
    ini = project.ini.read_text().replace("//root@", f"//secretive:{password}@")
    folder, arguments, env = project.folder, ["-c", "alembic.ini"], {}
    if where == "another folder":
        folder, arguments = tmp_path, ["-c", str(project.ini)]
    if where == "env.py":  # which has the URL from a variable of the application
        line = next(one for one in ini.splitlines() if "sqlalchemy.url =" in one)
        env = {"APP_URL": line.partition("=")[2].strip().replace("%%", "%")}
        ini = ini.replace(line, "")
        project.edit_env(
            "config = context.config",
            "import os\nconfig = context.config\n"
            'config.set_main_option("sqlalchemy.url", os.environ["APP_URL"].replace("%", "%%"))',
        )
    project.ini.write_text(ini)
    alembic = [sys.executable, "-m", "alembic", *arguments, "upgrade", "killed"]
    environment = {**os.environ, **env}
    subprocess.run(alembic, cwd=folder, env=environment, check=False)
    refused = subprocess.run(
        alembic, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    back, keep = printed_commands(refused.stderr)
    assert password not in refused.stderr
    done = run_printed(keep, folder, env)
    assert done.returncode == 0, done.stderr
    assert BackupManager(database.engine, tmp_path / "backups").alarm.error() is None
    done = run_printed(back, folder, env)
    assert done.returncode == 0, done.stderr
    assert database.run("SELECT text FROM entry ORDER BY id").split() == ["one", "two", "three"]
