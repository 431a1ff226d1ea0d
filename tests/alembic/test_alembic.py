"""Migrations are protected: which commands back up, and what a failure leaves."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.util import CommandError
from alembic_project import BROKEN, DOORS, FIRST, Project, digest, needs_plugins, query
from helpers import held_by_another_process, write_marker
from sqlalchemy.exc import OperationalError

from soulsense_db import BackupManager
from soulsense_db.alembic.errors import MigrationFailedError, MigrationRefusedError
from soulsense_db.errors import InterruptedMigrationError
from soulsense_db.meta_file import read_backup


@pytest.fixture(params=DOORS)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    """Return a project at revision ``first``, protected through each door in turn."""
    return Project(tmp_path / "project", request.param).standard()


@pytest.fixture
def env_project(tmp_path: Path) -> Project:
    """Return a project at revision ``first``, protected in env.py."""
    return Project(tmp_path / "project", "env.py").standard()


def test_an_upgrade_with_steps_is_backed_up_once(project: Project) -> None:
    """An upgrade takes one backup, with the heads of before and the revision it goes to."""
    project.upgrade("second")
    before_first, before_second = map(read_backup, project.backups())
    assert (before_first.alembic_heads, before_first.target_revision) == ((), "first")
    assert (before_second.alembic_heads, before_second.target_revision) == (("first",), "second")
    assert before_second.kind == "pre_migration"
    assert query(Path(before_second.path), "SELECT text FROM entry WHERE id = 1") == [("one",)]
    assert query(project.database, "SELECT text FROM entry WHERE id = 1") == [("ONE",)]
    assert not project.marker.exists()


def test_a_downgrade_is_backed_up(project: Project) -> None:
    """A downgrade destroys as well as an upgrade: it is backed up, also one to base."""
    project.call("downgrade", "base")
    last = read_backup(project.backups()[-1])
    assert (last.alembic_heads, last.target_revision) == (("first",), None)
    assert len(project.backups()) == 2


def test_a_failing_step_is_put_back(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    """When a step fails, rows, schema and revision are those of before the command."""
    before = digest(project.database)
    with pytest.raises(OperationalError, match="nowhere") as caught:
        project.upgrade("head")
    assert digest(project.database) == before
    assert query(project.database, "SELECT version_num FROM alembic_version") == [("first",)]
    told = "\n".join(caught.value.__notes__)
    assert "was put back, at first" in told
    assert "was put back, at first" in capfd.readouterr().err
    assert not project.marker.exists()
    # Nothing is in the way of the next attempt, such as a left-over _alembic_tmp_ table.
    project.revision("broken", "second", "pass")
    project.upgrade("head")
    assert query(project.database, "SELECT version_num FROM alembic_version") == [("broken",)]


@pytest.mark.parametrize("exception", ["KeyboardInterrupt()", "SystemExit(3)"])
def test_an_interrupt_is_put_back(project: Project, exception: str) -> None:
    """Ctrl-C and sys.exit() in a step count as failures, and go on as what they are."""
    project.revision("broken", "second", f"op.execute('DELETE FROM entry')\nraise {exception}")
    before = digest(project.database)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        project.upgrade("head")
    assert digest(project.database) == before


def test_the_command_line_says_what_happened(env_project: Project) -> None:
    """The alembic command exits non-zero; stderr says from what it was put back."""
    result = env_project.run("upgrade", "head")
    assert result.returncode != 0
    assert "was put back, at first, from soulsense_backup_" in result.stderr


def test_the_line_on_stderr_comes_without_logging_too(env_project: Project) -> None:
    """An env.py that configures no logging still gets the line on stderr."""
    env_project.edit_env("    fileConfig(config.config_file_name)\n", "    pass\n")
    result = env_project.run("upgrade", "head")
    assert "soulsense_db: The migration failed." in result.stderr


@pytest.mark.parametrize("door", DOORS)
def test_commands_without_steps_take_no_backup(tmp_path: Path, door: str) -> None:
    """Nothing but an upgrade or downgrade with a real step takes a backup."""
    project = Project(tmp_path, door)
    project.revision("first", None, FIRST)
    project.upgrade("first")
    project.revision("second", "first", "pass")
    one = project.backups()
    config = project.config()
    quiet = [
        ("current", (), {"verbose": True}),
        ("show", ("current",), {}),
        ("history", (), {"indicate_current": True}),
        ("heads", (), {}),
        ("branches", (), {}),
        ("stamp", ("second",), {}),
        ("revision", (), {"message": "by hand"}),
        ("stamp", ("first",), {"purge": True}),
        ("ensure_version", (), {}),
        ("upgrade", ("first",), {}),
        ("upgrade", ("head",), {"sql": True}),
        ("downgrade", ("second:first",), {"sql": True}),
    ]
    for name, arguments, options in quiet:
        project.call(name, *arguments, config=config, **options)  # type: ignore[arg-type]
        assert project.backups() == one, name
    assert not project.marker.exists()


@pytest.mark.parametrize("problem", ["damaged", "locked"])
def test_a_database_that_cannot_be_read_refuses_the_migration(
    project: Project, problem: str
) -> None:
    """One line says what is wrong and what to do, and not a traceback of SQLAlchemy's."""
    ini = project.ini.read_text()
    project.ini.write_text(ini.replace("app.db", "app.db?timeout=0.1"))
    with ExitStack() as stack:
        if problem == "damaged":
            project.database.write_bytes(b"no database" * 1000)
        else:
            stack.enter_context(held_by_another_process(project.database, "BEGIN EXCLUSIVE"))
        result = project.run("upgrade", "head")
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    assert "No migration was run." in result.stderr
    assert problem in result.stderr


