"""The menu of a backup: what can be done with it, and what cannot, and why."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from soulsense_db.dialog import texts
from soulsense_db.dialog.base_window import BaseWindow
from soulsense_db.dialog.translation import _


@dataclass(frozen=True, slots=True)
class Entry:
    """What can be done; ``reason``: in a few words, why it cannot."""

    text: str
    command: Callable[[], object]
    reason: str = ""


def open_menu(window: BaseWindow, entries: Sequence[Entry], x: int, y: int) -> None:
    """Show ``entries`` at a place of the screen."""
    menu = tk.Menu(window, tearoff=False)
    window.look.dress_menu(menu)
    for entry in entries:
        if entry.reason:
            label = _(texts.NOT_FOR).format(action=_(entry.text), reason=_(entry.reason))
            menu.add_command(label=label, state="disabled")
        else:
            menu.add_command(label=_(entry.text), command=entry.command)
    menu.bind("<Unmap>", lambda _: menu.after_idle(menu.destroy))
    menu.tk_popup(x, y)
