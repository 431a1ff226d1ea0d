"""How the window looks: the host's ttk theme, in sizes that follow its font.

No Tk variable, named font or image is made anywhere in this package: Python may collect them in any
thread, and they call Tk when they go.
"""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from tkinter import ttk
from typing import Final

ROW_STYLE: Final = "SoulSense.Treeview"
TITLE_STYLE: Final = "SoulSenseTitle.TLabel"
NOTE_STYLE: Final = "SoulSenseNote.TLabel"
BAD_STYLE: Final = "SoulSenseBad.TLabel"
CHECK_STYLE: Final = "SoulSense.TCheckbutton"

_TOOLTIP_AFTER_MS = 400
# What text must have on its ground (WCAG AA).
_CONTRAST = 4.5
# Errors are the first of these with enough contrast.
_BAD = "#b00020", "#ff8a80", "#ffb3ab"
# How much of the ground is in the colour of notes, if that leaves enough contrast.
_NOTE_SHARES = 0.35, 0.25, 0.15
# Tk leaves this room beside the text of a cell, in pixels, and beside that of a heading less.
CELL_INSET: Final = 4
_HEADING_INSET = 2
# The last character of the last plane for private use.
_IN_NO_FONT = "\U0010fffd"

FontName = str | tuple[str, int] | tuple[str, int, str]


