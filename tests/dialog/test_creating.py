"""A backup made in the window: its description, its progress, its end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers import execute, held_by_another_process, leftovers, make_database

from dialog.conftest import MakePerson
from dialog.host import CREATE, bar, create, host, let_go, open_window, row, rows, table
from soulsense_db import BackupManager


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Return a database that is copied in more than one step."""
    return make_database(tmp_path / "app.db", rows=30_000, page_size=512)


def test_the_counter_counts_what_is_in_the_file_name(person: MakePerson, database: Path) -> None:
    """The counter follows the typing, in characters as the file name has them, and says the rest.

    A letter and its accent, typed one after the other, are one.
    """
    user = person(host(database))
    open_window(user)
    user.waits_for("File name: 0 of 30 characters")
    user.press("ctrl+n")
    user.type("e\u0301tude")
    user.waits_for("File name: 5 of 30 characters")
    user.type(" " + "x" * 24)
    user.waits_for("File name: 30 of 30 characters")
    user.type("and more")
    user.waits_for("File name: the first 30 of 38 characters")
    user.press("Return")
    user.waits_for("Created soulsense_backup_")
    user.waits_for("File name: 0 of 30 characters")
    (info,) = BackupManager.from_url(str(database)).list()
    assert info.filename.endswith(f"_étude_{'x' * 24}.db")
    assert info.description == "e\u0301tude " + "x" * 24 + "and more"


def test_a_backup_made_is_told_and_selected(person: MakePerson, database: Path) -> None:
    """File name and size of the new backup are told, and its row is the selected one."""
    user = person(host(database))
    open_window(user)
    create(user, "First")
    create(user, "Second")
    newest, _ = BackupManager.from_url(str(database)).list()
    assert user.sees(f"Created {newest.filename} ({newest.size_display}).")
    user.wait_until(lambda: row(user, "Second").selected, "the new row to be selected")


@pytest.mark.parametrize(
    "text",
    [
        "😀 family 👩\u200d👩\u200d👧 ✈",
        "שלום עולם",
        "مرحبا بالعالم",
        "日本 €",
        '{[$x]} \\ "quoted" ;',
    ],
)
def test_any_description_comes_back_as_typed(person: MakePerson, database: Path, text: str) -> None:
    """Emoji, right-to-left text and the special characters of Tcl are kept and shown."""
    user = person(host(database))
    open_window(user)
    create(user, text)
    (info,) = BackupManager.from_url(str(database)).list()
    assert info.description == text
    assert rows(user) == [text]


def test_a_database_of_any_name(person: MakePerson, tmp_path: Path) -> None:
    """Emoji, right-to-left text and marks that act in the names of files do no harm."""
    folder = tmp_path / "Дневник {[$x]}"
    folder.mkdir()
    database = make_database(folder / "journal 😀 שלום\u202e.db")
    user = person(host(database))
    open_window(user)
    assert user.window("Backups of journal 😀 שלום .db")
    create(user, "first")
    user.click(row(user, "first"))
    user.click("Restore…")
    user.waits_for("Replace journal 😀 שלום .db with this backup?")
    user.waits_for("The database already has the same content")


def test_a_description_with_control_characters_cannot_act(
    person: MakePerson, database: Path
) -> None:
    """Line ends and marks that turn the writing around are shown as spaces, on one line."""
    BackupManager.from_url(str(database)).create("one\ntwo\u202egnp.exe\x07")
    user = person(host(database))
    open_window(user)
    assert rows(user) == ["one two gnp.exe"]


def test_progress_is_shown_and_cancel_leaves_nothing(person: MakePerson, large: Path) -> None:
    """A bar shows how many bytes are copied; after Cancel there is no file, no row, no error."""
    user = person(host(large, manager="Gated"))
    open_window(user)
    user.press("ctrl+n")
    user.type("Never to be")
    user.click(CREATE)
    user.waits_for("Copying the database… ")
    shown = bar(user)
    assert shown.mode == "determinate"
    assert 0 < float(shown.value) < float(shown.maximum)
    for button in (CREATE, "Import file…"):
        assert not user.find(button).enabled
    user.click("Cancel")
    user.waits_for("Cancelled. No backup was created.")
    directory = large.parent / "backups"
    assert leftovers(directory) == []
    assert [name for name in os.listdir(directory) if not name.startswith(".")] == []
    assert user.find(CREATE).enabled
    assert table(user).total == 0
    let_go(user)
    create(user, " still")  # what was typed is still there
    assert rows(user) == ["Never to be still"]


def test_a_cancel_while_the_copy_is_checked_leaves_nothing(
    person: MakePerson, database: Path
) -> None:
    """Also when all bytes are copied, Cancel is obeyed until the backup has its name."""
    user = person(host(database, manager="CreatesLate"))
    open_window(user)
    user.click(CREATE)
    user.waits_for("Checking the copy…")
    user.click("Cancel")
    user.waits_for("Cancelled. No backup was created.")
    assert not list((database.parent / "backups").glob("soulsense*"))


def test_a_locked_database_is_told_and_the_window_stays_alive(
    person: MakePerson, database: Path
) -> None:
    """While another program holds the database the window answers; then the error says so."""
    user = person(host(database, lock_timeout=1.5))
    open_window(user)
    with held_by_another_process(database, "BEGIN EXCLUSIVE"):
        user.click(CREATE)
        user.waits_for("Copying the database…")
        user.reset_block()
        user.press("ctrl+f")
        user.type("typed meanwhile")
        user.wait_until(
            lambda: any(one.value == "typed meanwhile" for one in user.look().widgets), "the text"
        )
        assert user.sees("Copying the database…"), "it waits still"
        user.waits_for("Database locked")
    assert user.sees("What to do")
    user.click("OK")
    user.press("ctrl+f", "Escape")
    create(user, "Now")


def test_a_full_disk_is_told(person: MakePerson, database: Path, small_disk: Path) -> None:
    """A backup that does not fit is an error with a way out, and leaves nothing."""
    execute(database, "CREATE TABLE large (b)", "INSERT INTO large VALUES (randomblob(2000000))")
    move = f"manager = BackupManager(manager._repository.driver.engine, {str(small_disk)!r})"
    user = person(host(database, more=move))
    open_window(user)
    user.click(CREATE)
    user.waits_for("Not enough space in ")
    assert user.sees("Nothing was changed.")
    assert user.sees("What to do")
    user.click("OK")
    assert leftovers(small_disk) == []
    assert table(user).total == 0


def test_a_backup_made_although_old_ones_could_not_go_is_listed(
    person: MakePerson, database: Path
) -> None:
    """A policy that could not be applied is a warning on the backup, which is in the list."""
    manager = BackupManager.from_url(str(database))
    for description in ("a", "b"):
        manager.create(description)
    policy = """
manager = BackupManager(manager._repository.driver.engine, retention=RetentionPolicy(keep_last=1))
import soulsense_db.directory.directory
def refuse(self, info):
    raise soulsense_db.directory.directory.StorageError("The old one cannot go.", hint="Look why.")
soulsense_db.directory.directory.BackupDirectory.delete = refuse
"""
    user = person(host(database, more=policy))
    open_window(user)
    user.press("ctrl+n")
    user.type("New")
    user.click(CREATE)
    user.waits_for("Old backups could not be removed")
    row(user, "New")
