"""What comes at the wrong moment: keys that come too fast, others who change things meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import add_child, digest, execute, held_by_another_process

from dialog.conftest import MakePerson
from dialog.host import (
    CREATE,
    DELETE_TITLE,
    NOTING,
    RESTORE,
    RESTORE_TITLE,
    RESTORE_YES,
    create,
    host,
    let_go,
    open_window,
    restore,
    row,
    rows,
)
from dialog.person import Person
from soulsense_db import BackupManager

UNDO_TITLE = "Undo the last restore?"
FIND = "window = next(w for w in root.winfo_children() if w.winfo_class() == 'Toplevel')"


@pytest.fixture
def manager(database: Path) -> BackupManager:
    """Return a manager of the backups of ``database``, with one, and a row added since."""
    made = BackupManager.from_url(str(database))
    made.create("first")
    add_child(database)
    return made


def opened(
    person: MakePerson, database: Path, more: str = "", *, manager: str = "BackupManager"
) -> Person:
    """Return a person before the window, with the first backup selected."""
    user = person(host(database, manager=manager, more=more))
    open_window(user)
    user.click(row(user, "first"))
    return user


def ask(user: Person) -> None:
    """Ask for a restore of the selected backup, up to what it would change."""
    user.click(RESTORE)
    user.waits_for("What will change")


def agree(user: Person) -> None:
    """Say yes to it."""
    user.click(user.find(RESTORE_YES, within=RESTORE_TITLE))


def questions(user: Person) -> list[str]:
    """Return the titles of the windows over the window."""
    titles = [one.title for one in user.look().windows if one.managed]
    return [title for title in titles if not title.startswith(("Backups of", "SoulSense"))]


@pytest.mark.parametrize(
    "actions",
    [["restore"] * 3, ["delete"] * 3, ["delete", "restore", "delete"], ["delete", "import_file"]],
)
def test_keys_that_come_before_a_question_is_there_ask_once(
    person: MakePerson, database: Path, manager: BackupManager, actions: list[str]
) -> None:
    """However fast keys and buttons are pressed, there is one question, and no answer."""
    user = opened(person, database, NOTING)
    calls = "\n".join(f"window.actions.{action}()" for action in actions)
    user.start(f"{FIND}\n{calls}")  # before any of them is mapped, as with queued keys
    user.wait_until(lambda: questions(user), "a question")
    assert len(questions(user)) == 1
    assert user.run("answer = told") == []


def test_presses_of_undo_before_its_question_is_there_ask_once(
    person: MakePerson, database: Path, manager: BackupManager
) -> None:
    """What an undo goes back to is read first: meanwhile Undo may be pressed again, to no end."""
    manager.restore("latest")
    user = opened(person, database, NOTING)
    user.start(f"{FIND}\nfor _ in range(3): window.actions.undo()")
    user.wait_until(lambda: questions(user), "a question")
    user.waits_for("What will change")
    assert len(questions(user)) == 1
    user.press("Escape")
    user.wait_until(lambda: questions(user) == [], "the question to go")


@pytest.mark.parametrize("question", ["restore", "delete"])
def test_an_answer_is_possible_only_after_a_while(
    person: MakePerson, database: Path, manager: BackupManager, question: str
) -> None:
    """The button that does it wakes late: a click meant for what was there before is no answer."""
    slow = "import soulsense_db.dialog.question as a; a._ANSWER_AFTER_MS = 3_600_000"
    user = opened(person, database, slow)
    if question == "restore":
        ask(user)
        yes, title = RESTORE_YES, RESTORE_TITLE
    else:
        user.press("Delete")
        yes, title = "Delete", DELETE_TITLE
    button = user.find(yes, within=title)
    assert not button.enabled
    user.click(button, anyway=True)
    assert user.sees(title)
    assert len(manager.list()) == 1


def test_an_answer_is_possible_only_when_the_changes_are_shown(
    person: MakePerson, database: Path, manager: BackupManager
) -> None:
    """While it compares, nobody can agree to what is not known yet."""
    at_once = "import soulsense_db.dialog.question as a; a._ANSWER_AFTER_MS = 0"
    user = opened(person, database, at_once, manager="ComparesLate")
    user.click(RESTORE)
    user.waits_for("Comparing the backup with the database…")
    assert not user.find(RESTORE_YES, within=RESTORE_TITLE).enabled
    let_go(user)
    user.waits_for("What will change")
    user.wait_until(
        lambda: user.find(RESTORE_YES, within=RESTORE_TITLE).enabled, "the answer to be possible"
    )


def test_a_backup_that_vanishes_while_it_is_compared(
    person: MakePerson, database: Path, manager: BackupManager
) -> None:
    """What is wrong with the backup ends the question: there is nothing to agree to."""
    user = opened(person, database, manager="Vanishing")
    user.click(RESTORE)
    user.waits_for("Backup file not found")
    assert questions(user) == ["That did not work"]
    user.click("OK")
    user.wait_until(lambda: rows(user) == [], "the row to go")


def test_an_undo_is_the_one_that_was_shown(
    person: MakePerson, database: Path, manager: BackupManager
) -> None:
    """When somebody restores while Undo is asked, nothing is done, and it says so."""
    user = opened(person, database, NOTING)
    restore(user, "first")
    user.click("Undo")
    user.waits_for("What will change")
    add_child(database, "of somebody else")
    manager.restore("latest")
    before = digest(database)
    user.click(user.find("Undo restore", within=UNDO_TITLE))
    user.waits_for("There has been another restore in the meantime.")
    assert user.sees("Nothing was changed.")
    user.click("OK")
    assert digest(database) == before
    assert user.run("answer = told") == ["before", "first", "before", None]


def test_an_undo_that_is_gone(person: MakePerson, database: Path, manager: BackupManager) -> None:
    """When there is nothing to undo any more, that is said."""
    user = opened(person, database)
    restore(user, "first")
    for path in database.parent.glob("app.db.safety_backup*"):
        path.unlink()
    user.click("Undo")
    user.waits_for("There is no longer a restore to undo.")
    user.click("OK")
    undo = "Undo last restore…"
    user.wait_until(lambda: not user.find(undo).enabled, "the button to be disabled")


def test_what_somebody_else_deletes_is_not_exchanged(
    person: MakePerson, database: Path, manager: BackupManager
) -> None:
    """When the selected backup is deleted elsewhere, no other one takes its place.

    Neither in the list, nor for the menu that was opened on it.
    """
    info = manager.list()[0]
    other = manager.pin(manager.create("other"), "to be kept")
    user = opened(person, database)
    user.right_click(row(user, "first"))
    user.waits_for("Pin")
    manager.delete(info)
    user.wait_until(lambda: rows(user) == ["Pinned: other"], "the row to go")
    user.click("Pin")
    user.waits_for("Backup file not found")
    user.click("OK")
    assert manager.get(other).pin_note == "to be kept"
    assert not row(user, "other").selected
    assert not user.find("Verify").enabled


def test_an_application_that_closes_the_window_before(
    person: MakePerson, database: Path, manager: BackupManager
) -> None:
    """When ``before_restore`` destroys the window, nothing is restored, and ``after`` says so."""
    before = digest(database)
    closing = (
        NOTING
        + """
