"""The rehearsal works with the env.py that is there, however it makes its engines."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic_project import ALEMBIC_VERSION, HAS_PLUGINS, Project
from rehearsals import kinds, manager_of, one, project, rehearsed, run_sql

from soulsense_db import BackupManager
from soulsense_db.alembic import rehearse
from soulsense_db.errors import OptionError

pytestmark = pytest.mark.slow

LOSES = 'op.execute("DELETE FROM entry WHERE id = 1")'
TEMPLATES = ["generic", "async"]
TEMPLATES += ["pyproject", "pyproject_async"] if ALEMBIC_VERSION >= (1, 16) else []


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_template_of_alembic_works(tmp_path: Path, template: str) -> None:
    """env.py as alembic init writes it, untouched: a loss is found, and a good one gives none."""
    made = project(tmp_path / "project", template)
    made.revision("second", "first", LOSES)
    report = rehearsed(made)
    assert kinds(report) == [("loss", "rows_lost")], report.error
    assert report.steps[0].locked_seconds is not None
    assert report.steps[0].locked_seconds > 0
    made.revision("second", "first", "pass")
    assert rehearsed(made).findings == ()


def test_an_env_py_with_its_own_settings_works(tmp_path: Path) -> None:
    """A URL from the application's settings, and not from alembic.ini; also without a manager."""
    made = project(tmp_path / "project")
    (made.folder / "own_settings.py").write_text(
        f"import sqlalchemy as sa\nengine = sa.create_engine('sqlite:///{made.database}')\n"
    )
    made.ini.write_text(
        made.ini.read_text().replace(f"sqlalchemy.url = sqlite:///{made.database}", "")
    )
    made.write_env(
        "from alembic import context\n"
        "from own_settings import engine\n"
        "with engine.connect() as connection:\n"
        "    context.configure(connection=connection, target_metadata=None)\n"
        "    with context.begin_transaction():\n"
        "        context.run_migrations()\n"
    )
    made.revision("second", "first", LOSES)
    assert kinds(rehearsed(made)) == [("loss", "rows_lost")]
    assert kinds(rehearsed(made, manager=None)) == [("loss", "rows_lost")]
    assert "own_settings" not in sys.modules


def test_an_env_py_that_migrates_twice(tmp_path: Path) -> None:
    """The second run has nothing to do: the revision before is that before the first."""
    made = project(tmp_path / "project")
    made.revision("second", "first", 'op.add_column("entry", sa.Column("note", sa.Text))')
    run = "            context.run_migrations()"
    made.edit_env(run, f"{run}\n        with context.begin_transaction():\n{run}")
    report = rehearsed(made)
    (database,) = report.databases
    assert (database.heads_before, database.alembic_heads) == (("first",), ("second",))
    assert report.findings == ()


def test_an_env_py_that_stamps(tmp_path: Path) -> None:
    """A stamp is no step. One that env.py commits is no upgrade that was not saved."""
    made = project(tmp_path / "project")
    made.revision("second", "first", 'op.add_column("entry", sa.Column("note", sa.Text))')
    run = "            context.run_migrations()"
    stamp = "context.get_context().stamp(context.script, 'second')"
    made.edit_env(run, f"            {stamp}\n            connection.commit()\n{run}")
    report = rehearsed(made)
    assert (report.steps, report.findings) == ((), ())
    assert report.databases[0].alembic_heads == ("second",)


def test_an_engine_with_a_creator_works(tmp_path: Path) -> None:
    """What do_connect does not see, an engine with its own creator, is led to the copy as well."""
    made = project(tmp_path / "project")
    made.edit_env(
        "    connectable = engine_from_config(\n",
        "    import sqlite3, sqlalchemy\n"
        f"    path = {str(made.database)!r}\n"
        "    connectable = sqlalchemy.create_engine(\n"
        "        'sqlite://', creator=lambda: sqlite3.connect(path), poolclass=pool.NullPool)\n"
        "    engine_from_config(\n",
    )
    made.revision("second", "first", LOSES)
    assert kinds(rehearsed(made)) == [("loss", "rows_lost")]


def test_functions_of_the_application_are_there(tmp_path: Path) -> None:
    """A function that env.py registers on its connections can be used by the migration."""
    made = project(tmp_path / "project")
    made.edit_env(
        "    with connectable.connect() as connection:\n",
        "    from sqlalchemy import event\n"
        '    @event.listens_for(connectable, "connect")\n'
        "    def register(connection, record):\n"
        '        connection.create_function("backwards", 1, lambda text: text[::-1])\n\n'
        "    with connectable.connect() as connection:\n",
    )
    made.revision("second", "first", 'op.execute("UPDATE person SET name = backwards(name)")')
    assert kinds(rehearsed(made)) == [("notice", "values_changed")]


