"""The rows of one table of a backup, each with a box that can be ticked."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Iterable
from math import ceil
from tkinter import ttk

from soulsense_db.dialog import formatting, texts
from soulsense_db.dialog.notice import Notice
from soulsense_db.dialog.row_values import cell, tip
from soulsense_db.dialog.theme import CELL_INSET, ROW_STYLE, AutoScrollbar, Look, Tooltip
from soulsense_db.dialog.translation import _
from soulsense_db.drivers import FoundRow, FoundRows, RowKey

Ticks = dict[RowKey, bool]
"""The rows that are ticked, by key, and whether the database has them with other values."""

# The box, and whether the row is missing or only different.
_TICK, _STATE = "tick", "state"
_STATES = texts.ROWS_IS_MISSING, texts.ROWS_IS_DIFFERENT
_LEAST_CHARACTERS, _SMALL_CHARACTERS, _MOST_CHARACTERS = 5, 24, 48
_MEASURED_ROWS = 60


class RowTable(ttk.Frame):
    """Rows with boxes: a click on a row or Space ticks it. ``ticked``: called when one is."""

    def __init__(self, parent: tk.Misc, look: Look, *, ticked: Callable[[], object]) -> None:
        super().__init__(parent)
        self._look = look
        self._ticked = ticked
        self._rows: dict[str, FoundRow] = {}  # by row of the tree
        self._columns: tuple[str, ...] = ()
        self._cells: dict[str, tuple[str, ...]] = {}
        self._fitting: str | None = None
        self._rooms: list[int] = []
        self._fitted: set[str] = set()  # the rows that are cut to these
        self.ticks: Ticks = {}
        self.tree = ttk.Treeview(
            self,
            columns=[_TICK, _STATE],
            show="headings",
            selectmode="browse",
            style=ROW_STYLE,
            height=8,
        )
        self.tree.grid(row=0, column=0, sticky="nsew")
        AutoScrollbar(self, self.tree, moved=self._fit_soon).grid(row=0, column=1, sticky="ns")
        AutoScrollbar(self, self.tree, horizontal=True).grid(row=1, column=0, sticky="ew")
        self.columnconfigure(0, weight=1)
        self.rowconfigure(0, weight=1)
        self._notice = Notice(self.tree, look)
        self.tree.bind("<Button-1>", self._clicked, add=True)
        self.tree.bind("<space>", self._space)
        self.tree.bind("<<TraverseIn>>", self._enter)  # by Tab
        self.tree.bind("<ButtonRelease-1>", self._fit_soon, add=True)  # a column has another width
        self.tree.bind("<Destroy>", self._gone, add=True)
        for key, step in (("<Left>", -1), ("<Right>", 1)):
            self.tree.bind(key, self._scroll_by(step))
        Tooltip(self.tree, look, self._tip_at)
        look.when_changed(self._dress)

    @property
    def shown(self) -> int:
        """How many rows are shown."""
        return len(self._rows)

    @property
    def all_ticked(self) -> bool:
        """Whether each row that is shown is ticked."""
        return bool(self._rows) and all(row.key in self.ticks for row in self._rows.values())

    def show(self, found: FoundRows | None, ticks: Ticks, *, notice: str = "") -> None:
        """Show rows, or a ``notice`` where there are none; ``ticks``: what is ticked, and kept."""
        self.ticks = ticks
        self.tree.delete(*self.tree.get_children())
        self._rows.clear()
        self._cells.clear()
        self._fitted.clear()
        self._columns = found.columns if found else ()
        names = [f"c{at}" for at in range(len(self._columns))]
        self.tree.configure(displaycolumns="#all")
        self.tree.configure(columns=[_TICK, _STATE, *names])
        for number, row in enumerate(found.rows if found else ()):
            iid = f"row{number}"
            self._rows[iid] = row
            state = _(texts.ROWS_IS_MISSING if row.now is None else texts.ROWS_IS_DIFFERENT)
            self._cells[iid] = (state, *(cell(row, at) for at in range(len(self._columns))))
            self.tree.insert("", "end", iid=iid)
        differ = any(row.now is not None for row in self._rows.values())
        self.tree.configure(displaycolumns=[_TICK, *([_STATE] if differ else []), *names])
        self._dress()
        self._mark(self._rows)
        self.say("" if self._rows else notice)

    def say(self, text: str) -> None:
        """Show ``text`` where there are no rows."""
        self._notice.say(text)

    def tick_all(self) -> None:
        """Tick all rows that are shown; or none of them, where all are."""
        untick = self.all_ticked
        for row in self._rows.values():
            self.ticks.pop(row.key, None)
            if not untick:
                self.ticks[row.key] = row.now is not None
        self._mark(self._rows)
        self._ticked()

    # Ticking

    def _turn(self, iid: str) -> None:
        row = self._rows[iid]
        if row.key in self.ticks:
            del self.ticks[row.key]
        else:
            self.ticks[row.key] = row.now is not None
        self._mark(iid for iid, one in self._rows.items() if one.key == row.key)
        self._ticked()

    def _mark(self, rows: Iterable[str]) -> None:
        """Show which of ``rows`` are ticked."""
        on, off = self._look.sign("☑", "[x]"), self._look.sign("☐", "[ ]")
        for iid in rows:
            self.tree.set(iid, _TICK, on if self._rows[iid].key in self.ticks else off)

    def _clicked(self, event: tk.Event[ttk.Treeview]) -> None:
        iid = self.tree.identify_row(event.y)
        if iid and self.tree.identify_region(event.x, event.y) == "cell":
            self._turn(iid)

    def _space(self, _event: object) -> str:
        if iid := self.tree.focus():
            self._turn(iid)
        return "break"

    def _enter(self, _event: object) -> None:
        """Give the keys a row to begin with."""
        rows = self.tree.get_children()
        if rows and not self.tree.selection():
            self.tree.selection_set(rows[0])
            self.tree.focus(rows[0])

    # Looks

    def _dress(self) -> None:
        look = self._look
        beside = 2 * (look.pad + CELL_INSET)
        box = max(look.width(sign, look.row_font) for sign in ("☑", "[x]"))
        self.tree.heading(_TICK, text="")
        self.tree.column(_TICK, width=box + beside, minwidth=box + beside, stretch=False)
        state = max(look.width(_(text), look.row_font) for text in _STATES)
        self.tree.heading(_STATE, text=_(texts.ROWS_NOW), anchor="w")
        self.tree.column(_STATE, width=state + beside, minwidth=state + beside, stretch=False)
        measured = list(self._cells.values())[:_MEASURED_ROWS]
        for at, name in enumerate(self._columns):
            heading = formatting.plain(name)
            widest = max((look.width(row[at + 1], look.row_font) for row in measured), default=0)
            least = max(look.width(heading, look.bold), look.characters(_LEAST_CHARACTERS))
            width = max(least, min(widest, look.characters(_MOST_CHARACTERS)))
            # Tk makes it less wide, down to this, before it lets it be scrolled.
            small = max(least, min(width, look.characters(_SMALL_CHARACTERS)))
            self.tree.heading(f"c{at}", text=heading, anchor="w")
            self.tree.column(f"c{at}", width=width + beside, minwidth=small + beside)
        self._fit_soon()

    def _fit_soon(self, _event: object = None) -> None:
        if self._fitting is None:
            self._fitting = self.after_idle(self._fit)

    def _fit(self) -> None:
        """Cut the cells that can be seen to the width of their columns."""
        self._fitting = None
        rows = list(self._cells)
        first, last = (share * len(rows) for share in self.tree.yview())
        places = range(len(self._columns))
        rooms = [self._room(at) for at in places]
        if rooms != self._rooms:
            self._rooms = rooms
            self._fitted.clear()
        for iid in rows[int(first) : ceil(last) + 1]:
            if iid in self._fitted:
                continue
            self._fitted.add(iid)
            texts_of_row = self._cells[iid]
            fitted = [
                self._look.fitted(texts_of_row[at + 1], rooms[at], self._look.row_font)
                for at in places
            ]
            box = self.tree.set(iid, _TICK)
            self.tree.item(iid, values=[box, texts_of_row[0], *fitted])

    def _room(self, place: int) -> int:
        return int(self.tree.column(f"c{place}", "width")) - 2 * (self._look.pad + CELL_INSET)

    def _gone(self, _event: object) -> None:
        if self._fitting is not None:
            self.after_cancel(self._fitting)
            self._fitting = None

    def _scroll_by(self, step: int) -> Callable[[object], str]:
        def scroll(_event: object) -> str:
            self.tree.xview_scroll(step * self._look.em * 2, "units")
            return "break"

        return scroll

    def _tip_at(self, x: int, y: int) -> str:
        iid = self.tree.identify_row(y)
        if not iid or self.tree.identify_region(x, y) != "cell":
            return ""
        shown = self.tree.cget("displaycolumns")
        column = str(shown[int(self.tree.identify_column(x).removeprefix("#")) - 1])
        if column in {_TICK, _STATE}:
            return ""
        place = int(column.removeprefix("c"))
        row = self._rows[iid]
        differs = row.now is not None and row.now[place] != row.values[place]
        text = tip(row, place)
        is_cut = self._look.width(text, self._look.row_font) > self._room(place)
        return text if differs or is_cut else ""
