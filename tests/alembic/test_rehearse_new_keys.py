"""Rows that a migration gives other primary keys: no loss, where they are the same otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic_project import Project
from rehearsals import kinds, one, project, rehearsed, run_sql

pytestmark = pytest.mark.slow

_TAGS = "CREATE TABLE tag (name TEXT PRIMARY KEY, colour TEXT, people INTEGER)"
_TAG_ROWS = (
    "INSERT INTO tag VALUES ('home', 'red', 1), ('work', 'blue', 2), "
    "('sport', 'red', 5), ('chess', 'red', 5)"
)


@pytest.fixture
def made(tmp_path: Path) -> Project:
    """Return a project at revision ``first``."""
    return project(tmp_path / "project")


def migrating(made: Project, *statements: str) -> None:
    """Have the next revision run some statements."""
    made.revision("second", "first", "\n".join(f"op.execute({one!r})" for one in statements))


def test_rows_with_other_keys_are_not_lost(made: Project) -> None:
    """An UPDATE of primary keys: a warning, with how many, an example, and what to look after."""
    migrating(made, "UPDATE entry SET id = id + 1000 WHERE id > 1")
    report = rehearsed(made)
    assert kinds(report) == [("warning", "keys_changed")]
    sentence = one(report, "keys_changed").sentence
    assert sentence.startswith(
        "In table entry, 2 rows of 3 have other primary keys (id 2 is 1002 now). No row is lost, "
        "and nothing else of them changed."
    )
    assert report.ok
    assert report.verdict.endswith("Read the warning first.")


def test_keys_that_take_the_places_of_others_are_not_taken_for_values(made: Project) -> None:
    """Each key moves by one: the values of the rows did not change, nor become shorter."""
    migrating(made, "UPDATE entry SET id = -id - 1", "UPDATE entry SET id = -id")
    report = rehearsed(made)
    assert kinds(report) == [("warning", "keys_changed")]
    assert "all its 3 rows have other primary keys (id 1 is 2 now)" in (
        one(report, "keys_changed").sentence
    )


def test_values_of_other_rows_are_still_compared(made: Project) -> None:
    """Some rows have other keys, and another one another value: both are said."""
    migrating(
        made,
        "UPDATE entry SET id = id + 1000 WHERE id > 1",
        "UPDATE entry SET text = 'o' WHERE id = 1",
    )
    assert kinds(rehearsed(made)) == [("loss", "values_shortened"), ("warning", "keys_changed")]


def test_rows_that_are_written_anew_under_other_keys_are_there(made: Project) -> None:
    """All rows are copied, deleted and written again, and get new numbers: they are there."""
    migrating(
        made,
        "CREATE TABLE kept AS SELECT person_id, text, mood FROM entry",
        "DELETE FROM entry",
        "INSERT INTO entry (id, person_id, text, mood) SELECT rowid + 7, * FROM kept",
        "DROP TABLE kept",
    )
    assert kinds(rehearsed(made)) == [("warning", "keys_changed")]


def test_the_reference_that_breaks_is_said_as_well(made: Project) -> None:
    """What refers to the old keys breaks: the verdict is that, and the keys are named."""
    migrating(made, "UPDATE person SET id = id + 1000")
    report = rehearsed(made)
    assert kinds(report) == [("error", "reference"), ("warning", "keys_changed")]


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param(
            ("UPDATE entry SET id = id + 1000, mood = 9 WHERE id > 1",), id="other values too"
        ),
        pytest.param(
            ("UPDATE entry SET id = id + 1000", "DELETE FROM entry WHERE id = 1003"), id="one less"
        ),
    ],
)
def test_rows_that_may_be_others_are_a_loss(made: Project, statements: tuple[str, ...]) -> None:
    """Where it cannot be shown that the rows are the same, the rehearsal fails."""
    migrating(made, *statements)
    report = rehearsed(made)
    assert report.loses_data
    assert ("warning", "keys_changed") not in kinds(report)


@pytest.mark.parametrize(
    ("statements", "is_loss"),
    [
        pytest.param(("UPDATE tag SET name = 'my ' || name WHERE people < 5",), False, id="longer"),
        pytest.param(
            ("UPDATE tag SET name = substr(name, 1, 2) WHERE people < 5",), True, id="cut off"
        ),
        pytest.param(
            ("DELETE FROM tag WHERE name = 'home'", "INSERT INTO tag VALUES ('garden', 'red', 1)"),
            True,
            id="another row with the same values",
        ),
        pytest.param(
            ("UPDATE tag SET name = name || '!' WHERE people = 5",), True, id="rows like each other"
        ),
    ],
)
def test_a_key_that_says_something_is_a_value(
    made: Project, statements: tuple[str, ...], *, is_loss: bool
) -> None:
    """A key of words: where rows keep it whole, and an UPDATE changed it, nothing is lost."""
    run_sql(made.database, _TAGS, _TAG_ROWS)
    migrating(made, *statements)
    assert rehearsed(made).loses_data is is_loss


def test_a_key_that_is_a_reference_says_whose_row_it_is(made: Project) -> None:
    """The choice of one person is deleted, and another one makes the same: that is a loss."""
    run_sql(
        made.database,
        "CREATE TABLE choice (person_id INTEGER PRIMARY KEY REFERENCES person (id), theme TEXT)",
        "INSERT INTO choice VALUES (1, 'dark')",
    )
    migrating(made, "DELETE FROM choice", "INSERT INTO choice VALUES (2, 'dark')")
    assert kinds(rehearsed(made)) == [("loss", "rows_lost")]


def test_a_loss_is_in_the_verdict_where_something_breaks_too(made: Project) -> None:
    """A reference breaks, and values are cut: the verdict says both."""
    migrating(made, "UPDATE person SET id = id + 1000", "UPDATE entry SET text = 'o' WHERE id = 1")
    assert rehearsed(made).verdict == (
        "This migration runs to its end, breaks something and loses data. "
        "The live database was not touched."
    )
