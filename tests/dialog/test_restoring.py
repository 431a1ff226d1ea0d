"""A restore in the window: what it asks, what it tells the application, how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import add_child, digest, execute, flip, make_database

from dialog.conftest import MakePerson
from dialog.display import Display
from dialog.host import (
    NOTING,
    RESTORE,
    RESTORE_TITLE,
    RESTORE_YES,
    bar,
    host,
    let_go,
    open_window,
    restore,
    row,
    rows,
)
from dialog.person import Person
from dialog.test_theme import themed
from soulsense_db import BackupManager


def ask(user: Person, description: str) -> None:
    """Choose a backup and click Restore, up to the question."""
    user.click(row(user, description))
    user.click(RESTORE)
    user.window(RESTORE_TITLE)


def agree(user: Person) -> None:
    """Click Restore in the question."""
    user.click(user.find(RESTORE_YES, within=RESTORE_TITLE))


def test_the_question_shows_what_changes(person: MakePerson, database: Path) -> None:
    """Rows that come back, go away, are newer and change back are told per table, and no is no."""
    manager = BackupManager.from_url(str(database))
    manager.create("first")
    execute(database, "DELETE FROM child WHERE id < 6", "UPDATE parent SET name = 'x' WHERE id < 3")
    execute(database, "INSERT INTO child (parent_id, amount, body) VALUES (1, 1, 'new')")
    before = digest(database)
    user = person(host(database))
    open_window(user)
    ask(user, "first")
    user.waits_for("1 entry is newer than this backup and will be removed.")
    seen = user.look()
    (table,) = [w for w in seen.widgets if any(h.text == "Added" for h in w.headings)]
    assert [[cell.text for cell in one.cells] for one in table.rows] == [
        ["child", "+5", "-1", "1", "0"],
        ["parent", "0", "0", "0", "3"],
    ]
    assert user.sees("“first”")
    assert user.sees(
        "The current database is saved first as a safety backup, so you can undo this."
    )
    user.press("Return")  # the harmless answer has the focus
    user.wait_until(lambda: not user.sees("Added"), "the question to go")
    assert digest(database) == before
    assert not list(database.parent.glob("*safety*"))


def test_what_alembic_and_the_window_write_is_no_entry(person: MakePerson, database: Path) -> None:
    """The tables of Alembic and of the catalog are not counted in the question.

    Where only the version differs, the entries are said to be the same.
    """
    execute(database, "CREATE TABLE alembic_version (version_num PRIMARY KEY)")
    execute(database, "INSERT INTO alembic_version VALUES ('ab12')")
    manager = BackupManager.from_url(str(database))
    manager.create("first")
    manager.create("second")  # a row in the catalog that the first one has not
    execute(database, "UPDATE alembic_version SET version_num = 'cd34'")
    user = person(host(database))
    open_window(user)
    ask(user, "first")
    user.waits_for("The entries are the same. Only the structure of the database differs.")
    assert not user.sees("alembic_version")
    user.press("Escape")
    user.wait_until(lambda: not user.sees(RESTORE_TITLE), "the question to go")
    add_child(database)
    ask(user, "first")
    user.waits_for("1 entry is newer than this backup and will be removed.")
    (table,) = [w for w in user.look().widgets if any(h.text == "Added" for h in w.headings)]
    assert [one.cells[0].text for one in table.rows] == ["child", "parent"]


def test_the_question_is_no_higher_than_the_screen(
    person: MakePerson, database: Path, display_small: Display
) -> None:
    """With many tables of long names both answers can be clicked at 1024 x 768, names read."""
    names = [f"a_table_with_a_rather_long_name_{number:02}" for number in range(30)]
    execute(database, *[f"CREATE TABLE {name} (a)" for name in names])
    info = BackupManager.from_url(str(database)).create("mine")
    Path(info.meta_path).write_text("typed by a person")
    execute(database, *[f"INSERT INTO {name} VALUES (1)" for name in names])
    user = person(host(database, more=themed("light")), screen=display_small)
    open_window(user)
    ask(user, "typed by a")
    user.waits_for("30 entries are newer")
    for text in (RESTORE_YES, "Cancel"):
        button = user.find(text, within=RESTORE_TITLE)
        assert button.y + button.height <= display_small.height
    assert user.sees(names[0])


def test_a_restore_that_changes_nothing_says_so(person: MakePerson, database: Path) -> None:
    """Where the rows are the same, the question says that nothing would change."""
    BackupManager.from_url(str(database)).create("first")
    user = person(host(database))
    open_window(user)
    ask(user, "first")
    user.waits_for("The database already has the same content. Nothing would change.")


def test_the_application_is_told_before_and_after(person: MakePerson, database: Path) -> None:
    """It can close its sessions first and load anew after it, also after an undo: no restart."""
    manager = BackupManager.from_url(str(database))
    manager.create("first")
    add_child(database)
    user = person(host(database, more=NOTING))
    open_window(user)
    restore(user, "first")
    user.waits_for("You do not need to restart the application.")
    assert user.run("answer = told") == ["before", "first"]
    user.click("Undo last restore…")
    user.click(user.find("Undo restore", within="Undo the last restore?"))
    user.wait_until(lambda: len(user.run("answer = told")) == 4, "the application to be told")
    assert user.run("answer = told")[2:] == ["before", "The database before a restore"]


def test_without_callbacks_a_restart_is_asked_for(person: MakePerson, database: Path) -> None:
    """An application that does not load anew by itself has to be restarted: that is said."""
    BackupManager.from_url(str(database)).create("first")
    add_child(database)
    user = person(host(database))
    open_window(user)
    restore(user, "first")
    user.waits_for("Restart the application before you continue.")


def test_another_revision_calls_for_a_restart(person: MakePerson, database: Path) -> None:
    """A backup of another Alembic revision is no data for the application that runs: it is said.

    In the question, and afterwards.
    """
    execute(database, "CREATE TABLE alembic_version (version_num)")
    execute(database, "INSERT INTO alembic_version VALUES ('ab12')")
    BackupManager.from_url(str(database)).create("first")
    execute(database, "UPDATE alembic_version SET version_num = 'cd34'")
    user = person(host(database, more=NOTING))
    open_window(user)
    ask(user, "first")
    user.waits_for("Database version: ab12 in the backup, cd34 now.")
    agree(user)
    user.waits_for("Restart the application before you continue.")


def test_an_application_that_cannot_let_go_stops_the_restore(
    person: MakePerson, database: Path
) -> None:
    """What ``before_restore`` raises is shown, nothing is restored, and ``after`` is not called."""
    BackupManager.from_url(str(database)).create("first")
    add_child(database)
    before = digest(database)
    refusing = NOTING + "callbacks['before_restore'] = lambda: 1 / 0"
    user = person(host(database, more=refusing))
    open_window(user)
    ask(user, "first")
    agree(user)
    user.waits_for("The application could not close the database.")
    assert user.sees("Nothing was changed.")
    user.click("Details ▸")
    user.waits_for("ZeroDivisionError")
    user.click("OK")
    assert digest(database) == before
    assert user.run("answer = told") == []


def test_an_application_that_cannot_load_is_told_and_the_restore_is_done(
    person: MakePerson, database: Path
) -> None:
    """What ``after_restore`` raises is shown; the database is restored, and can be undone.

    It shows old data, then: it has to be restarted.
    """
    BackupManager.from_url(str(database)).create("first")
    first = digest(database)
    add_child(database)
    failing = NOTING + "callbacks['after_restore'] = lambda report: 1 / 0"
    user = person(host(database, more=failing))
    open_window(user)
    ask(user, "first")
    agree(user)
    user.waits_for("The application could not reload its data.")
    assert user.sees("The database was restored.")
    user.click("OK")
    assert user.sees("Restored app.db as of")
    assert user.sees("Restart the application before you continue.")
    assert user.find("Undo", kind="button").enabled
    assert digest(database) == first


def test_a_restore_is_cancelled(person: MakePerson, tmp_path: Path) -> None:
    """After Cancel the database is what it was, and the application loads it again."""
    database = make_database(tmp_path / "app.db", rows=30_000, page_size=512)
    BackupManager.from_url(str(database)).create("first")
    add_child(database)
    before = digest(database)
    user = person(host(database, manager="Gated", more=NOTING))
    open_window(user)
    ask(user, "first")
    agree(user)
    user.waits_for("Restoring… ")
    assert bar(user).mode == "determinate"
    user.click("Cancel")
    user.waits_for("Cancelled. The database was not changed.")
    assert digest(database) == before
    assert user.run("answer = told") == ["before", None]
    let_go(user)
    restore(user, "first")
    assert digest(database) != before


def test_a_damaged_backup_is_no_question(person: MakePerson, database: Path) -> None:
    """It is verified before anything is asked; the error says what happened, and what to do."""
    manager = BackupManager.from_url(str(database))
    info = manager.create("first")
    flip(Path(info.path), 5000)
    before = digest(database)
    user = person(host(database, more=NOTING))
    open_window(user)
    user.click(row(user, "first"))
    user.click(RESTORE)
    user.waits_for("has changed since it was taken (checksum mismatch).")
    for text in ("Nothing was changed.", "What to do", "Use another backup;"):
        assert user.sees(text)
    user.click("Details ▸")
    user.waits_for("ChecksumMismatchError (exit code 25)")
    user.click("OK")
    user.wait_until(lambda: rows(user, "Verified") == ["–"], "the list to tell it")
    assert digest(database) == before
    assert user.run("answer = told") == []


@pytest.mark.parametrize("what", ["missing", "damaged"])
def test_a_database_that_is_gone_is_restored(person: MakePerson, database: Path, what: str) -> None:
    """The question says that there is no undo, the end that the file is a new one."""
    BackupManager.from_url(str(database)).create("first")
    first = digest(database)
    if what == "missing":
        database.unlink()
        told = "There is no database at the moment. Nothing is replaced"
    else:
        database.write_bytes(b"no database" * 1000)
        told = "The current database cannot be read. Its files are moved aside"
    user = person(host(database, more=NOTING))
    open_window(user)
    ask(user, "first")
    user.waits_for(told)
    agree(user)
    user.waits_for("The database is in a new file. Restart every application")
    assert digest(database) == first
    assert not any(one.text == "Undo" for one in user.look().widgets)


def test_a_second_click_on_restore_is_no_answer(person: MakePerson, database: Path) -> None:
    """The button of a question wakes late, so that a double click is not taken for a yes."""
    BackupManager.from_url(str(database)).create("first")
    add_child(database)
    before = digest(database)
    user = person(host(database))
    open_window(user)
    user.double_click(row(user, "first"))  # asks as well
    question = user.window(RESTORE_TITLE)
    assert question.managed
    assert len([w for w in user.look().windows if w.title.startswith(RESTORE_TITLE)]) == 1
    user.press("Escape")
    user.wait_until(lambda: not user.sees(RESTORE_TITLE), "the question to go")
    assert digest(database) == before


def test_a_cancel_that_comes_too_late_is_no_lie(person: MakePerson, database: Path) -> None:
    """Once the data is replaced, Cancel changes nothing: what is told is that it was restored."""
    BackupManager.from_url(str(database)).create("first")
    first = digest(database)
    add_child(database)
    user = person(host(database, manager="RestoresLate", more=NOTING))
    open_window(user)
    ask(user, "first")
    agree(user)
    user.wait_until(lambda: digest(database) == first, "the data to be replaced")
    user.click("Cancel")
    user.waits_for("Stopping…")
    let_go(user)
    user.waits_for("Restored app.db as of")
    assert user.run("answer = told") == ["before", "first"]
    assert digest(database) == first


def test_the_undo_beside_the_message_works_at_once(person: MakePerson, database: Path) -> None:
    """The offered Undo does not wait for the list to be read anew: also the first press counts."""
    BackupManager.from_url(str(database)).create("first")
    add_child(database)
    user = person(host(database, manager="ListsSlowly"))
    open_window(user)
    ask(user, "first")
    (user.folder / "slow").touch()
    agree(user)
    user.waits_for("Restored app.db")
    user.click("Undo")
    user.waits_for("Undo the last restore?")
    (user.folder / "slow").unlink()
    user.press("Escape")
