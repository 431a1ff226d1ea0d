"""Rehearsals of Flask-Migrate, whose env.py runs in the context of an application."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from alembic_project import HAS_PLUGINS
from helpers import clean_environment

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "flask_app"
NOTES = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001_notes", None


def upgrade():
    op.create_table(
        "note",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("text", sa.String, nullable=False),
    )
    op.execute("INSERT INTO note (text) VALUES ('kept')")
"""
BROKEN = """
from alembic import op

revision, down_revision = "0002_broken", "0001_notes"


def upgrade():
    op.execute("INSERT INTO nott VALUES (1)")
"""


def run(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a module of Python as a person does, in the folder of the application."""
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=clean_environment() | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """Return the folder of an application with a migration, which rehearses."""
    for source in EXAMPLE.glob("*.py"):
        shutil.copy(source, tmp_path)
    made = run(tmp_path, "flask", "--app", "app", "db", "init")
    assert made.returncode == 0, made.stderr
    ini = tmp_path / "migrations" / "alembic.ini"
    options = "[alembic]\nsoulsense_backup = true\nsoulsense_rehearse = true"
    ini.write_text(ini.read_text().replace("[alembic]", options, 1))
    if not HAS_PLUGINS:  # as the guide's page says
        env = tmp_path / "migrations" / "env.py"
        before, online, after = env.read_text().partition("def run_migrations_online")
        after = after.replace("context.begin_transaction()", "safe_migrations(context)")
        imports = "from soulsense_db.alembic import safe_migrations\n"
        env.write_text(f"{imports}{before}{online}{after}")
    (tmp_path / "migrations" / "versions" / "0001_notes.py").write_text(NOTES)
    return tmp_path


@pytest.mark.parametrize("how", ["--app", "FLASK_APP", "app.py"])
def test_an_upgrade_is_rehearsed(application: Path, how: str) -> None:
    """In the context of the application that `flask` has, however it was named."""
    words = ("--app", "app") if how == "--app" else ()
    variables = {"FLASK_APP": "app"} if how == "FLASK_APP" else {}
    done = run(application, "flask", *words, "db", "upgrade", **variables)
    assert done.returncode == 0, done.stderr
    (application / "migrations" / "versions" / "0002_broken.py").write_text(BROKEN)
    refused = run(application, "flask", *words, "db", "upgrade", **variables)
    assert refused.returncode != 0
    assert "rehearsal of this upgrade failed" in refused.stderr
    assert "no such table: nott" in refused.stderr


def test_the_command_rehearses(application: Path) -> None:
    """`soulsense-db rehearse` finds the application as `flask` does."""
    assert run(application, "flask", "db", "upgrade").returncode == 0
    (application / "migrations" / "versions" / "0002_broken.py").write_text(BROKEN)
    said = run(application, "soulsense_db", "rehearse")
    assert said.returncode == 76, said.stderr
    assert "no such table: nott" in said.stdout + said.stderr
