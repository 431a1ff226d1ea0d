"""How the window ends, whoever ends it, and how it is used without a mouse."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers import (
    CHILD_SECONDS,
    Child,
    add_child,
    digest,
    eventually,
    leftovers,
    make_database,
)

from dialog.conftest import MakePerson
from dialog.display import Display
from dialog.host import (
    CREATE,
    MANAGE,
    RESTORE,
    RESTORE_TITLE,
    RESTORE_YES,
    ROWS,
    host,
    let_go,
    open_window,
    row,
    rows,
)
from dialog.person import Person
from soulsense_db import BackupManager

TITLE = "Backups of app.db"


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Return a database that is copied in more than one step."""
    return make_database(tmp_path / "app.db", rows=30_000, page_size=512)


def is_closed(user: Person) -> bool:
    """Whether the window has gone."""
    return not user.sees(TITLE)


@pytest.mark.parametrize("way", ["Escape", "button", "frame"])
def test_every_way_out(person: MakePerson, database: Path, way: str) -> None:
    """Escape, the button and the window's frame close it, and the application goes on."""
    user = person(host(database))
    open_window(user)
    if way == "Escape":
        user.press("Escape")
    elif way == "button":
        user.click("Close")
    else:
        user.close_window(TITLE)
    user.wait_until(lambda: is_closed(user), "the window to go")
    open_window(user)
    assert user.sees("No backups yet.")


_BUTTON = """
import tkinter as tk
pressed = []
tk.Button(root, text="Other", command=lambda: pressed.append("Other")).pack()
"""


def test_it_is_modal(person: MakePerson, database: Path) -> None:
    """While it is open, clicks on the application behind it do nothing, also after a question."""
    BackupManager.from_url(str(database)).create("first")
    user = person(host(database, more=_BUTTON))
    open_window(user)
    user.move_window(TITLE, 0, 200)
    user.click("Other", anyway=True)
    user.click(row(user, "first"))
    user.press("Delete")
    user.waits_for("You cannot undo this.")
    user.press("Escape")
    user.wait_until(lambda: not user.sees("You cannot undo this."), "the question to go")
    user.click("Other", anyway=True)
    user.click(MANAGE, anyway=True)
    user.click(CREATE)
    user.waits_for("Created ")
    assert user.run("answer = pressed") == []
    assert len([one for one in user.look().windows if one.title.startswith(TITLE)]) == 1


def test_a_modal_window_of_the_application_is_modal_again(
    person: MakePerson, database: Path
) -> None:
    """Closed over settings that are modal, it gives the clicks back to them alone."""
    settings = (
        _BUTTON
        + """
def settings():
    page = tk.Toplevel(root)
    page.title("Settings")
    page.geometry("+400+0")
    manage_backups_button(page, manager, text="Backups").pack()
    page.wait_visibility()
    page.grab_set()
tk.Button(root, text="Open settings", command=settings).pack()
"""
    )
    user = person(host(database, more=settings))
    user.click("Open settings")
    user.click("Backups")
    user.window(TITLE)
    user.press("Escape")
    user.wait_until(lambda: is_closed(user), "the window to go")
    user.click("Other", anyway=True)
    user.click("Backups")
    user.window(TITLE)
    assert user.run("answer = pressed") == []


def test_closing_during_work_asks_and_ends_cleanly(person: MakePerson, large: Path) -> None:
    """A no lets the work go on; a yes stops it, leaves nothing, and closes the window."""
    user = person(host(large, manager="Gated"))
    open_window(user)
    user.click(CREATE)
    user.waits_for("Copying the database… ")
    user.close_window(TITLE)
    user.waits_for("A backup is being created. Stop and close?")
    user.press("Return")  # "Continue" has the focus
    user.wait_until(lambda: not user.sees("Stop and close?"), "the question to go")
    assert user.sees("Copying the database… ")
    user.press("Escape")
    user.click("Stop and close")
    user.wait_until(lambda: is_closed(user), "the window to go")
    directory = large.parent / "backups"
    assert leftovers(directory) == []
    assert not list(directory.glob("soulsense*"))


