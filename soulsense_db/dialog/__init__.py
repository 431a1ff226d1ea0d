"""The window in which the person who uses an application makes and restores backups.

    from soulsense_db.dialog import manage_backups_button, open_backup_dialog

    manage_backups_button(settings_page, manager).pack()

It is the one place of this package with tkinter in it; :mod:`soulsense_db` itself never loads it.
"""

from __future__ import annotations

import tkinter as tk
from tkinter import ttk
from typing import Any

from soulsense_db.dialog import texts
from soulsense_db.dialog.actions import AfterRestore, BeforeRestore
from soulsense_db.dialog.texts import use_translation
from soulsense_db.dialog.window import BackupWindow
from soulsense_db.errors import UnsupportedDatabaseError
from soulsense_db.manager import BackupManager

__all__ = ["BackupWindow", "manage_backups_button", "open_backup_dialog", "use_translation"]


def open_backup_dialog(
    parent: tk.Misc,
    manager: BackupManager,
    *,
    before_restore: BeforeRestore | None = None,
    after_restore: AfterRestore | None = None,
) -> BackupWindow:
    """Open the window "Manage Backups" over ``parent`` and return it at once.

    It is modal to the application; ``parent.wait_window(window)`` waits until it is closed. Where
    it is open already, that window comes to the front and is returned.

    ``before_restore``: called before a restore or an undo begins, for the application to close its
    sessions; what it raises is shown, and nothing is restored. ``after_restore``: called in any
    case once that has ended, to load the data anew, with the
    :class:`~soulsense_db.RestoreReport`, or None when it was cancelled or failed. Then the database
    is what it was, unless the error that is shown says otherwise: so load it anew as well. Both are
    called by the thread of the main loop.

    When the application destroys ``parent`` while work is under way, the work is cancelled, the
    database is the old or the new one, whole, and ``after_restore`` is not called.

    Raises :class:`~soulsense_db.errors.UnsupportedDatabaseError` for a database in memory: it
    cannot be reached from the thread in which the window works.
    """
    _require_file(manager)
    for child in parent.winfo_children():
        if isinstance(child, BackupWindow) and child.manager is manager:
            child.lift()
            child.focus_set()
            return child
    return BackupWindow(parent, manager, before_restore=before_restore, after_restore=after_restore)


def manage_backups_button(
    parent: tk.Misc,
    manager: BackupManager,
    *,
    before_restore: BeforeRestore | None = None,
    after_restore: AfterRestore | None = None,
    **options: Any,
) -> ttk.Button:
    """Return a button "💾 Manage Backups" for a settings page; it is still to be placed.

    ``options``: further ones of :class:`tkinter.ttk.Button`; the rest, and what is raised, as for
    :func:`open_backup_dialog`.
    """
    _require_file(manager)

    def open_dialog() -> None:
        open_backup_dialog(
            parent, manager, before_restore=before_restore, after_restore=after_restore
        )

    return ttk.Button(parent, **{"text": texts._(texts.MANAGE), "command": open_dialog, **options})


def _require_file(manager: BackupManager) -> None:
    if manager.database is None:
        raise UnsupportedDatabaseError(texts._(texts.IN_MEMORY), hint=texts._(texts.IN_MEMORY_HINT))
