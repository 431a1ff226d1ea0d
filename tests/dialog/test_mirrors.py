"""Mirrors in the window: where else a backup is, and the way back of one that is only there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from age_keys import text_of
from helpers import add_child, digest, leftovers, snapshot_of
from shell import Shell

from dialog.conftest import MakePerson
from dialog.display import Display
from dialog.host import (
    RESTORE,
    RESTORE_TITLE,
    RESTORE_YES,
    choose_file,
    host,
    let_go,
    open_window,
    row,
    rows,
    table,
)
from dialog.person import Person
from dialog.test_gui_command import window
from dialog.test_list import columns_seen
from soulsense_db import BackupInfo, BackupManager
from soulsense_db.codecs import Recipients

FETCH_TITLE = "This backup is only at a mirror"
DOWNLOADED = "Downloaded soulsense_backup_"
PASSPHRASE = "correct horse"  # noqa: S105 - of this test

_MIRRORED = """
manager = BackupManager.from_url({database!r}, mirrors={urls!r})
fetch = manager.mirrors.fetch
"""
_GATED = """
def gated(*arguments, progress, **options):
    return fetch(*arguments, progress=managers.gate(progress), **options)
manager.mirrors.fetch = gated
"""
_RETURNS_LATE = """
import soulsense_db.dialog.jobs as jobs
jobs._LEFT_AFTER_SECONDS = 0
def late(*arguments, **options):
    info = fetch(*arguments, **options)
    managers.wait_for_go()
    return info
manager.mirrors.fetch = late
"""

_HANGS = """
import threading
def hangs(*arguments, progress, **options):
    progress(1, 2)
    managers.wait_for_go()
    return fetch(*arguments, progress=progress, **options)
manager.mirrors.fetch = hangs
"""


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a mirror; it is not beside the database."""
    return tmp_path_factory.mktemp("mirror") / "soulsense"


@pytest.fixture
def url(place: Path) -> str:
    """Return the URL of ``place``."""
    return f"file://{place}"


def mirrored(database: Path, *urls: str, **options: Any) -> BackupManager:
    """Return a manager whose mirrors are set up."""
    manager = BackupManager.from_url(str(database), mirrors=urls, **options)
    for url in urls:
        manager.mirrors.add(url)
    return manager


def sync(manager: BackupManager) -> None:
    """Bring the mirrors in step."""
    assert all(report.ok for report in manager.mirrors.sync())


def away(manager: BackupManager, description: str) -> BackupInfo:
    """Make a backup, and leave it at the mirrors alone."""
    info = manager.create(description)
    sync(manager)
    manager.delete(info)
    return info


def opened(person: MakePerson, database: Path, *urls: str, more: str = "") -> Person:
    """Return a person who has the window open, over a manager with mirrors."""
    more = _MIRRORED.format(database=str(database), urls=urls) + more
    user = person(host(database, more=more))
    open_window(user)
    return user


def details(user: Person) -> str:
    """Return the text of the pane beside the list."""
    return next(one.value for one in user.look().widgets if one.kind == "Text")


def agree(user: Person) -> None:
    """Answer that a backup may be downloaded."""
    user.click(user.find("Download", within=FETCH_TITLE))


def agree_to_restore(user: Person) -> None:
    """Answer that the database may be replaced."""
    user.click(user.find(RESTORE_YES, within=RESTORE_TITLE))
    user.waits_for("Restored app.db as of")


def test_without_mirrors_nothing_is_said_of_them(person: MakePerson, database: Path) -> None:
    """There is no column, no fact and no word of it, and all can be done."""
    BackupManager.from_url(str(database)).create("first")
    user = person(host(database))
    open_window(user)
    user.click(row(user, "first"))
    user.waits_for("child\t300\t300")
    headings = [one.text for one in table(user).headings]
    assert headings == ["When ▼", "Description", "Size", "Verified"]
    assert not any(text in details(user) for text in ("Also at", "Only at"))
    assert user.find("Delete…").enabled


def test_the_list_says_where_each_backup_is(person: MakePerson, database: Path, url: str) -> None:
    """One that is only at the mirror is a row among the others, by date; details have the URL.

    What is here has one line more in its details, and its entries are counted as ever.
    """
    manager = mirrored(database, url)
    manager.create("oldest")
    gone = away(manager, "gone from here")
    sync(manager)
    manager.create("new")
    user = opened(person, database, url)
    row(user, "gone from here")
    assert rows(user) == ["new", "gone from here", "oldest"]
    assert rows(user, "Place") == ["here", "mirror only", "here, mirror"]
    assert user.sees("3 backups")
    user.click(row(user, "oldest"))
    user.waits_for("child\t300\t300")
    assert f"Also at\t{url}\n" in details(user)
    user.click(row(user, "new"))
    user.waits_for("child\t300\t300")
    assert "Also at" not in details(user)
    user.click(row(user, "gone from here"))
    user.waits_for(f"Only at\t{url}\n")
    assert "They are counted once the backup is downloaded." in details(user)
    assert gone.sha256 is not None
    assert gone.sha256 in details(user)
    user.press("ctrl+f")
    user.type("mirror only")
    user.wait_until(lambda: rows(user) == ["gone from here"], "what is looked for")
    user.press("Escape")
    user.click_heading("Place")
    places = ["here", "here, mirror", "mirror only"]
    user.wait_until(lambda: rows(user, "Place ▲") == places, "the order of places")


