"""The example application: its settings page has the button, and its journal is read anew."""

from __future__ import annotations

from pathlib import Path

from gui.conftest import MakePerson
from gui.host import create, open_window, row

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "soulsense_app"
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
    user.click("🔄 Restore…")
    user.click(user.find("🔄 Restore", within="Replace soulsense.db"))
    user.waits_for("The application need not be restarted.")
    user.click("Close")
    user.press("alt+j")
    user.waits_for("Hana's journal: 31 entries")
    assert not user.sees("Slept badly")

    user.press("alt+s")
    open_window(user)
    user.click(row(user, "Before 0004_entries_by_date"))
    user.click("🔄 Restore…")
    user.click(user.find("🔄 Restore", within="Replace soulsense.db"))
    user.waits_for("Restored soulsense.db")
    user.click("Close")
    user.press("alt+j")
    user.waits_for("Hana's journal: 31 entries")
    user.close_window("SoulSense")
    user.waits_for_end()