def test_a_failed_backup_refuses_the_migration(project: Project) -> None:
    """When no backup can be made, no step runs; Alembic prints one line and no traceback."""
    for path in (project.folder / "backups").iterdir():
        path.unlink()
    (project.folder / "backups").rmdir()
    (project.folder / "backups").write_text("a file")
    before = digest(project.database)
    with pytest.raises(CommandError, match=r"Not a directory.*No migration was run"):
        project.upgrade("head")
    assert digest(project.database) == before
    result = project.run("upgrade", "head")
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    assert "No migration was run" in result.stdout + result.stderr


def test_backups_are_bounded(project: Project) -> None:
    """Only the newest pre-migration backups stay, also when upgrades fail; others all stay."""
    project.set_option("soulsense_keep_last", "2")
    engine = sa.create_engine(f"sqlite:///{project.database}")
    BackupManager(engine).create("by hand")
    engine.dispose()
    for _ in range(3):
        with pytest.raises(OperationalError):
            project.upgrade("head")
        kinds = project.kinds()
        assert kinds.count("manual") == 1
        assert kinds.count("pre_migration") <= 2
    project.upgrade("second")
    assert project.kinds().count("pre_migration") == 2
    assert read_backup(project.backups()[-1]).target_revision == "second"


def test_keep_leaves_a_failed_migration_as_it_is(
    project: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    """With soulsense_on_failure = keep nothing is put back, and the backup is named."""
    project.set_option("soulsense_on_failure", "keep")
    with pytest.raises(OperationalError):
        project.upgrade("head")
    assert query(project.database, "SELECT version_num FROM alembic_version") == [("second",)]
    assert query(project.database, "SELECT text FROM entry WHERE id = 1") == [("ONE",)]
    assert project.backups()[-1].name in capfd.readouterr().err
    assert not project.marker.exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("soulsense_on_failure", "perhaps"),
        ("soulsense_keep_last", "0"),
        ("soulsense_keep_last", "many"),
        ("soulsense_keep", "3"),
    ],
)
def test_a_senseless_option_refuses_the_migration(
    project: Project, option: str, value: str
) -> None:
    """An option with a value that means nothing is an error before the first step."""
    project.set_option(option, value)
    with pytest.raises(MigrationRefusedError) as refused:
        project.upgrade("second")
    assert option.removeprefix("soulsense_") in str(refused.value)
    assert len(project.backups()) == 1


