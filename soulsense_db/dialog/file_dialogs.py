"""Ask for a file, in the dialog that the system or Tk has for that."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from pathlib import Path
from typing import Any

from soulsense_db.dialog.translation import _
from soulsense_db.notices import ignoring, log_ignored


def ask_for_path(window: tk.Toplevel, ask: Callable[..., str], title: str, **options: Any) -> str:
    """Return what the user chose; empty for nothing, and where ``window`` is gone by now."""
    with ignoring(RuntimeError, what="There is no home directory"):
        options["initialdir"] = Path.home()
    try:
        path = ask(parent=window, title=_(title).rstrip("…"), **options)
    except tk.TclError as error:
        if not _is_gone(window):
            raise
        log_ignored("The application has closed the window, and all that is below", error)
        return ""
    return "" if _is_gone(window) else path


def _is_gone(window: tk.Toplevel) -> bool:
    try:
        return not window.winfo_exists()
    except tk.TclError as error:
        log_ignored("There is no application any more", error)
        return True
