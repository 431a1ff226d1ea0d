"""The window in which the users of an application create and restore backups.

    from soulsense_db.dialog import manage_backups_button, open_backup_dialog

    manage_backups_button(settings_page, manager).pack()

Only this package uses tkinter; :mod:`soulsense_db` itself never loads it.
"""

from __future__ import annotations

import tkinter as tk
from tkinter import ttk
from typing import Any

from soulsense_db.dialog import texts
from soulsense_db.dialog.restoring import AfterRestore, BeforeRestore
from soulsense_db.dialog.translation import _, use_translation
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

    The window is modal to the application; ``parent.wait_window(window)`` waits until it is closed.
    If the window is already open, it comes to the front and is returned. The thread of the main
    loop calls both functions below.

    An encrypted backup that no identity of ``manager`` opens is opened with a passphrase or a key
    file that the window asks for. The window keeps it until it is closed; the manager does not.

    If the application destroys ``parent`` during an operation, the operation is cancelled. The
    database is then the old or the new one, complete, and ``after_restore`` is not called.

    Args:
        parent: The window or widget that the new window belongs to.
        manager: The manager of the database.
        before_restore: Called before a restore, the return of chosen rows or an undo begins. Close
            the sessions of the application here. If it raises, the window shows the error and
            restores nothing.
        after_restore: Called when the restore or undo has ended, in any case. Reload the data here.
            It gets the :class:`~soulsense_db.operations.restore.RestoreReport`, or None if the
            restore was cancelled or failed, or if only chosen rows were brought back. In these
            cases too, reload the data: an error that is shown says whether the database has
            changed.

    Returns:
        The window.

    Raises:
        UnsupportedDatabaseError: The database is in memory, where the thread of the window cannot
            reach it.

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
    """Return a button "Manage Backups" for a settings page; place it with ``pack`` or ``grid``.

    Args:
        parent: The widget that contains the button.
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

    return ttk.Button(parent, **{"text": _(texts.MANAGE), "command": open_dialog, **options})


def _require_file(manager: BackupManager) -> None:
    if not manager.live.address:
        raise UnsupportedDatabaseError(_(texts.IN_MEMORY), hint=_(texts.IN_MEMORY_HINT))