def test_where_a_backup_is_is_seen_on_a_small_screen(
    person: MakePerson, database: Path, url: str, display_small: Display
) -> None:
    """At 1024 x 768 the column is seen whole, without scrolling, beside the description."""
    away(mirrored(database, url), "first")
    more = _MIRRORED.format(database=str(database), urls=[url])
    user = person(host(database, more=more), screen=display_small)
    open_window(user)
    user.click(row(user, "first"))
    whole, _cut = columns_seen(user)
    assert whole[:4] == ["When ▼", "Description", "Size", "Place"]


def test_what_becomes_of_a_backup_elsewhere_is_noticed(
    person: MakePerson, database: Path, url: str
) -> None:
    """A sync in another process changes the list by itself; so does a delete in the window."""
    manager = mirrored(database, url)
    manager.create("first")
    user = opened(person, database, url)
    row(user, "first")
    assert "Place" not in [one.text for one in table(user).headings]
    sync(manager)
    row(user, "here, mirror")
    user.press("ctrl+f")
    user.type("mirror")
    user.wait_until(lambda: any(one.value == "mirror" for one in user.look().widgets), "the word")
    assert rows(user) == ["first"]
    user.press("Escape")
    user.click(row(user, "first"))
    user.press("Delete")
    user.window("Delete this backup?")
    assert user.sees("It stays at the mirror for as long as the rules for the mirror keep it:")
    assert not user.sees("You cannot undo this.")
    user.click(user.find("Delete", within="Delete this backup?"))
    user.waits_for("Deleted soulsense_backup_")
    row(user, "mirror only")
    assert rows(user) == ["first"]
    assert manager.list() == []


def test_one_that_is_only_there_is_restored(person: MakePerson, database: Path, url: str) -> None:
    """It is downloaded after a question with its size; then the usual question, and all rows.

    From then on it is here, under its own date and description.
    """
    before = digest(database)
    manager = mirrored(database, url)
    info = away(manager, "as it was")
    add_child(database)
    changed = digest(database)
    user = opened(person, database, url)
    user.click(row(user, "as it was"))
    user.click(RESTORE)
    user.window(FETCH_TITLE)
    first = f"It is downloaded into the backup folder first ({info.size_display}), from:"
    assert user.sees(first)
    user.press("Escape")
    user.wait_until(lambda: not user.sees(FETCH_TITLE), "the question to go")
    assert manager.list() == []
    user.double_click(row(user, "as it was"))
    agree(user)
    user.window(RESTORE_TITLE)
    user.waits_for("What will change")
    assert user.sees(DOWNLOADED)
    assert digest(database) == changed
    agree_to_restore(user)
    assert digest(database) == before
    user.wait_until(lambda: rows(user, "Place") == ["here, mirror"], "the row to be of here")
    (here,) = manager.list()
    assert (here.id, here.sha256, here.created_at) == (info.id, info.sha256, info.created_at)
    assert row(user, "as it was").selected


def test_verify_and_export_download_as_well(
    person: MakePerson, database: Path, url: str, tmp_path: Path
) -> None:
    """Each goes on with what came; the second one finds it here, and asks nothing."""
    manager = mirrored(database, url)
    away(manager, "first")
    user = opened(person, database, url)
    user.click(row(user, "first"))
    user.click("Verify")
    agree(user)
    user.waits_for("is intact. It passed all checks.")
    (info,) = manager.list()
    manager.delete(info)
    row(user, "mirror only")
    user.click(row(user, "first"))
    user.click("Export…")
    agree(user)
    choose_file(user, "Export", tmp_path / "copy.db")
    user.waits_for("Exported to ")
    assert (tmp_path / "copy.db").stat().st_size == info.size_bytes
    user.click(row(user, "first"))
    user.click("Verify")
    user.waits_for("is intact. It passed all checks.")