def test_an_option_in_a_section_that_is_not_read_refuses_the_migration(project: Project) -> None:
    """Who appends the line to alembic.ini adds it to a logger's section: that protects nothing."""
    with project.ini.open("a") as ini:
        ini.write("\nsoulsense_on_failure = keep\n")
    with pytest.raises(MigrationRefusedError, match=r"is in section \[formatter_generic\]"):
        project.upgrade("second")
    assert len(project.backups()) == 1


def test_a_senseless_environment_variable_refuses_the_migration(env_project: Project) -> None:
    """SOULSENSE_BACKUP=perhaps is no answer."""
    env_project.env["SOULSENSE_BACKUP"] = "perhaps"
    with pytest.raises(MigrationRefusedError, match="SOULSENSE_BACKUP is 'perhaps'"):
        env_project.upgrade("second")


def test_the_environment_can_switch_everything_off(project: Project) -> None:
    """SOULSENSE_BACKUP=0 shuts every door."""
    project.env["SOULSENSE_BACKUP"] = "0"
    project.upgrade("second")
    assert len(project.backups()) == 1


@needs_plugins
def test_nothing_happens_where_nobody_asked(tmp_path: Path) -> None:
    """A project that did not switch it on is untouched by the plugin in its environment."""
    project = Project(tmp_path, "no door")
    project.revision("first", None, FIRST)
    project.upgrade("head")
    project.revision("broken", "first", BROKEN)
    with pytest.raises(OperationalError):
        project.upgrade("head")
    assert {path.name for path in tmp_path.iterdir()} == {"alembic.ini", "app.db", "mig"}


def test_the_backup_directory_can_be_chosen(project: Project) -> None:
    """soulsense_backup_directory says where the backups go."""
    project.set_option("soulsense_backup_directory", "%(here)s/elsewhere")
    project.upgrade("second")
    assert len(list((project.folder / "elsewhere").glob("*.db"))) == 1


