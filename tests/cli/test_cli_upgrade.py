"""restore --upgrade and drills with --upgrade, as they are typed."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic_project import Project
from rehearsals import manager_of, project, run_sql, untouched
from shell import Shell
from terminal import end_of, terminal

from soulsense_db import BackupManager
from soulsense_db.errors import DrillError, NotConfirmedError, OptionError, RehearsalFailedError

pytestmark = pytest.mark.slow


@pytest.fixture
def made(tmp_path: Path) -> Project:
    """Return a project at head, with a backup from before that."""
    made = project(tmp_path / "project")
    manager_of(made).create("old")
    made.revision("second", "first", 'op.add_column("entry", sa.Column("note", sa.Text))')
    made.upgrade("head")
    run_sql(made.database, "DELETE FROM entry")
    return made


def notes(made: Project) -> list[Any]:
    """Return what only today's table has."""
    with closing(sqlite3.connect(made.database)) as connection:
        return connection.execute("SELECT note FROM entry").fetchall()


def test_an_old_backup_comes_back(made: Project) -> None:
    """What is asked and said, and the way back."""
    shell = Shell(made.folder)
    before = made.database.read_bytes()
    assert shell.run("restore", "latest", "--upgrade").returncode == NotConfirmedError.exit_code
    assert made.database.read_bytes() == before
    out = shell.ok("restore", "latest", "--upgrade", "--yes")
    assert "Migrated the data from first to second in " in out
    assert "Steps: second." in out
    assert "To undo the restore: soulsense-db undo" in out
    *table, columns = out.partition("What changed in the database:\n")[2].splitlines()
    assert [line.split() for line in table] == [
        ["TABLE", "ADDED", "REMOVED", "CHANGED"],
        ["entry", "+3", "0", "0"],
    ]
    assert columns == (
        "Newer than the backup: entry.note. Its rows have NULL there, or what the migrations fill "
        "in."
    )
    assert len(notes(made)) == 3
    shell.ok("undo", "--yes")
    assert notes(made) == []


def test_a_dry_run_migrates_a_copy(made: Project) -> None:
    """It finds out what would happen; JSON has the steps."""
    shell = Shell(made.folder)
    before = made.database.read_bytes()
    result = shell.json("restore", "latest", "--upgrade", "--dry-run")
    assert result["dry_run"]
    assert result["upgrade"]["steps"] == ["second"]
    assert result["upgrade"]["new_columns"] == ["entry.note"]
    out = shell.ok("restore", "latest", "--upgrade", "--dry-run")
    assert "  columns   Newer than the backup: entry.note. Its rows have NULL there" in out
    made.revision("third", "second", "raise ValueError('no such mood')")
    failing = shell.run("restore", "latest", "--upgrade", "--dry-run")
    assert failing.returncode == RehearsalFailedError.exit_code
    assert "Step third fails: ValueError: no such mood" in failing.stderr
    assert made.database.read_bytes() == before


def test_a_failing_step_is_an_error_for_programs(made: Project) -> None:
    """With --json too, and the database is what it was."""
    made.revision("third", "second", "raise ValueError('no such mood')")
    result = Shell(made.folder).run("restore", "latest", "--upgrade", "--yes", "--json")
    assert result.returncode == RehearsalFailedError.exit_code
    error = json.loads(result.stdout)["error"]
    assert "Step third fails" in error["message"]
    assert notes(made) == []


def test_without_an_upgrade_nothing_is_said_of_one(made: Project) -> None:
    """A plain restore brings the old tables."""
    result = Shell(made.folder).json("restore", "latest", "--yes")
    assert result["upgrade"] is None
    with pytest.raises(sqlite3.OperationalError, match="note"):
        notes(made)


@pytest.mark.parametrize(
    "words",
    [
        ("restore", "latest", "--revision", "first"),
        ("restore", "latest", "--upgrade", "--table", "entry"),
        ("restore", "--accept", "--upgrade"),
        ("verify", "latest", "--upgrade"),
        ("mirror", "verify", "--upgrade"),
    ],
)
def test_options_that_say_nothing_together(made: Project, words: tuple[str, ...]) -> None:
    """They are usage errors, before anything is done."""
    with untouched(made.folder):
        result = Shell(made.folder).run(*words)
    assert result.returncode == 2, result.stderr
    assert "--upgrade" in result.stderr or "--revision" in result.stderr


def test_where_there_are_no_migrations(made: Project, tmp_path: Path) -> None:
    """It says what is missing."""
    shell = Shell(tmp_path)
    told = shell.fails(
        OptionError,
        *("restore", "latest", "--upgrade", "--yes", "--url", f"sqlite:///{made.database}"),
    )
    assert "There is no alembic.ini here." in told


