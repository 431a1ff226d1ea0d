"""Migrations in a transaction of the caller's: how it ends, and what may come before that."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic_project import BROKEN, Project, digest, query
from conftest import EngineMaker
from helpers import within
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError, OperationalError
from test_alembic_environments import PLUGIN_DOORS, _pass_connection

from soulsense_db import BackupManager
from soulsense_db.alembic.errors import MigrationFailedError, MigrationRefusedError
from soulsense_db.errors import NotEnoughSpaceError
from soulsense_db.sidecars import Markers

# In sqlite3's own way of transactions, CREATE and DROP commit at once.
FAILING_COMMIT = """
    op.drop_table("entry")
    op.create_table("parent", sa.Column("id", sa.Integer, primary_key=True))
    op.execute("CREATE TABLE child (p INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
    op.execute("INSERT INTO child VALUES (77)")
"""
AT = "SELECT version_num FROM alembic_version"


@pytest.fixture(params=PLUGIN_DOORS)
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    """Return a project at ``second``, which takes its caller's connection, through each door."""
    project = Project(tmp_path / "project", request.param).standard()
    project.revision("broken", "second", FAILING_COMMIT)
    project.upgrade("second")
    _pass_connection(project)
    return project


@pytest.fixture
def engine(project: Project, make_engine: EngineMaker) -> Engine:
    """Return an engine that enforces references, in sqlite3's own way of transactions."""
    engine = make_engine(project.database)

    @sa.event.listens_for(engine, "connect")
    def enforce(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA foreign_keys = ON")

    return engine


def _upgrade(project: Project, connection: sa.Connection, revision: str = "head") -> None:
    config = project.config()
    config.attributes["connection"] = connection
    project.upgrade(revision, config)


def _fail_to_commit(project: Project, engine: Engine) -> None:
    with pytest.raises(IntegrityError), engine.begin() as connection:
        _upgrade(project, connection)


def _roll_back(project: Project, engine: Engine) -> None:
    with engine.connect() as connection, connection.begin() as transaction:
        _upgrade(project, connection)
        transaction.rollback()


@pytest.mark.parametrize("end", [_fail_to_commit, _roll_back])
def test_half_a_migration_that_a_transaction_left_is_told(
    project: Project,
    engine: Engine,
    end: Callable[[Project, Engine], None],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Steps that were committed before a caller's transaction failed do not pass unnoticed."""
    before = digest(project.database)
    end(project, engine)
    assert digest(project.database) != before
    assert "may be half migrated. To put it back: soulsense-db restore" in capfd.readouterr().err
    with pytest.raises(MigrationRefusedError, match="half migrated"), engine.begin() as connection:
        _upgrade(project, connection)
    BackupManager(engine).restore(project.backups()[-1])
    assert digest(project.database) == before
    assert not project.marker.exists()


def test_a_commit_ends_the_protection(project: Project, engine: Engine) -> None:
    """Once the caller has committed, no marker and no lock is left, though the connection is."""
    project.revision("broken", "second", "pass")
    with engine.connect() as connection, connection.begin() as transaction:
        _upgrade(project, connection)
        assert project.marker.exists()
        transaction.commit()
        assert query(project.database, AT) == [("broken",)]
        assert not project.marker.exists()
        BackupManager(engine).exclusive(timeout=0).release()


def test_steps_left_out_do_not_pass_unnoticed(project: Project, engine: Engine) -> None:
    """An env.py that swallows the error of a step cannot have the caller's commit hide it."""
    before = digest(project.database)
    project.revision("broken", "second", 'op.drop_table("entry")\nraise RuntimeError("broken")')
    project.edit_env(
        "        context.run_migrations()\n",
        "        try:\n            context.run_migrations()\n"
        "        except RuntimeError:\n            pass\n",
    )
    with pytest.raises(MigrationFailedError, match="put back"), engine.begin() as connection:
        _upgrade(project, connection)
    assert digest(project.database) == before
    assert not project.marker.exists()


def test_two_commands_in_one_transaction_are_one(project: Project, engine: Engine) -> None:
    """The second command of a caller's transaction does not wait for the first, nor end it."""
    before = len(project.backups())
    with within(30), engine.connect() as connection, connection.begin() as transaction:
        config = project.config()
        config.attributes["connection"] = connection
        project.call("downgrade", "first", config=config)
        for _ in range(2):  # the second time with nothing to do
            _upgrade(project, connection, "second")
        assert project.marker.exists()
        transaction.commit()
        assert not project.marker.exists()
    assert query(project.database, AT) == [("second",)]
    assert len(project.backups()) == before + 1


def test_two_commands_in_one_transaction_are_put_back_together(
    project: Project, engine: Engine
) -> None:
    """When the second command of a transaction fails, the database is what it was before both."""
    project.revision("broken", "second", BROKEN)
    before = digest(project.database)
    with within(30), pytest.raises(OperationalError), engine.begin() as connection:
        config = project.config()
        config.attributes["connection"] = connection
        project.call("downgrade", "first", config=config)
        _upgrade(project, connection)
    assert digest(project.database) == before
    assert not project.marker.exists()


def test_a_thread_never_waits_for_itself(project: Project, engine: Engine) -> None:
    """A second connection in a thread with an open migration is refused at once, and says why."""
    with within(30), engine.connect() as connection, connection.begin() as transaction:
        config = project.config()
        config.attributes["connection"] = connection
        project.call("downgrade", "first", config=config)
        with (
            pytest.raises(MigrationRefusedError, match="transaction that is still open"),
            engine.connect() as other,
        ):
            _upgrade(project, other)
        transaction.commit()
    assert query(project.database, AT) == [("first",)]
    assert not project.marker.exists()


def test_a_second_command_that_is_refused_leaves_the_first_one_protected(
    project: Project, make_engine: EngineMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both run in the caller's transaction: its commit ends the protection of the first."""
    project.revision("broken", "second", "pass")
    project.revision("next", "broken", "pass")
    engine = make_engine(project.database)

    def full(*_: object) -> None:
        raise NotEnoughSpaceError("The disk is full.")

    with engine.begin() as connection:
        _upgrade(project, connection, "broken")
        with monkeypatch.context() as patch:
            patch.setattr(Markers, "add", full)
            with pytest.raises(MigrationRefusedError):
                _upgrade(project, connection)
    assert query(project.database, AT) == [("broken",)]
    assert not project.marker.exists()
    BackupManager(engine).exclusive(timeout=0).release()


def test_a_path_that_is_no_text_is_protected(tmp_path: Path) -> None:
    """Where SQLite names the file in bytes that are no UTF-8, a failed migration is put back."""
    project = Project(tmp_path / "project", "env.py").standard()
    _pass_connection(project)
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    database = folder / "app.db"
    shutil.copy(project.database, database)
    before = digest(database)
    url = sa.URL.create("sqlite", database=str(database))
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection, pytest.raises(OperationalError, match="nowhere"):
        _upgrade(project, connection)
    assert digest(database) == before


@pytest.mark.parametrize("commands", [("up next",), ("down first", "up next")])
def test_several_commands_in_one_transaction_leave_no_alarm(
    project: Project, make_engine: EngineMaker, commands: tuple[str, ...]
) -> None:
    """The last one of a chain says where it led; an earlier one was on its way there."""
    project.revision("broken", "second", "pass")
    project.revision("next", "broken", "pass")
    engine = make_engine(project.database)
    with engine.begin() as connection:
        _upgrade(project, connection, "broken")
        for command in commands:
            config = project.config()
            config.attributes["connection"] = connection
            way, revision = command.split()
            project.call("upgrade" if way == "up" else "downgrade", revision, config=config)
    assert query(project.database, AT) == [("next",)]
    assert not project.marker.exists()
