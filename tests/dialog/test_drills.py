"""What the window tells of drills."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialog.conftest import MakePerson
from dialog.host import host, open_window, row, rows, table
from dialog.person import Person
from soulsense_db import BackupManager
from soulsense_db.errors import DrillError


def details(user: Person) -> str:
    """Return what the pane beside the list says."""
    return next(one.value for one in user.look().widgets if one.kind == "Text")


def test_the_list_and_the_details_say_what_came_of_a_drill(
    person: MakePerson, database: Path
) -> None:
    """One that passed, one that failed, and one that was never made can be told apart."""
    manager = BackupManager.from_url(str(database))
    for name in ("never", "passed", "failed"):
        info = manager.create(name)
        if name == "passed":
            manager.verify(info, level="drill")
        elif name == "failed":
            with pytest.raises(DrillError):
                manager.verify(info, level="drill", checks=["SELECT 0"])
    user = person(host(database))
    open_window(user)
    row(user, "never")
    failed, passed, never = rows(user, "Drilled")
    assert failed.startswith("failed today ")
    assert passed.startswith("today ")
    assert never == ""
    user.click(row(user, "passed"))
    user.wait_until(lambda: "Drilled\t" in details(user), "the details")
    assert ": it comes back\n" in details(user)
    user.click(row(user, "failed"))
    user.wait_until(lambda: "The drill failed on " in details(user), "the details")
    assert "soulsense-db verify --level drill " in details(user).splitlines()[0]
    user.click(row(user, "never"))
    user.wait_until(lambda: "rill" not in details(user), "the details")


def test_without_drills_nothing_is_said_of_them(person: MakePerson, database: Path) -> None:
    """The column is there only once a backup was drilled."""
    BackupManager.from_url(str(database)).create("first")
    user = person(host(database))
    open_window(user)
    row(user, "first")
    assert not any(one.text.startswith("Drilled") for one in table(user).headings)
