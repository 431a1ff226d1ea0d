"""The window, and backups that are meant only when somebody chooses them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from helpers import add_child, digest

from dialog.conftest import MakePerson
from dialog.host import RESTORE_TITLE, RESTORE_YES, host, open_window, row, table
from dialog.test_restoring import agree, ask
from soulsense_db import BackupManager
from soulsense_db.backup_info.meta_format import to_meta

DOUBTFUL: dict[str, dict[str, object]] = {
    "unknown origin": {"database": None},
    "interrupted upgrade": {"half_run": True},
    "dated in the future": {"created_at": datetime.now(UTC) + timedelta(days=9)},
}


@pytest.mark.parametrize(("said", "facts"), DOUBTFUL.items(), ids=DOUBTFUL)
def test_the_first_choice_is_one_that_nothing_speaks_against(
    person: MakePerson, database: Path, said: str, facts: dict[str, object]
) -> None:
    """By Tab no backup is chosen that `latest` would not mean, and each says why in the list."""
    manager = BackupManager.from_url(str(database))
    manager.create("whole")
    doubtful = manager.create("doubtful")
    Path(doubtful.meta_path).write_bytes(to_meta(replace(doubtful, **facts)))  # type: ignore[arg-type]
    user = person(host(database))
    open_window(user)
    assert f"{said.capitalize()}: doubtful" in [cell.text for cell in row(user, "doubtful").cells]
    assert table(user).rows[0] == row(user, "doubtful")
    user.press("ctrl+f", "Tab")
    user.wait_until(lambda: row(user, "whole").selected, "the whole one to be selected")
    assert not row(user, "doubtful").selected


def test_an_unknown_backup_is_asked_about_with_its_tables(
    person: MakePerson, database: Path
) -> None:
    """The question says that nobody knows whose it is, with its rows beside those of now."""
    manager = BackupManager.from_url(str(database))
    info = manager.create("mine")
    Path(info.meta_path).write_text("typed by a person")
    before = digest(database)
    add_child(database)
    user = person(host(database))
    open_window(user)
    ask(user, "typed by a person")
    user.waits_for("There is no record that this backup is of this database")
    seen = user.look()
    (counted,) = [w for w in seen.widgets if any(h.text == "Now" for h in w.headings)]
    assert [[cell.text for cell in one.cells] for one in counted.rows] == [
        ["child", "300", "301"],
        ["parent", "10", "10"],
    ]
    agree(user)
    user.waits_for("Restored app.db")
    assert digest(database) == before


def test_a_known_backup_is_asked_about_as_ever(person: MakePerson, database: Path) -> None:
    """Nothing is said of its origin where it is known."""
    BackupManager.from_url(str(database)).create("mine")
    add_child(database)
    user = person(host(database))
    open_window(user)
    ask(user, "mine")
    user.waits_for("1 entry is newer")
    assert not user.sees("no record")
    assert user.find(RESTORE_YES, within=RESTORE_TITLE)
