"""Alembic's migrations of a PostgreSQL database are protected as those of a file are."""

from __future__ import annotations

import json
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

from postgresql import content
from postgresql.database import Database
from postgresql.newest import on_newest
from postgresql.server import Server
from soulsense_db import BackupManager
from soulsense_db.alembic.errors import MigrationRefusedError
from soulsense_db.health import check_health

ONE_TRANSACTION = "one transaction for all steps"
ONE_EACH = "a transaction for each step"


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    """Return a new database."""
    with Database(server) as made:
        yield made


@pytest.fixture
def project(database: Database, tmp_path: Path) -> Project:
    """Return a project on the database, at its first revision, with a second and a broken one."""
    made = Project(tmp_path / "project", DOORS[-1])
    lines = made.ini.read_text().splitlines()
    url = database.url.replace("%", "%%")
    lines = [
        f"sqlalchemy.url = {url}" if one.startswith("sqlalchemy.url") else one for one in lines
    ]
    made.ini.write_text("\n".join(lines) + "\n")
    made.set_option("soulsense_backup_directory", str(tmp_path / "backups"))
    made.revision("first", None, FIRST)
    made.revision("second", "first", 'op.execute("UPDATE entry SET text = upper(text)")')
    made.revision("broken", "second", 'op.drop_table("entry")\nop.execute("SELECT no_such_thing")')
    made.upgrade("first")
    return made


def each_step_alone(project: Project) -> None:
    """Have each step committed before the next one."""
    project.edit_env(
        "connection=connection, target_metadata=target_metadata",
        "connection=connection, target_metadata=target_metadata, transaction_per_migration=True",
    )


def manager(project: Project, database: Database) -> BackupManager:
    """Return the manager of the backups that the hook made."""
    return BackupManager(database.engine, project.folder.parent / "backups")


def test_a_backup_is_made_before_the_steps(project: Project, database: Database) -> None:
    """An upgrade takes a backup of the revision before, of its kind, and leaves nothing else."""
    project.upgrade("second")
    newest = manager(project, database).list()[0]
    assert (newest.kind, newest.alembic_heads, newest.target_revision) == (
        *("pre_migration", ("first",)),
        "second",
    )
    assert database.scalar("SELECT text FROM entry WHERE id = 1") == "ONE"
    assert not list((project.folder.parent / "backups").glob("*.migrating"))
    project.call("downgrade", "first")
    down = manager(project, database).list()[0]
    assert (down.target_revision, down.description) == ("first", "Before downgrade to first")
    assert newest.description == "Before second"


