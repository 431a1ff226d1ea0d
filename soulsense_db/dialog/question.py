"""Windows that ask or tell something: modal, with the harmless answer first under Enter."""

from __future__ import annotations

import tkinter as tk
import traceback
from collections.abc import Callable
from tkinter import ttk

from soulsense_db.backup_info import BackupInfo
from soulsense_db.dialog import formatting, texts
from soulsense_db.dialog.theme import BAD_STYLE, NOTE_STYLE, TITLE_STYLE, AutoScrollbar, Look
from soulsense_db.dialog.translation import _
from soulsense_db.errors import BackupError, without_passwords
from soulsense_db.notices import ignoring

# The second click of a double click must not be taken for the answer.
_ANSWER_AFTER_MS = 400
_WIDTH_CHARACTERS = 64


class Question(tk.Toplevel):
    """A window over ``parent`` until it is answered.

    ``title``: the first line. ``yes``: of the button that does it, None for a window that only
    tells; ``no``: of the one that does not. ``answered``: called once, with the answer, after the
    window has gone; closing it and Escape are a no.
    """

    def __init__(
        self,
        parent: tk.Toplevel,
        *,
        title: str,
        yes: str | None,
        no: str,
        answered: Callable[[bool], object] = lambda _: None,
    ) -> None:
        super().__init__(parent)
        self.withdraw()  # until all is in it, and it has its place
        self.title(title)
        self.look = Look(self)
        self.look.when_changed(self._dress)
        self._parent = parent
        self._answered: Callable[[bool], object] | None = answered
        self._grab: str | None = None
        self._timer: str | None = None
        self._ready = True
        self._late = False
        pad = self.look.pad
        outer = ttk.Frame(self, padding=pad * 2)
        outer.grid(sticky="nsew")
        self.columnconfigure(0, weight=1)
        self.rowconfigure(0, weight=1)
        self.body = ttk.Frame(outer)
        self.body.grid(row=0, column=0, sticky="nsew")
        self.body.columnconfigure(0, weight=1)
        outer.columnconfigure(0, weight=1)
        outer.rowconfigure(0, weight=1)
        self.buttons = ttk.Frame(outer)
        self.buttons.grid(row=1, column=0, sticky="ew", pady=(pad * 2, 0))
        self.buttons.columnconfigure(0, weight=1)
        self.no = ttk.Button(self.buttons, text=no, command=lambda: self.answer(yes=False))
        self.no.grid(row=0, column=2, padx=(pad, 0))
        self.yes: ttk.Button | None = None
        if yes is not None:
            self.yes = ttk.Button(self.buttons, text=yes, command=lambda: self.answer(yes=True))
            self.yes.grid(row=0, column=1)
            self.yes.state(["disabled"])
        self.protocol("WM_DELETE_WINDOW", lambda: self.answer(yes=False))
        on_key(self, "<Escape>", lambda: self.answer(yes=False))
        self.bind("<Destroy>", self._gone, add=True)
        bind_return(self)

    def _dress(self) -> None:
        line = self.look.line
        self.configure(highlightthickness=1, highlightbackground=line, highlightcolor=line)

    def say(
        self,
        text: str,
        *,
        style: str = "TLabel",
        gap: bool = True,
        place: ttk.Frame | None = None,
    ) -> ttk.Label:
        """Add a paragraph; ``place``: a part of the body, with a grid."""
        label = ttk.Label(
            place or self.body,
            text=text,
            style=style,
            justify="left",
            wraplength=self.look.characters(_WIDTH_CHARACTERS),
        )
        label.grid(sticky="w", pady=(self.look.pad if gap else 0, 0))
        return label

    def headline(self, text: str) -> None:
        """Add the line that is read first."""
        self.say(text, style=TITLE_STYLE, gap=False)

    def describe(self, info: BackupInfo) -> None:
        """Say which backup it is about."""
        about = (
            formatting.full_date(info.timestamp),
            info.size_display,
            formatting.kind(info),
            formatting.form(info),
        )
        if info.description:
            self.say(f"“{formatting.shortened(formatting.description(info))}”")
        self.say(" · ".join(filter(None, about)), style=NOTE_STYLE, gap=not info.description)
        self.say(formatting.plain(info.filename), style=NOTE_STYLE, gap=False)

    def open(self) -> None:
        """Show the window over its parent, with the harmless button under Enter."""
        self.fit()
        if self._parent.winfo_viewable():
            self.transient(self._parent)
        self._grab = take_grab(self)
        self.deiconify()
        self.no.focus_set()
        self._timer = self.after(_ANSWER_AFTER_MS, self._allow_answer)

    def fit(self) -> None:
        """Be as large as what is in it, in the middle again."""
        self.geometry("")
        self.update_idletasks()
        place_over(self, self._parent)

    def set_ready(self, *, ready: bool) -> None:
        """Allow a yes, or not yet."""
        self._ready = ready
        self._show_ready()

    def answer(self, *, yes: bool) -> None:
        """Close the window and tell the answer."""
        answered, self._answered = self._answered, None
        if answered is None:
            return
        self.destroy()
        answered(yes)

    def _gone(self, event: tk.Event[tk.Misc]) -> None:
        if event.widget is not self:
            return
        if self._timer is not None:
            self.after_cancel(self._timer)
            self._timer = None
        give_grab_back(self._parent, self._grab)

    def _allow_answer(self) -> None:
        self._timer = None
        self._late = True
        self._show_ready()

    def _show_ready(self) -> None:
        if self.yes is not None:
            self.yes.state(["!disabled" if self._ready and self._late else "disabled"])


