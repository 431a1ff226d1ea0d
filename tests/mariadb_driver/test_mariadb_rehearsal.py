"""Migrations are rehearsed on a private server, and the live database is never touched."""

from __future__ import annotations

import os
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic_project import Project
from rehearsals import kinds, one

from mariadb_driver.databases import Database, new_database
from mariadb_driver.projects import project_on
from mariadb_driver.server import Server
from soulsense_db import BackupManager
from soulsense_db.alembic import RehearsalReport, rehearse

TABLES = """op.execute("CREATE TABLE person (id INT PRIMARY KEY, name VARCHAR(50))")
op.execute("CREATE TABLE entry (id INT PRIMARY KEY AUTO_INCREMENT, person_id INT, text TEXT,"
    " FOREIGN KEY (person_id) REFERENCES person (id) ON DELETE CASCADE)")
op.execute("INSERT INTO person VALUES (1, 'Ada'), (2, 'Bob')")
op.execute("INSERT INTO entry (person_id, text) VALUES (1, 'one'), (1, 'two'), (2, 'three')")"""


@pytest.fixture(autouse=True)
def folder_of_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give private servers a folder of the test's own, in which nothing is left."""
    with tempfile.TemporaryDirectory(prefix="p-") as folder:
        os.chmod(folder, 0o755)
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)
        assert not list(Path(folder).iterdir())


@pytest.fixture
def database(server: Server, tmp_path: Path) -> Iterator[Database]:
    """Return a new database; at its end nothing of ours is left beside it."""
    with new_database(server, tmp_path) as made:
        yield made
        assert made.left() == set()


@pytest.fixture
def project(database: Database, tmp_path: Path) -> Project:
    """Return a project on it, at revision ``first``."""
    made = project_on(database, tmp_path / "project")
    made.revision("first", None, TABLES, 'op.drop_table("entry"); op.drop_table("person")')
    made.upgrade("first")
    return made


def rehearsed(
    project: Project, database: Database, *arguments: Any, **options: Any
) -> RehearsalReport:
    """Rehearse; the live database is the same, and its server has no other."""
    before = database.dump(), database.run("SELECT User, Host FROM mysql.user ORDER BY 1, 2")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(project.folder)
            options.setdefault(
                "manager", BackupManager(database.engine, project.folder.parent / "backups")
            )
            return rehearse(project.config(), *arguments, **options)
    finally:
        after = database.dump(), database.run("SELECT User, Host FROM mysql.user ORDER BY 1, 2")
        assert after == before


def test_a_good_migration_gives_no_finding(project: Project, database: Database) -> None:
    """A migration that adds and changes without loss: its step, its time, and nothing else."""
    project.revision(
        "second",
        "first",
        'op.add_column("entry", sa.Column("note", sa.Text))\n'
        "op.execute(\"UPDATE entry SET note = CONCAT(text, '!')\")",
    )
    report = rehearsed(project, database)
    assert (report.findings, report.error) == ((), "")
    (step,) = report.steps
    assert (step.revision, step.direction) == ("second", "upgrade")
    assert step.seconds is not None
    assert step.locked_seconds is not None
    assert 0 < step.locked_seconds <= step.seconds
    (copied,) = report.databases
    assert (copied.heads_before, copied.alembic_heads) == (("first",), ("second",))
    assert [(t.table, t.before, t.after) for t in copied.tables] == [
        ("entry", 3, 3),
        ("person", 2, 2),
    ]
    assert (report.ok, report.live_unchanged, report.space_free) == (True, True, None)