def close():
    told.append("before")
    next(w for w in root.winfo_children() if w.winfo_class() == "Toplevel").destroy()
callbacks["before_restore"] = close
"""
    )
    user = opened(person, database, closing)
    ask(user)
    agree(user)
    user.wait_until(lambda: user.run("answer = told") == ["before", None], "the application")
    assert not user.sees("Backups of app.db")
    assert digest(database) == before


@pytest.mark.parametrize("outcome", ["first", None])
def test_an_application_that_closes_the_window_after(
    person: MakePerson, database: Path, manager: BackupManager, outcome: str | None
) -> None:
    """``after_restore`` may destroy the window, also when the restore failed."""
    closing = (
        NOTING
        + """
def close(report):
    told.append(report and report.source.description)
    next(w for w in root.winfo_children() if w.winfo_class() == "Toplevel").destroy()
callbacks["after_restore"] = close
"""
    )
    user = opened(person, database, closing)
    ask(user)
    if outcome is None:
        Path(manager.list()[0].path).unlink()
    agree(user)
    user.wait_until(lambda: user.run("answer = told") == ["before", outcome], "the application")
    assert not user.sees("Backups of app.db")


def test_an_application_whose_events_go_on_before(
    person: MakePerson, database: Path, manager: BackupManager
) -> None:
    """While ``before_restore`` runs, no other work can be begun, and the restore is not lost."""
    nested = (
        NOTING
        + """
def before():
    told.append("before")
    window = next(w for w in root.winfo_children() if w.winfo_class() == "Toplevel")
    window.actions.create("in between")
    root.update()
callbacks["before_restore"] = before
"""
    )
    user = opened(person, database, nested)
    ask(user)
    agree(user)
    user.waits_for("Restored app.db as of")
    assert user.run("answer = told") == ["before", "first"]
    assert [info.description for info in manager.list()] == ["first"]


def test_an_application_whose_events_go_on_after(
    person: MakePerson, database: Path, manager: BackupManager
) -> None:
    """While ``after_restore`` waits, as with a message of its own, the window lives on."""
    waiting = (
        NOTING
        + """
