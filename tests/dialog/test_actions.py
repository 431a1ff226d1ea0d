"""Verify, delete, pin, import, export, and the folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import digest, execute, flip, make_database

from dialog.conftest import MakePerson
from dialog.host import DELETE_TITLE, choose_file, host, open_window, row, rows
from dialog.person import Person
from soulsense_db import BackupManager


@pytest.fixture
def manager(database: Path) -> BackupManager:
    """Return a manager of the backups of ``database``."""
    return BackupManager.from_url(str(database))


def opened(person: MakePerson, database: Path, **options: str) -> Person:
    """Return a person before the window."""
    user = person(host(database), **options)
    open_window(user)
    return user


def test_verify_tells_and_notes(person: MakePerson, database: Path, manager: BackupManager) -> None:
    """A whole backup is told to be whole; one that is damaged is an error, and noted as such."""
    info = manager.create("first")
    user = opened(person, database)
    user.click(row(user, "first"))
    user.click("Verify")
    user.waits_for(f"{info.filename} is intact. It passed all checks.")
    flip(Path(info.path), 5000)
    user.click("Verify")
    user.waits_for("checksum mismatch")
    user.click("OK")
    user.wait_until(lambda: rows(user, "Verified") == ["–"], "the list to tell it")


def test_verify_tells_remarks(person: MakePerson, database: Path, manager: BackupManager) -> None:
    """References to rows that do not exist are no fault of a backup, and told."""
    execute(database, "INSERT INTO child (parent_id, amount, body) VALUES (99, 1, 'orphan')")
    manager.create("first")
    user = opened(person, database)
    user.click(row(user, "first"))
    user.click("Verify")
    user.waits_for("1 inconsistency in its data")
    user.waits_for("child")
    user.click("OK")


def test_delete_asks_and_takes_one(
    person: MakePerson, database: Path, manager: BackupManager
) -> None:
    """Nothing goes without a yes, and a yes takes one backup, its meta file and its row.

    Enter and Escape are a no; a double click on Delete asks once, and is no answer.
    """
    for name in ("alpha", "beta", "gamma"):
        manager.create(name)
    user = opened(person, database)
    for no in ("Return", "Escape"):
        user.click(row(user, "beta"))
        user.press("Delete")
        user.window(DELETE_TITLE)
        assert user.sees("“beta”")
        assert user.sees("You cannot undo this.")
        user.press(no)
        user.wait_until(lambda: not user.sees(DELETE_TITLE), "the question to go")
    assert len(manager.list()) == 3
    user.double_click("Delete…")
    user.click(user.find("Delete", within=DELETE_TITLE))
    user.waits_for("Deleted ")
    user.wait_until(lambda: rows(user) == ["gamma", "alpha"], "the row to go")
    assert [info.description for info in manager.list()] == ["gamma", "alpha"]
    assert manager.catalog.names() == frozenset(info.filename for info in manager.list())
    assert not user.sees(DELETE_TITLE)


def test_a_pinned_backup_is_not_deleted(
    person: MakePerson, database: Path, manager: BackupManager
) -> None:
    """The menu of a row pins it; then the error says why it stays, and Unpin lets it go."""
    manager.create("first")
    user = opened(person, database)
    user.right_click(row(user, "first"))
    user.click("Pin")
    user.waits_for("is pinned. It cannot be deleted until you unpin it.")
    row(user, "Pinned: first")
    assert manager.list()[0].pinned
    user.press("Delete")
    user.click(row(user, "first"))
    user.press("Delete")
    user.click(user.find("Delete", within=DELETE_TITLE))
    user.waits_for("is pinned")
    user.click("OK")
    user.click(row(user, "first"))
    user.press("shift+F10")
    user.click("Unpin")
    user.waits_for("is unpinned. It can be deleted again.")
    assert not manager.list()[0].pinned


def test_import_and_its_errors(
    person: MakePerson, database: Path, manager: BackupManager, tmp_path: Path
) -> None:
    """A file from anywhere enters as a backup; what is none is an error, and nothing enters."""
    text = tmp_path / "notes.db"
    text.write_text("no database at all" * 100)
    other = make_database(tmp_path / "other.db", rows=9)
    user = opened(person, database)
    user.click("Import file…")
    choose_file(user, "Import file", text)
    user.waits_for("is not an SQLite database")
    assert user.sees("What to do")
    user.click("OK")
    assert manager.list() == []
    user.click("Import file…")
    user.window("Import file")
    user.press("Escape")  # nothing was chosen: nothing happens
    user.wait_until(lambda: not user.sees("Import file\n"), "the dialog to go")
    user.click("Import file…")
    choose_file(user, "Import file", other)
    user.waits_for("Imported as ")
    (info,) = manager.list()
    assert info.kind == "imported"
    assert digest(Path(info.path)) == digest(other)


def test_export_and_its_errors(
    person: MakePerson, database: Path, manager: BackupManager, tmp_path: Path
) -> None:
    """The copy is where it was wished, with its meta file; nothing is ever overwritten."""
    info = manager.create("first")
    target = tmp_path / "usb 😀.db"
    user = opened(person, database)
    user.click(row(user, "first"))
    for told in (f"Exported to {target}.", "already exists"):
        user.click("Export…")
        choose_file(user, "Export", target)
        user.waits_for(told)
    user.click("OK")
    assert target.read_bytes() == Path(info.path).read_bytes()
    assert Path(f"{target}.meta").exists()


@pytest.mark.parametrize("outcome", ["opened", "failed", "no program"])
def test_open_folder(
    person: MakePerson, database: Path, manager: BackupManager, tmp_path: Path, outcome: str
) -> None:
    """The system's program gets the directory; where there is none, the path is told."""
    programs = tmp_path / "bin"
    programs.mkdir()
    if outcome != "no program":
        opener = programs / "xdg-open"
        code = 0 if outcome == "opened" else 4
        opener.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\nexit {code}\n')
        opener.chmod(0o755)
    user = person(host(database), env={"PATH": f"{programs}:/nowhere"})
    open_window(user)
    user.click("Open folder")
    user.waits_for("The folder ")
    user.click("OK")
    manager.create("first")
    user.click("Open folder")
    if outcome == "opened":
        note = tmp_path / "opened"
        user.wait_until(lambda: note.exists() and note.read_text(), "the program to be started")
        assert note.read_text() == f"{manager.directory}\n"
    else:
        user.waits_for("could not be opened")
        assert user.sees("exit code 4" if outcome == "failed" else "No such file")
        user.click("OK")


def test_unexpected_errors_are_shown_not_thrown(person: MakePerson, database: Path) -> None:
    """What is no error of the tree is shown as well, and says that nothing is known to be lost."""
    broken = "manager.create = lambda *a, **k: {}['a password: postgresql://u:secret@h']"
    user = person(host(database, more=broken))
    open_window(user)
    user.click("Create Backup")
    user.waits_for("An unexpected error occurred: KeyError")
    assert user.sees("No data is known to be lost.")
    user.click("Details ▸")
    user.waits_for("Traceback")
    assert not user.sees("secret")
    user.click("OK")
    assert not (database.parent / "backups").exists()