def test_a_killed_migration_is_noticed(env_project: Project) -> None:
    """After a SIGKILL the next upgrade refuses, names backup and command; current still works."""
    env_project.revision(
        "broken", "second", "op.execute('DELETE FROM entry')\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    before = digest(env_project.database)
    assert env_project.run("upgrade", "head").returncode == -signal.SIGKILL
    backup = env_project.backups()[-1]
    assert env_project.marker.exists()
    with pytest.raises(MigrationRefusedError, match=backup.name) as caught:
        env_project.upgrade("head")
    assert isinstance(caught.value.__cause__, InterruptedMigrationError)
    assert "soulsense-db restore" in caught.value.hint
    refused = env_project.run("upgrade", "head")
    assert backup.name in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stderr
    assert env_project.run("current").returncode == 0
    assert env_project.marker.exists()

    engine = sa.create_engine(f"sqlite:///{env_project.database}")
    BackupManager(engine).restore(backup)
    engine.dispose()
    assert digest(env_project.database) == before
    assert not env_project.marker.exists()
    env_project.revision("broken", "second", "pass")
    env_project.upgrade("head")


def test_a_migration_killed_after_its_end_is_whole(
    env_project: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    """A marker that outlived a finished migration is cleared by the next command, with a word."""
    env_project.upgrade("second")
    backup = env_project.backups()[-1]
    write_marker(
        env_project.database,
        backup=str(backup),
        alembic_heads=("first",),
        target_revision="second",
    )
    env_project.upgrade("second")
    assert not env_project.marker.exists()
    assert "killed before it could record that" in capfd.readouterr().err


def test_a_dead_migration_is_told_also_with_nothing_to_do(env_project: Project) -> None:
    """An upgrade with no steps does not pass over a half-migrated database in silence."""
    write_marker(
        env_project.database, backup="b.db", alembic_heads=("first",), target_revision="second"
    )
    with pytest.raises(MigrationRefusedError, match="was interrupted"):
        env_project.upgrade("first")


def test_a_failing_end_does_not_hide_the_error(
    project: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    """When what comes after the steps fails, the upgrade stays done and the user is told."""
    query(project.database, "DROP TABLE IF EXISTS backups")
    project.revision(
        "second",
        "first",
        """
        path = Path(op.get_bind().engine.url.database)
        path.with_name("app.db.migrating").unlink()
        path.with_name("app.db.migrating").mkdir()
        """,
    )
    project.upgrade("second")
    assert "app.db.migrating" in capfd.readouterr().err
    assert query(project.database, "SELECT version_num FROM alembic_version") == [("second",)]


def test_a_killed_migration_can_be_accepted(env_project: Project) -> None:
    """--accept keeps the database as it is and lets migrations run again."""
    env_project.revision("broken", "second", "os.kill(os.getpid(), signal.SIGKILL)")
    env_project.run("upgrade", "head")
    engine = sa.create_engine(f"sqlite:///{env_project.database}")
    manager = BackupManager(engine)
    assert manager.alarm.accept()
    assert not manager.alarm.accept()
    engine.dispose()
    env_project.revision("broken", "second", "pass")
    env_project.upgrade("head")


@pytest.mark.slow
def test_two_upgrades_at_once(project: Project) -> None:
    """The second waits for the first, finds nothing to do, and exits 0; one backup is taken."""
    go = project.folder / "go"
    started = project.folder / "started"
    project.revision(
        "second",
        "first",
        f"""
        Path({str(started)!r}).touch()
        end = time.monotonic() + 30
        while not Path({str(go)!r}).exists() and time.monotonic() < end:
            time.sleep(0.01)
        op.execute("UPDATE entry SET text = upper(text)")
        """,
    )
    project.revision("broken", "second", "pass")
    with project.start("upgrade", "head") as first:
        _wait_for(started)
        with project.start("upgrade", "head") as second:
            assert second.stderr is not None
            seen = ""
            while "Waiting for it" not in seen:
                line = second.stderr.readline()
                assert line, seen
                seen += line
            go.touch()
            assert first.communicate(timeout=60)[1].count("Running upgrade") == 2
            assert "Running upgrade" not in second.communicate(timeout=60)[1]
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(project.backups()) == 2


def _wait_for(path: Path) -> None:
    end = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.01)


def test_a_restore_that_cannot_be_done_says_so(
    project: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    """When the backup is gone by then, the user is told, and the next upgrade refuses."""
    project.revision(
        "broken",
        "second",
        """
        op.execute("DELETE FROM entry")
        for path in Path(op.get_bind().engine.url.database).parent.glob("backups/*.db"):
            path.unlink()
        raise RuntimeError("broken")
        """,
    )
    with pytest.raises(RuntimeError, match="broken"):
        project.upgrade("head")
    assert "could NOT be put back" in capfd.readouterr().err
    assert project.marker.exists()
    with pytest.raises(MigrationRefusedError, match="was interrupted"):
        project.upgrade("head")


def test_a_swallowed_failure_is_put_back(project: Project) -> None:
    """An env.py that catches the error of a step leaves nothing half done, and is no success."""
    project.edit_env(
        "            context.run_migrations()\n",
        "            try:\n                context.run_migrations()\n"
        "            except Exception:\n                pass\n",
    )
    before = digest(project.database)
    with pytest.raises(MigrationFailedError, match="was put back, at first"):
        project.upgrade("head")
    assert digest(project.database) == before
    assert not project.marker.exists()


def test_an_unknown_revision_is_alembic_s_error(project: Project) -> None:
    """An error of Alembic before the first step stays what it is; no lock or marker is left."""
    with pytest.raises(CommandError, match="nosuch"):
        project.upgrade("nosuch")
    assert not project.marker.exists()
    project.upgrade("second")


def test_an_in_memory_database_is_left_alone(env_project: Project) -> None:
    """A database that ends with its process gets no files on disk."""
    text = env_project.ini.read_text()
    env_project.ini.write_text(text.replace(f"sqlite:///{env_project.database}", "sqlite://"))
    with pytest.raises(OperationalError, match="nowhere"):
        env_project.upgrade("head")
    assert len(env_project.backups()) == 1
