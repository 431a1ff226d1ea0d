"""The list of backups: what it says, sorts, finds and notices."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from helpers import add_child, execute, make_database

from dialog.conftest import MakePerson
from dialog.display import Display
from dialog.host import MANAGE, host, open_window, row, rows, table
from dialog.person import Person
from soulsense_db import BackupInfo, BackupManager
from soulsense_db.backup_info import display_size
from soulsense_db.backup_info.meta_format import from_meta, to_meta


def dated(manager: BackupManager, description: str, moment: datetime) -> BackupInfo:
    """Import a backup that was taken elsewhere at ``moment``."""
    made = manager.create(description)
    copy = manager.export(made, manager.directory.parent / f"{description}.db")
    manager.delete(made)
    meta = Path(f"{copy}.meta")
    told = from_meta(meta.read_bytes(), copy, size_bytes=copy.stat().st_size, found_at=moment)
    meta.write_bytes(to_meta(replace(told, created_at=moment.astimezone(UTC))))
    return manager.import_file(copy)


def test_when_is_told_as_a_person_says_it(
    person: MakePerson, database: Path, in_kolkata: None
) -> None:
    """Today, yesterday, a weekday, else the date, in local time; the pointer shows all of it."""
    manager = BackupManager.from_url(str(database))
    noon = datetime.now().replace(hour=12, minute=5, second=7, microsecond=0)
    last_week, long_ago = noon - timedelta(days=3), noon - timedelta(days=40)
    for text, moment in (("old", long_ago), ("week", last_week), ("day", noon - timedelta(1))):
        dated(manager, text, moment.astimezone())
    now = manager.create("now").timestamp
    user = person(host(database))
    open_window(user)
    row(user, "old")
    weekday = last_week.strftime("%A")
    assert rows(user, "When") == [
        f"today {now:%H:%M}",
        "yesterday 12:05",
        f"{weekday} 12:05",
        f"{long_ago:%Y-%m-%d} 12:05",
    ]
    user.hover(row(user, "week").cell("When ▼"))
    user.waits_for(f"{weekday}, {last_week:%Y-%m-%d} 12:05:07")


def test_headings_and_keys_sort(person: MakePerson, database: Path) -> None:
    """A click on a heading sorts by it, another one turns the order; Ctrl and a number do too."""
    manager = BackupManager.from_url(str(database))
    manager.create("b", kind="automatic")
    add_child(database, "x" * 20_000)
    manager.create("C")
    manager.create("a", kind="pre_migration")
    user = person(host(database))
    open_window(user)
    assert rows(user) == ["a", "C", "b"]
    user.click_heading("Description")
    user.wait_until(lambda: rows(user, "Description ▲") == ["a", "b", "C"], "the order of letters")
    user.click_heading("Description")
    user.wait_until(lambda: rows(user, "Description ▼") == ["C", "b", "a"], "the other way round")
    user.click_heading("Size")
    user.wait_until(lambda: rows(user)[2] == "b", "the largest first")
    user.click(row(user, "automatic"))
    user.press("ctrl+5")
    kinds = ["automatic", "before an upgrade", "manual"]
    user.wait_until(lambda: rows(user, "Kind ▲") == kinds, "the order of kinds")
    user.click_heading("When")
    user.wait_until(lambda: rows(user) == ["a", "C", "b"], "the newest first")


def test_what_matters_is_seen_on_a_small_screen(
    person: MakePerson, database: Path, display_small: Display
) -> None:
    """At 1024 x 768, when, description and size are whole in the list, without scrolling.

    What is further to the right is there after scrolling, with the bar or with the arrow keys.
    """
    execute(database, "CREATE TABLE alembic_version (version_num)")
    execute(database, "INSERT INTO alembic_version VALUES ('ab12')")
    manager = BackupManager.from_url(str(database))
    manager.create("first", kind="automatic")
    execute(database, "UPDATE alembic_version SET version_num = 'cd34'")
    manager.create("second")
    user = person(host(database), screen=display_small)
    open_window(user)
    user.click(row(user, "second"))
    whole, cut = columns_seen(user)
    assert whole[:3] == ["When ▼", "Description", "Size"]
    assert cut == []
    assert "Version" not in whole
    bars = [one for one in user.look().widgets if one.kind == "TScrollbar"]
    assert any(one.width > one.height for one in bars)
    user.press(*["Right"] * 20)
    user.wait_until(lambda: "Version" in columns_seen(user)[0], "the last column")
    assert table(user).row("cd34")


def columns_seen(user: Person) -> tuple[list[str], list[str]]:
    """Return the headings that can be seen whole, and those of which only a part is seen."""
    widths = user.run(
        "window = next(w for w in root.winfo_children() if w.winfo_class() == 'Toplevel')\n"
        "tree = window.table.tree\n"
        "answer = [tree.column(one.name, 'width') for one in window.table._columns]"
    )
    whole, cut = [], []
    for heading, width in zip(table(user).headings, widths, strict=True):
        if heading.width >= width - 2:  # the border of the list
            whole.append(heading.text)
        elif heading.width > 8:  # the margin of its text
            cut.append(heading.text)
    return whole, cut


def test_a_text_that_is_cut_says_so(
    person: MakePerson, database: Path, display_small: Display
) -> None:
    """A description that is too long ends with "…" in the list, and the pointer shows all of it.

    So it is after scrolling, after a search, and in a wider window, which shows more of it.
    """
    long = "A description that goes on and on, up to its end " * 2
    manager = BackupManager.from_url(str(database))
    manager.create(f"😀 日本 {long}")
    manager.create("short")
    user = person(host(database), screen=display_small)
    open_window(user)
    row(user, "short")
    user.wait_until(lambda: rows(user)[1].endswith("…"), "a text that is cut")
    wide = rows(user)[1]
    assert long.startswith(wide.removeprefix("😀 日本 ").removesuffix("…"))
    assert rows(user)[0] == "short"
    user.hover(row(user, "😀").cell("Description"))
    user.waits_for(long.strip())
    user.press("ctrl+f")
    user.type("description")
    user.wait_until(lambda: rows(user) == [wide], "the one that is looked for")
    user.press("Escape")
    user.resize_window("Backups of", 800, 500)
    user.wait_until(lambda: len(rows(user)[1]) < len(wide), "less of the text")
    assert rows(user)[1].endswith("…")


def test_columns_that_say_the_same_of_all_are_not_there(person: MakePerson, database: Path) -> None:
    """Kind and version are columns only where the backups differ in them."""
    manager = BackupManager.from_url(str(database))
    manager.create("first")
    user = person(host(database))
    open_window(user)
    row(user, "first")
    always = ["When ▼", "Description", "Size", "Verified"]
    assert [one.text for one in table(user).headings] == always
    second = manager.create("second", kind="automatic")
    row(user, "second")
    assert [one.text for one in table(user).headings] == [*always, "Kind"]
    user.click_heading("Kind")
    user.wait_until(lambda: rows(user) == ["second", "first"], "the order of kinds")
    manager.delete(second)
    user.wait_until(lambda: rows(user) == ["first"], "the row to go")
    assert [one.text for one in table(user).headings] == always


def test_the_search_finds_all_that_is_shown(person: MakePerson, database: Path) -> None:
    """Each word is looked for in every column, the file name and the note of a pin, in any case."""
    execute(database, "CREATE TABLE alembic_version (version_num)")
    execute(database, "INSERT INTO alembic_version VALUES ('ab12')")
    manager = BackupManager.from_url(str(database))
    manager.create("Straße 😀")
    manager.pin(manager.create("other", kind="automatic"), "for the audit")
    user = person(host(database))
    open_window(user)
    for text, found in (
        ("STRASSE", ["Straße 😀"]),
        ("audit other", ["Pinned: other"]),
        ("automatic", ["Pinned: other"]),
        ("AB12 today", ["Pinned: other", "Straße 😀"]),
        ("_other.db", ["Pinned: other"]),
        ("nothing like it", []),
    ):
        user.press("ctrl+f", "ctrl+a", "BackSpace")
        user.type(text)
        sought: list[str] = found
        user.wait_until(lambda: rows(user) == sought, f"{found} for {text}")  # noqa: B023
    assert user.sees("No backup matches your search.")
    user.press("Escape")
    user.wait_until(lambda: len(rows(user)) == 2, "all of them")


def test_what_others_do_in_the_directory_is_noticed(person: MakePerson, database: Path) -> None:
    """A backup that another process makes, pins or deletes changes the list by itself.

    The selected one stays selected.
    """
    manager = BackupManager.from_url(str(database))
    manager.create("first")
    user = person(host(database))
    open_window(user)
    user.click(row(user, "first"))
    second = manager.create("second")
    row(user, "second")
    manager.pin(second)
    row(user, "Pinned: second")
    assert row(user, "first").selected
    manager.unpin(second)
    manager.delete(second)
    user.wait_until(lambda: rows(user) == ["first"], "the row to go")
    assert row(user, "first").selected


def test_a_change_within_one_tick_of_the_clock_is_noticed(
    person: MakePerson, database: Path
) -> None:
    """Where the directory changed lately, its time of change may be the same after another one."""
    manager = BackupManager.from_url(str(database))
    manager.create("first")
    before = manager.directory.stat().st_mtime_ns
    coarse = "import soulsense_db.dialog.watcher as w; w._SURE_AFTER_NS = 3600 * 10**9"
    user = person(host(database, more=coarse))
    open_window(user)
    row(user, "first")
    manager.create("second")
    os.utime(manager.directory, ns=(before, before))
    row(user, "second")


def test_a_change_while_the_list_is_read_is_in_it(person: MakePerson, database: Path) -> None:
    """What is done in the window while it reads is read again after that."""
    no_look = "import soulsense_db.dialog.watcher as w; w._LOOK_EVERY_MS = 3_600_000"
    user = person(host(database, manager="ReadsSlowly", more=no_look))
    open_window(user)
    (user.folder / "read").unlink()
    (user.folder / "slow").touch()
    user.press("F5")
    user.wait_until((user.folder / "read").exists, "the list to be read")
    user.press("ctrl+n")
    user.type("new")
    user.press("Return")
    user.waits_for("Created ")
    (user.folder / "slow").unlink()
    row(user, "new")


def test_today_is_yesterday_after_midnight(person: MakePerson, database: Path) -> None:
    """A window that stays open overnight says so, although no backup has come or gone."""
    manager = BackupManager.from_url(str(database))
    manager.create("first")
    os.utime(manager.directory, (0, 0))
    user = person(host(database))
    open_window(user)
    assert row(user, "first").cells[0].text.startswith("today")
    user.run("""
