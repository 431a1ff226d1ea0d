"""``restore --table``: what a person types, sees and answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from helpers import digest, execute, scalar
from shell import Shell
from test_cli_json import validator

from soulsense_db.errors import NotConfirmedError, OptionError, RowsRefusedError

pytestmark = pytest.mark.slow

USAGE = 2


@pytest.fixture
def deleted(shell: Shell) -> Shell:
    """Return a shell where child 17 is only in the backup, and child 18 is another than there."""
    shell.create(description="all is there")
    execute(
        shell.database,
        "DELETE FROM child WHERE id = 17",
        "UPDATE child SET body = 'edited \x1b[31m' WHERE id = 18",
    )
    return shell


def rows_json(shell: Shell, *arguments: str) -> dict[str, Any]:
    """Run a restore with --json; return its result, which follows the schema."""
    found = json.loads(shell.ok("restore", "latest", "--json", *arguments))
    validator().validate(found)
    result: dict[str, Any] = found["result"]
    return result


def test_one_row_comes_back(deleted: Shell) -> None:
    """It is shown, with numbers and values, then written, and undo is named and works."""
    before = digest(deleted.database)
    said = deleted.ok("restore", "latest", "--table", "child", "--where", "id = 17", "--yes")
    assert "all is there" in said
    assert "+ child id 17: parent_id 6, amount 16, body 'line 16 line 16" in said
    assert "1 row(s) inserted, 0 replaced." in said
    assert "To undo it: soulsense-db undo" in said
    assert scalar(deleted.database, "SELECT count(*) FROM child WHERE id = 17") == 1
    deleted.ok("undo", "--yes")
    assert digest(deleted.database) == before


def test_rows_that_differ_are_shown_side_by_side(deleted: Shell) -> None:
    """Nothing that acts on a terminal comes through; without --replace they stay."""
    said = deleted.ok("restore", "latest", "--table", "child", "--where", "id = 18", "--yes")
    assert "To overwrite them: --replace" in said
    assert "Nothing to bring back: all of these rows are there, some with other values." in said
    arguments = ("--table", "child", "--where", "id = 18", "--replace", "--dry-run")
    said = deleted.ok("restore", "latest", *arguments)
    assert r"~ child id 18: body 'edited \x1b[31m' becomes 'line 17" in said
    assert "\x1b" not in said
    assert said.splitlines()[-1] == "Nothing was changed: this was a dry run."


def test_it_asks_before_it_writes(deleted: Shell) -> None:
    """Without a terminal and without --yes nothing is written."""
    before = digest(deleted.database)
    result = deleted.run("restore", "latest", "--table", "child")
    assert result.returncode == NotConfirmedError.exit_code
    assert "--yes" in result.stderr
    assert digest(deleted.database) == before


def test_the_results_follow_the_schema(deleted: Shell) -> None:
    """A dry run of rows, rows that came back, nothing to do, and a dry run of a whole restore."""
    row = ("--table", "child", "--where", "id = 17")
    found = rows_json(deleted, *row, "--dry-run")
    assert found["dry_run"] and found["safety_backup"] is None
    assert found["tables"][0]["inserted"] == 1
    found = rows_json(deleted, *row, "--yes")
    assert found["safety_backup"].endswith("app.db.safety_backup") or found["safety_backup"]
    assert found["tables"] == [
        {
            "table": "child",
            "role": "chosen",
            "inserted": 1,
            "replaced": 0,
            "same": 0,
            "kept": 0,
            "triggers": [],
        }
    ]
    assert rows_json(deleted, *row)["tables"][0]["same"] == 1
    whole = rows_json(deleted, "--dry-run")
    assert whole["dry_run"] and whole["comparison"]["tables"]


def test_what_is_in_the_way_is_said_before_the_question(deleted: Shell) -> None:
    """Missing parents are listed and refused; so is a condition, or a table, that is none."""
    execute(deleted.database, "DELETE FROM parent WHERE id = 6")
    row = ("--table", "child", "--where", "id = 17")
    result = deleted.run("restore", "latest", *row)
    assert result.returncode == RowsRefusedError.exit_code
    assert "missing   parent id 6 (for 1 row of child)" in result.stdout
    assert "add --with-parents" in result.stderr
    said = deleted.ok("restore", "latest", *row, "--with-parents", "--yes")
    assert "2 row(s) inserted" in said
    result = deleted.run("restore", "latest", "--table", "child", "--where", "id = 1; DROP TABLE x")
    assert result.returncode == OptionError.exit_code
    assert "not one SQL expression" in result.stderr
    result = deleted.run("restore", "latest", "--table", "chlid")
    assert result.returncode == RowsRefusedError.exit_code
    assert "Did you mean child?" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--where", "id = 17"),
        ("--replace",),
        ("--with-parents",),
        ("--table", ""),
        ("--table", "child", "--where", " "),
        ("--table", "child", "--table", "parent"),
        ("--table", "child", "--where", "id = 1", "--where", "id = 2"),
        ("--table", "child", "--accept"),
        ("--table", "child", "--triggers", "perhaps"),
    ],
)
def test_options_that_mean_nothing_are_usage_errors(
    deleted: Shell, arguments: tuple[str, ...]
) -> None:
    """Above all, an option about rows never becomes a restore of everything."""
    before = digest(deleted.database)
    ref = () if "--accept" in arguments else ("latest",)
    result = deleted.run("restore", *ref, *arguments, "--yes")
    assert result.returncode == USAGE, result.stdout + result.stderr
    if arguments[0] != "--table":
        assert f"Invalid value for {arguments[0]}: it needs" in result.stderr
    assert digest(deleted.database) == before


def test_no_variable_chooses_rows(deleted: Shell) -> None:
    """What a restore is about is said each time: the environment does not turn it into another."""
    deleted.env |= {"SOULSENSE_TABLE": "child", "SOULSENSE_RESTORE_WHERE": "id = 17"}
    assert "Restored " in deleted.ok("restore", "latest", "--yes")


def test_triggers_are_named(deleted: Shell) -> None:
    """The preview says that they do not run, and how to have them run."""
    execute(
        deleted.database,
        "CREATE TABLE log (id)",
        "CREATE TRIGGER noted AFTER INSERT ON child BEGIN INSERT INTO log VALUES (new.id); END",
    )
    row = ("restore", "latest", "--table", "child", "--where", "id = 17")
    assert "noted: not run" in deleted.ok(*row, "--dry-run")
    assert "noted: they run" in deleted.ok(*row, "--triggers", "run", "--yes")
    assert scalar(deleted.database, "SELECT id FROM log") == 17
