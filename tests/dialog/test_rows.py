"""Rows of a backup come back in the window: they are ticked, looked at, and agreed to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from age_keys import text_of
from helpers import add_child, digest, execute, scalar

from dialog.conftest import MakePerson
from dialog.display import Display
from dialog.host import NOTING, ROWS, host, let_go, open_window, row
from dialog.person import Person
from dialog.seen import Row, Widget
from dialog.test_theme import THEMES, cut_off, themed
from soulsense_db import BackupManager
from soulsense_db.codecs import Recipients

TITLE = "Bring back rows of this backup"
ASK = "Bring back…"
AGREE = "Bring back"
SURE = "Bring back "  # how the title of the question begins
DIFFERENT = "Also show rows that are different now"
NO_LONGER = "DELETE FROM child WHERE id IN (17, 18)"


def backed_up(database: Path, *statements: str) -> BackupManager:
    """Make a backup, and then change the database."""
    manager = BackupManager.from_url(str(database))
    manager.create("all is there")
    execute(database, *statements)
    return manager


def choose(person: MakePerson, database: Path, *, more: str = "", **options: object) -> Person:
    """Open the window and in it that for the rows of the backup."""
    user = person(host(database, more=more, **options))  # type: ignore[arg-type]
    open_window(user)
    begin(user)
    return user


def begin(user: Person) -> None:
    """Open the window for the rows of the backup."""
    user.click(row(user, "all is there"))
    user.click(ROWS)
    user.window(TITLE)


def ready(user: Person) -> None:
    """Wait until the rows are shown."""
    user.wait_until(lambda: shown(user) is not None, "the rows")


def tables(user: Person) -> Widget:
    """Return the list of tables; wait until it has some."""
    found: list[Widget] = []

    def there() -> bool:
        found[:] = [w for w in user.look().widgets if heads(w)[:2] == ["Table", "Missing"]]
        return bool(found and found[0].rows)

    user.wait_until(there, "the tables")
    return found[0]


def heads(widget: Widget) -> list[str]:
    """Return the headings of a table."""
    return [one.text for one in widget.headings]


def shown(user: Person) -> Widget | None:
    """Return the table of rows, once it has rows."""
    found = [one for one in user.look().widgets if heads(one)[:1] == [""] and one.rows]
    return found[0] if found else None


def cells(user: Person) -> list[list[str]]:
    """Return the rows as they can be read."""
    ready(user)
    found = shown(user)
    assert found is not None
    return [[cell.text for cell in one.cells] for one in found.rows]


def row_of(user: Person, text: str) -> Row:
    """Return the row in which a text can be read."""
    found: list[Row] = []

    def there() -> bool:
        now = shown(user)
        found[:] = [one for one in [now.row(text)] if one] if now else []
        return bool(found)

    user.wait_until(there, f"a row with {text!r}")
    return found[0]


def tick(user: Person, text: str) -> None:
    """Click on the row in which a text can be read."""
    user.click(row_of(user, text))


def ask(user: Person) -> None:
    """Click on the button, and wait until it is known what would be."""
    user.click(user.find(ASK, within=TITLE))
    user.waits_for("Come back")
    user.wait_until(lambda: not user.sees("Looking at what would change…"), "the plan")


def question(user: Person) -> str:
    """Return the title of the question."""
    (found,) = [one.title for one in user.look().windows if re.match(r"Bring back \d", one.title)]
    return found


def agree(user: Person) -> None:
    """Click on the button of the question, and wait for its end."""
    user.click(user.find(AGREE, within=question(user), kind="button"))
    user.wait_until(lambda: not user.sees(TITLE), "the windows to go")


def missing(database: Path) -> list[int]:
    """Return which children are gone."""
    found = BackupManager.from_url(str(database)).find_rows("latest", "child")
    return [int(str(one.key[0])) for one in found.rows]


def test_a_deleted_entry_comes_back_and_undo_takes_it_away(
    person: MakePerson, database: Path
) -> None:
    """Of two rows that are gone one is ticked: it alone comes back; all else stays as it is now."""
    backed_up(database, NO_LONGER)
    add_child(database, "newer than the backup")
    before = digest(database)
    user = choose(person, database, more=NOTING)
    ready(user)
    assert [[one.text for one in table.cells] for table in tables(user).rows] == [["child", "2"]]
    assert heads(shown(user) or tables(user)) == ["", "id", "parent_id", "amount", "body"]
    assert [one[1] for one in cells(user)] == ["17", "18"]
    assert not user.find(ASK, within=TITLE).enabled
    tick(user, "line 16 ")
    user.waits_for("1 row ticked")
    ask(user)
    assert question(user) == "Bring back 1 row of child?"
    assert digest(database) == before
    agree(user)
    user.waits_for("1 row of the backup of today")
    assert user.sees("is back. You do not need to restart the application.")
    assert missing(database) == [18]
    assert scalar(database, "SELECT count(*) FROM child WHERE body LIKE 'newer%'") == 1
    assert user.run("answer = told") == ["before", None]
    user.click("Undo")
    user.click(user.find("Undo restore", within="Undo the last restore?"))
    user.waits_for("Restored app.db as of")
    assert digest(database) == before


def test_the_keyboard_is_enough(person: MakePerson, database: Path) -> None:
    """Ctrl+B, Tab, arrows, Space, Ctrl+A and Enter do all of it."""
    backed_up(database, NO_LONGER)
    user = person(host(database))
    open_window(user)
    user.click(row(user, "all is there"))
    user.press("ctrl+b")
    user.window(TITLE)
    ready(user)
    user.press("Tab", "Tab", "Down", "space")  # the list of tables, the search, the rows
    user.waits_for("1 row ticked")
    assert row_of(user, "line 17 ").cells[0].text == "☑"
    user.press("ctrl+a")
    user.waits_for("2 rows ticked")
    user.press("ctrl+a")
    user.wait_until(lambda: not user.sees("ticked"), "no tick")
    user.press("ctrl+a")
    user.waits_for("2 rows ticked")
    # It can be pressed a moment after the window opened; until then, Tab passes it.
    user.wait_until(lambda: user.find(ASK, kind="button").enabled, "the button")
    user.press("Tab", "Tab", "Tab", "Return")  # the box, “Untick all”, “Bring back…”
    user.waits_for("Come back")
    user.press("Return")  # the harmless answer has the focus
    user.wait_until(lambda: not user.sees("Come back"), "the question to go")
    assert missing(database) == [17, 18]
    user.press("Return")
    user.waits_for("Come back")
    user.wait_until(
        lambda: user.find(AGREE, within=question(user), kind="button").enabled, "the answer"
    )
    user.press("shift+Tab", "Return")
    user.waits_for("2 rows of the backup of today")
    assert missing(database) == []


def test_a_search_asks_the_backup_for_more(person: MakePerson, database: Path) -> None:
    """Of many rows only the first are shown, and a search finds the others; ticks stay."""
    execute(
        database,
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, body)",
        "INSERT INTO notes WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
        "WHERE i < 2000) SELECT i, 'note number ' || i FROM n",
    )
    backed_up(database, "DELETE FROM notes")
    user = choose(person, database)
    user.waits_for("Only the first 300 rows are shown. Search to see others.")
    assert (shown(user) or tables(user)).total == 300
    tick(user, "note number 1")
    user.press("ctrl+f")
    user.type("NUMBER 1999")
    user.waits_for("note number 1999")
    user.wait_until(lambda: len(cells(user)) == 1, "one row")
    tick(user, "note number 1999")
    user.waits_for("2 rows ticked")
    user.press("ctrl+f")
    user.press("ctrl+a")
    user.type("nowhere")
    user.waits_for("No such row matches your search.")
    user.press("Escape")  # of the search alone
    user.waits_for("Only the first 300 rows")
    assert cells(user)[0][:2] == ["☑", "1"]
    ask(user)
    agree(user)
    user.waits_for("2 rows of the backup of today")
    assert scalar(database, "SELECT group_concat(id) FROM notes") == "1,1999"


def test_rows_that_differ_are_shown_on_demand_and_replaced(
    person: MakePerson, database: Path
) -> None:
    """They are marked, with both values, and what is ticked gets the values of the backup."""
    backed_up(database, NO_LONGER, "UPDATE parent SET name = 'Other' WHERE id = 3")
    user = choose(person, database)
    ready(user)
    assert not user.sees("parent 3")
    user.click(DIFFERENT)
    user.wait_until(lambda: len(tables(user).rows) == 2, "the other table")
    assert [[one.text for one in table.cells] for table in tables(user).rows] == [
        ["child", "2", "0"],
        ["parent", "0", "1"],
    ]
    user.click_row("parent", within=tables(user))
    assert row_of(user, "(now: Other)").cells[1].text == "different"
    tick(user, "(now: Other)")
    ask(user)
    assert user.sees("Replaced")
    agree(user)
    user.waits_for("1 row of the backup of today")
    assert user.sees("1 of them replaced another.")
    assert user.sees("If the application does not show them, restart it.")
    assert scalar(database, "SELECT name FROM parent WHERE id = 3") == "parent 3"


def test_what_rows_refer_to_comes_along_if_wished(person: MakePerson, database: Path) -> None:
    """A row whose parent is gone is not brought back without it; with it, both are."""
    backed_up(database, "DELETE FROM child WHERE parent_id = 4", "DELETE FROM parent WHERE id = 4")
    user = choose(person, database)
    user.click_row("child", within=tables(user))
    tick(user, "line 4 ")
    ask(user)
    user.waits_for("cannot come back without:")
    assert user.sees("• parent: id 4")
    yes = user.find(AGREE, within=question(user), kind="button")
    assert not yes.enabled
    user.click("Also bring back what they refer to")
    user.wait_until(
        lambda: user.find(AGREE, within=question(user), kind="button").enabled, "the answer"
    )
    assert not user.sees("cannot come back without:")
    user.click("Also bring back what they refer to")  # taken back again
    user.waits_for("cannot come back without:")
    user.click("Also bring back what they refer to")
    user.wait_until(lambda: not user.sees("cannot come back without:"), "the plan")
    agree(user)
    user.waits_for("2 rows of the backup of today")
    assert scalar(database, "SELECT name FROM parent WHERE id = 4") == "parent 4"
    assert scalar(database, "SELECT count(*) FROM child WHERE parent_id = 4") == 1


def test_what_belongs_to_rows_comes_along_if_wished(person: MakePerson, database: Path) -> None:
    """Rows that refer to what is ticked, and are gone with it, are told of and come along."""
    backed_up(database, "DELETE FROM child WHERE parent_id = 4", "DELETE FROM parent WHERE id = 4")
    user = choose(person, database)
    user.click_row("parent", within=tables(user))
    tick(user, "parent 4")
    ask(user)
    user.waits_for("30 rows that belong to these are missing now too (child).")
    user.click("Also bring back what belongs to them")
    user.wait_until(lambda: not user.sees("belong to these are missing"), "the plan")
    agree(user)
    user.waits_for("31 rows of the backup of today")
    assert missing(database) == []


def test_a_row_that_is_refused_is_told_of_and_nothing_is_written(
    person: MakePerson, database: Path
) -> None:
    """Another row has what must be unique by now: the error names both, and the ticks stay."""
    execute(database, "CREATE UNIQUE INDEX bodies ON child (body)")
    backed_up(
        database,
        NO_LONGER,
        "INSERT INTO child SELECT 900, 1, 1, body FROM (SELECT "
        "'line 16 line 16 line 16 line 16 line 16 line 16 line 16 line 16 line 16 line 16 line 16 "
        "line 16 line 16 line 16 line 16 line 16 line 16 line 16 line 16 line 16 ' AS body)",
    )
    before = digest(database)
    user = choose(person, database)
    tick(user, "line 16 ")
    user.click(user.find(ASK, within=TITLE))
    user.waits_for("That did not work")
    assert user.sees("id 17")
    user.click("OK")
    user.wait_until(lambda: not user.sees("That did not work"), "the error to go")
    assert user.sees("1 row ticked")
    assert digest(database) == before


def test_what_changed_between_question_and_answer_is_not_written(
    person: MakePerson, database: Path
) -> None:
    """Somebody has written the row meanwhile: nothing is done, and that is said."""
    backed_up(database, NO_LONGER)
    user = choose(person, database)
    tick(user, "line 16 ")
    ask(user)
    execute(database, "INSERT INTO child VALUES (17, 1, 1, 'mine now')")
    before = digest(database)
    agree(user)
    user.waits_for("The database has changed since these rows were looked at")
    assert digest(database) == before


def test_nothing_to_bring_back_is_said(person: MakePerson, database: Path) -> None:
    """Where the database has all rows, the window says so, and there is nothing to press."""
    backed_up(database, "INSERT INTO child VALUES (999, 1, 0, 'newer')")
    user = choose(person, database)
    user.waits_for("Nothing is missing: the database has every row of this backup")
    assert not user.find(ASK, within=TITLE).enabled
    user.press("Escape")
    user.wait_until(lambda: not user.sees(TITLE), "the window to go")
    assert user.sees("Bring back rows…")


def test_rows_that_are_only_different_are_shown_at_once(person: MakePerson, database: Path) -> None:
    """Where none is missing the second choice is made already; without it, nothing is listed.

    It can be made while the backup is still compared.
    """
    backed_up(database, "UPDATE parent SET name = 'Other' WHERE id = 3")
    user = choose(person, database, manager="DiffsLate")
    user.waits_for("Looking for rows that are missing now…")
    user.click(DIFFERENT)
    user.click(DIFFERENT)
    let_go(user)
    row_of(user, "(now: Other)")
    user.click(DIFFERENT)
    user.waits_for("No row is missing now. Some are different.")
    user.click(DIFFERENT)
    row_of(user, "(now: Other)")


def test_a_backup_of_unknown_origin_is_looked_at_with_care(
    person: MakePerson, database: Path
) -> None:
    """Where nothing says that it is of this database, the window says so before anything."""
    info = BackupManager.from_url(str(database)).create("mine")
    Path(info.meta_path).write_text("typed by a person")
    execute(database, NO_LONGER)
    user = person(host(database))
    open_window(user)
    user.click(row(user, "typed by a person"))
    user.click(ROWS)
    user.window(TITLE)
    assert user.sees("There is no record that this backup is of this database.")
    row_of(user, "line 16 ")


def test_a_backup_without_its_key_asks_for_it(person: MakePerson, database: Path) -> None:
    """A passphrase is asked for before the rows are shown; what it opens can come back."""
    recipients = Recipients.with_passphrase(text_of("correct horse"))
    manager = BackupManager.from_url(str(database), recipients=recipients)
    manager.create("my secret")
    execute(database, NO_LONGER)
    user = person(host(database))
    open_window(user)
    user.click(row(user, "(encrypted)"))
    user.click(ROWS)
    user.window("This backup is encrypted")
    user.type("correct horse")
    user.click(user.find("Open", within="This backup is encrypted"))
    user.window(TITLE)
    tick(user, "line 16 ")
    ask(user)
    agree(user)
    user.waits_for("1 row of the backup of today")
    assert scalar(database, "SELECT count(*) FROM child WHERE id = 17") == 1


def test_a_comparison_that_takes_long_can_be_left(person: MakePerson, database: Path) -> None:
    """Cancel ends it at once, and the window behind it works on."""
    backed_up(database, NO_LONGER)
    user = choose(person, database, manager="DiffsLate")
    user.waits_for("Looking for rows that are missing now…")
    user.click(user.find("Cancel", within=TITLE))
    user.wait_until(lambda: not user.sees(TITLE), "the window to go")
    let_go(user)
    begin(user)
    ready(user)


def test_a_return_that_is_cancelled_changes_nothing(person: MakePerson, database: Path) -> None:
    """Cancel while the rows are about to be written: the database is as it was, and it is said."""
    backed_up(database, NO_LONGER)
    before = digest(database)
    user = choose(person, database, manager="RowsLate", more=NOTING)
    tick(user, "line 16 ")
    ask(user)
    agree(user)
    user.click("Cancel")
    user.waits_for("Cancelled. The database was not changed.")
    assert digest(database) == before
    assert user.run("answer = told") == ["before", None]


@pytest.mark.parametrize("stops", [True, False], ids=["stop", "go on"])
def test_the_window_is_closed_while_rows_come_back(
    person: MakePerson, database: Path, *, stops: bool
) -> None:
    """It asks; stopped, nothing was changed and it closes; else the rows come back."""
    backed_up(database, NO_LONGER)
    before = digest(database)
    user = choose(person, database, manager="RowsLate")
    tick(user, "line 16 ")
    ask(user)
    agree(user)
    user.close_window("Backups of")
    user.waits_for("Rows are being brought back. Stop and close?")
    user.click("Stop and close" if stops else "Continue")
    if stops:
        user.wait_until(lambda: not user.sees("Backups of"), "the window to go")
        assert digest(database) == before
    else:
        let_go(user)
        user.waits_for("1 row of the backup of today")
        assert missing(database) == [18]


def test_the_application_goes_while_rows_are_looked_for(person: MakePerson, database: Path) -> None:
    """The window's parent is destroyed meanwhile: no error, and the database is as it was."""
    backed_up(database, NO_LONGER)
    before = digest(database)
    user = choose(person, database, manager="DiffsLate")
    user.waits_for("Looking for rows that are missing now…")
    user.run("for child in root.winfo_children(): child.destroy()")
    let_go(user)
    user.wait_until(lambda: not user.sees(TITLE), "the window to go")
    assert digest(database) == before


@pytest.mark.parametrize("theme", THEMES)
def test_nothing_is_cut_off_in_any_theme(person: MakePerson, database: Path, theme: str) -> None:
    """Labels and buttons have the room that they need, and the boxes can be told apart."""
    backed_up(database, NO_LONGER)
    user = choose(person, database, more=themed(theme))
    tick(user, "line 16 ")
    assert cut_off(user) == []
    ask(user)
    assert cut_off(user) == []


def test_on_a_small_and_on_a_fine_screen(
    person: MakePerson, database: Path, display_small: Display, display_192: Display
) -> None:
    """All of it is on the screen, and nothing is cut off."""
    backed_up(database, NO_LONGER)
    for screen in (display_small, display_192):
        user = person(host(database), screen=screen)
        open_window(user)
        begin(user)
        tick(user, "line 16 ")
        assert cut_off(user) == []
        for text in (ASK, "Cancel", "Tick all"):
            button = user.find(text, within=TITLE)
            assert button.uncovered
            assert button.y + button.height <= screen.height
            assert button.x + button.width <= screen.width
