"""The window in which rows of a backup are ticked that are to come back."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from dataclasses import dataclass
from tkinter import ttk

from soulsense_db.backup_info import BackupInfo
from soulsense_db.dialog import formatting, texts
from soulsense_db.dialog.jobs import Job, Workers
from soulsense_db.dialog.question import ErrorWindow, Question, on_key, place_over
from soulsense_db.dialog.row_question import RowChoice, RowQuestion
from soulsense_db.dialog.row_table import RowTable, Ticks
from soulsense_db.dialog.theme import (
    BAD_STYLE,
    CELL_INSET,
    NOTE_STYLE,
    ROW_STYLE,
    AutoScrollbar,
    CheckBox,
    Tooltip,
    bind_select_all,
)
from soulsense_db.dialog.translation import _, plural
from soulsense_db.drivers import DiffReport, FoundRows, TableChange
from soulsense_db.manager import BackupManager

_MOST_ROWS = 300
_SEARCH_AFTER_MS = 250
_CHARACTERS_WIDE, _LINES_HIGH = 120, 34
_LEAST_WIDE, _LEAST_HIGH = 70, 22
_NAME_CHARACTERS = 18


@dataclass(frozen=True, slots=True)
class _Listed:
    """A table that rows may be missing from; ``different``: None where nobody counted them."""

    name: str
    missing: int
    different: int | None


class RowChooser(Question):
    """Lets rows of ``info`` be ticked.

    ``agreed`` is called with what is to come back, after a question; ``failed`` with what keeps
    the backup from being compared with the database.
    """

    def __init__(
        self,
        parent: tk.Toplevel,
        manager: BackupManager,
        info: BackupInfo,
        *,
        agreed: Callable[[RowChoice], object],
        failed: Callable[[BaseException], object],
    ) -> None:
        headline = _(texts.ROWS_QUESTION)
        super().__init__(
            parent, title=headline, yes=_(texts.ROWS_YES), no=_(texts.CANCEL), answered=self._end
        )
        self._manager, self._info = manager, info
        self._agreed, self._failed = agreed, failed
        self._choice: RowChoice | None = None
        self._workers = Workers(self)
        self._search_timer: str | None = None
        self._job: Job[FoundRows] | None = None
        self._all_tables: list[_Listed] = []
        self._tables: dict[str, _Listed] = {}  # by row of the list
        self._ticks: dict[str, Ticks] = {}  # by table
        self._found: FoundRows | None = None
        self.headline(headline)
        self.describe(info)
        self.say(_(texts.ROWS_MEANING)).configure(wraplength=0)
        if info.of_unknown_origin:
            self.say(_(texts.ROWS_UNKNOWN_ORIGIN), style=BAD_STYLE).configure(wraplength=0)
        self._build()
        assert self.yes is not None
        self.yes.configure(command=self._ask)
        self.no.lift()  # the order of the Tab key: as they stand
        self._show_ticks()

    @property
    def _table(self) -> str:
        """The table that is selected, or nothing."""
        rows = self.tables.selection()
        return self._tables[rows[0]].name if rows else ""

    # Parts

    def _build(self) -> None:
        pad = self.look.pad
        panes = ttk.Frame(self.body)
        panes.grid(sticky="nsew", pady=(pad, 0))
        self.body.rowconfigure(panes.grid_info()["row"], weight=1)
        panes.columnconfigure(1, weight=1)
        panes.rowconfigure(1, weight=1)
        left = ttk.Frame(panes)
        left.grid(row=0, column=0, rowspan=3, sticky="ns", padx=(0, pad * 2))
        left.rowconfigure(0, weight=1)
        self._build_tables(left)
        above = ttk.Frame(panes)
        above.grid(row=0, column=1, sticky="ew")
        above.columnconfigure(1, weight=1)
        ttk.Label(above, text=_(texts.SEARCH)).grid(row=0, column=0)
        self.search = ttk.Entry(above, validate="key")
        self.search.configure(validatecommand=(self.register(self._searched), "%P"))
        self.search.grid(row=0, column=1, sticky="ew", padx=(pad, 0))
        self.search.bind("<Escape>", self._leave_search)
        bind_select_all(self.search)
        self.rows = RowTable(panes, self.look, ticked=self._show_ticks)
        self.rows.grid(row=1, column=1, sticky="nsew", pady=(pad, 0))
        below = ttk.Frame(panes)
        below.grid(row=2, column=1, sticky="ew", pady=(pad, 0))
        below.columnconfigure(1, weight=1)
        self._different = CheckBox(below, text=_(texts.ROWS_DIFFERING), command=self._turn)
        self._different.grid(row=0, column=0, sticky="w")
        self._all = ttk.Button(below, text=_(texts.ROWS_TICK_ALL), command=self.rows.tick_all)
        self._all.grid(row=0, column=2, sticky="e")
        self._shown = ttk.Label(below, style=NOTE_STYLE)
        self._shown.grid(row=1, column=0, columnspan=3, sticky="w", pady=(pad // 2, 0))
        self._count = ttk.Label(self.buttons)
        self._bar = ttk.Progressbar(self.buttons, length=self.look.characters(24))
        self._bar.grid(row=0, column=0, sticky="w")
        for letter in "aA":  # with Caps Lock, too
            key = f"<{self.look.modifier}-{letter}>"
            on_key(self.rows.tree, key, self.rows.tick_all)
        for letter in "fF":
            on_key(self, f"<{self.look.modifier}-{letter}>", self.search.focus_set)

    def _build_tables(self, left: ttk.Frame) -> None:
        look = self.look
        headings = texts.TABLE, texts.ROWS_MISSING, texts.ROWS_DIFFERENT
        self.tables = tree = ttk.Treeview(
            left,
            columns=headings,
            displaycolumns=headings[:2],
            show="headings",
            selectmode="browse",
            style=ROW_STYLE,
            height=8,
        )
        tree.grid(row=0, column=0, sticky="ns")
        AutoScrollbar(left, tree).grid(row=0, column=1, sticky="ns")

        def dress() -> None:
            beside = 2 * (look.pad + CELL_INSET)
            for heading in headings:
                is_name = heading == texts.TABLE
                least = look.characters(_NAME_CHARACTERS if is_name else 0)
                width = max(least, look.width(_(heading), look.bold)) + beside
                tree.heading(heading, text=_(heading), anchor="w" if is_name else "e")
                tree.column(heading, width=width, minwidth=width, anchor="w" if is_name else "e")

        look.when_changed(dress)
        tree.bind("<<TreeviewSelect>>", lambda _: self._selected())
        Tooltip(tree, look, self._name_at)

    def _name_at(self, _x: int, y: int) -> str:
        row = self.tables.identify_row(y)
        name = formatting.plain(self._tables[row].name) if row else ""
        return name if row and self.tables.set(row, texts.TABLE) != name else ""

    def fit(self) -> None:
        """Be as large as rows want it, as far as the screen is, in the middle."""
        look = self.look
        self.update_idletasks()
        room = self.winfo_screenwidth() - look.em, self.winfo_screenheight() - 3 * look.em
        wished = look.characters(_CHARACTERS_WIDE), look.em * _LINES_HIGH
        width, height = (min(w, r) for w, r in zip(wished, room, strict=True))
        self.minsize(min(width, look.characters(_LEAST_WIDE)), min(height, look.em * _LEAST_HIGH))
        place_over(self, self._parent, size=(width, height))

    # Which tables

    def open(self) -> None:
        """Show the window, and have a thread find out what is missing."""
        super().open()
        self.rows.say(_(texts.ROWS_COMPARING))
        self._bar.configure(mode="indeterminate")
        self._bar.start()
        self._workers.start(
            lambda job: self._manager.diff(self._info, progress=job.progress),
            ended=self._compared,
            reached=self._advance,
            may_be_left=True,
        )

    def _advance(self, job: Job[DiffReport]) -> None:
        if job.reached is not None and job.reached[1]:
            done, total = job.reached
            self._bar.stop()
            self._bar.configure(mode="determinate", maximum=total, value=done)

    def _compared(self, job: Job[DiffReport]) -> None:
        self._bar.stop()
        self._bar.grid_forget()
        self._count.grid(row=0, column=0, sticky="w")
        if job.error is not None:
            self.answer(yes=False)
            self._failed(job.error)
            return
        heads = (*job.result.alembic_heads_before, *job.result.alembic_heads_after)
        tables = formatting.entries(filter(_may_come_back, job.result.tables), heads)
        listed = [_Listed(one.table, one.removed, one.changed) for one in tables]
        self._all_tables = sorted(listed, key=lambda one: (-one.missing, one.name.casefold()))
        if not listed:
            self.rows.say(_(texts.ROWS_NOTHING))
            return
        if not self._all_tables[0].missing:
            self._different.invoke()
        else:
            self._list_tables()
        if self.focus_lastfor() is not self.search:
            self.tables.focus_set()

    def _turn(self) -> None:
        """Show rows that are different now as well, or no more."""
        table = self._table
        self._list_tables()
        if table == self._table:
            self._look()

    def _list_tables(self) -> None:
        """List the tables that have rows to show; select the one that was, or else the first."""
        differing, selected = self._different.is_on, self._table
        shown = self.tables.cget("columns") if differing else (texts.TABLE, texts.ROWS_MISSING)
        self.tables.configure(displaycolumns=shown)
        self.tables.delete(*self.tables.get_children())
        listed = [one for one in self._all_tables if one.missing or differing]
        self._tables = {f"table{number}": one for number, one in enumerate(listed)}
        room = self.look.characters(_NAME_CHARACTERS)
        for row, one in self._tables.items():
            name = self.look.fitted(formatting.plain(one.name), room, self.look.row_font)
            values = name, f"{one.missing:,}", formatting.number(one.different)
            self.tables.insert("", "end", iid=row, values=values)
        if not listed:
            if self._all_tables:
                self._show(None, _(texts.ROWS_ONLY_DIFFERENT))
            return
        names = [one.name for one in listed]
        row = f"table{names.index(selected) if selected in names else 0}"
        self.tables.selection_set(row)
        self.tables.focus(row)

    # Which rows

    def _selected(self) -> None:
        if self._found is None or self._found.table != self._table:
            self.search.delete(0, "end")
            self._look()

    def _leave_search(self, _event: object) -> str | None:
        if not self.search.get():
            return None  # as everywhere: the window closes
        self.search.delete(0, "end")
        return "break"

    def _searched(self, _text: str) -> bool:
        self._stop_timer()
        self._search_timer = self.after(_SEARCH_AFTER_MS, self._look)
        return True

    def _stop_timer(self) -> None:
        if self._search_timer is not None:
            self.after_cancel(self._search_timer)
            self._search_timer = None

    def _look(self) -> None:
        """Ask the backup for rows of the table."""
        self._stop_timer()
        if self._job is not None:
            self._job.cancel()
        table, text, differing = self._table, self.search.get(), self._different.is_on
        if not table:
            return
        if self._found is None or self._found.table != table:
            self._show(None, _(texts.ROWS_LOOKING))
        self._shown.configure(text=_(texts.ROWS_LOOKING))
        self._job = self._workers.start(
            lambda job: self._manager.find_rows(
                self._info,
                table,
                text,
                differing=differing,
                limit=_MOST_ROWS,
                progress=job.progress,
            ),
            ended=self._looked,
            reached=self._tell_reached,
            may_be_left=True,
        )

    def _tell_reached(self, job: Job[FoundRows]) -> None:
        if job is self._job and job.reached is not None and job.reached[1]:
            done, total = job.reached
            text = _(texts.ROWS_LOOKED).format(percent=f"{100 * done // total}")
            self._shown.configure(text=text)

    def _looked(self, job: Job[FoundRows]) -> None:
        if job is not self._job:
            return
        if job.error is not None:
            shown = formatting.explain(job.error)
            text = _(texts.ROWS_REFUSED).format(happened=shown.happened, hint=shown.hint)
            self._show(None, text)
            return
        none = texts.ROWS_NONE_DIFFER if self._different.is_on else texts.ROWS_NONE_MISSING
        if not job.result.is_complete:
            none = texts.ROWS_TOO_MANY
        elif self.search.get().strip():
            none = texts.ROWS_NO_MATCH
        self._show(job.result, _(none))

    def _show(self, found: FoundRows | None, notice: str) -> None:
        self._found = found
        self.rows.show(found, self._ticks.setdefault(self._table, {}), notice=notice)
        if found is None or not found.rows:
            said = ""
        else:
            text = texts.ROWS_SHOWN if found.is_complete else texts.ROWS_FIRST
            said = plural(text, len(found.rows))
        self._shown.configure(text=said)
        self._show_ticks()

    def _show_ticks(self) -> None:
        ticked = len(self.rows.ticks)
        self._count.configure(text=plural(texts.ROWS_TICKED, ticked) if ticked else "")
        all_ticked = self.rows.all_ticked
        self._all.configure(text=_(texts.ROWS_TICK_NONE if all_ticked else texts.ROWS_TICK_ALL))
        self._all.state(["!disabled" if self.rows.shown else "disabled"])
        self.set_ready(ready=bool(ticked))

    # What becomes of them

    def _ask(self) -> None:
        ticks = dict(self.rows.ticks)
        if not ticks or any(isinstance(child, Question) for child in self.winfo_children()):
            return
        RowQuestion(
            self,
            self._manager,
            self._info,
            RowChoice(self._table, tuple(ticks), replace=any(ticks.values())),
            agreed=self._agree,
            failed=lambda error: ErrorWindow(self, error).open(),
        ).open()

    def _agree(self, choice: RowChoice) -> None:
        self._choice = choice
        self.answer(yes=True)

    def _end(self, yes: bool) -> None:
        if yes and self._choice is not None:
            self._agreed(self._choice)

    def _gone(self, event: tk.Event[tk.Misc]) -> None:
        if event.widget is self:
            self._stop_timer()
        super()._gone(event)


def _may_come_back(table: TableChange) -> bool:
    """Whether rows of a table may be missing, and it is there to bring them back to."""
    if None in (table.rows_before, table.rows_after) or table.part_of is not None:
        return False
    # What a note is about is a table of the database's own, unless its rows were only counted.
    is_own = table.note is not None and table.matched_by != "count"
    return not is_own and (table.removed > 0 or table.changed != 0)