def test_what_is_not_here_is_neither_pinned_nor_deleted(
    person: MakePerson, database: Path, url: str
) -> None:
    """The button and the entries of the menu are disabled, and the reason can be read."""
    manager = mirrored(database, url)
    away(manager, "there")
    manager.create("at home")
    user = opened(person, database, url)
    user.click(row(user, "there"))
    assert not user.find("Delete…", kind="button").enabled
    assert user.find("Verify", kind="button").enabled
    user.hover(user.find("Delete…", kind="button"))
    user.waits_for("This backup is only at a mirror. You can pin or delete it once")
    user.hover(user.find("Search"))
    user.wait_until(lambda: not user.sees("This backup is only at a mirror"), "the text to go")
    user.press("Delete")
    user.waits_for("This backup is only at a mirror. You can pin or delete it once")
    assert not user.sees("Delete this backup?")
    user.right_click(row(user, "there"))
    user.waits_for("Pin (mirror only)")
    (menu,) = [one for one in user.look().widgets if one.entries]
    assert {one.text for one in menu.entries if not one.enabled} == {
        "Pin (mirror only)",
        "Delete… (mirror only)",
    }
    user.press("Escape")
    user.click(row(user, "at home"))
    user.wait_until(lambda: user.find("Delete…", kind="button").enabled, "the button")


def test_an_encrypted_one_asks_for_its_key(person: MakePerson, database: Path, url: str) -> None:
    """The question comes as for one that is here, once there is something to try the key on."""
    before = digest(database)
    recipients = Recipients.with_passphrase(text_of(PASSPHRASE))
    away(mirrored(database, url, recipients=recipients, compression="zstd"), "my secret")
    add_child(database)
    user = opened(person, database, url)
    user.click(row(user, "(encrypted)"))
    user.click(RESTORE)
    agree(user)
    user.window("This backup is encrypted")
    user.type(PASSPHRASE)
    user.click(user.find("Open", within="This backup is encrypted"))
    agree_to_restore(user)
    assert digest(database) == before


def test_a_differential_brings_its_base(person: MakePerson, database: Path, url: str) -> None:
    """The size in the question is that of both, and both are here afterwards.

    What is only at a mirror keeps no base here from being deleted, and goes with none.
    """
    manager = mirrored(database, url, differential=True)
    base = manager.create("the base")
    add_child(database)
    before = digest(database)
    info = manager.create("the difference")
    sync(manager)
    manager.delete(info)
    add_child(database)
    user = opened(person, database, url)
    user.click(row(user, "the difference"))
    user.waits_for("Only at")
    assert base.filename in details(user)
    user.click(row(user, "the base"))
    user.press("Delete")
    user.window("Delete this backup?")
    assert not user.sees("needs it")
    user.click(user.find("Delete", within="Delete this backup?"))
    user.wait_until(lambda: rows(user, "Place") == ["mirror only"] * 2, "both to be away")
    user.click(row(user, "the difference"))
    user.click(RESTORE)
    user.window(FETCH_TITLE)
    assert not user.sees(f"first ({info.size_display})")
    agree(user)
    agree_to_restore(user)
    assert digest(database) == before
    assert [one.description for one in manager.list()] == ["the difference", "the base"]


def test_a_download_is_cancelled(person: MakePerson, database: Path, url: str) -> None:
    """Nothing of it is left, the backup is still in the list, and the next try brings it."""
    manager = mirrored(database, url)
    away(manager, "first")
    before = snapshot_of(manager.directory)
    user = opened(person, database, url, more=_GATED)
    user.click(row(user, "first"))
    user.click("Verify")
    agree(user)
    user.waits_for("Downloading the backup… ")
    user.click("Cancel")
    user.waits_for("Cancelled. Nothing was downloaded.")
    assert leftovers(manager.directory) == []
    assert snapshot_of(manager.directory) == before
    assert rows(user, "Place") == ["mirror only"]
    let_go(user)
    user.click("Verify")
    agree(user)
    user.waits_for("is intact. It passed all checks.")


def test_a_cancel_that_comes_too_late_begins_nothing(
    person: MakePerson, database: Path, url: str
) -> None:
    """What has come is here, and said to be; the restore is not asked about any more."""
    manager = mirrored(database, url)
    away(manager, "first")
    user = opened(person, database, url, more=_RETURNS_LATE)
    user.click(row(user, "first"))
    user.click(RESTORE)
    agree(user)
    user.wait_until(lambda: len(manager.list()) == 1, "all bytes")
    user.click("Cancel")
    user.waits_for("Stopping…")
    let_go(user)
    user.waits_for(DOWNLOADED)
    row(user, "here, mirror")
    user.wait_until(lambda: user.find(RESTORE).enabled, "the end of it")
    assert not user.sees(RESTORE_TITLE)


