"""A failed migration that is put back: what becomes of the files beside the database."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import sqlalchemy as sa
from alembic_project import Project, digest, needs_plugins, query
from helpers import execute, leftovers, within
from sqlalchemy.exc import OperationalError

from soulsense_db import BackupManager
from soulsense_db.errors import NothingToUndoError
from soulsense_db.fs import durable
from soulsense_db.meta_file import read_backup


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project at revision ``first``, protected in env.py."""
    return Project(tmp_path / "project", "env.py").standard()


def _manager(project: Project) -> BackupManager:
    return BackupManager(sa.create_engine(f"sqlite:///{project.database}", poolclass=sa.NullPool))


def test_an_undo_still_goes_back_to_before_the_restore(project: Project) -> None:
    """The user's safety backup outlives a failed migration, and undo goes back to it."""
    manager = _manager(project)
    yesterday = manager.create("yesterday")
    execute(project.database, "INSERT INTO entry (text) VALUES ('today')")
    today = digest(project.database)
    manager.restore(yesterday)
    with pytest.raises(OperationalError, match="nowhere"):
        project.upgrade("head")
    manager.undo_restore()
    assert digest(project.database) == today


def test_what_a_failed_migration_left_is_kept_until_the_next_fails(project: Project) -> None:
    """What the failed steps left lies beside the database with its facts; no undo goes to it."""
    failed = project.database.with_name("app.db.failed_migration")
    for attempt in (1, 2):
        with pytest.raises(OperationalError, match="nowhere"):
            project.upgrade("head")
        one = "SELECT text FROM entry WHERE id = 1"
        assert query(failed, one) == [("ONE",)]  # ``second`` had been committed
        assert query(project.database, one) == [("one",)]
        assert read_backup(failed).description == "What a failed migration left"
        assert not leftovers(project.folder)
        assert len(list(project.folder.glob("*failed_migration*"))) == 2, attempt
    with pytest.raises(NothingToUndoError):
        _manager(project).undo_restore()


def test_an_attached_database_is_warned_of(project: Project) -> None:
    """Where attached files are ignored, the migration says that they are not put back."""
    other = project.folder / "other.db"
    execute(other, "CREATE TABLE o (x)")
    project.revision("broken", "second", "pass")
    assert "is attached" not in project.run("upgrade", "second").stderr
    project.edit_env(
        "    with connectable.connect()",
        "    from sqlalchemy import event\n"
        "    event.listen(connectable, 'connect',\n"
        f"                 lambda made, _: made.execute(\"ATTACH '{other}' AS other\"))\n"
        "    with connectable.connect()",
    )
    project.set_option("soulsense_attached", "ignore")
    done = project.run("upgrade", "head")
    assert done.returncode == 0
    assert f"{other} is attached: it is neither backed up" in done.stderr


_FAILING_EVENT = """
    from sqlalchemy import event
    import os
    def refuse(made, _):
        if os.path.exists("refuse"):
            raise RuntimeError("of the application")
    event.listen(connectable, 'connect', refuse)
    with connectable.connect()"""


def test_an_error_of_the_application_on_the_way_back_hides_nothing(project: Project) -> None:
    """The error of the step is what is raised; the alarm stays, and the backup is named."""
    project.edit_env("    with connectable.connect()", _FAILING_EVENT.removeprefix("\n"))
    project.revision("broken", "second", "Path('refuse').touch()\nraise ValueError('of the step')")
    with pytest.raises(ValueError, match="of the step") as failure:
        project.upgrade("head")
    told = "\n".join(failure.value.__notes__)
    assert "could NOT be put back: RuntimeError: of the application" in told
    assert str(project.backups()[-1]) in told
    assert project.marker.exists()


def test_an_interrupt_before_the_first_step_raises_no_alarm(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the marker is flushed: it was about steps of which none was run."""
    flush = durable.sync_directory

    def interrupted(*arguments: Any) -> None:
        flush(*arguments)
        if project.marker.exists():
            monkeypatch.undo()
            raise KeyboardInterrupt

    before = digest(project.database)
    monkeypatch.setattr(durable, "sync_directory", interrupted)
    with pytest.raises(KeyboardInterrupt):
        project.upgrade("second")
    assert not project.marker.exists()
    assert digest(project.database) == before
    project.upgrade("second")


@needs_plugins  # else nobody is asked after env.py has ended
def test_a_lock_that_a_step_took_in_the_pool_is_let_go_of(project: Project) -> None:
    """An exclusive connection that env.py gave back to its pool keeps nobody waiting."""
    project.edit_env("poolclass=pool.NullPool", "poolclass=pool.QueuePool")
    project.edit_env("            context.run_migrations()\n", _THEN_FAIL)
    project.revision("broken", "second", 'op.execute("PRAGMA locking_mode = EXCLUSIVE")')
    with within(20), pytest.raises(ValueError, match="after the steps"):
        project.upgrade("head")
    assert query(project.database, "SELECT version_num FROM alembic_version") == [("broken",)]


_THEN_FAIL = """            context.run_migrations()
        connection.commit()
    raise ValueError("after the steps")
"""


def test_an_error_that_takes_no_note_is_put_back_as_well(project: Project) -> None:
    """An immutable exception is raised as it is, and the database goes back."""
    body = """
        class Frozen(Exception):
            def add_note(self, note):
                raise TypeError("frozen")
        op.execute("DELETE FROM entry")
        raise Frozen("of the step")
    """
    before = digest(project.database)
    project.revision("broken", "second", dedent(body))
    with pytest.raises(Exception, match="of the step"):
        project.upgrade("head")
    assert digest(project.database) == before
    assert not project.marker.exists()


def test_a_file_that_a_step_attached_is_named(project: Project) -> None:
    """Rows that it moved out of there are not put back, and that is said."""
    other = project.folder / "old.db"
    execute(other, "CREATE TABLE o (x)")
    body = f"""
        op.execute("ATTACH '{other}' AS old")
        op.execute("DELETE FROM old.o")
        raise ValueError("of the step")
    """
    project.revision("broken", "second", dedent(body))
    with pytest.raises(ValueError, match="of the step") as failure:
        project.upgrade("head")
    assert f"{other} was attached: it was NOT put back." in failure.value.__notes__


def test_a_way_back_that_was_killed_leaves_nothing(project: Project) -> None:
    """What it had copied goes with the next restore or migration."""
    manager = _manager(project)
    info = manager.create()
    left = [project.folder / f".app.db.failed_migration.partial{e}" for e in ("", "-journal")]
    for path in left:
        path.write_bytes(b"half a copy")
    manager.restore(info)
    assert not any(path.exists() for path in left)


def test_it_is_put_back_from_a_compressed_backup(project: Project) -> None:
    """`soulsense_compression` is all that it takes."""
    project.set_option("soulsense_compression", "zstd")
    before = digest(project.database)
    with pytest.raises(OperationalError, match="nowhere"):
        project.upgrade("head")
    assert digest(project.database) == before
    (backup,) = (project.folder / "backups").glob("*.db.zst")
    assert backup.stat().st_size < project.database.stat().st_size
    assert not leftovers(project.folder)
