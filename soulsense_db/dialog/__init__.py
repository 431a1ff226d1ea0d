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
    """Open the window "Manage Backups" over another one, and return it at once.

    It is modal to the application; ``parent.wait_window(window)`` waits until it is closed. Where
    it is open already, that window comes to the front and is returned. The thread of the main loop
    calls both functions below.

    When the application destroys ``parent`` while work is under way, the work is cancelled, the
    database is the old or the new one, whole, and ``after_restore`` is not called.

    Args:
        parent: The window or widget that it belongs to.
        manager: The manager of the database.
        before_restore: Called before a restore or an undo begins, for the application to close its
            sessions. What it raises is shown, and nothing is restored.
        after_restore: Called once that has ended, in any case, to load the data anew. It gets the
            :class:`~soulsense_db.operations.restore.RestoreReport`, or None when it was cancelled
            or failed. In that case the database is what it was, unless the error that is shown says
            otherwise: load the data anew then as well.

    Returns:
        The window.

    Raises:
        UnsupportedDatabaseError: The database is in memory. The thread in which the window works
            cannot reach it.

    Example:
        >>> window = open_backup_dialog(root, manager)
        >>> open_backup_dialog(root, manager) is window
        True
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
    """Return a button "Manage Backups" for a settings page; it is still to be placed.

    Args:
        parent: The widget that it is in.
        manager: The manager of the database.
        before_restore: As for :func:`open_backup_dialog`.
        after_restore: As for :func:`open_backup_dialog`.
        **options: Further options of :class:`tkinter.ttk.Button`.

    Returns:
        The button.

    Raises:
        UnsupportedDatabaseError: The database is in memory.

    Example:
        >>> button = manage_backups_button(root, manager)
        >>> button.pack()
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