def test_what_the_server_rolled_back_is_not_restored(
    project: Project, database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    """Steps of one transaction are gone with it; who is connected stays so, and keeps its rows."""
    with database.engine.connect() as other:
        pid = other.scalar(sa.text("SELECT pg_backend_pid()"))
        other.rollback()
        with pytest.raises(sa.exc.ProgrammingError, match="no_such_thing"):
            project.upgrade("broken")
        assert other.scalar(sa.text("SELECT pg_backend_pid()")) == pid
    assert "the server rolled it back" in capfd.readouterr().err
    assert database.scalar("SELECT version_num FROM alembic_version") == "first"
    assert database.scalar("SELECT text FROM entry WHERE id = 1") == "one"
    assert manager(project, database).alarm.error() is None


BEHIND_SQLALCHEMY = {
    "text": 'op.execute("COMMIT")',
    "text, and on": 'op.execute("COMMIT AND CHAIN")',
    "a cursor": 'cursor = op.get_bind().connection.cursor()\ncursor.execute("commit")',
    "the library": "op.get_bind().connection.commit()",
    "after a rollback": (
        'op.execute("ROLLBACK")\nop.execute("DELETE FROM entry")\nop.execute("COMMIT")'
    ),
}


@on_newest
@pytest.mark.parametrize("library", ["psycopg", "psycopg2"])
@pytest.mark.parametrize("commit", BEHIND_SQLALCHEMY.values(), ids=BEHIND_SQLALCHEMY)
def test_what_a_step_commits_behind_sqlalchemy_is_put_back(
    project: Project,
    database: Database,
    commit: str,
    library: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Revisions and schema are those of before, and rows are gone all the same."""
    project.revision(
        "commits",
        "first",
        f'op.execute("DELETE FROM entry WHERE id = 1")\n{commit}\n'
        'op.execute("SELECT no_such_thing")',
    )
    ini = project.ini.read_text()
    assert "postgresql+psycopg:" in ini
    project.ini.write_text(ini.replace("postgresql+psycopg:", f"postgresql+{library}:"))
    with pytest.raises(sa.exc.ProgrammingError, match="no_such_thing"):
        project.upgrade("commits")
    assert "was put back, at first" in capfd.readouterr().err
    assert database.scalar("SELECT count(*) FROM entry") == 3
    assert database.scalar("SELECT text FROM entry WHERE id = 1") == "one"


@pytest.mark.parametrize("committed", [False, True], ids=["rolled back", "put back"])
def test_a_version_table_may_be_in_a_schema(
    project: Project, database: Database, committed: bool
) -> None:
    """Schemas are parts of the database: what Alembic calls version_table_schema is backed up."""
    database.execute(
        "CREATE SCHEMA meta",
        "CREATE TABLE meta.alembic_version AS TABLE alembic_version",
        "DROP TABLE alembic_version",
    )
    project.edit_env(
        "connection=connection, target_metadata=target_metadata",
        "connection=connection, target_metadata=target_metadata,"
        f" transaction_per_migration={committed}, version_table_schema='meta'",
    )
    project.upgrade("second")
    found = manager(project, database)
    assert found.list()[0].kind == "pre_migration"
    project.call("downgrade", "first")
    with pytest.raises(sa.exc.ProgrammingError, match="no_such_thing"):
        project.upgrade("broken")
    assert database.scalar("SELECT version_num FROM meta.alembic_version") == "first"
    assert database.scalar("SELECT text FROM entry WHERE id = 1") in ("one", "ONE")
    assert found.alarm.error() is None


@pytest.mark.parametrize("on_failure", ["restore", "keep"])
def test_status_has_nothing_to_say_after_a_failure(
    project: Project, database: Database, on_failure: str
) -> None:
    """The backup of a migration that failed is in the table of backups, as any other."""
    if on_failure == "keep":
        project.set_option("soulsense_on_failure", "keep")
        each_step_alone(project)
    with pytest.raises(sa.exc.ProgrammingError, match="no_such_thing"):
        project.upgrade("broken")
    found = manager(project, database)
    assert found.catalog.names() == frozenset(info.filename for info in found.list())
    checks = {check.name: check for check in check_health(found).checks}
    assert checks["catalog"].message == "up to date"


@pytest.mark.parametrize(
    "step",
    [
        'op.execute("CREATE TABLE left_over (id int)")\n'
        "with op.get_context().autocommit_block():\n"
        '    op.execute("CREATE INDEX CONCURRENTLY entry_text ON entry (text)")\n'
        'op.execute("SELECT no_such_thing")',
        "with op.get_context().autocommit_block():\n"
        "    op.execute(\"UPDATE entry SET text = 'gone'\")\n"
        'op.execute("SELECT no_such_thing")',
        "with op.get_context().autocommit_block():\n"
        "    op.execute(\"INSERT INTO entry (text) VALUES ('ONE')\")\n"
        '    op.execute("CREATE UNIQUE INDEX CONCURRENTLY entry_text ON entry (text)")',
        "op.execute(\"UPDATE entry SET text = 'gone'\")\n"
        "op.get_bind().commit()\n"
        'op.execute("SELECT no_such_thing")',
    ],
    ids=["index and table", "rows alone", "an invalid index", "a commit of its own"],
)
def test_what_was_committed_on_the_way_is_put_back(
    project: Project, database: Database, step: str
) -> None:
    """Nothing of a step that failed is left, whether a rollback takes it back or not."""
    before = manager(project, database).create("before")
    project.revision("broken", "second", step)
    with pytest.raises(sa.exc.DBAPIError):
        project.upgrade("broken")
    assert manager(project, database).compare(before).identical
    assert database.scalar("SELECT version_num FROM alembic_version") == "first"
    assert manager(project, database).alarm.error() is None


def test_steps_committed_one_by_one_are_put_back(
    project: Project, database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    """The first of two steps was committed when the second one failed: it is taken back as well."""
    each_step_alone(project)
    with pytest.raises(sa.exc.ProgrammingError, match="no_such_thing"):
        project.upgrade("broken")
    assert "was put back, at first" in capfd.readouterr().err
    assert database.scalar("SELECT text FROM entry WHERE id = 1") == "one"
    project.upgrade("second")
    assert database.scalar("SELECT text FROM entry WHERE id = 1") == "ONE"


def test_an_engine_that_commits_each_statement(project: Project, database: Database) -> None:
    """With AUTOCOMMIT no rollback takes anything back: the backup does."""
    project.edit_env(
        "poolclass=pool.NullPool,", 'poolclass=pool.NullPool, isolation_level="AUTOCOMMIT",'
    )
    with pytest.raises(sa.exc.ProgrammingError, match="no_such_thing"):
        project.upgrade("broken")
    assert database.scalar("SELECT text FROM entry WHERE id = 1") == "one"
    assert database.scalar("SELECT version_num FROM alembic_version") == "first"


def test_a_kill_leaves_a_marker(project: Project, database: Database) -> None:
    """A migration that dies between two committed steps is found, and the backup ends that."""
    each_step_alone(project)
    project.revision("broken", "second", "os.kill(os.getpid(), signal.SIGKILL)")
    died = subprocess.run(
        [sys.executable, "-m", "alembic", "-c", str(project.ini), "upgrade", "broken"],
        cwd=project.folder,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    assert database.scalar("SELECT version_num FROM alembic_version") == "second"
    with pytest.raises(MigrationRefusedError, match="was interrupted"):
        project.upgrade("second")
    found = manager(project, database)
    error = found.alarm.error()
    assert error is not None
    assert error.backup is not None
    found.restore(error.backup)
    assert found.alarm.error() is None
    assert database.scalar("SELECT version_num FROM alembic_version") == "first"
    project.upgrade("second")


def test_a_stamp_does_not_hide_it(project: Project, database: Database) -> None:
    """``stamp --purge`` of a half-migrated database is refused, wherever its backups are."""
    each_step_alone(project)
    project.revision("broken", "second", "os.kill(os.getpid(), signal.SIGKILL)")
    subprocess.run(
        [sys.executable, "-m", "alembic", "-c", str(project.ini), "upgrade", "broken"],
        cwd=project.folder,
        check=False,
    )
    with pytest.raises(MigrationRefusedError, match="was interrupted"):
        project.call("stamp", "first", purge=True)
    assert database.scalar("SELECT version_num FROM alembic_version") == "second"


def test_another_machine_waits(project: Project, database: Database, tmp_path: Path) -> None:
    """The lock of a migration is on the server: a directory of its own does not get round it."""
    elsewhere = BackupManager(database.engine, tmp_path / "elsewhere")
    here = manager(project, database)
    with here.exclusive():
        from soulsense_db.errors import DatabaseLockedError

        with pytest.raises(DatabaseLockedError, match="another machine"):
            elsewhere.exclusive(timeout=0.2)
    elsewhere.exclusive(timeout=0.2).release()


def test_the_command_line_says_what_is_wrong(project: Project, database: Database) -> None:
    """``status`` of a database on a server finds the migration that died."""
    each_step_alone(project)
    project.revision("broken", "second", "os.kill(os.getpid(), signal.SIGKILL)")
    subprocess.run(
        [sys.executable, "-m", "alembic", "-c", str(project.ini), "upgrade", "broken"],
        cwd=project.folder,
        check=False,
    )
    told = subprocess.run(
        [
            *(sys.executable, "-m", "soulsense_db", "status", "--json", "--url", database.url),
            *("--directory", str(project.folder.parent / "backups")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.stdout, told.stderr
    checks = {one["name"]: one for one in json.loads(told.stdout)["result"]["checks"]}
    assert checks["migration"]["state"] == "CRITICAL"


@pytest.fixture
def password(server: Server, project: Project, database: Database) -> Iterator[str]:
    """Have the server ask for a password, which is in alembic.ini; return it."""
    each_step_alone(project)
    project.revision("broken", "second", "os.kill(os.getpid(), signal.SIGKILL)")
    secret = "Zq7-secret"  # noqa: S105 - of a role of the test
    content.psql(
        server,
        "postgres",
        f"""SET password_encryption = 'scram-sha-256'; DROP ROLE IF EXISTS secretive;
        CREATE ROLE secretive SUPERUSER LOGIN PASSWORD '{secret}'""",
    )
    ini = project.ini.read_text()
    ini = ini.replace("//postgres@", f"//secretive:{secret}@")
    project.ini.write_text(ini)
    rules = server.data / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all secretive scram-sha-256\n{before}")
    content.psql(server, "postgres", "SELECT pg_reload_conf()")
    yield secret
    rules.write_text(before)
    content.psql(server, "postgres", "SELECT pg_reload_conf()")


@pytest.mark.parametrize("where", ["alembic.ini", "another folder", "env.py"])
def test_the_printed_commands_reach_the_server(
    project: Project, database: Database, password: str, tmp_path: Path, where: str
) -> None:
    """What a refused upgrade prints works as it is, where a password is needed, and shows none."""
    folder, arguments, env = project.folder, ["-c", "alembic.ini"], {}
    if where == "another folder":
        folder, arguments = tmp_path, ["-c", str(project.ini)]
    if where == "env.py":  # which has the URL from a variable of the application
        line = next(
            one for one in project.ini.read_text().splitlines() if "sqlalchemy.url =" in one
        )
        env = {"APP_URL": line.partition("=")[2].strip().replace("%%", "%")}
        project.ini.write_text(project.ini.read_text().replace(line, ""))
        project.edit_env(
            "config = context.config",
            "import os\nconfig = context.config\n"
            'config.set_main_option("sqlalchemy.url", os.environ["APP_URL"].replace("%", "%%"))',
        )
    alembic = [sys.executable, "-m", "alembic", *arguments, "upgrade", "broken"]
    environment = {**os.environ, **env}
    subprocess.run(alembic, cwd=folder, env=environment, check=False)
    refused = subprocess.run(
        alembic, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    back, keep = printed_commands(refused.stderr)
    assert "restore soulsense_backup" in back
    assert "restore --accept" in keep
    assert password not in refused.stderr
    done = run_printed(keep, folder, env)
    assert done.returncode == 0, done.stderr
    assert manager(project, database).alarm.error() is None
    done = run_printed(back, folder, env)
    assert done.returncode == 0, done.stderr
    assert database.scalar("SELECT version_num FROM alembic_version") == "first"


def test_a_url_that_nothing_else_names(
    project: Project, database: Database, password: str, tmp_path: Path
) -> None:
    """A command whose password was typed shows where it has to be typed again."""
    alembic = [sys.executable, "-m", "alembic", "-c", str(project.ini), "upgrade", "broken"]
    subprocess.run(alembic, cwd=project.folder, check=False)
    line = next(one for one in project.ini.read_text().splitlines() if "sqlalchemy.url =" in one)
    url = line.partition("=")[2].strip().replace("%%", "%")
    where = ["--url", url, "--directory", str(tmp_path / "backups")]
    delete = ["delete", "latest", "--yes", *where]
    told = subprocess.run(
        [sys.executable, "-m", "soulsense_db", *delete],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    back, _ = printed_commands(told.stderr)
    assert password not in back
    done = run_printed(back.replace("***", password), tmp_path)
    assert done.returncode == 0, done.stderr
    assert database.scalar("SELECT version_num FROM alembic_version") == "first"
