"""What the tests of the rehearsal share: a project with data, and proof that it was untouched."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic_project import Project

from soulsense_db import BackupManager
from soulsense_db.alembic import Finding, RehearsalReport, rehearse

# A parent, and children that go with it.
TABLES = """
    op.create_table("person", sa.Column("id", sa.Integer, primary_key=True),
                    sa.Column("name", sa.String(200)))
    op.create_table("entry", sa.Column("id", sa.Integer, primary_key=True),
                    sa.Column("person_id", sa.Integer,
                              sa.ForeignKey("person.id", ondelete="CASCADE")),
                    sa.Column("text", sa.Text, nullable=False),
                    sa.Column("mood", sa.Integer))
    op.execute("INSERT INTO person (name) VALUES ('Ada Lovelace'), ('Grace Hopper')")
    op.execute("INSERT INTO entry (person_id, text, mood) VALUES "
               "(1, 'one', 3), (1, 'two', NULL), (2, 'three', 5)")
"""


def project(folder: Path, template: str = "generic") -> Project:
    """Return a project whose database has rows and is at revision ``first``."""
    made = Project(folder, "none", template=template)
    made.revision("first", None, TABLES, 'op.drop_table("entry"); op.drop_table("person")')
    made.upgrade("first")
    return made


def manager_of(made: Project) -> BackupManager:
    """Return a manager of the project's database."""
    return BackupManager.from_url(f"sqlite:///{made.database}")


def rehearsed(made: Project, *arguments: Any, **options: Any) -> RehearsalReport:
    """Rehearse; the live database is the same byte for byte, and nothing is left behind."""
    options.setdefault("manager", manager_of(made))
    with untouched(made.folder), pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.folder)
        return rehearse(made.config(), *arguments, **options)


@contextmanager
def untouched(folder: Path, *, but: tuple[str, ...] = ()) -> Iterator[None]:
    """Assert of each file of ``folder`` that it is what it was, and that there are no more.

    ``but``: endings of the names of those that may change.
    """
    before = _files(folder, but)
    yield
    assert _files(folder, but) == before


def _files(folder: Path, but: tuple[str, ...] = ()) -> dict[str, tuple[int, int, bytes]]:
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            path.stat().st_ino,
            path.read_bytes(),
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and not path.name.endswith(but)
    }


def kinds(report: RehearsalReport) -> list[tuple[str, str]]:
    """Return severity and kind of each finding."""
    return [(finding.severity, finding.kind) for finding in report.findings]


def one(report: RehearsalReport, kind: str) -> Finding:
    """Return the one finding of a kind."""
    (found,) = [finding for finding in report.findings if finding.kind == kind]
    return found


def is_alive(process: int) -> bool:
    """Whether a process runs; not one that ended and was not waited for."""
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


def run_sql(database: Path, *statements: str) -> None:
    """Run statements on the database, and commit."""
    with closing(sqlite3.connect(database)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