import datetime
import soulsense_db.dialog.table as t, soulsense_db.dialog.watcher as w
class Later(datetime.date):
    @classmethod
    def today(cls):
        return datetime.date.today() + datetime.timedelta(days=1)
t.date = w.date = Later
""")
    user.wait_until(
        lambda: row(user, "first").cells[0].text.startswith("yesterday"), "the next day"
    )


def test_a_directory_that_is_removed_or_broken_is_told(person: MakePerson, database: Path) -> None:
    """Without its directory the list is empty, with a file in its place it says so, and recovers.

    F5 reads it anew at once.
    """
    manager = BackupManager.from_url(str(database))
    manager.create("first")
    kept = database.parent / "kept"
    user = person(host(database))
    open_window(user)
    row(user, "first")
    manager.directory.rename(kept)
    user.press("F5")
    user.waits_for("No backups yet.")
    manager.directory.write_text("a file")
    user.waits_for("Not a directory")
    user.press("ctrl+f")
    user.type("x")
    user.press("Escape")
    assert not user.sees("No backups yet.")
    manager.directory.unlink()
    kept.rename(manager.directory)
    user.press("F5")
    row(user, "first")


def test_the_details_of_the_selected_backup(person: MakePerson, database: Path) -> None:
    """Path, checksum, revision, description and note are told whole, and rows per table and now."""
    execute(database, "CREATE TABLE alembic_version (version_num)")
    execute(database, "INSERT INTO alembic_version VALUES ('ab12')")
    manager = BackupManager.from_url(str(database))
    info = manager.create("A long description " * 5)
    manager.pin(info, "for the audit")
    add_child(database)
    execute(database, "UPDATE alembic_version SET version_num = 'cd34'", "CREATE TABLE mood (a)")
    user = person(host(database))
    open_window(user)
    assert user.sees("Select a backup to see its details.")
    user.click(row(user, "A long"))
    user.waits_for("child\t300\t301")
    assert not user.sees("alembic_version\t"), "no entries of the person"
    assert info.sha256 is not None
    for text in (
        info.path,
        info.sha256,
        ("A long description " * 5).strip(),
        "for the audit",
        "ab12 (now: cd34)",
        "mood\t–\t0",
        "parent\t10\t10",
    ):
        assert user.sees(text), text


def test_a_compressed_backup_is_one_like_others(person: MakePerson, database: Path) -> None:
    """Its details have both sizes, and its rows are counted."""
    manager = BackupManager.from_url(str(database), compression="zstd")
    info = manager.create("small")
    assert info.plain_size_bytes is not None
    add_child(database)
    user = person(host(database))
    open_window(user)
    user.click(row(user, "small"))
    user.waits_for("child\t300\t301")
    assert user.sees(f"{info.size_display} (decompressed: {display_size(info.plain_size_bytes)})")


def test_the_rows_are_counted_anew(person: MakePerson, database: Path) -> None:
    """F5 tells how many rows the database has now."""
    BackupManager.from_url(str(database)).create("first")
    user = person(host(database))
    open_window(user)
    user.click(row(user, "first"))
    user.waits_for("child\t300\t300")
    add_child(database)
    user.press("F5")
    user.waits_for("child\t300\t301")


def test_a_description_of_several_lines(person: MakePerson, database: Path) -> None:
    """The list has it on one line, the details as it was written."""
    BackupManager.from_url(str(database)).create("first line\nsecond line\n\nlast line")
    user = person(host(database))
    open_window(user)
    user.click(row(user, "first line second line  last line"))
    user.waits_for("Description\tfirst line\nsecond line\n\nlast line\n")


@pytest.mark.parametrize("what", ["missing", "damaged"])
def test_the_details_of_a_backup_whose_database_is_gone(
    person: MakePerson, database: Path, what: str
) -> None:
    """The rows in the backup are told also where the database has none to compare."""
    manager = BackupManager.from_url(str(database))
    manager.create("first")
    user = person(host(database))
    open_window(user)
    if what == "missing":
        database.unlink()
    else:
        database.write_bytes(b"no database" * 1000)
    user.click(row(user, "first"))
    user.waits_for("child\t300\t–")


def test_a_meta_file_that_is_damaged_is_told(person: MakePerson, database: Path) -> None:
    """A backup with a damaged meta file is in the list, and its details say what is wrong."""
    info = BackupManager.from_url(str(database)).create("first")
    Path(info.meta_path).write_text('{"format": 1, ')
    user = person(host(database))
    open_window(user)
    user.click(row(user, "today"))
    user.waits_for("Problem: ")
    user.waits_for("Entries")


def test_five_thousand_backups(person: MakePerson, tmp_path: Path) -> None:
    """All of them are in the list, and the search finds one; how fast is for the benchmark."""
    database = make_database(tmp_path / "app.db", rows=1)
    manager = BackupManager.from_url(str(database))
    one = manager.create("one of many")
    for number in range(4_999):
        path = manager.directory / f"soulsense_backup_20260101_000000_number_{number}.db"
        os.link(one.path, path)
    user = person(host(database))
    user.click(MANAGE)
    user.wait_until(lambda: table(user).total == 5_000, "all of them")
    user.press("ctrl+f")
    user.type("number_4711.")
    user.wait_until(lambda: table(user).total == 1, "the one that is looked for")
    user.waits_for("1 of 5,000 backups")


def test_a_backup_that_vanished_is_told_and_gone_from_the_list(
    person: MakePerson, database: Path
) -> None:
    """What somebody deleted a moment ago cannot be verified or restored: the error says so."""
    manager = BackupManager.from_url(str(database))
    manager.create("other")
    info = manager.create("first")
    stay = "import soulsense_db.dialog.watcher as w; w._LOOK_EVERY_MS = 3_600_000"
    user = person(host(database, more=stay))
    open_window(user)
    user.wait_until(lambda: len(rows(user)) == 2, "both")
    user.click(row(user, "first"))
    user.waits_for("child\t300\t300")
    Path(info.path).unlink()
    user.click("Verify")
    user.waits_for("Backup file not found")
    user.click("OK")
    user.wait_until(lambda: rows(user) == ["other"], "the row to go")