class Look:
    """Sizes, colours and styles for one window, kept in step with the theme.

    ``em``: the height of a line in pixels, by which everything is measured: it grows with the
    font and with the scaling of the screen. ``pad``: the usual distance between two things.
    ``modifier``, ``right_button``, ``menu_keys``, ``delete_keys``: as this system has them.
    """

    def __init__(self, window: tk.Toplevel) -> None:
        self._window = window
        self._listeners: list[Callable[[], object]] = []
        self._style = ttk.Style(window)
        system = str(window.tk.call("tk", "windowingsystem"))
        self.modifier = "Command" if system == "aqua" else "Control"
        self.right_button = "<Button-2>" if system == "aqua" else "<Button-3>"
        self.menu_keys = {"x11": ("<Menu>",), "win32": ("<App>",)}.get(system, ())
        self.delete_keys = ("<BackSpace>",) if system == "aqua" else ()
        self.apply()
        window.bind("<<ThemeChanged>>", self._theme_changed, add=True)

    def apply(self) -> None:
        """Read the theme and set what it has no say in."""
        self._signs: dict[str, bool] = {}
        self.font = str(self._style.lookup("TLabel", "font") or "TkDefaultFont")
        self.em = int(self._window.tk.call("font", "metrics", self.font, "-linespace"))
        self.pad = round(self.em * 0.45)
        self.background = self._color(".", "background", "#ffffff")
        self.foreground = self._color(".", "foreground", "#000000")
        self.field = self._color("Treeview", "fieldbackground", self.background)
        self.field_foreground = self._color("Treeview", "foreground", self.foreground)
        self.line = self._color("TEntry", "bordercolor", self._mixed(0.5))
        self.bold = self._font(bold=True)
        notes = map(self._mixed, _NOTE_SHARES)
        self.note = next(filter(self._is_legible, notes), self.foreground)
        self.bad = next(filter(self._is_legible, _BAD), self.foreground)
        self._window.configure(background=self.background)
        # The one size of a theme that does not grow with the font.
        self.row_font = str(self._style.lookup("Treeview", "font") or self.font)
        line = int(self._window.tk.call("font", "metrics", self.row_font, "-linespace"))
        self._style.configure(ROW_STYLE, rowheight=round(line * 1.5))
        for part, more in (("Cell", 0), ("Heading", CELL_INSET - _HEADING_INSET)):
            padding = (self.pad + more, self.pad // 3)
            self._style.configure(f"{ROW_STYLE}.{part}", padding=padding)
        self._style.configure(TITLE_STYLE, font=self._font(bold=True, larger=1.25))
        self._style.configure(NOTE_STYLE, foreground=self.note)
        self._style.configure(BAD_STYLE, foreground=self.bad)
        # Its box, by the name that one theme or another has for it, does not grow with the font.
        box = round(self.em * 0.7)
        self._style.configure(
            CHECK_STYLE,
            indicatorsize=box,
            indicatordiameter=box,
            indicatormargin=(self.pad // 3, 0, self.pad, 0),
            indicatorbackground=self.field,
            indicatorforeground=self.field_foreground,
        )

    def when_changed(self, listener: Callable[[], object]) -> None:
        """Call ``listener`` now and whenever the theme has changed."""
        self._listeners.append(listener)
        listener()

    def width(self, text: str, font: FontName | None = None) -> int:
        """Return the width of ``text`` in pixels; ``font``: that of labels, or another one."""
        return int(self._window.tk.call("font", "measure", font or self.font, text))

    def fitted(self, text: str, room: int, font: FontName | None = None) -> str:
        """Return ``text``, or as much of its beginning as has ``room``, with "…" behind it."""
        if self.width(text, font) <= room:
            return text
        fits, too_long = 0, len(text)
        while too_long - fits > 1:
            half = (fits + too_long) // 2
            if self.width(f"{text[:half]}…", font) <= room:
                fits = half
            else:
                too_long = half
        return f"{text[:fits].rstrip()}…"

    def sign(self, sign: str, otherwise: str) -> str:
        """Return ``sign`` if a font of this computer has it, else what every font has."""
        if sign not in self._signs:  # it takes some milliseconds to find out
            self._signs[sign] = self._has(sign)
        return sign if self._signs[sign] else otherwise

    def arrow(self, *, down: bool) -> str:
        """Return a sign that points up or down."""
        return self.sign("▼", "v") if down else self.sign("▲", "^")

    def _has(self, sign: str) -> bool:
        family = self._actual("-family")
        large = family, -256  # two signs of one width are less likely
        if str(self._window.tk.call("font", "actual", large, "-family", "--", sign)) != family:
            return True  # in another font
        return self.width(sign, large) != self.width(_IN_NO_FONT, large)

    def characters(self, count: int) -> int:
        """Return the width of ``count`` digits in pixels."""
        return count * self.width("0")

    def dress_text(self, text: tk.Text) -> None:
        """Give a text that is only read the look of a label."""
        text.configure(
            background=self.background,
            foreground=self.foreground,
            font=self.font,
            relief="flat",
            borderwidth=0,
            highlightthickness=1,
            highlightbackground=self.background,
            highlightcolor=self._color("Treeview", "background", self.foreground, state="selected"),
            padx=self.pad,
            pady=self.pad,
            wrap="word",
            takefocus=True,  # else Tab leaves out what cannot be changed
            cursor="arrow",
            spacing1=round(self.em * 0.1),
        )
        text.tag_configure("name", foreground=self.note)
        text.tag_configure("heading", font=self.bold)
        text.tag_configure("bad", foreground=self.bad)

    def dress_menu(self, menu: tk.Menu) -> None:
        """Give a menu the colours of the theme, and to its entry under the pointer the selected."""
        menu.configure(
            font=self.font,
            background=self.background,
            foreground=self.foreground,
            activebackground=self._color("Treeview", "background", self.line, state="selected"),
            activeforeground=self._color(
                "Treeview", "foreground", self.foreground, state="selected"
            ),
        )

    def _theme_changed(self, event: tk.Event[tk.Misc]) -> None:
        if event.widget is self._window:
            self.apply()
            for listener in self._listeners:
                listener()

    def _font(self, *, bold: bool, larger: float = 1.0) -> tuple[str, int, str]:
        size = round(int(self._actual("-size")) * larger)
        return self._actual("-family"), size, "bold" if bold else "normal"

    def _actual(self, option: str) -> str:
        return str(self._window.tk.call("font", "actual", self.font, option))

    def _color(self, style: str, option: str, otherwise: str, *, state: str = "") -> str:
        found = self._style.lookup(style, option, [state] if state else None)
        return str(found or otherwise)

    def _mixed(self, share: float) -> str:
        """Return the colour of text with a ``share`` of its ground in it."""
        colors = (self.foreground, self.background)
        pairs = zip(*map(self._window.winfo_rgb, colors), strict=True)
        return "#" + "".join(f"{round(a + (b - a) * share):04x}" for a, b in pairs)

    def _is_legible(self, color: str) -> bool:
        """Whether text in ``color`` has enough contrast to the ground, as WCAG counts it."""
        dark, light = sorted(map(self._luminance, (color, self.background)))
        return (light + 0.05) / (dark + 0.05) >= _CONTRAST

    def _luminance(self, color: str) -> float:
        parts = (part / 65535 for part in self._window.winfo_rgb(color))
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue


class FittedLabel(ttk.Label):
    """A line that is cut, with "…", where it has no room; the pointer shows all of it then."""

    def __init__(self, parent: tk.Misc, look: Look, *, text: str, style: str) -> None:
        super().__init__(parent, style=style, text=text, width=1)  # it asks for no room
        self._look = look
        self._whole = text
        self.bind("<Configure>", self._fit, add=True)
        Tooltip(self, look, lambda _x, _y: text if self.cget("text") != text else "")
        look.when_changed(self._fit)

    def _fit(self, _event: object = None) -> None:
        if self.winfo_ismapped():
            font = str(ttk.Style(self).lookup(self.cget("style"), "font"))
            self.configure(text=self._look.fitted(self._whole, self.winfo_width(), font))


class CheckBox(ttk.Checkbutton):
    """A box that is on or off; ``command`` is called when it has been turned."""

    def __init__(self, parent: tk.Misc, *, text: str, command: Callable[[], object]) -> None:
        super().__init__(parent, text=text, command=command, style=CHECK_STYLE)
        self.state(["!alternate"])  # without a variable it would begin as neither

    @property
    def is_on(self) -> bool:
        """Whether it has its mark."""
        return bool(self.instate(["selected"]))


class AutoScrollbar(ttk.Scrollbar):
    """A scroll bar of ``view`` in a grid, there only while it is of use.

    ``moved``: called whenever another part of ``view`` is shown.
    """

    def __init__(
        self,
        parent: tk.Misc,
        view: ttk.Treeview | tk.Text,
        *,
        horizontal: bool = False,
        moved: Callable[[], object] = lambda: None,
    ) -> None:
        self._moved = moved
        if horizontal:
            super().__init__(parent, orient="horizontal", command=view.xview, takefocus=False)
            view.configure(xscrollcommand=self._show)
        else:
            super().__init__(parent, orient="vertical", command=view.yview, takefocus=False)
            view.configure(yscrollcommand=self._show)

    def _show(self, first: float, last: float) -> None:
        self.set(first, last)
        if float(first) <= 0 and float(last) >= 1:  # Tk gives them as texts
            self.grid_remove()
        else:
            self.grid()
        self._moved()


class Tooltip:
    """A small text beside the pointer while it rests on something of ``widget``.

    ``text_at``: returns the text for a position in the widget, empty for none.
    """

    def __init__(self, widget: ttk.Widget, look: Look, text_at: Callable[[int, int], str]) -> None:
        self._widget = widget
        self._look = look
        self._text_at = text_at
        self._timer: str | None = None
        self._shown: tk.Toplevel | None = None
        self._text = ""
        widget.bind("<Motion>", self._moved, add=True)
        for event in ("<Leave>", "<Button>", "<Key>", "<MouseWheel>", "<Destroy>"):
            widget.bind(event, self._left, add=True)

    def _moved(self, event: tk.Event[tk.Misc]) -> None:
        text = self._text_at(event.x, event.y)
        if text != self._text:
            self._left()
            self._text = text
        if text and self._shown is None:
            if self._timer is not None:
                self._widget.after_cancel(self._timer)
            x, y = event.x_root, event.y_root
            self._timer = self._widget.after(_TOOLTIP_AFTER_MS, lambda: self._show(x, y))

    def _left(self, _event: object = None) -> None:
        self._text = ""
        if self._timer is not None:
            self._widget.after_cancel(self._timer)
            self._timer = None
        if self._shown is not None:
            self._shown.destroy()
            self._shown = None

    def _show(self, x: int, y: int) -> None:
        self._timer = None
        look, window = self._look, self._widget.winfo_toplevel()
        self._shown = tk.Toplevel(window, background=look.foreground)
        self._shown.wm_overrideredirect(True)
        label = tk.Label(
            self._shown,
            text=self._text,
            font=look.font,
            background=look.field,
            foreground=look.field_foreground,
            justify="left",
            wraplength=look.characters(60),
            padx=look.pad,
            pady=look.pad // 2,
        )
        label.pack(padx=1, pady=1)  # the ground around it is its frame
        self._shown.update_idletasks()
        width, height = self._shown.winfo_reqwidth(), self._shown.winfo_reqheight()
        left = min(x + look.em, window.winfo_screenwidth() - width)
        top = y + look.em
        if top + height > window.winfo_screenheight():
            top = y - look.em // 2 - height
        self._shown.wm_geometry(f"+{max(0, left)}+{max(0, top)}")


def bind_select_all(entry: ttk.Entry) -> None:
    """Have Ctrl+A mark everything, as people expect, not go to the beginning as on old X."""

    def select(_event: object) -> str:
        entry.selection_range(0, "end")
        entry.icursor("end")
        return "break"

    for key in ("<Control-a>", "<Control-A>"):  # with Caps Lock, too
        entry.bind(key, select)