def test_work_that_ends_while_it_asks(person: MakePerson, large: Path) -> None:
    """When the backup is done before the answer, the question goes by itself, and it is told."""
    user = person(host(large, manager="Gated"))
    open_window(user)
    user.click(CREATE)
    user.waits_for("Copying the database… ")
    user.press("Escape")
    user.waits_for("Stop and close?")
    let_go(user)
    user.waits_for("Created ")
    user.wait_until(lambda: not user.sees("Stop and close?"), "the question to go")
    user.press("Escape")
    user.wait_until(lambda: is_closed(user), "the window to go")
    assert len(BackupManager.from_url(str(large)).list()) == 1


@pytest.mark.parametrize("how", ["root.destroy()", "root.tk.call('destroy', '.')", "root.quit()"])
@pytest.mark.parametrize("work", ["create", "restore"])
def test_a_host_that_ends_during_work(person: MakePerson, large: Path, how: str, work: str) -> None:
    """The application may destroy all its windows: the work is cancelled, and nothing is lost.

    Its process ends by itself, without an error; the database is what it was.
    """
    manager = BackupManager.from_url(str(large))
    manager.create("first")
    add_child(large)
    before = digest(large)
    user = person(host(large, manager="Gated"))
    open_window(user)
    if work == "create":
        user.click(CREATE)
        user.waits_for("Copying the database… ")
    else:
        user.click(row(user, "first"))
        user.click(RESTORE)
        user.click(user.find(RESTORE_YES, within=RESTORE_TITLE))
        user.waits_for("Restoring… ")
    if "quit" in how:
        let_go(user)  # the loop ends and the process with it: the work is done to its end
        user.close()
        assert eventually(lambda: leftovers(manager.directory) == [])
        return
    user.start(how)
    user.waits_for_end()
    user.close()
    assert digest(large) == before
    assert leftovers(manager.directory) == []
    assert [info.description for info in manager.list()] == ["first"]


def test_a_host_that_ends_while_it_is_asked(person: MakePerson, database: Path) -> None:
    """Questions and errors go with the window, without a word."""
    BackupManager.from_url(str(database)).create("first")
    user = person(host(database))
    open_window(user)
    user.click(row(user, "first"))
    user.press("Delete")
    user.waits_for("You cannot undo this.")
    user.start("root.destroy()")
    user.waits_for_end()


@pytest.mark.parametrize("how", ["root.destroy()", "window.destroy()"])
def test_a_host_that_ends_while_a_file_is_chosen(
    person: MakePerson, database: Path, how: str
) -> None:
    """The dialog for files goes with the window, and nothing is imported."""
    user = person(host(database))
    open_window(user)
    user.click("Import file…")
    user.window("Import file")
    find = "window = next(w for w in root.winfo_children() if w.winfo_class() == 'Toplevel')"
    user.start(f"{find}\n{how}")
    if how == "root.destroy()":
        user.waits_for_end()
    else:
        user.wait_until(lambda: is_closed(user), "the window to go")
        open_window(user)


def test_everything_is_reached_by_tab(person: MakePerson, database: Path) -> None:
    """Tab goes round all entries, the list, the details and every button that can be pressed."""
    BackupManager.from_url(str(database)).create("first")
    user = person(host(database))
    open_window(user)
    row(user, "first")
    user.press("ctrl+f", "Tab")
    user.wait_until(lambda: row(user, "first").selected, "the row to be selected by its key")
    reached: list[str] = []
    while (now := focus(user)) not in reached:
        reached.append(now)
        user.press("Tab")
        user.wait_until(lambda: focus(user) != reached[-1], f"the focus to leave {reached[-1]}")
    buttons = [CREATE, RESTORE, ROWS, "Verify", "Export…", "Delete…", "Import file…"]
    for wanted in [*buttons, "Open folder", "Close", "Treeview", "Text"]:
        assert any(wanted in one for one in reached), wanted
    assert sum("TEntry" in one for one in reached) == 2
    begin = next(place for place, one in enumerate(reached) if CREATE in one)
    in_order = [CREATE, "TEntry", "Treeview", "Text", RESTORE, ROWS, "Verify", "Export…"]
    for wanted, one in zip(in_order, reached[begin:] + reached[:begin], strict=False):
        assert wanted in one, "Tab goes where the eye goes"
    for _ in reached:
        before = focus(user)
        user.press("shift+Tab")
        user.wait_until(lambda: focus(user) != before, "the focus to go back")  # noqa: B023
    assert focus(user) == reached[0]