def test_the_own_file_of_a_tool_is_left_alone(tmp_path: Path) -> None:
    """What a tool keeps in SQLite, as coverage.py does, is none of the application's data."""
    made = project(tmp_path / "project")
    cache, log = tmp_path / "cache.sqlite", tmp_path / "log.sqlite"
    run_sql(log, "CREATE TABLE line (text)")
    made.edit_env(
        "    with connectable.connect() as connection:\n",
        "    import atexit, os, sqlite3\n"
        f"    with sqlite3.connect({str(cache)!r}) as tool:\n"
        "        tool.execute('CREATE TABLE hit (count)')\n"
        f"    os.replace({str(cache)!r}, {str(cache)!r} + '2')\n"
        "    def write():\n"
        f"        with sqlite3.connect({str(log)!r}) as tool:\n"
        "            tool.execute(\"INSERT INTO line VALUES ('done')\")\n"
        "    atexit.register(write)\n"
        "    with connectable.connect() as connection:\n",
    )
    made.revision("second", "first", "pass")
    report = rehearsed(made)
    assert (report.ok, report.findings) == (True, ())
    with closing(sqlite3.connect(log)) as connection:
        assert set(connection.execute("SELECT text FROM line")) == {("done",)}


def test_several_databases_are_copied_each(tmp_path: Path) -> None:
    """The template for several databases: each is copied, migrated and reported by its name."""
    made = Project(tmp_path / "project", "none", template="multidb")
    (made.folder / "mig" / "versions" / "first.py").write_text(
        "from alembic import op\nimport sqlalchemy as sa\n"
        "revision = 'first'\ndown_revision = None\n"
        "def upgrade(engine_name):\n"
        "    op.create_table('thing', sa.Column('id', sa.Integer, primary_key=True))\n"
        "    op.execute('INSERT INTO thing VALUES (1), (2)')\n"
        "def downgrade(engine_name):\n    op.drop_table('thing')\n"
    )
    made.upgrade("first")
    databases = sorted(made.folder.glob("*.db"))
    assert len(databases) == 2
    (made.folder / "mig" / "versions" / "second.py").write_text(
        "from alembic import op\n"
        "revision = 'second'\ndown_revision = 'first'\n"
        "def upgrade(engine_name):\n"
        "    if engine_name.endswith('2'):\n"
        "        op.execute('DELETE FROM thing WHERE id = 1')\n"
        "def downgrade(engine_name):\n    pass\n"
    )
    manager = BackupManager.from_url(f"sqlite:///{databases[0]}")
    report = rehearsed(made, manager=manager)
    assert [database.path for database in report.databases] == databases
    assert [step.database for step in report.steps] == databases
    assert [database.alembic_heads for database in report.databases] == [("second",)] * 2
    assert kinds(report) == [("loss", "rows_lost")]
    assert report.findings[0].database == databases[1]
    with pytest.raises(OptionError, match="several databases"):
        rehearsed(made, manager=None)


def test_another_database_of_a_step_is_copied(tmp_path: Path) -> None:
    """A step that opens an engine on another file works on a copy of that one."""
    made = project(tmp_path / "project")
    other = made.folder / "other.db"
    run_sql(other, "CREATE TABLE note (text TEXT)", "INSERT INTO note VALUES ('one'), ('two')")
    made.revision(
        "second",
        "first",
        f"engine = sa.create_engine('sqlite:///{other}')\n"
        "with engine.begin() as connection:\n"
        "    connection.exec_driver_sql('DELETE FROM note')",
    )
    report = rehearsed(made)
    assert [database.path for database in report.databases] == [made.database, other]
    assert one(report, "rows_lost").sentence == "Table note loses all its 2 rows."


def test_a_change_to_another_database_is_said(tmp_path: Path) -> None:
    """Somebody writes to a database that is not the first one: the report says so."""
    made = project(tmp_path / "project")
    other = made.folder / "other.db"
    run_sql(other, "CREATE TABLE note (text TEXT)")
    made.revision(
        "second",
        "first",
        f"sa.create_engine('sqlite:///{other}').connect().close()\n"
        "import subprocess, sys\n"
        'code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); "\n'
        "code += \"c.execute('INSERT INTO note VALUES (1)'); c.commit()\"\n"
        f"subprocess.run([sys.executable, '-c', code, {str(other)!r}], check=True)",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.folder)
        report = rehearse(made.config(), manager=manager_of(made))
    assert report.error == ""
    assert not report.live_unchanged
    assert one(report, "live_changed")


