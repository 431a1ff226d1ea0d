"""A small table in a question: names of tables, and numbers."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Sequence
from tkinter import ttk

from soulsense_db.dialog.theme import CELL_INSET, ROW_STYLE, AutoScrollbar, Look, Tooltip
from soulsense_db.dialog.translation import _

_MOST_TABLES, _LEAST_TABLES = 8, 2  # that are seen without scrolling
_NAME_CHARACTERS, _MOST_NAME_CHARACTERS = 22, 40
_NUMBER_CHARACTERS = 11


def number_table(
    parent: tk.Misc, look: Look, headings: tuple[str, ...], rows: Sequence[Sequence[str]]
) -> ttk.Treeview:
    """Show a table; the first column has the names of tables, the others have numbers."""
    frame = ttk.Frame(parent)
    frame.grid(sticky="nsew", pady=(look.pad // 2, 0))
    frame.columnconfigure(0, weight=1)
    tree = ttk.Treeview(
        frame,
        columns=headings,
        show="headings",
        selectmode="none",
        style=ROW_STYLE,
        height=min(len(rows), _MOST_TABLES),
        takefocus=len(rows) > _MOST_TABLES,
    )
    beside = 2 * (look.pad + CELL_INSET)
    for place, heading in enumerate(headings):
        first = place == 0
        least = look.characters(_NAME_CHARACTERS if first else _NUMBER_CHARACTERS)
        widest = max(look.width(row[place], look.row_font) for row in rows) if rows else 0
        if first:
            widest = min(widest, look.characters(_MOST_NAME_CHARACTERS))
        width = max(least, widest, look.width(_(heading), look.bold))
        tree.heading(heading, text=_(heading), anchor="w" if first else "e")
        tree.column(heading, width=width + beside, anchor="w" if first else "e", stretch=first)
    names = [row[0] for row in rows]

    def fit(_event: object) -> None:
        room = int(tree.column(headings[0], "width")) - beside
        for name, row in zip(names, tree.get_children(), strict=True):
            tree.set(row, headings[0], look.fitted(name, room, look.row_font))

    def name_at(_x: int, y: int) -> str:
        row = tree.identify_row(y)
        name = names[tree.index(row)] if row else ""
        return "" if not row or tree.set(row, headings[0]) == name else name

    for row in rows:
        tree.insert("", "end", values=list(row))
    tree.bind("<Configure>", fit, add=True)
    Tooltip(tree, look, name_at)
    tree.grid(row=0, column=0, sticky="nsew")
    AutoScrollbar(frame, tree).grid(row=0, column=1, sticky="ns")
    return tree


def make_room(window: tk.Toplevel, em: int, tables: Sequence[ttk.Treeview]) -> None:
    """Let ``tables`` show fewer rows where the buttons of ``window`` would be off the screen."""
    room = window.winfo_screenheight() - 3 * em  # for the frame of the window
    window.update_idletasks()
    while tables and window.winfo_reqheight() > room:
        longest = max(tables, key=_rows_seen)
        if _rows_seen(longest) <= _LEAST_TABLES:
            return
        longest.configure(height=_rows_seen(longest) - 1, takefocus=True)
        window.update_idletasks()


def _rows_seen(tree: ttk.Treeview) -> int:
    return int(tree.cget("height"))
