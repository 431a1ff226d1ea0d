"""The list of backups: sorted, searched, and filled in slices, however many there are.

Tk cuts a text that has no room without a sign. Therefore the cells that can be seen are fitted anew
whenever others are, or the columns have another width.
"""

from __future__ import annotations

import time
import tkinter as tk
from collections.abc import Callable, Collection, Sequence
from datetime import date
from math import ceil
from tkinter import ttk

from soulsense_db.backup_info import BackupInfo
from soulsense_db.dialog import formatting, texts
from soulsense_db.dialog.elsewhere import Elsewhere, columns_with_place
from soulsense_db.dialog.formatting import Order, columns_for
from soulsense_db.dialog.notice import Notice
from soulsense_db.dialog.theme import CELL_INSET, ROW_STYLE, AutoScrollbar, Look, Tooltip
from soulsense_db.dialog.translation import _
from soulsense_db.operations import doubts_about

_SLICE_SECONDS = 0.02
_ROWS_AT_ONCE = 50


class BackupTable(ttk.Frame):
    """The backups as rows of a tree view with scroll bars.

    ``shown``: those that fit the search, in the order of the list; ``elsewhere``: which mirrors
    have them. ``arranged``: called when those shown have changed, ``selected`` when another backup,
    or none, is selected.
    """

    def __init__(
        self,
        parent: tk.Misc,
        look: Look,
        *,
        arranged: Callable[[], object],
        selected: Callable[[], object],
    ) -> None:
        super().__init__(parent)
        self._arranged = arranged
        self._look = look
        self._backups: dict[str, BackupInfo] = {}  # by row
        self._rows: dict[str, str] = {}  # by path
        self._found_by: dict[str, str] = {}  # what a search looks in, by path
        self._order = Order()
        self._search = ""
        self._today = date.today()
        self._made = 0
        self._waiting: list[BackupInfo] = []
        self._filling: str | None = None
        self._wanted: str | None = None
        self.elsewhere = Elsewhere()
        self._all_columns = columns_with_place(self.elsewhere)
        self._columns = self._all_columns  # those that are shown
        self._measures: tuple[int, int] | None = None
        self._least = 0  # the width of the description
        self._fitted: dict[str, tuple[str, ...]] = {}  # the cells as they are cut, by row
        self._fitting: str | None = None
        self._left = ""
        self._problem = ""
        self._tags: dict[str, str] = {}  # by row
        self.shown: list[BackupInfo] = []
        self.tree = ttk.Treeview(
            self,
            columns=[column.name for column in self._all_columns],
            show="headings",
            selectmode="browse",  # one: nobody deletes two at a click
            style=ROW_STYLE,
            height=8,
        )
        down = AutoScrollbar(self, self.tree, moved=self._fit_soon)
        across = AutoScrollbar(self, self.tree, horizontal=True)
        self.tree.grid(row=0, column=0, sticky="nsew")
        down.grid(row=0, column=1, sticky="ns")
        across.grid(row=1, column=0, sticky="ew")
        self.columnconfigure(0, weight=1)
        self.rowconfigure(0, weight=1)
        self._notice = Notice(self.tree, look)
        self.tree.bind("<<TreeviewSelect>>", lambda _: selected())
        self.tree.bind("<<TraverseIn>>", self._select_first)  # by Tab
        self.tree.bind("<Destroy>", self._destroyed, add=True)
        self.tree.bind("<Configure>", self._share_room, add=True)
        for event in ("<B1-Motion>", "<ButtonRelease-1>"):
            self.tree.bind(event, self._fit_soon, add=True)
        for number in range(len(self._all_columns)):
            self.tree.bind(f"<{look.modifier}-Key-{number + 1}>", self._sort_by_place(number))
        for key, step in (("<Left>", -1), ("<Right>", 1)):
            self.tree.bind(key, self._scroll_by(step))
        Tooltip(self.tree, look, self._tip_at)
        look.when_changed(self._dress)

    # What the window asks

    @property
    def selection(self) -> BackupInfo | None:
        """The backup that is selected."""
        rows = self.tree.selection()
        return self._backups.get(rows[0]) if rows else None

    @property
    def backups(self) -> Collection[BackupInfo]:
        """All that there are, shown or not; also those that are only at a mirror."""
        return self._backups.values()

    @property
    def here(self) -> Collection[BackupInfo]:
        """Those in the backup directory."""
        return [info for info in self.backups if not self.elsewhere.has_only(info)]

    def select(self, path: str) -> None:
        """Select the backup at ``path``, now or as soon as it is in the list."""
        self._wanted = path
        if path in self._rows:
            self._select_wanted()

    def show(self, here: Sequence[BackupInfo], elsewhere: Elsewhere, *, problem: str = "") -> None:
        """Show those that are ``here``, and those only elsewhere; ``problem``: why there are none.

        Rows that stay keep their selection. Where the selected one is gone, nothing is selected:
        nobody may take another one for it. Only after :meth:`leave` it is the next one.
        """
        self._problem = problem
        backups = (*here, *elsewhere.only_there)
        known_places, self.elsewhere = self.elsewhere, elsewhere
        self._all_columns = columns_with_place(elsewhere)
        before, self._today = self._today, date.today()
        known = {info.path: info for info in self._backups.values()}
        paths = {info.path for info in backups}
        gone = [row for row, info in self._backups.items() if info.path not in paths]
        after = self._row_after(gone) if self._left else None
        if gone:
            self.tree.delete(*gone)
        for row in gone:
            path = self._backups.pop(row).path
            del self._rows[path], self._found_by[path]
            self._fitted.pop(row, None)
            self._tags.pop(row, None)
        changed = [
            info
            for info in backups
            if before != self._today
            or known.get(info.path) != info
            or known_places.place(info) != elsewhere.place(info)
        ]
        self._waiting = self._order.sort(changed, self._all_columns)
        if after is not None and self._left not in paths:
            self._left = ""
            self._go_to(after)
        if self._filling is not None:
            self.after_cancel(self._filling)
        self._fill()

    def leave(self, path: str) -> None:
        """Select the one after that at ``path`` when it goes: the user has deleted it."""
        self._left = path

    def search(self, text: str) -> None:
        """Show only the backups in which each word of ``text`` is found."""
        self._search = text
        self._arrange()

    def say(self, text: str) -> None:
        """Show ``text`` where there are no rows."""
        self._notice.say(text)

    # Filling

    def _fill(self) -> None:
        """Make rows for a moment, then let the window breathe."""
        self._filling = None
        deadline = time.monotonic() + _SLICE_SECONDS
        while self._waiting and time.monotonic() < deadline:
            for info in self._waiting[:_ROWS_AT_ONCE]:
                self._put(info)
            del self._waiting[:_ROWS_AT_ONCE]
        if self._waiting:
            self._filling = self.after(1, self._fill)
            return
        self._choose_columns()
        self._arrange()
        self._select_wanted()

    def _choose_columns(self) -> None:
        """Show the columns that have something to tell."""
        before = [column.name for column in self._columns]
        self._columns = columns_for(self._backups.values(), self._all_columns)
        names = [column.name for column in self._columns]
        if names == before:
            return
        self.tree.configure(displaycolumns=names)
        if self._order.column not in names:
            self._order = Order()
        self._dress_columns()
        self._dress_headings()

    def _put(self, info: BackupInfo) -> None:
        cells = [column.cell(info, self._today) for column in self._all_columns]
        row = self._rows.get(info.path)
        if row is None:
            self._made += 1
            row = f"backup{self._made}"
            self._rows[info.path] = row
            self.tree.insert("", "end", iid=row, values=cells)
        else:
            self.tree.item(row, values=cells)
        bad = info.meta_problem or doubts_about(info) or formatting.drill_failed(info)
        tag = "problem" if bad else ""
        tag = tag or ("absent" if self.elsewhere.has_only(info) else "")
        if tag != self._tags.get(row, ""):
            self.tree.item(row, tags=tag)
            self._tags[row] = tag
        self._fitted[row] = tuple(cells)
        self._backups[row] = info
        self._found_by[info.path] = formatting.search_text(info, cells)

    def _arrange(self) -> None:
        """Put the rows in order, and leave out those that do not fit the search."""
        if self._waiting:  # at the end of the filling
            return
        words = formatting.folded(self._search).split()
        found = (
            info
            for info in self._backups.values()
            if all(word in self._found_by[info.path] for word in words)
        )
        self.shown = shown = self._order.sort(found, self._all_columns)
        self.tree.set_children("", *(self._rows[info.path] for info in shown))
        self._fit_soon()
        chosen = self.selection
        if chosen is not None and chosen not in shown:
            self.tree.selection_set()
        if not self._backups:
            self.say(self._problem or _(texts.NO_BACKUPS))
        else:
            self.say("" if shown else _(texts.NO_MATCH))
        self._arranged()

    def _select_wanted(self) -> None:
        row = self._rows.get(self._wanted or "")
        if row is None:
            return
        self._wanted = None
        if row in self.tree.get_children():
            self._go_to(row)

    def _go_to(self, row: str) -> None:
        self.tree.selection_set(row)
        self.tree.focus(row)
        self.tree.see(row)

    def _row_after(self, gone: Sequence[str]) -> str | None:
        """Return the row that is selected when the selected one goes: the next, else the last.

        None that has to be chosen by a person.
        """
        selected = self.tree.selection()
        if not selected or selected[0] not in gone:
            return None
        rows = list(self.tree.get_children())
        if selected[0] not in rows:
            return None
        place = rows.index(selected[0])
        staying = (row for row in rows[place:] + rows[:place][::-1] if row not in gone)
        return next((row for row in staying if not doubts_about(self._backups[row])), None)

    # Looking and sorting

    def _fit_soon(self, _event: object = None) -> None:
        if self._fitting is None:
            self._fitting = self.after_idle(self._fit)

    def _fit(self) -> None:
        """Cut the cells that can be seen to the width of their columns."""
        self._fitting = None
        first, last = (share * len(self.shown) for share in self.tree.yview())
        rooms = {column.name: self._room(column.name) for column in self._columns}
        for info in self.shown[int(first) : ceil(last) + 1]:
            row = self._rows[info.path]
            cells = []
            for column in self._all_columns:
                text = column.cell(info, self._today)
                room = rooms.get(column.name)
                cells.append(
                    text if room is None else self._look.fitted(text, room, self._look.row_font)
                )
            if (fitted := tuple(cells)) != self._fitted[row]:
                self._fitted[row] = fitted
                self.tree.item(row, values=fitted)
        self._dress_headings()

    def _room(self, column: str) -> int:
        """Return the width that a text in ``column`` can have."""
        return int(self.tree.column(column, "width")) - 2 * (self._look.pad + CELL_INSET)

    def _scroll_by(self, step: int) -> Callable[[object], str]:
        def scroll(_event: object) -> str:
            self.tree.xview_scroll(step * self._look.em * 2, "units")
            return "break"

        return scroll

    def _sort_by_place(self, number: int) -> Callable[[object], None]:
        def sort(_event: object) -> None:
            if number < len(self._columns):
                self._sort_by(self._columns[number].name)()

        return sort

    def _sort_by(self, column: str) -> Callable[..., None]:
        def sort(_event: object = None) -> None:
            self._order = self._order.by(column)
            self._dress_headings()
            self._arrange()
            if rows := self.tree.selection():
                self.tree.see(rows[0])

        return sort

    def _dress(self) -> None:
        look = self._look
        measures = look.characters(1), look.pad
        if measures != self._measures:  # else Tk would make them wider than there is room
            self._measures = measures
            self._dress_columns()
        self._dress_headings()
        self.tree.tag_configure("problem", foreground=look.bad)
        self.tree.tag_configure("absent", foreground=look.note)

    def _dress_columns(self) -> None:
        look = self._look
        for column in self._all_columns:
            needed = max(look.width(text, look.row_font) for text in column.widest())
            heading = look.width(f"{_(column.heading)} {look.arrow(down=True)}", look.bold)
            width = max(needed, heading) + 2 * (look.pad + CELL_INSET)
            self.tree.column(
                column.name,
                width=width,
                minwidth=look.characters(5),
                anchor="e" if column.right else "w",
                stretch=column.stretches,
            )
            if column.stretches:
                self._least = width
        self._share_room()

    def _share_room(self, _event: object = None) -> None:
        """Give the description the room that is left by the columns that can be seen whole."""
        left = self.tree.winfo_width() - 2 * CELL_INSET  # its border; Tk fills what that leaves
        if left < 0:  # it has no place yet
            return
        widths = [int(self.tree.column(column.name, "width")) for column in self._columns]
        place = [column.stretches for column in self._columns].index(True)
        left -= sum(widths[:place])
        least = self._least // 2  # for the size, which is next; for what follows it gives up less
        for width in widths[place + 1 :]:
            if left - width < least:
                break
            left -= width
            least = self._least
        width = max(self._least // 2, left)
        # Tk would make it less wide, down to this, until all columns can be seen.
        self.tree.column(self._columns[place].name, width=width, minwidth=width)
        self._fit_soon()

    def _dress_headings(self) -> None:
        for column in self._columns:
            text = _(column.heading)
            if column.name == self._order.column:
                text = f"{text} {self._look.arrow(down=self._order.descending)}"
            self.tree.heading(
                column.name,
                text=self._look.fitted(text, self._room(column.name), self._look.bold),
                anchor="e" if column.right else "w",
                command=self._sort_by(column.name),
            )

    def _select_first(self, _event: object) -> None:
        """Give the keys a row to begin with: one that nothing speaks against, or none."""
        if self.tree.selection():
            return
        first = next((info for info in self.shown if not doubts_about(info)), None)
        if first is not None:
            self._go_to(self._rows[first.path])

    def _tip_at(self, x: int, y: int) -> str:
        info = self._backups.get(self.tree.identify_row(y))
        if info is None or self.tree.identify_region(x, y) != "cell":
            return ""
        column = self._columns[int(self.tree.identify_column(x).removeprefix("#")) - 1]
        if tip := formatting.tip(column, info):
            return tip
        text = column.cell(info, self._today)  # in full where it is cut
        return text if self._look.width(text, self._look.row_font) > self._room(column.name) else ""

    def _destroyed(self, _event: object) -> None:
        for timer in (self._filling, self._fitting):
            if timer is not None:
                self.after_cancel(timer)
        self._filling = self._fitting = None