import tkinter
go_on = tkinter.BooleanVar(root)
def wait(report):
    told.append("waits")
    root.wait_variable(go_on)
callbacks["after_restore"] = wait
"""
    )
    user = opened(person, database, waiting)
    ask(user)
    agree(user)
    user.wait_until(lambda: user.run("answer = told") == ["before", "waits"], "the application")
    manager.create("meanwhile")
    row(user, "meanwhile")
    assert not user.sees("Restored app.db as of")
    user.run("go_on.set(True)")
    user.waits_for("Restored app.db as of")


def test_an_application_that_cannot_load_after_a_failure(
    person: MakePerson, database: Path, manager: BackupManager
) -> None:
    """What ``after_restore(None)`` raises is shown as well, beside why the restore failed."""
    before = digest(database)
    failing = (
        NOTING
        + """
callbacks["after_restore"] = lambda report: report.source
"""
    )
    user = opened(person, database, failing)
    ask(user)
    Path(manager.list()[0].path).unlink()
    agree(user)
    user.waits_for("The application could not reload its data.")
    user.waits_for("Backup file not found")
    assert digest(database) == before


def closing_while_deleting(person: MakePerson, database: Path) -> Person:
    """Return a person who has closed the window while a backup is deleted, which waits."""
    user = opened(person, database, manager="DeletesLate")
    user.press("Delete")
    user.click(user.find("Delete", within=DELETE_TITLE))
    user.waits_for("Deleting…")
    user.press("Escape")
    return user


def test_an_error_while_it_closes_is_told(
    person: MakePerson, database: Path, manager: BackupManager
) -> None:
    """A window that is to close when its work ends stays when that failed, and tells why.

    It stays after the next work, too.
    """
    user = closing_while_deleting(person, database)
    manager.pin("latest")
    let_go(user)
    user.waits_for("is pinned")
    user.click("OK")
    create(user, "one more")
    user.press("Escape")
    user.wait_until(lambda: not user.sees("Backups of app.db"), "the window to go")


def test_closing_waits_for_what_takes_a_moment(
    person: MakePerson, database: Path, manager: BackupManager
) -> None:
    """Escape while a backup is being deleted closes the window once that is done."""
    user = closing_while_deleting(person, database)
    assert user.sees("Deleting…")
    let_go(user)
    user.wait_until(lambda: not user.sees("Backups of app.db"), "the window to go")
    assert manager.list() == []


def test_a_window_hidden_for_a_while_is_as_it_was(
    person: MakePerson, database: Path, manager: BackupManager
) -> None:
    """When the application is hidden and shown again, the question still has all clicks."""
    user = opened(person, database)
    user.press("Delete")
    user.window(DELETE_TITLE)
    user.run("root.withdraw()\nroot.update()\nroot.deiconify()\nroot.update()")
    user.wait_until(lambda: user.sees(DELETE_TITLE), "the question")
    user.click(user.find(RESTORE), anyway=True)
    assert questions(user) == [DELETE_TITLE]
    user.click(user.find("Delete", within=DELETE_TITLE))
    user.waits_for("Deleted ")


def test_a_dialog_for_files_hidden_for_a_while_is_as_it_was(
    person: MakePerson, database: Path, manager: BackupManager
) -> None:
    """The window below it, shown again, takes no clicks: its Close does nothing."""
    user = opened(person, database)
    user.click("Import file…")
    user.window("Import file")
    user.run("root.withdraw()\nroot.update()\nroot.deiconify()\nroot.update()")
    user.click(user.find("Close"), anyway=True)
    user.click(user.find("Cancel", within="Import file"))
    user.wait_until(lambda: questions(user) == [], "the dialog to go")


def test_what_is_typed_during_the_work_stays(person: MakePerson, database: Path) -> None:
    """The description of the next backup is not taken away when the one before is done."""
    user = person(host(database, manager="Gated"))
    open_window(user)
    user.press("ctrl+n")
    user.type("one")
    user.press("Return")
    user.waits_for("Copying the database…")
    user.press("ctrl+a")
    user.type("two")
    let_go(user)
    user.waits_for("Created ")
    user.press("Return")
    user.wait_until(lambda: rows(user) == ["two", "one"], "both of them")


def test_a_new_backup_is_seen_whatever_is_searched(
    person: MakePerson, database: Path, manager: BackupManager
) -> None:
    """A search in which it would not be found is cleared."""
    user = opened(person, database)
    user.press("ctrl+f")
    user.type("first")
    user.press("ctrl+n")
    user.type("new one")
    user.click(CREATE)
    user.waits_for("Created ")
    user.wait_until(lambda: row(user, "new one").selected, "the new one to be selected")
    assert len(rows(user)) == 2


def test_a_result_that_could_not_be_read_back_is_told(
    person: MakePerson, database: Path, manager: BackupManager
) -> None:
    """Where the restore could not be checked at its end, the user is asked to look."""
    user = opened(person, database, manager="Unread")
    ask(user)
    agree(user)
    user.waits_for("The result could not be checked. Look at your data before you continue.")


def test_a_restore_whose_changes_were_not_known_asks_for_a_restart(
    person: MakePerson, database: Path, manager: BackupManager
) -> None:
    """Where nothing could be compared, nobody knows of the revision: the safe word is restart."""
    user = person(host(database, lock_timeout=0.5, more=NOTING))
    open_window(user)
    user.click(row(user, "first"))
    with held_by_another_process(database, "BEGIN EXCLUSIVE"):
        user.click(RESTORE)
        user.waits_for("The changes cannot be shown: Database locked")
    agree(user)
    user.waits_for("Restart the application before you continue.")


@pytest.mark.parametrize(
    ("schema", "change", "told"),
    [
        (
            "key TEXT PRIMARY KEY",
            "INSERT INTO t VALUES ('b'), ('c')",
            "2 entries will be removed.",
        ),
        ("key INTEGER PRIMARY KEY", "ALTER TABLE t ADD COLUMN more", "entries were only counted"),
    ],
)
def test_what_cannot_be_known_is_not_said(
    person: MakePerson, database: Path, schema: str, change: str, told: str
) -> None:
    """Where keys or columns tell nothing, the question does not claim that nothing is lost."""
    execute(database, f"CREATE TABLE t ({schema})", "INSERT INTO t VALUES (1)")
    BackupManager.from_url(str(database)).create("first")
    execute(database, change)
    user = opened(person, database)
    user.click(RESTORE)
    user.waits_for(told)


def test_long_texts_leave_the_buttons_on_the_screen(person: MakePerson, database: Path) -> None:
    """A description of a book's length is shortened where it would push the answers away."""
    manager = BackupManager.from_url(str(database))
    manager.create("first " + "very long " * 5_000)
    user = opened(person, database)
    for press, yes, title in (
        ("Return", RESTORE_YES, RESTORE_TITLE),
        ("Delete", "Delete", DELETE_TITLE),
    ):
        user.press(press)
        button = user.find(yes, within=title)
        assert button.y + button.height < user.display.height
        user.press("Escape")
        user.wait_until(lambda: questions(user) == [], "the question to go")