def test_a_download_that_hangs_is_cancelled(person: MakePerson, database: Path, url: str) -> None:
    """The window does not wait for a mirror that says nothing; and nothing comes of it later."""
    manager = mirrored(database, url)
    away(manager, "away")
    manager.create("at home")
    before = snapshot_of(manager.directory)
    user = opened(person, database, url, more=_HANGS)
    user.click(row(user, "away"))
    user.click(RESTORE)
    agree(user)
    user.waits_for("Downloading the backup… ")
    user.click("Cancel")
    user.waits_for("Cancelled. Nothing was downloaded.")
    user.click(row(user, "at home"))
    user.click("Verify")
    user.waits_for("is intact. It passed all checks.")
    let_go(user)
    threads = "answer = [one.name for one in threading.enumerate() if one.name == 'soulsense_db']"
    user.wait_until(lambda: not user.run(threads), "the end of the download")
    assert snapshot_of(manager.directory).keys() == before.keys()
    assert rows(user, "Place") == ["here", "mirror only"]


def test_closing_during_a_download_asks(person: MakePerson, database: Path, url: str) -> None:
    """Stop and close cancels it: nothing is left of it, and the application goes on."""
    manager = mirrored(database, url)
    away(manager, "first")
    before = snapshot_of(manager.directory)
    user = opened(person, database, url, more=_GATED)
    user.click(row(user, "first"))
    user.click(RESTORE)
    agree(user)
    user.waits_for("Downloading the backup… ")
    user.press("Escape")
    user.waits_for("A backup is being downloaded. Stop and close?")
    user.click("Stop and close")
    user.wait_until(lambda: not user.sees("Backups of app.db"), "the window to go")
    assert snapshot_of(manager.directory) == before


def test_a_mirror_that_is_gone_is_told(
    person: MakePerson, database: Path, place: Path, url: str
) -> None:
    """The list is there without it; what needs it fails in words, and works once it is back."""
    manager = mirrored(database, url)
    manager.create("at home")
    away(manager, "there")
    sync(manager)
    place.rename(place.with_name("unplugged"))
    before = digest(database), snapshot_of(manager.directory)
    user = opened(person, database, url)
    user.click(row(user, "there"))
    user.click(RESTORE)
    agree(user)
    user.window("That did not work")
    assert user.sees(f"{url} is not set up as a mirror")
    assert user.sees("perhaps the drive is not mounted")
    user.click("OK")
    assert (digest(database), snapshot_of(manager.directory)) == before
    user.click(row(user, "at home"))
    user.click("Verify")
    user.waits_for("is intact. It passed all checks.")
    place.with_name("unplugged").rename(place)
    user.click(row(user, "there"))
    user.click("Verify")
    agree(user)
    user.waits_for("is intact. It passed all checks.")


def test_a_lost_backup_directory_is_brought_back(
    person: MakePerson, database: Path, url: str
) -> None:
    """After a sync has looked at the mirror, all is in the list again, and is restored."""
    before = digest(database)
    manager = mirrored(database, url)
    manager.create("first")
    sync(manager)
    add_child(database)
    shutil.rmtree(manager.directory)
    user = opened(person, database, url)
    user.waits_for("No backups yet.")
    sync(manager)
    user.click(row(user, "mirror only"))
    user.click(RESTORE)
    agree(user)
    agree_to_restore(user)
    assert digest(database) == before
    assert [info.description for info in manager.list()] == ["first"]


@pytest.mark.parametrize("gone", [0, 1])
def test_another_mirror_hands_it_out(
    person: MakePerson, database: Path, tmp_path_factory: pytest.TempPathFactory, gone: int
) -> None:
    """The details name all mirrors that have it; where one is gone, it comes from another."""
    places = [tmp_path_factory.mktemp("mirror") / name for name in ("usb", "nas")]
    urls = [f"file://{place}" for place in places]
    away(mirrored(database, *urls), "first")
    places[gone].rename(places[gone].with_name("unplugged"))
    user = opened(person, database, *urls)
    user.click(row(user, "first"))
    user.waits_for(f"Only at\t{urls[0]}\n{urls[1]}\n")
    assert len(rows(user)) == 1
    user.click("Verify")
    agree(user)
    user.waits_for("is intact. It passed all checks.")


def test_the_program_knows_the_mirrors_of_the_configuration(
    shell: Shell, display: Display, url: str
) -> None:
    """``soulsense-db gui`` has in its list what is only at a mirror that is set outside of it."""
    manager = mirrored(shell.database, url)
    away(manager, "first")
    shell.env["SOULSENSE_MIRROR"] = url
    with window(shell, display):
        display.xdotool("key", "Tab", "Tab", "Tab", "Return")
        display.xdotool("search", "--sync", "--onlyvisible", "--name", f"^{FETCH_TITLE}$")
