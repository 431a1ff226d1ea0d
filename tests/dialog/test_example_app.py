"""The example application: its settings page has the button, and its journal is read anew."""

from __future__ import annotations

import re
from pathlib import Path

from helpers import make_database

from dialog.conftest import MakePerson
from dialog.host import create, open_window, row

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "soulsense_app"
PAGE = (ROOT / "docs" / "guide" / "in-your-application.md").read_text("utf-8")
_SETUP = """
import sys
sys.path.insert(0, {example!r})
import app
app.main([{folder!r}])
"""


def test_the_example_restores_its_journal(person: MakePerson, tmp_path: Path) -> None:
    """What was written after a backup is gone from the page after a restore, and back again.

    A backup of an older revision is upgraded when it is restored: it is shown as well.
    """
    folder = tmp_path / "journal"
    setup = _SETUP.format(example=str(EXAMPLE), folder=str(folder))
    user = person(setup, own_root=True)
    user.waits_for("Hana's journal: 31 entries")
    user.press("alt+s")
    open_window(user)
    create(user, "Before the exam")
    user.click("Close")
    user.press("alt+j")
    user.click(user.find(kind="entry"))
    user.type("Slept badly")
    user.click("Write")
    user.waits_for("Hana's journal: 32 entries")
    assert user.row("Slept badly")

    user.press("alt+s")
    open_window(user)
    user.click(row(user, "Before the exam"))
    user.click("Restore…")
    user.click(user.find("Restore", within="Replace soulsense.db"))
    user.waits_for("You do not need to restart the application.")
    user.click("Close")
    user.press("alt+j")
    user.waits_for("Hana's journal: 31 entries")
    assert not user.sees("Slept badly")

    user.press("alt+s")
    open_window(user)
    user.click(row(user, "Before 0004_entries_by_date"))
    user.click("Restore…")
    user.click(user.find("Restore", within="Replace soulsense.db"))
    user.waits_for("Restored soulsense.db")
    user.click("Close")
    user.press("alt+j")
    user.waits_for("Hana's journal: 31 entries")
    user.close_window("SoulSense")
    user.waits_for_end()


def _blocks(title: str) -> list[str]:
    return re.findall(rf'^```python title="{title}"\n(.*?)^```$', PAGE, re.DOTALL | re.MULTILINE)


def test_the_ten_lines_of_the_page_are_all_that_is_needed(
    person: MakePerson, tmp_path: Path
) -> None:
    """The program that the documentation shows opens the window, and makes a backup."""
    (program,) = _blocks("your_app.py")
    make_database(tmp_path / "app.db")
    user = person(f"import os\nos.chdir({str(tmp_path)!r})\n{program}", own_root=True)
    open_window(user)
    create(user, "First")
    assert len(list((tmp_path / "backups").glob("*_First.db"))) == 1
    user.click("Close")
    user.close_window("tk")
    user.waits_for_end()


def test_what_the_page_shows_of_the_example_is_in_it() -> None:
    """The callbacks on the page are those of the example application."""
    shown = _blocks("examples/soulsense_app/app.py")
    lines = {line.strip() for line in (EXAMPLE / "app.py").read_text("utf-8").splitlines()}
    assert len(shown) == 2
    for line in "".join(shown).splitlines():
        assert not line.strip() or line.strip() in lines | {")"}, line
