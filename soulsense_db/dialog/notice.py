"""What a list says where it has no rows."""

from __future__ import annotations

import tkinter as tk
from tkinter import ttk

from soulsense_db.dialog.theme import Look


class Notice(tk.Label):
    """A text in the middle of ``tree``, folded where that ends; nothing while there is no text."""

    def __init__(self, tree: ttk.Treeview, look: Look) -> None:
        super().__init__(tree, justify="center")
        self._look = look
        tree.bind("<Configure>", self._fold, add=True)
        look.when_changed(self._dress)

    def say(self, text: str) -> None:
        """Show ``text``."""
        self.configure(text=text)
        if text:
            self.place(relx=0.5, rely=0.45, anchor="center")
        else:
            self.place_forget()

    def _dress(self) -> None:
        look = self._look
        self.configure(background=look.field, foreground=look.field_foreground, font=look.font)

    def _fold(self, event: tk.Event[tk.Misc]) -> None:
        self.configure(wraplength=max(self._look.em * 8, event.width - 4 * self._look.em))