class ErrorWindow(Question):
    """An error of the tree, or any other: what happened, what it means, what to do, details."""

    def __init__(self, parent: tk.Toplevel, error: BaseException) -> None:
        super().__init__(parent, title=_(texts.ERROR), yes=None, no=_(texts.OK))
        explanation = formatting.explain(error)
        self.headline(_(texts.ERROR))
        self.say(formatting.shortened(explanation.happened), style=BAD_STYLE)
        if explanation.meaning:
            self.say(formatting.shortened(explanation.meaning))
        if explanation.hint:
            self.say(f"{_(texts.WHAT_TO_DO)}:")
            self.say(explanation.hint, gap=False)
        self._details = self._make_details(details_of(error))
        self._more = ttk.Button(self.buttons, command=self._turn)
        self._name_more(shown=False)
        self._more.grid(row=0, column=0, sticky="w")

    def _make_details(self, text: str) -> ttk.Frame:
        """Return a text with a scroll bar, in letters of one width: a traceback points at them."""
        frame = ttk.Frame(self.body)
        frame.columnconfigure(0, weight=1)
        shown = tk.Text(frame, height=12, width=_WIDTH_CHARACTERS)
        shown.insert("end", text)
        shown.configure(state="disabled")
        shown.grid(row=0, column=0, sticky="nsew")
        AutoScrollbar(frame, shown).grid(row=0, column=1, sticky="ns")

        def dress() -> None:
            self.look.dress_text(shown)
            field, text = self.look.field, self.look.field_foreground
            shown.configure(background=field, foreground=text, font="TkFixedFont")
            shown.configure(highlightbackground=self.look.line)

        self.look.when_changed(dress)
        return frame

    def _name_more(self, *, shown: bool) -> None:
        arrow = self.look.sign(*(("▾", "-") if shown else ("▸", "+")))
        self._more.configure(text=f"{_(texts.SHOW_DETAILS)} {arrow}")

    def _turn(self) -> None:
        """Show the details, or hide them again."""
        shown = bool(self._details.winfo_manager())
        self._name_more(shown=not shown)
        if shown:
            self._details.grid_forget()
        else:
            self._details.grid(sticky="nsew", pady=(self.look.pad, 0))
        self.fit()


def details_of(error: BaseException) -> str:
    """Return what somebody who mends the program wants to know, without passwords."""
    code = f" (exit code {error.exit_code})" if isinstance(error, BackupError) else ""
    lines = traceback.format_exception(error)
    return without_passwords(f"{type(error).__name__}{code}\n\n{''.join(lines)}".strip())


# What every window of ours does


def place_over(
    window: tk.Toplevel, parent: tk.Misc, *, size: tuple[int, int] | None = None
) -> None:
    """Put ``window`` over the middle of ``parent``, and on the screen; ``size`` in pixels."""
    width, height = size or (window.winfo_reqwidth(), window.winfo_reqheight())
    screen_width, screen_height = window.winfo_screenwidth(), window.winfo_screenheight()
    if parent.winfo_viewable():
        left = parent.winfo_rootx() + (parent.winfo_width() - width) // 2
        top = parent.winfo_rooty() + (parent.winfo_height() - height) // 3
    else:
        left, top = (screen_width - width) // 2, (screen_height - height) // 3
    left = max(0, min(left, screen_width - width))
    top = max(0, min(top, screen_height - height))
    window.geometry(f"{f'{width}x{height}' if size else ''}+{left}+{top}")


def take_grab(window: tk.Toplevel) -> str | None:
    """Keep events from other windows of the application, once ``window`` is to be seen.

    Returns who did so before, for :func:`give_grab_back`.
    """
    before = str(window.tk.call("grab", "current", window) or "") or None

    def grab(event: tk.Event[tk.Misc]) -> None:
        # Once: what is opened over it has the grab when it is shown again after a while.
        if event.widget is window and not done:
            done.append(True)
            window.grab_set()

    done: list[bool] = []
    window.bind("<Map>", grab, add=True)
    return before


def give_grab_back(parent: tk.Misc, before: str | None) -> None:
    """Let ``before`` have the events again."""
    call = parent.tk.call
    with ignoring(tk.TclError, what="The window is going as well"):
        if before and int(call("winfo", "exists", before)):
            call("grab", "set", before)
            call("focus", call("focus", "-lastfor", before))


def on_key(widget: tk.Misc, key: str, command: Callable[[], object]) -> None:
    """Have ``key`` do ``command`` in ``widget``, and nothing that the application does with it."""

    def pressed(_event: object) -> str:
        command()
        return "break"

    widget.bind(key, pressed)


def bind_return(window: tk.Toplevel) -> None:
    """Have Enter press the button that has the focus, as Space does."""

    def press() -> None:
        focused = window.focus_get()
        if isinstance(focused, ttk.Button):
            focused.invoke()

    for key in ("<Return>", "<KP_Enter>"):
        on_key(window, key, press)