def test_from_a_mirror_to_a_new_machine(made: Project, tmp_path: Path) -> None:
    """Only the code and the mirror are there; the compressed backup migrates."""
    mirror = f"file://{tmp_path / 'mirror'}"
    manager = BackupManager.from_url(
        f"sqlite:///{made.database}", mirrors=[mirror], compression="zstd"
    )
    manager.mirrors.add(mirror)
    manager.restore("latest")
    manager.create("for the mirror")
    manager.mirrors.sync()
    for path in (made.folder / "backups").iterdir():
        path.unlink()
    made.database.unlink()
    Shell(made.folder).ok("restore", "latest", "--from", mirror, "--upgrade", "--yes", "--quiet")
    assert len(notes(made)) == 3


def test_verify_migrates_what_it_drills(made: Project) -> None:
    """Asked for on the command line, or always, in pyproject.toml."""
    shell = Shell(made.folder)
    out = shell.ok("verify", "latest", "--level", "drill", "--upgrade")
    assert "Migrated the data from first to second in " in out
    (made.folder / "pyproject.toml").write_text("[tool.soulsense-db.drill]\nupgrade = true\n")
    result = shell.json("verify", "latest", "--level", "drill")
    assert result["drill"]["upgrade"]["steps"] == ["second"]
    assert result["backup"]["drill_revision"] == "second"
    assert "passed, migrates to second" in shell.ok("show", "latest")
    made.revision("third", "second", "raise ValueError('no such mood')")
    told = shell.fails(DrillError, "verify", "latest", "--level", "drill")
    assert "does not migrate to head: Step third fails" in told
    (made.folder / "pyproject.toml").write_text("[tool.soulsense-db.drill]\nupgrade = 1\n")
    told = shell.fails(OptionError, "verify", "latest", "--level", "drill")
    assert "Write true or false." in told


def test_a_restore_says_that_the_drill_failed(made: Project) -> None:
    """Whoever restores it learns of that before the question."""
    shell = Shell(made.folder)
    (made.folder / "pyproject.toml").write_text(
        '[tool.soulsense-db.drill]\nchecks = [{ sql = "SELECT 0" }]\n'
    )
    shell.fails(DrillError, "verify", "latest", "--level", "drill")
    result = shell.run("restore", "latest", "--dry-run")
    assert "failed its last drill" in result.stderr


def test_rows_that_went_are_said(made: Project) -> None:
    """By a dry run, by the restore and by a drill; what is compared is the migrated data."""
    made.revision("third", "second", 'op.execute("DELETE FROM entry WHERE id > 1")')
    shell = Shell(made.folder)
    went = "Once migrated, the data has fewer rows than the backup: entry has 1 of 3 rows."
    out = shell.run("restore", "latest", "--upgrade", "--dry-run")
    assert went in out.stderr
    assert "alembic_version" not in out.stdout
    out = shell.run("restore", "latest", "--upgrade", "--dry-run", "--json")
    found = json.loads(out.stdout)["result"]
    assert found["upgrade"]["fewer_rows"] == [{"table": "entry", "before": 3, "after": 1}]
    assert [(one["table"], one["gained"]) for one in found["comparison"]["tables"]] == [
        ("alembic_version", 1),
        ("entry", 1),
    ]
    assert went in shell.ok("verify", "latest", "--level", "drill", "--upgrade")
    assert went in shell.ok("restore", "latest", "--upgrade", "--yes")
    shell.fails(OptionError, "restore", "latest", "--upgrade", "--revision", "", "--yes")


def test_the_question_is_about_the_migrated_data(made: Project) -> None:
    """Before it, the migrations have run on a copy: values of new columns that go are counted."""
    run_sql(
        made.database,
        "INSERT INTO entry (id, person_id, text, note) VALUES (1, 1, 'one', 'of today')",
    )
    before = made.database.read_bytes()
    with terminal(Shell(made.folder), "restore", "latest", "--upgrade") as child:
        child.expect("with this backup, migrated[?]")
        shown = child.before
        child.sendline("n")
        assert end_of(child) == NotConfirmedError.exit_code
    assert "The data migrates from first to second" in shown
    assert re.search(r"entry +\+2 +0 +1\b", shown), shown
    assert made.database.read_bytes() == before


def test_nobody_to_ask_is_an_error_before_the_migrations_run(made: Project) -> None:
    """Where no answer can be given, no migration runs for nothing."""
    made.revision("third", "second", f"Path({str(made.folder / 'ran')!r}).touch()")
    Shell(made.folder).fails(NotConfirmedError, "restore", "latest", "--upgrade")
    assert not (made.folder / "ran").exists()
