"""Whatever way a program takes into Alembic, its migrations are protected, or it is told."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.util import CommandError
from alembic_project import HAS_PLUGINS, Project, digest, needs_plugins, query
from helpers import PROGRAMS, clean_environment, eventually

from soulsense_db import BackupManager
from soulsense_db.alembic.errors import MigrationFailedError
from soulsense_db.errors import BackupError

pytestmark = pytest.mark.slow

AT = "SELECT version_num FROM alembic_version"
# Those of programs/migrate.py that run the steps without any env.py.
WAYS = ["entered", "not entered", "in a transaction", "MigrationContext", "no config kept"]
SWITCHES = ["alembic.ini", "environment"]


@pytest.fixture(params=SWITCHES)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    """Return a project at ``first``, switched on in the configuration or the environment."""
    if not HAS_PLUGINS:
        pytest.skip("Alembic before 1.18 has no plugins")
    return Project(tmp_path / "project", request.param).standard()


def run(
    project: Project, way: str, *targets: str, seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run ``programs/migrate.py`` in the project's folder; one that hangs is a failure."""
    return subprocess.run(
        [sys.executable, PROGRAMS / "migrate.py", way, *targets],
        cwd=project.folder,
        env={**clean_environment(), **project.env},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_program_without_env_py_is_put_back(project: Project, way: str) -> None:
    """A failing step puts the database back, says so last, and leaves no marker and no lock."""
    before = digest(project.database)
    failed = run(project, way, "head")
    assert failed.returncode == 1
    assert "nowhere" in failed.stderr
    assert "was put back, at first" in failed.stderr.splitlines()[-1]
    assert digest(project.database) == before
    assert not project.marker.exists()


@pytest.mark.parametrize("way", WAYS)
def test_a_program_without_env_py_is_protected_to_the_end(project: Project, way: str) -> None:
    """One upgrade after the other in one process: each is backed up, none waits for itself."""
    project.revision("broken", "second", "op.execute('CREATE TABLE third (x)')")
    taken = len(project.backups())
    done = run(project, way, "second", "head", "head")
    assert done.returncode == 0, done.stderr
    assert query(project.database, AT) == [("broken",)]
    assert len(project.backups()) == taken + 2
    assert not project.marker.exists()


@pytest.mark.parametrize("way", WAYS)
def test_a_program_without_env_py_that_is_killed_leaves_a_marker(
    project: Project, way: str
) -> None:
    """After a SIGKILL the next upgrade is refused, whichever way it takes."""
    project.revision(
        "broken", "second", "op.execute('DELETE FROM entry')\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    assert run(project, way, "head").returncode == -9
    assert project.marker.exists()
    refused = run(project, way, "head")
    assert "MigrationRefusedError" in refused.stderr
    assert "soulsense-db restore" in refused.stderr
    assert project.marker.exists()


@needs_plugins
@pytest.mark.parametrize("way", WAYS)
def test_a_program_that_did_not_ask_is_left_alone(tmp_path: Path, way: str) -> None:
    """Without the switch nothing is backed up, and a failure stays what it was."""
    project = Project(tmp_path / "project", "none").standard()
    failed = run(project, way, "head")
    assert "nowhere" in failed.stderr
    assert "put back" not in failed.stderr
    assert not (project.folder / "backups").exists()


@pytest.mark.parametrize("overrides", ["start_migrations", "__init__"])
def test_an_impl_of_the_application_s_own_changes_nothing(project: Project, overrides: str) -> None:
    """An Impl that does not call its parent does not switch the protection off."""
    body = {
        "start_migrations": "def start_migrations(self): pass",
        "__init__": "def __init__(self, *a, **k):\n            super().__init__(*a, **k)",
    }[overrides]
    project.edit_env(
        "config = context.config",
        "from alembic.ddl.sqlite import SQLiteImpl\n"
        f"class OwnImpl(SQLiteImpl):\n    __dialect__ = 'sqlite'\n    {body}\n"
        "config = context.config",
    )
    before = digest(project.database)
    failed = project.run("upgrade", "head")
    assert failed.returncode != 0
    assert "was put back, at first" in failed.stderr
    assert digest(project.database) == before


@pytest.mark.parametrize("where", ["alembic", "other", "off"])
def test_options_count_for_every_section(tmp_path: Path, where: str) -> None:
    """`alembic -n other` obeys the options of [alembic], unless its section has its own."""
    if not HAS_PLUGINS:
        pytest.skip("Alembic before 1.18 has no plugins")
    project = Project(tmp_path / "project", "none").standard()
    if where in ("alembic", "off"):
        project.set_option("soulsense_backup", "true")
    own = {"alembic": "", "other": "soulsense_backup = true", "off": "soulsense_backup = false"}
    with project.ini.open("a") as ini:
        ini.write(
            f"\n[other]\nscript_location = {project.folder / 'mig'}\n"
            f"sqlalchemy.url = sqlite:///{project.database}\n{own[where]}\n"
        )
    before = digest(project.database)
    failed = project.run("-n", "other", "upgrade", "head")
    assert "nowhere" in failed.stderr
    assert (digest(project.database) == before) == (where != "off")


_SWALLOWS = {
    "all": "except Exception: pass",
    "one": "except sa.exc.OperationalError: pass",
    "and goes on": "except Exception: connection.rollback()",
    "and exits": "except Exception: sys.exit(0)",
}


@pytest.mark.parametrize("how", _SWALLOWS)
def test_an_error_that_env_py_swallows_is_no_success(project: Project, how: str) -> None:
    """A put-back never ends as exit 0: the command says why, and what the database is now."""
    project.edit_env(
        "config = context.config", "import sys\nimport sqlalchemy as sa\nconfig = context.config"
    )
    project.edit_env(
        "            context.run_migrations()\n",
        "            try:\n                context.run_migrations()\n"
        f"            {_SWALLOWS[how]}\n",
    )
    before = digest(project.database)
    ended = project.run("upgrade", "head")
    assert digest(project.database) == before
    assert "was put back, at first" in ended.stderr
    assert not project.marker.exists()
    if how == "and exits":  # what env.py said is its last word, and ours is on stderr
        return
    assert ended.returncode != 0
    assert "env.py ended without an error" in ended.stderr + ended.stdout


def test_an_env_py_that_tries_again_is_a_success(project: Project) -> None:
    """When a second run finishes what the first began, the migration is done, and kept."""
    project.revision(
        "broken",
        "second",
        "marker = Path('tried')\nif not marker.exists():\n"
        "    marker.touch()\n    op.execute('INSERT INTO nowhere VALUES (1)')",
    )
    project.edit_env(
        "            context.run_migrations()\n",
        "            try:\n                context.run_migrations()\n"
        "            except Exception:\n"
        "                context.configure(connection=connection)\n"
        "                context.run_migrations()\n",
    )
    done = project.run("upgrade", "head")
    assert done.returncode == 0, done.stderr
    assert query(project.database, AT) == [("broken",)]
    assert not project.marker.exists()


@pytest.mark.parametrize("way", [*WAYS, "command"])
@pytest.mark.parametrize("fails", [False, True])
def test_three_threads_that_upgrade_at_once(project: Project, way: str, fails: bool) -> None:
    """Each waits or is refused; none hangs; what is left is whole, or it has a marker."""
    if not fails:
        project.revision("broken", "second", "op.execute('CREATE TABLE third (x)')")
    before = digest(project.database)
    ended = run(project, way, "--threads")
    assert "alive: 0" in ended.stdout, ended.stderr
    if fails:
        assert digest(project.database) == before or project.marker.exists()
    else:
        assert query(project.database, AT) == [("broken",)], ended.stdout + ended.stderr
    if not project.marker.exists():
        assert query(project.database, AT) == [("first" if fails else "broken",)]


def test_an_env_py_that_migrates_in_a_thread_does_not_wait_for_itself(project: Project) -> None:
    """A command has its turn in all its threads, also where several of them run its steps."""
    project.revision("broken", "second", "op.execute('CREATE TABLE third (x)')")
    project.edit_env(
        "else:\n    run_migrations_online()",
        "else:\n    import threading\n"
        "    for _ in range(3):\n"
        "        thread = threading.Thread(target=run_migrations_online)\n"
        "        thread.start()\n        thread.join()",
    )
    done = run(project, "command", "head", seconds=40)
    assert done.returncode == 0, done.stderr
    assert query(project.database, AT) == [("broken",)]
    assert not project.marker.exists()


_FORKS = {
    "sys.exit": "sys.exit(0)",
    "an error": "raise RuntimeError('of the child')",
    "the end of the step": "pass",
}


@pytest.mark.parametrize("end", _FORKS)
@pytest.mark.parametrize("door", ["env.py", "alembic.ini"])
def test_the_child_of_a_fork_puts_nothing_back(tmp_path: Path, end: str, door: str) -> None:
    """A step forks; however the child ends, and after whatever time, the parent's work stays."""
    if door != "env.py" and not HAS_PLUGINS:
        pytest.skip("Alembic before 1.18 has no plugins")
    project = Project(tmp_path / "project", door).standard()
    project.revision(
        "second",
        "first",
        f"""
        import sys
        op.execute("CREATE TABLE made (x)")
        if os.fork() == 0:
            while not Path("goes").exists():
                time.sleep(0.02)
            op.get_bind().invalidate()
            context.get_context().connection.invalidate()
            Path("gone").touch()
            {_FORKS[end]}
            os._exit(0)
        """,
    )
    with (project.folder / "said").open("w") as said:
        ended = subprocess.run(
            [sys.executable, "-m", "alembic", "upgrade", "second"],
            cwd=project.folder,
            env={**clean_environment(), **project.env},
            stdout=said,
            stderr=said,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 0, (project.folder / "said").read_text()
    with closing(sqlite3.connect(project.database)) as connection:
        connection.execute("INSERT INTO made VALUES (1)")
        connection.commit()
    (project.folder / "goes").touch()
    assert eventually((project.folder / "gone").exists, seconds=20)
    # The child's end: nothing of the parent's is undone by it, nor locked.
    assert not eventually((project.folder / "app.db.failed_migration").exists, seconds=2)
    assert query(project.database, "SELECT count(*) FROM made") == [(1,)]
    assert query(project.database, AT) == [("second",)]
    project.revision("broken", "second", "pass")
    assert project.run("upgrade", "head").returncode == 0


def test_the_error_is_one_that_alembic_prints_in_a_line() -> None:
    """What a swallowed failure ends with is a CommandError, and one of the tree."""
    assert issubclass(MigrationFailedError, CommandError)
    assert issubclass(MigrationFailedError, BackupError)


def test_a_backup_is_not_migrated(tmp_path: Path) -> None:
    """A URL that names one by mistake is refused: it could not be restored after a step."""
    project = Project(tmp_path / "project", "env.py").standard()
    made = BackupManager.from_url(str(project.database)).create()
    ini = project.ini.read_text()
    project.ini.write_text(ini.replace(str(project.database), made.path))
    before = Path(made.path).read_bytes()
    told = project.run("upgrade", "head")
    assert told.returncode != 0
    assert "is a backup" in told.stdout + told.stderr
    assert Path(made.path).read_bytes() == before
    assert len(project.backups()) == 2