def test_a_new_database_of_a_step_is_not_made(tmp_path: Path) -> None:
    """A step that makes a database makes it among the copies."""
    made = project(tmp_path / "project")
    made.revision(
        "second",
        "first",
        f"engine = sa.create_engine('sqlite:///{made.folder / 'new.db'}')\n"
        "with engine.begin() as connection:\n"
        "    connection.exec_driver_sql('CREATE TABLE note (text TEXT)')",
    )
    report = rehearsed(made)
    assert report.ok
    assert not (made.folder / "new.db").exists()


def test_a_database_in_memory_stays_what_it_is(tmp_path: Path) -> None:
    """A step that uses a database in memory is not led anywhere."""
    made = project(tmp_path / "project")
    made.revision(
        "second",
        "first",
        "import sqlite3\n"
        "for name in (':memory:', 'file:shared?mode=memory&cache=shared', ''):\n"
        "    own = sqlite3.connect(name, uri=name.startswith('file:'))\n"
        "    own.execute('CREATE TABLE note (text TEXT)')\n"
        "with sa.create_engine('sqlite://').begin() as connection:\n"
        "    connection.exec_driver_sql('CREATE TABLE note (text TEXT)')",
    )
    report = rehearsed(made)
    assert report.findings == ()
    assert len(report.databases) == 1


@pytest.mark.parametrize("holds", [False, True])
def test_a_database_in_wal_mode_works(tmp_path: Path, holds: bool) -> None:
    """In WAL mode too, with and without a program that has it open; the log stays what it is."""
    made = project(tmp_path / "project")
    run_sql(made.database, "PRAGMA journal_mode = WAL")
    made.revision("second", "first", LOSES)
    if not holds:
        assert kinds(rehearsed(made)) == [("loss", "rows_lost")]
        return
    with closing(sqlite3.connect(made.database)) as connection:
        connection.execute("INSERT INTO entry (person_id, text) VALUES (1, 'in the log')")
        connection.commit()
        log = Path(f"{made.database}-wal")
        before = (log.read_bytes(), made.database.read_bytes())
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(made.folder)
            report = rehearse(made.config(), manager=manager_of(made))
        assert (log.read_bytes(), made.database.read_bytes()) == before
    assert report.live_unchanged
    assert one(report, "rows_lost").sentence == "Table entry loses 1 row of 4."


@pytest.mark.parametrize("door", ["env.py", *(["alembic.ini"] if HAS_PLUGINS else [])])
def test_the_protection_is_off_in_it(tmp_path: Path, door: str) -> None:
    """A project that is protected takes no backup for a rehearsal, and leaves no marker."""
    made = Project(tmp_path / "project", door)
    made.revision("first", None, "pass")
    made.upgrade("first")
    made.revision("second", "first", 'op.execute("SELECT 1")')
    manager = manager_of(made)
    known = manager.list()
    assert rehearsed(made, manager=manager).ok
    assert manager.list() == known


def test_nothing_of_it_is_in_this_process(tmp_path: Path) -> None:
    """After a rehearsal, this process has no listener, no patched library, no environment of it."""
    made = project(tmp_path / "project")
    made.revision("second", "first", "pass")
    program = (
        "import os, sqlite3, sys\n"
        "from alembic.config import Config\n"
        "from sqlalchemy.engine.default import DefaultDialect\n"
        "from soulsense_db import BackupManager\n"
        "from soulsense_db.alembic import rehearse\n"
        "def state():\n"
        "    return sqlite3.connect, DefaultDialect.do_commit, dict(os.environ), list(sys.path)\n"
        "manager = BackupManager.from_url(sys.argv[1])\n"
        "before = state()\n"
        "assert rehearse(Config('alembic.ini'), manager=manager).ok\n"
        "assert state() == before\n"
        "assert 'env_py' not in sys.modules\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(made.database)],
        cwd=made.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, ""), result.stderr


def test_it_knows_that_it_is_a_rehearsal(tmp_path: Path) -> None:
    """A migration that sends mail, say, can see that this is none of the real runs."""
    made = project(tmp_path / "project")
    made.revision("second", "first", "assert os.environ['SOULSENSE_REHEARSAL'] == '1'")
    assert rehearsed(made).ok


def test_an_env_py_that_passes_over_errors_hides_none(tmp_path: Path) -> None:
    """A step that fails is said to fail, also where env.py catches the error, and exits with 0."""
    made = project(tmp_path / "project")
    made.write_env(
        made.env_py.read_text().replace(
            "            context.run_migrations()",
            "            try:\n                context.run_migrations()\n"
            "            except Exception:\n                pass",
        )
    )
    made.revision("second", "first", 'op.execute("INSERT INTO nowhere VALUES (1)")')
    report = rehearsed(made)
    assert not report.ok
    assert report.failure is not None
    assert report.failure.revision == "second"
    assert "env.py passes over its error" in report.error
    made.revision("second", "first", "pass")
    assert rehearsed(made).ok