def focus(user: Person) -> str:
    """Return what has the focus."""
    for one in user.look().widgets:
        if one.focused:
            return f"{one.kind} {one.text} {one.path}"
    return "nothing"


def test_all_of_it_by_keys(person: MakePerson, database: Path) -> None:
    """Create, restore, undo and delete without a mouse; F5 reads anew."""
    user = person(host(database))
    user.press("Tab")
    user.find(MANAGE)
    user.wait_until(lambda: MANAGE in focus(user), "the button to have the focus")
    user.press("space")
    user.window(TITLE)
    user.waits_for("No backups yet.")
    user.press("ctrl+n")
    user.type("by keys")
    user.press("Return")
    user.waits_for("Created ")
    first = digest(database)
    add_child(database)
    second = digest(database)
    user.press("F5", "ctrl+f", "Tab")
    user.wait_until(lambda: "Treeview" in focus(user), "the list to have the focus")
    user.wait_until(lambda: row(user, "by keys").selected, "the new backup to be selected")
    user.press("Return")
    user.find(RESTORE_YES, within=RESTORE_TITLE)
    enabled = lambda: user.find(RESTORE_YES, within=RESTORE_TITLE).enabled  # noqa: E731
    user.wait_until(enabled, "the answer to be possible")
    user.press("shift+Tab", "Return")
    user.waits_for("Restored ")
    assert digest(database) == first
    user.wait_until(lambda: "Treeview" in focus(user), "the list to have the focus again")
    user.press("Delete")
    delete = lambda: user.find("Delete", within="Delete this").enabled  # noqa: E731
    user.wait_until(delete, "the answer to be possible")
    user.press("shift+Tab", "Return")
    user.waits_for("Deleted ")
    user.wait_until(lambda: rows(user) == [], "the row to go")
    assert digest(database) == first != second
    assert not [name for name in os.listdir(database.parent / "backups") if "keys" in name]
    user.press("Escape")
    user.wait_until(lambda: is_closed(user), "the window to go")


@pytest.mark.parametrize("work", ["create", "list", "row_counts", "verify", "compare", "export"])
def test_a_program_ends_although_a_thread_still_works(
    database: Path, display: Display, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    """Where the application has let go of Tk, the end of a thread must not be the end of Tk.

    Tcl aborts the whole process when its interpreter is freed by another thread than its own: no
    thread may hold on to the window.
    """
    monkeypatch.setenv("DISPLAY", display.name)
    with Child("window_closed_at_work.py", database, work) as program:
        program.expect("gone")
        program.tell("")
        assert program.process.wait(CHILD_SECONDS) == 0
    manager = BackupManager.from_url(str(database))
    assert leftovers(manager.directory) == []
    assert [info.description for info in manager.list()] == ["first"]


def test_only_one_question_at_a_time(person: MakePerson, database: Path) -> None:
    """Clicks that come faster than a window opens ask once."""
    BackupManager.from_url(str(database)).create("first")
    user = person(host(database))
    open_window(user)
    user.click(row(user, "first"))
    spot = row(user, "first").spot
    user.display.xdotool("mousemove", *spot, "click", "--repeat", 6, "--delay", 20, 1)
    user.window(RESTORE_TITLE)
    assert len([one for one in user.look().windows if one.title == RESTORE_TITLE]) == 1


def test_work_that_was_done_before_it_could_be_stopped_is_told(
    person: MakePerson, database: Path
) -> None:
    """After "Stop and close" of a restore that is done all the same, the window stays and says so.

    Else the user would think that the database is what it was.
    """
    BackupManager.from_url(str(database)).create("first")
    first = digest(database)
    add_child(database)
    user = person(host(database, manager="ReturnsLate"))
    open_window(user)
    user.click(row(user, "first"))
    user.click(RESTORE)
    user.click(user.find(RESTORE_YES, within=RESTORE_TITLE))
    user.wait_until(lambda: digest(database) == first, "the data to be replaced")
    user.press("Escape")
    user.waits_for("The database is being restored. Stop and close?")
    user.click("Stop and close")
    user.waits_for("Stopping…")
    let_go(user)
    user.waits_for("Restored app.db as of")
    user.press("Escape")
    user.wait_until(lambda: is_closed(user), "the window to go")
