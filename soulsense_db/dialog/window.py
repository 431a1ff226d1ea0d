"""The window: its parts, what it shows, and the one piece of work at a time that it does."""

from __future__ import annotations

import tkinter as tk
from tkinter import ttk
from typing import TypeVar

from soulsense_db.dialog import formatting, texts
from soulsense_db.dialog.actions import Actions
from soulsense_db.dialog.bars import ButtonBar, CreateBar, StatusBar
from soulsense_db.dialog.base_window import BaseWindow
from soulsense_db.dialog.details import Details
from soulsense_db.dialog.question import (
    Question,
    bind_return,
    give_grab_back,
    on_key,
    place_over,
    take_grab,
)
from soulsense_db.dialog.restoring import AfterRestore, BeforeRestore
from soulsense_db.dialog.table import BackupTable
from soulsense_db.dialog.theme import (
    NOTE_STYLE,
    TITLE_STYLE,
    FittedLabel,
    Tooltip,
    bind_select_all,
)
from soulsense_db.dialog.translation import _
from soulsense_db.dialog.watcher import Seen, Watcher
from soulsense_db.manager import BackupManager

T = TypeVar("T")

_LINES_HIGH = 40
_CHARACTERS_WIDE = 158


class BackupWindow(BaseWindow):
    """Backups of the database behind ``manager``: see :func:`~soulsense_db.dialog`."""

    def __init__(
        self,
        parent: tk.Misc,
        manager: BackupManager,
        *,
        before_restore: BeforeRestore | None = None,
        after_restore: AfterRestore | None = None,
    ) -> None:
        super().__init__(parent, manager)
        self._closing = False
        self._close_question: Question | None = None
        self._can_undo = False
        self.actions = Actions(self, before_restore=before_restore, after_restore=after_restore)
        self._build()
        self._bind_keys()
        self._watcher = Watcher(self, manager, self.workers, changed=self._listed)
        self._open_over(parent)
        self.table.say(_(texts.READING))
        self.refresh()

    # Parts

    def _build(self) -> None:
        title = _(texts.TITLE).format(database=formatting.plain(self.manager.live.short_name))
        self.title(title)
        pad = self.look.pad
        outer = ttk.Frame(self, padding=pad * 2)
        outer.pack(fill="both", expand=True)
        head = ttk.Frame(outer)
        self._total = ttk.Label(head, style=NOTE_STYLE)
        self._total.pack(side="right")
        FittedLabel(head, self.look, text=title, style=TITLE_STYLE).pack(fill="x")
        self.create_bar = CreateBar(outer, self.look, create=self.actions.create)
        directory = formatting.plain(str(self.manager.directory))
        folder = _(texts.FOLDER).format(directory=directory)
        self.status = StatusBar(outer, self.look, resting=folder)
        foot = self._build_buttons(outer)
        head.pack(fill="x")
        self.create_bar.pack(fill="x", pady=(pad * 2, 0))
        search = self._build_search(outer)
        search.pack(fill="x", pady=(pad * 2, 0))
        # What must be seen also in a small window is given its room first.
        self.status.pack(side="bottom", fill="x", pady=(pad * 2, 0))
        foot.pack(side="bottom", fill="x", pady=(pad * 2, 0))
        panes = ttk.Panedwindow(outer, orient="horizontal")
        panes.pack(fill="both", expand=True, pady=(pad, 0))
        self.table = BackupTable(
            panes, self.look, arranged=self._show_total, selected=self._selected
        )
        self._details = Details(panes, self.look, self.key_ring, self.workers)
        panes.add(self.table, weight=1)
        panes.add(self._details, weight=0)
        for part in (self.create_bar, search, panes, foot, self.status):
            part.lift()  # the order of the Tab key: as they stand

    def _build_search(self, outer: ttk.Frame) -> ttk.Frame:
        row = ttk.Frame(outer)
        ttk.Label(row, text=_(texts.SEARCH)).grid(row=0, column=0, sticky="w")
        self.search = ttk.Entry(row, validate="key")
        self.search.configure(validatecommand=(self.register(self._searched), "%P"))
        self.search.bind("<Escape>", self._leave_search)
        bind_select_all(self.search)
        self.search.grid(row=0, column=1, sticky="ew", padx=(self.look.pad, 0))
        row.columnconfigure(1, weight=1)
        # In one line with the description above.
        above = self.create_bar.label
        self.look.when_changed(lambda: row.columnconfigure(0, minsize=above.winfo_reqwidth()))
        return row

    def _build_buttons(self, outer: ttk.Frame) -> ttk.Frame:
        row = ButtonBar(outer, self.look)
        actions = self.actions
        self._of_selected = [
            row.add(texts.RESTORE, actions.restore, group=0),
            row.add(texts.ROWS, actions.bring_back_rows, group=0),
            row.add(texts.VERIFY, actions.verify, group=0),
            row.add(texts.EXPORT, actions.export, group=0),
            row.add(texts.DELETE, actions.delete, group=0),
        ]
        self._delete = self._of_selected[-1]
        Tooltip(self._delete, self.look, lambda _x, _y: actions.why_not(self.table.selection))
        self._import = row.add(texts.IMPORT, actions.import_file, group=1)
        row.add(texts.OPEN_FOLDER, actions.open_folder, group=1)
        self._undo_button = row.add(texts.UNDO_RESTORE, actions.undo, group=1)
        row.add(texts.CLOSE, self.close, group=2)
        return row

    def _bind_keys(self) -> None:
        tree, look = self.table.tree, self.look
        on_key(self, "<Escape>", self.close)
        on_key(self, "<F5>", self.refresh)
        for n, f in ("nf", "NF"):  # with Caps Lock, too
            on_key(self, f"<{look.modifier}-{n}>", self.create_bar.entry.focus_set)
            on_key(self, f"<{look.modifier}-{f}>", self.search.focus_set)
        for key in ("<Delete>", *look.delete_keys):
            on_key(tree, key, self.actions.delete)
        for key in ("<Return>", "<KP_Enter>"):
            on_key(tree, key, self.actions.restore)
        for b in "bB":  # with Caps Lock, too
            on_key(tree, f"<{look.modifier}-{b}>", self.actions.bring_back_rows)
        tree.bind("<Double-1>", self._double_clicked)
        tree.bind(look.right_button, self._right_clicked)
        for key in ("<Shift-F10>", *look.menu_keys):
            on_key(tree, key, self._open_menu)
        bind_return(self)
        self.protocol("WM_DELETE_WINDOW", self.close)
        self.bind("<Destroy>", self._gone, add=True)

    def _open_over(self, parent: tk.Misc) -> None:
        look = self.look
        self.update_idletasks()
        needed = self.winfo_reqwidth(), self.winfo_reqheight()
        wished = look.characters(_CHARACTERS_WIDE), look.em * _LINES_HIGH
        room = self.winfo_screenwidth() - look.em, self.winfo_screenheight() - 3 * look.em
        width, height = (min(max(n, w), r) for n, w, r in zip(needed, wished, room, strict=True))
        self.minsize(min(width, look.characters(80)), min(height, look.em * 24))
        place_over(self, parent.winfo_toplevel(), size=(width, height))
        if parent.winfo_viewable():
            self.transient(parent.winfo_toplevel())
        self._grab = take_grab(self)
        self.deiconify()
        self.create_bar.entry.focus_set()

    # What it shows

    def refresh(self) -> None:
        """Read the directory anew."""
        self._watcher.read()
        self._details.forget()

    def _listed(self, seen: Seen, error: BaseException | None) -> None:
        self._can_undo = seen.undo is not None
        problem = ""
        if error is not None:
            shown = formatting.explain(error)
            problem = "\n".join(filter(None, (shown.happened, shown.meaning, shown.hint)))
        self.table.show(seen.backups, seen.elsewhere, problem=problem)
        self._selected()

    def _show_total(self) -> None:
        self._total.configure(text=formatting.counted(self.table.shown, len(self.table.backups)))

    def _searched(self, text: str) -> bool:
        self.table.search(text)
        return True

    def clear_search(self) -> None:
        """Show all backups again."""
        self.search.delete(0, "end")

    def _leave_search(self, _event: object) -> str | None:
        if not self.search.get():
            return None  # as everywhere: the window closes
        self.clear_search()
        return "break"

    def _selected(self) -> None:
        self.allow()
        chosen, table = self.table.selection, self.table
        absent = chosen is not None and table.elsewhere.has_only(chosen)
        self._details.show(chosen, table.backups if absent else table.here, table.elsewhere)

    # Work

    def allow(self) -> None:
        """Let be pressed what makes sense now."""
        idle = not self.task.name
        chosen = self.table.selection
        for button in self._of_selected:
            button.state(["!disabled" if idle and chosen else "disabled"])
        if chosen is not None and self.table.elsewhere.has_only(chosen):
            self._delete.state(["disabled"])
        self._import.state(["!disabled" if idle else "disabled"])
        self._undo_button.state(["!disabled" if idle and self._can_undo else "disabled"])
        self.create_bar.allow(allowed=idle)

    def work_ended(self, *, may_close: bool) -> None:
        """Show what has changed; or close, if that was wished and nothing is left to be told."""
        if self.is_gone:
            return
        if self._close_question is not None:
            self._close_question.answer(yes=False)
        if self._closing and may_close:
            self.destroy()
            return
        self._closing = False
        self.allow()
        self.refresh()

    # Closing

    def close(self) -> None:
        """Close; while work is under way, ask first."""
        if not self.is_busy:
            self.destroy()
        elif not self.task.name or self._closing or self._close_question is not None:
            return  # something else is asked or told; or it is closing already
        elif self.task.name in texts.CLOSE_QUESTION:
            self._ask_to_close()
        else:  # it is done in a moment
            self._closing = True

    def _ask_to_close(self) -> None:
        def answered(yes: bool) -> None:
            if yes:
                self._closing = True
                self.task.cancel()

        def gone(_event: object) -> None:
            self._close_question = None

        question = Question(
            self,
            title=self.title(),
            yes=_(texts.CLOSE_YES),
            no=_(texts.CLOSE_NO),
            answered=answered,
        )
        question.headline(_(texts.CLOSE_QUESTION[self.task.name]))
        question.say(_(texts.CLOSE_MEANING))
        question.bind("<Destroy>", gone, add=True)
        self._close_question = question
        question.open()

    def _gone(self, event: tk.Event[tk.Misc]) -> None:
        if event.widget is self:
            self.is_gone = True
            give_grab_back(self.master, self._grab)

    # The pointer

    def _double_clicked(self, event: tk.Event[ttk.Treeview]) -> None:
        if self.table.tree.identify_region(event.x, event.y) == "cell":
            self.actions.restore()

    def _right_clicked(self, event: tk.Event[ttk.Treeview]) -> None:
        if row := self.table.tree.identify_row(event.y):
            self.table.tree.selection_set(row)
            self.actions.menu(event.x_root, event.y_root)

    def _open_menu(self) -> None:
        tree = self.table.tree
        rows = tree.selection()
        box = tree.bbox(rows[0]) if rows else ""
        x, y = (box[0], box[1] + box[3]) if box else (0, 0)
        self.actions.menu(tree.winfo_rootx() + x + self.look.em, tree.winfo_rooty() + y)
