"""How the window says things, without a window."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soulsense_db.backup_info.info import BackupInfo, local_time
from soulsense_db.drivers import DatabaseDiff, RowCounts, TableDiff
from soulsense_db.errors import (
    WAY_BACK,
    Action,
    BackupError,
    Command,
    DatabaseLockedError,
    Outcome,
    PruneError,
    Remedy,
    RestoreError,
    StorageError,
)

pytest.importorskip("tkinter", reason="the window needs tkinter")
from soulsense_db.dialog import formatting, texts
from soulsense_db.dialog.formatting import COLUMNS, Order, explain

TODAY = date(2026, 3, 1)


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        (datetime(2026, 3, 1, 0, 0), "today 00:00"),
        (datetime(2026, 3, 1, 23, 59), "today 23:59"),
        (datetime(2026, 2, 28, 23, 59), "yesterday 23:59"),
        (datetime(2026, 2, 23, 8, 5), "Monday 08:05"),
        (datetime(2026, 2, 22, 8, 5), "2026-02-22 08:05"),
        (datetime(2026, 3, 2, 8, 5), "2026-03-02 08:05"),
        (datetime(1, 1, 1), "0001-01-01 00:00"),
    ],
)
def test_when(moment: datetime, said: str) -> None:
    """Days are those of the calendar; a day to come, as after a wrong clock, is a date."""
    assert formatting.when(moment, TODAY) == said.replace("0001", f"{moment:%Y}")


@pytest.mark.parametrize("moment", [datetime.min, datetime.max])
def test_the_ends_of_the_calendar_are_shown(moment: datetime) -> None:
    """A time that no zone can hold is no reason to fail."""
    assert local_time(moment.replace(tzinfo=UTC)).replace(tzinfo=None)


@given(st.text())
def test_plain_text_is_one_line(text: str) -> None:
    """No character that acts on a line is left, and what can be seen is."""
    plain = formatting.plain(text)
    assert len(plain.splitlines()) <= 1
    assert not set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\x00\x1b") & set(plain)
    seen = [one for one in text if one.isprintable() and one != " "]
    assert [one for one in plain if one.isprintable() and one != " "] == seen


@pytest.mark.parametrize("column", [column.name for column in COLUMNS])
def test_every_column_sorts_both_ways(column: str) -> None:
    """Whatever a backup lacks, it has a place; of equal ones the newest is first."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    backups = [
        BackupInfo(
            id=str(number),
            path=f"/backups/{number}.db",
            created_at=start + timedelta(hours=number),
            size_bytes=number % 3,
            kind=("manual", "imported", "automatic")[number % 3],
            description=("b", "", "A")[number % 3],
            alembic_heads=((), ("a",), ("a", "b"))[number % 3],
            verified_at=start if number % 3 else None,
        )
        for number in range(9)
    ]
    once = Order("other").by(column)
    there, back = once.sort(backups), once.by(column).sort(backups)
    assert set(map(id, there)) == set(map(id, back)) == set(map(id, backups))
    key = next(one.key for one in COLUMNS if one.name == column)
    assert [key(one) for one in there] == [key(one) for one in back[::-1]]
    if column != "when":
        for one, following in pairwise(there):
            assert key(one) != key(following) or one.created_at > following.created_at


@pytest.mark.parametrize(
    ("pinned", "half_run", "description", "said"),
    [
        (False, False, "words", "words"),
        (True, False, "words", "Pinned: words"),
        (True, False, "", "Pinned"),
        (True, True, "words", "Pinned, interrupted upgrade: words"),
        (False, True, "", "Interrupted upgrade"),
    ],
)
def test_what_is_special_about_a_backup_is_said_in_words(
    pinned: bool, half_run: bool, description: str, said: str
) -> None:
    """Before the description stands what it is that a person has to know; no picture of it."""
    info = BackupInfo(
        id="1",
        path="/backups/1.db",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        size_bytes=1,
        description=description,
        pinned=pinned,
        half_run=half_run,
        database="app.db",
    )
    assert formatting.description(info) == said


