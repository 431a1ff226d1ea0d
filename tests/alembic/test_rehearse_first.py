"""With ``soulsense_rehearse = true``, an upgrade is tried on a copy before it runs."""

from __future__ import annotations

import argparse
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic_project import DOORS, Project, digest, needs_plugins, query
from rehearsals import TABLES

from soulsense_db.alembic.errors import DataLossRefusedError, RehearsalRefusedError
from soulsense_db.errors import DataLossError, RehearsalFailedError

pytestmark = pytest.mark.slow

REFUSED = 255
"""The exit code of alembic for an error that it shows as a line."""
GOOD = 'op.execute("UPDATE entry SET mood = 1")'
FAILS = 'op.execute("UPDATE entry SET mood = 2")\nop.execute("OH NO")'
LOSES = 'op.execute("DELETE FROM entry WHERE id = 1")'


def project_in(folder: Path, door: str = "env.py", template: str = "generic") -> Project:
    """Return a project at revision ``first`` whose upgrades are rehearsed from now on."""
    made = Project(folder, door, template=template)
    made.revision("first", None, TABLES, 'op.drop_table("entry"); op.drop_table("person")')
    made.upgrade("first")
    made.set_option("soulsense_rehearse", "true")
    return made


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project that has ``with safe_migrations(context):`` in env.py."""
    return project_in(tmp_path / "project")


def assert_refused(made: Project, *arguments: str) -> str:
    """Run ``alembic``: refused, nothing was changed, no backup is left. Returns what it said."""
    live, backups = made.database.read_bytes(), made.backups()
    done = made.run(*arguments)
    assert done.returncode == REFUSED, done.stderr
    assert "No migration was run." in done.stdout
    assert made.database.read_bytes() == live
    assert made.backups() == backups
    assert not made.marker.exists()
    return done.stdout + done.stderr


@pytest.mark.parametrize("door", DOORS)
def test_a_failing_upgrade_is_refused(tmp_path: Path, door: str) -> None:
    """Whatever switches the hook on: it is said which step fails, and the live bytes stay."""
    made = project_in(tmp_path / "project", door)
    made.revision("second", "first", FAILS)
    said = assert_refused(made, "upgrade", "head")
    assert f"Rehearsing the upgrade on a copy of {made.database}" in said
    assert "The rehearsal of this upgrade failed. Step second fails: OperationalError" in said
    assert "Traceback" not in said
    assert made.run("current").stdout.split() == ["first"]


def test_a_loss_is_refused_until_it_is_accepted(project: Project) -> None:
    """The losses are named; with -x they are said again, and the upgrade runs, with its backup."""
    project.revision(
        "second", "first", f"{LOSES}\nop.execute('UPDATE person SET name = NULL WHERE id = 1')"
    )
    said = assert_refused(project, "upgrade", "head")
    assert "Table entry loses 1 row of 3. And 1 more." in said
    assert "Column person.name loses 1 value of 2" in said
    assert "alembic -x soulsense_accept_loss=1 upgrade head" in said
    assert_refused(project, "-x", "soulsense_accept_loss=0", "upgrade", "head")
    earlier = len(project.backups())
    done = project.run("-x", "soulsense_accept_loss=1", "upgrade", "head")
    assert done.returncode == 0, done.stderr
    assert "Rehearsal: Accepted: Table entry loses 1 row of 3." in done.stderr
    assert query(project.database, "SELECT count(*) FROM entry") == [(2,)]
    assert len(project.backups()) == earlier + 1


def test_an_upgrade_that_would_not_be_saved_is_refused(project: Project) -> None:
    """env.py leaves a transaction open that nobody commits: that is found before, on the copy."""
    project.edit_env(
        "        context.configure(",
        '        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")\n'
        "        context.configure(",
    )
    project.revision("second", "first", "pass")
    said = assert_refused(project, "upgrade", "head")
    assert "env.py ends without saving it: the data is at first, and should be at second" in said


def test_no_failure_can_be_accepted(project: Project) -> None:
    """The argument is for losses alone."""
    project.revision("second", "first", f"{LOSES}\n{FAILS}")
    assert_refused(project, "-x", "soulsense_accept_loss=1", "upgrade", "head")


def test_an_answer_that_means_nothing_is_an_error(project: Project) -> None:
    """A misspelt yes is no yes."""
    project.revision("second", "first", LOSES)
    said = assert_refused(project, "-x", "soulsense_accept_loss=yse", "upgrade", "head")
    assert "-x soulsense_accept_loss is 'yse'." in said


def test_a_good_upgrade_runs_and_has_its_backup(project: Project) -> None:
    """Two lines say what is done and found; then all is as without the option."""
    project.revision("second", "first", GOOD)
    earlier = len(project.backups())
    done = project.run("upgrade", "head")
    assert done.returncode == 0, done.stderr
    ours = [line for line in done.stderr.splitlines() if "alembic.soulsense_db" in line]
    assert f"Rehearsing the upgrade on a copy of {project.database}" in ours[0]
    assert "Rehearsed: 1 step in " in ours[1] and "no rows or values are lost" in ours[1]
    assert "Backup before the migration" in ours[2]
    assert len(ours) == 3
    assert len(project.backups()) == earlier + 1
    assert query(project.database, "SELECT DISTINCT mood FROM entry") == [(1,)]


def test_steps_run_twice_and_no_more(project: Project, tmp_path: Path) -> None:
    """Once in the rehearsal, which says so, and once for real: a rehearsal rehearses nothing."""
    log = tmp_path / "log"
    project.revision(
        "second",
        "first",
        f"with open({str(log)!r}, 'a') as file:\n"
        "    print(os.environ.get('SOULSENSE_REHEARSAL'), file=file)",
    )
    assert project.run("upgrade", "head").returncode == 0
    assert log.read_text().split() == ["1", "None"]


def test_arguments_and_relative_revisions_reach_it(project: Project, tmp_path: Path) -> None:
    """It goes where the command goes, and env.py gets the same -x."""
    log = tmp_path / "log"
    project.revision(
        "second",
        "first",
        f"with open({str(log)!r}, 'a') as file:\n"
        "    print(context.get_x_argument(as_dictionary=True)['tenant'], file=file)",
    )
    project.revision("third", "second", FAILS)
    assert project.run("-x", "tenant=one", "upgrade", "+1").returncode == 0
    assert log.read_text().split() == ["one", "one"]
    assert project.run("current").stdout.split() == ["second"]


def test_other_commands_are_not_rehearsed(project: Project) -> None:
    """Only an upgrade that has steps to run: no downgrade, and none that runs no steps."""
    project.edit_env(
        "target_metadata = None", "import sqlalchemy\ntarget_metadata = sqlalchemy.MetaData()"
    )
    project.revision("second", "first", 'op.execute("SELECT 1")')
    project.revision("third", "second", "pass")
    for arguments in (
        ("current",),
        ("upgrade", "first"),
        ("upgrade", "first:head", "--sql"),
        ("stamp", "third"),
        ("revision", "--autogenerate", "-m", "found"),
        ("downgrade", "-1"),
        ("history",),
    ):
        done = project.run(*arguments)
        assert done.returncode == 0, done.stderr
        assert "ehears" not in done.stderr


def test_in_python_it_is_an_error_of_both_kinds(project: Project) -> None:
    """A program catches what the report raises, and Alembic its own; a Namespace accepts."""
    project.revision("second", "first", LOSES)
    before = digest(project.database)
    with pytest.raises(DataLossError) as lost:
        project.upgrade("head")
    assert type(lost.value) is DataLossRefusedError
    assert digest(project.database) == before
    config = project.config()
    config.cmd_opts = argparse.Namespace(x=["soulsense_accept_loss=1"])
    project.upgrade("head", config)
    project.revision("third", "second", FAILS)
    with pytest.raises(RehearsalFailedError) as failed:
        project.upgrade("head")
    assert type(failed.value) is RehearsalRefusedError
    assert query(project.database, "SELECT version_num FROM alembic_version") == [("second",)]


def test_an_async_environment(tmp_path: Path) -> None:
    """The hook runs within the event loop of env.py there."""
    made = project_in(tmp_path / "project", template="async")
    made.revision("second", "first", GOOD)
    made.revision("third", "second", FAILS)
    assert made.run("upgrade", "second").returncode == 0
    assert "Step third fails" in assert_refused(made, "upgrade", "head")


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_a_transaction_that_env_py_has_begun(project: Project, mode: str) -> None:
    """Its lock of writers is in nobody's way, and what follows is in that transaction."""
    with closing(sqlite3.connect(project.database)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
    project.edit_env(
        "    with connectable.connect() as connection:\n",
        "    with connectable.connect() as connection:\n"
        "        connection.exec_driver_sql('BEGIN IMMEDIATE')\n",
    )
    project.edit_env(
        "            context.run_migrations()\n\n\nif",
        "            context.run_migrations()\n        connection.commit()\n\n\nif",
    )
    project.revision("second", "first", GOOD)
    done = project.run("upgrade", "head")
    assert done.returncode == 0, done.stderr
    assert "Rehearsed: 1 step" in done.stderr
    assert query(project.database, "SELECT DISTINCT mood FROM entry") == [(1,)]
    project.revision("third", "second", FAILS)
    assert_refused(project, "upgrade", "head")


@needs_plugins
def test_several_databases(tmp_path: Path) -> None:
    """All of a command are rehearsed before the first one is migrated, and once."""
    made = Project(tmp_path / "project", "alembic.ini", template="multidb")
    made.revision("first", None, TABLES)
    made.run("upgrade", "first")
    files = sorted(made.folder.glob("*.db"))
    assert len(files) == 2
    made.set_option("soulsense_rehearse", "true")
    made.revision("second", "first", GOOD)
    done = made.run("upgrade", "second")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Rehearsing") == 1
    assert "Rehearsed: 2 steps" in done.stderr
    made.revision(
        "third",
        "second",
        "if context.get_context().connection.engine.url.database != " + repr(str(files[0])) + ":\n"
        "    op.execute('OH NO')",
    )
    before = [file.read_bytes() for file in files]
    done = made.run("upgrade", "head")
    assert done.returncode == REFUSED
    assert "Step third fails" in done.stdout
    assert [file.read_bytes() for file in files] == before


def test_a_database_in_memory_is_left_alone(project: Project) -> None:
    """There is nothing to rehearse on, as there is nothing to back up."""
    text = project.ini.read_text()
    project.ini.write_text(text.replace(f"sqlite:///{project.database}", "sqlite://"))
    project.revision("second", "first", LOSES)
    done = project.run("upgrade", "head")
    assert done.returncode == 0, done.stderr
    assert "ehears" not in done.stderr


@needs_plugins
def test_without_protection_it_is_an_error(tmp_path: Path) -> None:
    """Nobody believes in a rehearsal that never is; SOULSENSE_BACKUP=0 switches both off."""
    made = project_in(tmp_path / "project", "none")
    made.revision("second", "first", GOOD)
    said = assert_refused(made, "upgrade", "head")
    assert "soulsense_rehearse is set, and nothing protects these migrations" in said
    made.env["SOULSENSE_BACKUP"] = "0"
    done = made.run("upgrade", "head")
    assert done.returncode == 0, done.stderr
    assert "ehears" not in done.stderr


def test_it_ends_after_its_time(project: Project) -> None:
    """A step that never ends is ended, and the option that gives it more time is named."""
    project.set_option("soulsense_rehearse_timeout", "3")
    project.revision("second", "first", "time.sleep(1000)")
    said = assert_refused(project, "upgrade", "head")
    assert "time limit of 3 s was reached" in said and "soulsense_rehearse_timeout" in said
    text = project.ini.read_text()
    project.ini.write_text(text.replace("_timeout = 3", "_timeout = never"))
    assert "soulsense_rehearse_timeout is 'never'" in assert_refused(project, "upgrade", "head")


def test_a_program_with_a_way_of_its_own_is_told(project: Project) -> None:
    """Where nobody knows what to run in a rehearsal, it is said, and the backup is made."""
    project.revision("second", "first", LOSES)
    earlier = len(project.backups())
    program = project.folder / "program.py"
    program.write_text(
        "from alembic.config import Config\n"
        "from alembic.runtime.environment import EnvironmentContext\n"
        "from alembic.script import ScriptDirectory\n"
        "scripts = ScriptDirectory.from_config(config := Config('alembic.ini'))\n"
        "steps = lambda heads, context: scripts._upgrade_revs('head', heads)\n"
        "with EnvironmentContext(config, scripts, fn=steps):\n"
        "    scripts.run_env()\n"
    )
    done = subprocess.run(
        [sys.executable, program], cwd=project.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "This upgrade is NOT rehearsed" in done.stderr
    assert len(project.backups()) == earlier + 1


def test_another_database_in_the_rehearsal_is_no_rehearsal(project: Project) -> None:
    """Where env.py has the database from this process alone, the upgrade does not slip through."""
    project.revision("second", "first", LOSES)
    project.edit_env(
        'prefix="sqlalchemy.",',
        'prefix="sqlalchemy.",\n        '
        "url=f\"sqlite:///{config.attributes.get('where', ['other.db'])[0]}\",",
    )
    config = project.config()
    config.attributes["where"] = [str(project.database)]
    with pytest.raises(RehearsalRefusedError, match="ran no step on a copy of"):
        project.upgrade("head", config)
    assert query(project.database, "SELECT count(*) FROM entry") == [(3,)]