def test_keys_of_the_window_do_nothing_in_the_application(
    person: MakePerson, database: Path, manager: BackupManager
) -> None:
    """What the application does with Ctrl+N, F5, Delete and Enter, it does not do meanwhile."""
    bound = """
pressed = []
for key in ("<Escape>", "<F5>", "<Control-n>", "<Control-f>", "<Return>", "<Delete>"):
    root.bind_all(key, lambda event, key=key: pressed.append(key))
"""
    user = opened(person, database, bound)
    user.press("F5", "ctrl+f", "ctrl+n")
    user.click(row(user, "first"))
    user.press("Delete")
    user.window(DELETE_TITLE)
    user.press("Return")
    user.wait_until(lambda: questions(user) == [], "the question to go")
    user.press("Escape")
    user.wait_until(lambda: not user.sees("Backups of app.db"), "the window to go")
    assert user.run("answer = pressed") == []


def test_the_window_is_opened_once(person: MakePerson, database: Path) -> None:
    """Who opens it twice gets the one that is open; after it was closed, a new one."""
    user = person(host(database))
    first = user.run("one = open_backup_dialog(root, manager); answer = str(one)")
    assert user.run("answer = str(open_backup_dialog(root, manager))") == first
    user.run("one.destroy()")
    assert user.run("answer = open_backup_dialog(root, manager) is not one")


def test_a_database_in_memory_is_refused_when_the_button_is_made(person: MakePerson) -> None:
    """The developer learns of it, not the user by a button that does nothing."""
    code = """
from soulsense_db import BackupError, BackupManager
from soulsense_db.dialog import manage_backups_button, open_backup_dialog
answer = []
for door in (manage_backups_button, open_backup_dialog):
    try:
        door(root, BackupManager.from_url("sqlite://"))
    except BackupError as error:
        answer.append(type(error).__name__)
"""
    user = person("root.title('Host')")
    assert user.run(code) == ["UnsupportedDatabaseError"] * 2