def test_only_a_table_of_alembic_is_left_out() -> None:
    """Where there is no revision, a table of that name is the person's own, and counts."""
    tables = [RowCounts(table=name, backup=1, live=1) for name in ("alembic_version", "notes")]
    assert [one.table for one in formatting.entries(tables, ("ab12",))] == ["notes"]
    assert formatting.entries(tables, ()) == tables


@pytest.mark.parametrize(
    ("error", "happened", "meaning"),
    [
        (StorageError("It failed."), "It failed.", "Nothing was changed."),
        (StorageError("a.db is v. old.txt."), "a.db is v. old.txt.", "Nothing was changed."),
        (RestoreError("No stop"), "No stop.", "Nothing was changed."),
        (PruneError("One.", state="Others went."), "One.", "Others went."),
        (
            RestoreError("It failed.", outcome=Outcome.UNSURE, backup=Path("a.db.safety_backup")),
            "It failed.",
            "It is not certain whether the change was saved. "
            "The previous database is in a.db.safety_backup.",
        ),
    ],
)
def test_an_error_is_told_in_parts(error: BackupError, happened: str, meaning: str) -> None:
    """What happened is parted from what it means; nothing of it is lost."""
    told = explain(error)
    assert (told.happened, told.meaning) == (happened, meaning)


def test_what_to_do_is_what_can_be_done_in_the_window() -> None:
    """A hint that names a command of the terminal names the button instead."""
    undo = Command(Action.UNDO, "Then undo the restore", ("--url", "a.db"))
    told = explain(RestoreError("It failed.", remedy=Remedy("Mend it.", (undo,))))
    assert told.hint == "Mend it.\nPress “Undo last restore…”."
    assert explain(DatabaseLockedError("x", hint="Wait.")).hint == "Wait."


def test_outcomes_are_told_as_everywhere() -> None:
    """The window has every outcome and every command, each outcome in the same words."""
    assert {outcome: outcome.sentence for outcome in Outcome} == texts.OUTCOMES
    assert texts.WAY_BACK == WAY_BACK
    assert set(texts.ACTIONS) == set(Action)


def test_other_errors_are_told_without_passwords() -> None:
    """What is no error of the tree says what it is, and no password."""
    told = explain(ValueError("mysql://root:secret@host"))
    assert told.happened == ("An unexpected error occurred: ValueError: mysql://root:***@host.")
    assert told.hint
    assert explain(KeyError()).happened == "An unexpected error occurred: KeyError."


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ([], "The entries are the same. Only the structure of the database differs."),
        ([("a", 1, 0, 0)], "No entry will be removed."),
        ([("a", 0, 3, 0)], "None of the entries that will be removed is newer than this backup."),
        (
            [("a", 0, 3, 2), ("b", 0, 5, 0)],
            "2 entries are newer than this backup and will be removed.",
        ),
        (
            [("a", 0, 3, 2), ("b", 0, 5, None)],
            "At least 2 entries are newer than this backup and will be removed.",
        ),
        (
            [("a", 0, 3, 0), ("b", 0, 5, None)],
            "8 entries will be removed. They may be newer than this backup.",
        ),
        (
            [("a", 0, 1234, 1234)],
            "1,234 entries are newer than this backup and will be removed.",
        ),
    ],
)
def test_what_a_restore_changes_in_a_sentence(
    tables: list[tuple[str, int, int, int | None]], said: str
) -> None:
    """Newer entries are what a person would miss: they are counted over all tables."""
    found = DatabaseDiff(
        tables=tuple(
            TableDiff(table=name, gained=gained, lost=lost, changed=0, newer=newer)
            for name, gained, lost, newer in tables
        ),
        same_schema=False,
        alembic_heads=(),
    )
    assert formatting.change_summary(found, found.tables) == said
