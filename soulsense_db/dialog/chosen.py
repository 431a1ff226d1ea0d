"""Which backup an action is about, and what it takes to read it."""

from __future__ import annotations

from collections.abc import Callable

from soulsense_db.backup_info import BackupInfo
from soulsense_db.dialog.base_window import BaseWindow
from soulsense_db.dialog.download import bring_here
from soulsense_db.dialog.key_question import with_key
from soulsense_db.manager import BackupManager


def chosen(window: BaseWindow, info: BackupInfo | None) -> BackupInfo | None:
    """Return ``info``, or the selected backup; None while something else is done or asked."""
    return None if window.is_busy else info or window.table.selection


def with_opened(
    window: BaseWindow,
    info: BackupInfo | None,
    then: Callable[[BackupInfo, BackupManager], object],
) -> None:
    """Call ``then`` with what was chosen, once it is here, and a manager that opens it."""

    def with_here(here: BackupInfo) -> None:
        with_key(window, here, lambda manager: then(here, manager))

    if (found := chosen(window, info)) is not None:
        bring_here(window, found, with_here)
