"""The lines of the window: a backup is begun, work is told of, and the buttons."""

from __future__ import annotations

import tkinter as tk
import unicodedata
from collections.abc import Callable
from tkinter import ttk

from soulsense_db.backup_info import display_size
from soulsense_db.dialog import texts
from soulsense_db.dialog.theme import NOTE_STYLE, Look, bind_select_all
from soulsense_db.dialog.translation import _
from soulsense_db.directory import NAME_CHARACTERS


class CreateBar(ttk.Frame):
    """Description, counter and button; ``create``: called with the description."""

    def __init__(self, parent: tk.Misc, look: Look, *, create: Callable[[str], object]) -> None:
        super().__init__(parent)
        self._create = create
        self.label = ttk.Label(self, text=_(texts.DESCRIPTION))
        self.entry = ttk.Entry(self)
        self.counter = ttk.Label(self, style=NOTE_STYLE)
        self.button = ttk.Button(self, text=_(texts.CREATE), command=self._press)
        self.label.grid(row=0, column=0, sticky="w")
        self.entry.grid(row=0, column=1, sticky="ew", padx=look.pad)
        self.button.grid(row=0, column=2)
        self.counter.grid(row=1, column=1, sticky="w", padx=look.pad, pady=(look.pad // 3, 0))
        self.columnconfigure(1, weight=1)
        self.entry.configure(validate="key", validatecommand=(self.register(self._typed), "%P"))
        bind_select_all(self.entry)
        self.entry.bind("<Return>", lambda _: self._press())
        self.entry.bind("<KP_Enter>", lambda _: self._press())
        self._typed("")

    def clear(self, description: str) -> None:
        """Empty the description that was used; another one was typed meanwhile."""
        if self.entry.get() == description:
            self.entry.delete(0, "end")

    def allow(self, *, allowed: bool) -> None:
        """Let a backup be begun, or not."""
        self.button.state(["!disabled" if allowed else "disabled"])

    def _press(self) -> None:
        if self.button.instate(["!disabled"]):
            self._create(self.entry.get())

    def _typed(self, text: str) -> bool:
        """Count as the file name does; anything may be typed."""
        count = len(unicodedata.normalize("NFC", text))
        shown = texts.COUNTER if count <= NAME_CHARACTERS else texts.COUNTER_OVER
        self.counter.configure(text=_(shown).format(count=count, limit=NAME_CHARACTERS))
        return True


class StatusBar(ttk.Frame):
    """What is being done, with a bar and a way to cancel; else what came of it, else ``resting``.

    It is always as high as its button: what is above it stays where it is.
    """

    def __init__(self, parent: tk.Misc, look: Look, *, resting: str) -> None:
        super().__init__(parent)
        self._look = look
        self._resting = resting
        self.label = ttk.Label(self, anchor="w", justify="left")
        self.bar = ttk.Progressbar(self, length=look.characters(24))
        self.button = ttk.Button(self)
        self.label.grid(row=0, column=0, sticky="ew")
        self.columnconfigure(0, weight=1)
        look.when_changed(lambda: self.rowconfigure(0, minsize=self.button.winfo_reqheight()))
        self.tell("")
        # A long sentence is folded where the window ends.
        self.bind("<Configure>", self._fold)

    def work(self, label: str, *, cancel: Callable[[], object] | None) -> None:
        """Show that ``label`` is under way, for an unknown time; ``cancel``: what a button does."""
        self._pulse(label)
        self.bar.grid(row=0, column=1, padx=self._look.pad)
        self._offer(_(texts.CANCEL) if cancel else "", cancel)

    def advance(self, label: str, done: int, total: int) -> None:
        """Show how many of the bytes are done."""
        self.bar.stop()
        self.bar.configure(mode="determinate", maximum=max(1, total), value=done)
        amount = {"done": display_size(done), "total": display_size(total)}
        self._say(_(texts.AMOUNT).format(label=label, **amount))

    def wait(self, label: str) -> None:
        """Show that what is under way goes on for an unknown time."""
        if self.label.cget("text") != label:
            self._pulse(label)

    def stop(self) -> None:
        """Show that the work was asked to stop."""
        self._pulse(_(texts.STOPPING))
        self.button.state(["disabled"])

    def tell(
        self, text: str, *, offer: str = "", command: Callable[[], object] | None = None
    ) -> None:
        """Show what came of the work; ``offer``: a button that calls ``command``."""
        self.bar.stop()
        self.bar.grid_forget()
        self._say(text or self._resting, style="TLabel" if text else NOTE_STYLE)
        self._offer(offer, command)

    def _pulse(self, label: str) -> None:
        self._say(label)
        self.bar.configure(mode="indeterminate", maximum=100, value=0)
        self.bar.start()

    def _say(self, text: str, *, style: str = "TLabel") -> None:
        self.label.configure(text=text, style=style)
        self._fold()

    def _offer(self, text: str, command: Callable[[], object] | None) -> None:
        if not text or command is None:
            self.button.grid_forget()
            return
        self.button.configure(text=text, command=command)
        self.button.state(["!disabled"])
        self.button.grid(row=0, column=2)

    def _fold(self, _event: object = None) -> None:
        beside = sum(
            child.winfo_reqwidth() + 2 * self._look.pad
            for child in (self.bar, self.button)
            if child.winfo_manager()
        )
        self.label.configure(wraplength=max(self._look.em * 8, self.winfo_width() - beside))


class ButtonBar(ttk.Frame):
    """Two groups of buttons and one at the end, in two lines where there is no room for one."""

    def __init__(self, parent: tk.Misc, look: Look) -> None:
        super().__init__(parent)
        self._look = look
        self._first, self._second, self._end = (ttk.Frame(self) for _ in range(3))
        self._between = ttk.Separator(self, orient="vertical")
        self.columnconfigure(2, weight=1)
        self._arrange(two_lines=False)
        self.bind("<Configure>", self._fit)
        look.when_changed(self._fit)

    def add(self, text: str, command: Callable[[], object], *, group: int) -> ttk.Button:
        """Add a button to the first group (0), to the second one (1), or at the end (2)."""
        place = (self._first, self._second, self._end)[group]
        button = ttk.Button(place, text=_(text), command=command)
        button.pack(side="left", padx=(self._look.pad if place.winfo_children()[:-1] else 0, 0))
        return button

    def _fit(self, _event: object = None) -> None:
        if not self.winfo_ismapped():
            return
        groups = self._first, self._second, self._end
        needed = sum(group.winfo_reqwidth() for group in groups) + self._look.pad * 4
        self._arrange(two_lines=needed > self.winfo_width())

    def _arrange(self, *, two_lines: bool) -> None:
        pad = self._look.pad
        self._first.grid(row=0, column=0, columnspan=3 if two_lines else 1, sticky="w")
        if two_lines:
            self._between.grid_forget()
            self._second.grid(row=1, column=0, columnspan=3, sticky="w", pady=(pad, 0))
        else:
            self._between.grid(row=0, column=1, sticky="ns", padx=pad * 3 // 2)
            self._second.grid(row=0, column=2, columnspan=1, sticky="w", pady=0)
        self._end.grid(row=1 if two_lines else 0, column=3, pady=(pad, 0) if two_lines else 0)
