"""The command rehearse: what it prints, and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from alembic_project import Project
from helpers import clean_environment
from rehearsals import manager_of, project, rehearsed, untouched

from soulsense_db.cli.rehearsal_text import figures

SCHEMA: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "docs" / "cli.schema.json").read_text()
)


@pytest.fixture
def made(tmp_path: Path) -> Project:
    """Return a project at revision ``first``."""
    return project(tmp_path / "project")


def run(made: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in the project's folder; it leaves nothing there."""
    with untouched(made.folder):
        return subprocess.run(
            [sys.executable, "-m", "soulsense_db", "rehearse", *arguments],
            cwd=made.folder,
            env=clean_environment() | {"PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )


def test_a_good_one_ends_with_0(made: Project) -> None:
    """A good migration: its steps as a table, the figures, the verdict, nothing on stderr."""
    made.revision("second", "first", 'op.execute("UPDATE entry SET mood = 1")')
    result = run(made)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"Rehearsed on a copy of the live database {made.database}, ")
    assert lines[2].split() == ["STEP", "TIME", "WRITERS", "WAIT", "WHAT"]
    assert lines[3].startswith("second")
    assert lines[-2].startswith("Writers would wait for up to ")
    assert lines[-1] == (
        "This migration runs to its end, and no rows or values are lost. Values changed: see the "
        "notes."
    )


def test_a_failing_one_ends_with_76(made: Project) -> None:
    """A migration that fails: which step, why, what it printed last; no traceback."""
    made.revision("second", "first", 'print("on the way \\x1b[2J")\nop.execute("OH NO")')
    result = run(made)
    assert result.returncode == 76
    assert 'Fails: Step second fails: OperationalError: near "OH": syntax error' in result.stdout
    assert "  on the way  [2J" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    assert result.stdout.endswith("This migration fails. The live database was not touched.\n")


def test_one_that_loses_data_ends_with_77(made: Project) -> None:
    """A migration that loses data: what, and the verdict."""
    made.revision("second", "first", 'op.execute("DELETE FROM entry")')
    result = run(made)
    assert result.returncode == 77
    assert "Loses data: Table entry loses all its 3 rows." in result.stdout
    verdict, acceptance = result.stdout.splitlines()[-2:]
    assert verdict.startswith("This migration runs to its end and loses data.")
    assert acceptance == (
        "If the loss is meant, run the upgrade; with soulsense_rehearse = true: "
        "alembic -x soulsense_accept_loss=1 upgrade head"
    )


def test_what_breaks_is_not_to_be_accepted(made: Project) -> None:
    """Where more than a loss speaks against the real run, no way around it is shown."""
    made.revision(
        "second",
        "first",
        'op.execute("DELETE FROM entry")\n'
        'op.execute("CREATE TABLE link (p INTEGER REFERENCES person)")\n'
        'op.execute("INSERT INTO link VALUES (9)")',
    )
    result = run(made)
    assert result.returncode == 76
    assert "Loses data: Table entry" in result.stdout
    assert "accept_loss" not in result.stdout


def test_figures_are_those_that_matter(made: Project) -> None:
    """Some kilobytes of a small database are none; where the disk is small they are."""
    made.revision("second", "first", 'op.execute("UPDATE entry SET mood = 1")')
    report = rehearsed(made)
    assert " of disk are needed" not in figures(report)
    assert "the database grows" not in figures(report)
    assert "are needed, backup and journal included (64.0 KB are free)" in figures(
        replace(report, space_free=64 * 1024)
    )
    (main,) = report.databases
    grown = replace(main, size_after=main.size_before + 30_000_000)
    assert "the database grows from" in figures(replace(report, databases=(grown,)))


def test_what_the_wait_is_counted_to_is_said(made: Project) -> None:
    """The figure is longer than that of a step in the table above it: it says why."""
    made.revision("second", "first", 'op.execute("UPDATE entry SET mood = 1")')
    report = replace(rehearsed(made), writers_wait_seconds=0.019)
    assert figures(report) == (
        "Writers would wait for up to 19 ms (to the end of the transaction, with what Alembic "
        "itself writes)."
    )


@pytest.mark.parametrize(
    ("step", "code"),
    [("pass", 0), ('op.execute("OH NO")', 76), ('op.execute("DELETE FROM entry")', 77)],
)
def test_json_is_as_described(made: Project, step: str, code: int) -> None:
    """With --json, one object as the schema describes it, whatever came out."""
    made.revision("second", "first", step)
    result = run(made, "--json")
    answer = json.loads(result.stdout)
    jsonschema.Draft202012Validator(SCHEMA).validate(answer)
    assert (result.returncode, answer["result"]["exit_code"]) == (code, code)
    assert answer["result"]["live_unchanged"]


def test_an_error_before_it_is_one_of_the_tree(made: Project) -> None:
    """What keeps it from beginning is said in one line, with the exit code of its class."""
    result = run(made, "--on", "nosuch")
    assert result.returncode == 20
    assert result.stderr.startswith("Error: ")
    result = run(made, "--timeout", "0")
    assert result.returncode == 71
    assert "0 seconds are no time limit" in result.stderr
    made.ini.rename(made.folder / "other.ini")
    result = run(made, "--url", str(made.database))
    assert (result.returncode, "no alembic.ini here" in result.stderr) == (71, True)
    result = run(made, "--url", str(made.database), "--config", "other.ini")
    assert result.returncode == 0
    assert "nothing to migrate" in result.stdout


def test_options_reach_the_rehearsal(made: Project) -> None:
    """A revision, a backup and an argument for env.py are what the rehearsal works with."""
    manager_of(made).create("three rows")
    made.revision(
        "second",
        "first",
        "assert context.get_x_argument(as_dictionary=True) == {'tenant': 'one', 'n': '2'}",
    )
    made.revision("third", "second", 'op.execute("OH NO")')
    result = run(made, "second", "--on", "latest", "-x", "tenant=one", "-x", "n=2")
    assert result.returncode == 0, result.stdout
    assert "of the backup soulsense_backup_" in result.stdout
    assert "third" not in result.stdout
