"""An application with the button "Manage Backups", as a setup for ``person``."""

from __future__ import annotations

from pathlib import Path

from dialog.person import Person
from dialog.seen import Row, Widget

_HOST = """
import time
from pathlib import Path
from dialog import managers
from soulsense_db import BackupManager, RetentionPolicy
from soulsense_db.dialog import manage_backups_button, open_backup_dialog

root.title("SoulSense")
root.geometry("300x120+0+0")
manager = managers.{manager}.from_url({database!r}, lock_timeout={lock_timeout})
callbacks = {{}}
{more}
manage_backups_button(root, manager, **callbacks).pack()
"""

NOTING = """
told = []
callbacks = dict(
    before_restore=lambda: told.append("before"),
    after_restore=lambda report: told.append(report and report.source.description),
)
"""
"""What notes in ``told`` that the application was told before and after a restore."""

MANAGE = "Manage Backups"
CREATE = "Create Backup"
RESTORE = "Restore…"
RESTORE_YES = "Restore"
ROWS = "Bring back rows…"
RESTORE_TITLE = "Replace app.db with this backup?"
DELETE_TITLE = "Delete this backup?"


def host(
    database: Path, *, manager: str = "BackupManager", lock_timeout: float = 5, more: str = ""
) -> str:
    """Return the source of an application over ``database``.

    ``manager``: the name of one in ``managers.py``. ``more``: what it does before it makes the
    button; ``callbacks`` is given to it.
    """
    return _HOST.format(
        database=str(database), manager=manager, lock_timeout=lock_timeout, more=more
    )


def table(user: Person) -> Widget:
    """Return the list of backups."""
    return next(
        one for one in user.look().widgets if any(h.text.startswith("When") for h in one.headings)
    )


def rows(user: Person, heading: str = "Description") -> list[str]:
    """Return a column of the list of backups, from top to bottom.

    ``heading``: how it begins; behind it is an arrow where the list is sorted by it.
    """
    seen = table(user)
    place = [one.text.startswith(heading) for one in seen.headings].index(True)
    return [row.cells[place].text for row in seen.rows]


def row(user: Person, text: str) -> Row:
    """Return the row of the backup in which ``text`` can be read; wait until there is one."""
    user.wait_until(lambda: table(user).row(text), f"a backup with {text!r}")
    found = table(user).row(text)
    assert found is not None
    return found


def open_window(user: Person) -> None:
    """Click the button of the host, and wait until the list has been read."""
    user.click(MANAGE)
    user.window("Backups of")
    user.wait_until(lambda: not user.sees("Loading the backups…"), "the list")


def create(user: Person, description: str) -> None:
    """Make a backup, as a person does."""
    user.press("ctrl+n")
    user.type(description)
    user.click(CREATE)
    user.waits_for("Created soulsense_backup_")
    row(user, description)


def restore(user: Person, description: str) -> None:
    """Restore a backup, as a person does."""
    user.click(row(user, description))
    user.click(RESTORE)
    user.click(user.find(RESTORE_YES, within=RESTORE_TITLE))
    user.waits_for("Restored app.db as of")


def let_go(user: Person) -> None:
    """Let the copy of a ``Gated`` manager go on."""
    (user.folder / "go").touch()


def bar(user: Person) -> Widget:
    """Return the progress bar; wait until it is there."""
    return user.find(kind="progressbar")


def choose_file(user: Person, title: str, path: Path) -> None:
    """Type a path into the dialog for a file that is open."""
    user.window(title)
    user.press("ctrl+slash")  # Tk's own key to mark everything
    user.type(str(path))
    user.press("Return")
