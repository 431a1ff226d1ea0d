"""The window as a program of its own: ``soulsense-db gui``."""

from __future__ import annotations

import tkinter as tk
from tkinter import ttk
from types import TracebackType
from typing import Any, Final

from soulsense_db.dialog import open_backup_dialog
from soulsense_db.dialog.question import ErrorWindow
from soulsense_db.errors import DisplayError
from soulsense_db.manager import BackupManager
from soulsense_db.notices import ignoring

CLASS_NAME: Final = "Soulsense-db"

# Ground, raised, field, text, line, accent and text on it: text has a contrast of 7 and more
# (WCAG AAA), the accent of 4.5.
_LIGHT = ("#f5f5f4", "#e7e5e4", "#ffffff", "#1c1917", "#a8a29e", "#0b5cad", "#ffffff")
_DARK = ("#26262b", "#35353c", "#1c1c20", "#ececf1", "#5c5c66", "#7cb8ff", "#0d1b2a")


def run(manager: BackupManager, *, dark: bool = False) -> None:
    """Show the window until it is closed.

    Raises :class:`~soulsense_db.errors.DisplayError` where there is no screen to show it on, and
    what :func:`~soulsense_db.dialog.open_backup_dialog` raises.
    """
    try:
        root = tk.Tk(className=CLASS_NAME)
    except tk.TclError as error:
        raise DisplayError(
            f"No window can be opened here ({error}).",
            hint="Start it in a graphical session, or set DISPLAY; the other commands need none.",
        ) from error
    try:
        root.withdraw()
        if root.tk.call("tk", "windowingsystem") == "x11":  # elsewhere Tk has the system's theme
            use_colors(root, dark=dark)
        window = open_backup_dialog(root, manager)
        interrupted: list[BaseException] = []

        def tell(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
            if isinstance(error, KeyboardInterrupt):  # at the terminal
                interrupted.append(error)
                root.quit()
            else:
                ErrorWindow(window, error).open()

        def quit_after(event: tk.Event[tk.Misc]) -> None:
            if event.widget is window:
                root.quit()

        root.report_callback_exception = tell
        window.bind("<Destroy>", quit_after, add=True)
        root.mainloop()  # unlike wait_window, it ends with an interrupt between two callbacks
        if interrupted:
            raise interrupted[0]
    finally:
        with ignoring(tk.TclError, what="The window is gone already"):
            root.destroy()


def use_colors(root: tk.Misc, *, dark: bool = False) -> None:
    """Give ``root`` a light or a dark theme that follows the font, made of Tk's own 'clam'."""
    style = ttk.Style(root)
    style.theme_use("clam")
    ground, raised, field, text, line, accent, on_accent = _DARK if dark else _LIGHT
    em = int(root.tk.call("font", "metrics", "TkDefaultFont", "-linespace"))
    edge = {"bordercolor": line, "lightcolor": raised, "darkcolor": raised}
    style.configure(".", background=ground, foreground=text, troughcolor=raised, **edge)
    style.configure(".", fieldbackground=field, insertcolor=text, focuscolor=accent)
    style.configure(".", selectbackground=accent, selectforeground=on_accent)
    style.map(".", foreground=[("disabled", line)], background=[("disabled", ground)])
    style.configure("TButton", background=raised, padding=(em // 2, em // 4))
    style.map(
        "TButton",
        background=[("disabled", ground), ("pressed", line), ("active", field)],
        bordercolor=[("focus", accent)],
    )
    style.configure("TEntry", padding=em // 4)
    style.map("TEntry", bordercolor=[("focus", accent)], lightcolor=[("focus", accent)])
    style.configure("Treeview", background=field, foreground=text, lightcolor=field)
    style.map(
        "Treeview",
        background=[("selected", accent)],
        foreground=[("selected", on_accent)],
    )
    style.configure("Treeview.Heading", background=raised, padding=em // 4, relief="flat")
    style.map("Treeview.Heading", background=[("active", field)])
    style.configure("TProgressbar", background=accent, thickness=em // 2)
    # Without arrows: a thumb that can be dragged, and a trough that can be clicked.
    for direction, sticky in (("Vertical", "ns"), ("Horizontal", "ew")):
        bar, part = f"{direction}.TScrollbar", f"{direction}.Scrollbar"
        thumb: Any = (f"{part}.thumb", {"expand": True, "sticky": "nswe"})
        style.layout(bar, [(f"{part}.trough", {"sticky": sticky, "children": [thumb]})])
        style.configure(bar, background=line, gripcount=0, arrowsize=em * 2 // 3)
        style.configure(bar, bordercolor=ground, lightcolor=line, darkcolor=line)
        style.configure(bar, troughcolor=ground)
        style.map(bar, background=[("active", accent), ("disabled", ground)])
    style.configure("Sash", sashthickness=em // 2)
