"""One session, as a person has it: a click at a time, and the rows compared."""

from __future__ import annotations

from pathlib import Path

from helpers import add_child, digest, make_database

from dialog.conftest import MakePerson
from dialog.host import (
    DELETE_TITLE,
    MANAGE,
    choose_file,
    create,
    host,
    open_window,
    restore,
    row,
    rows,
)


def test_a_session(person: MakePerson, tmp_path: Path) -> None:
    """Create, search, restore, undo, delete and import, by clicks and keys, change what they say.

    After each step the rows of the database are those that a person would expect.
    """
    database = make_database(tmp_path / "app.db")
    other = make_database(tmp_path / "old.db", rows=7)
    directory = tmp_path / "backups"
    user = person(host(database))
    open_window(user)
    user.waits_for("No backups yet.")

    create(user, "Before the exam")
    first = digest(database)
    add_child(database, "after the backup")
    add_child(database, "and another")
    create(user, "Weekly")
    second = digest(database)
    assert rows(user) == ["Weekly", "Before the exam"]
    assert len(list(directory.glob("*.db"))) == 2

    user.press("ctrl+f")
    user.type("EXAM today")
    user.wait_until(lambda: rows(user) == ["Before the exam"], "only what fits the search")
    user.waits_for("1 of 2 backups")

    restore(user, "Before the exam")
    assert digest(database) == first
    user.click("Undo")
    user.click(user.find("Undo restore", within="Undo the last restore?"))
    user.wait_until(lambda: digest(database) == second, "the rows of before the restore")
    user.waits_for("Restored app.db as of")

    user.press("ctrl+f", "Escape")
    user.wait_until(lambda: len(rows(user)) == 2, "the search to be cleared")
    user.click(row(user, "Weekly"))
    user.press("Delete")
    user.click(user.find("Delete", within=DELETE_TITLE))
    user.waits_for("Deleted soulsense_backup_")
    user.wait_until(lambda: rows(user) == ["Before the exam"], "the row to go")
    assert len(list(directory.glob("*.db"))) == len(list(directory.glob("*.meta"))) == 1
    assert digest(database) == second

    user.click("Import file…")
    choose_file(user, "Import file", other)
    user.waits_for("Imported as soulsense_backup_")
    assert row(user, "imported").selected
    restore(user, "imported")
    assert digest(database) == digest(other)

    user.click("Close")
    user.wait_until(lambda: not user.sees("Backups of app.db"), "the window to go")
    assert user.find(MANAGE).enabled
    assert digest(database) == digest(other)
