"""The eyes in the application: every widget that is on the screen, read from Tcl.

Widgets that Tcl makes by itself, as those of its file dialog, are unknown to tkinter's objects.
"""

from __future__ import annotations

import tkinter as tk
from collections.abc import Iterator
from typing import Any

from dialog.x11 import XServer

_TTK = ("disabled", "readonly", "selected", "alternate", "invalid")
_ENTRIES = ("Entry", "TEntry", "TCombobox", "TSpinbox", "Spinbox")
_CHECKS = ("Checkbutton", "Radiobutton")
Facts = dict[str, Any]


class Eyes:
    """Look at all windows of the application."""

    def __init__(self, root: tk.Tk) -> None:
        self._tk = root.tk
        self._server = XServer()

    def look(self) -> Facts:
        """Return everything that is on the screen."""
        paths = [path for path in self._walk(".") if self._is("winfo", "viewable", path)]
        focus = self._text("focus", "-displayof", ".")
        windows = [path for path in paths if self._text("winfo", "toplevel", path) == path]
        return {
            "widgets": [self._widget(path, focus) for path in paths],
            "windows": [self._window(path) for path in windows],
            "keyboard": self._server.keyboard(),
            "grab": " ".join(self._list("grab", "current")),
        }

    def close(self, path: str) -> None:
        """Click the button that closes a window, had it one."""
        self._server.ask_to_close(self._handle(path))

    def _walk(self, path: str) -> Iterator[str]:
        yield path
        for child in self._list("winfo", "children", path):
            yield from self._walk(child)

    def _handle(self, path: str) -> int:
        return self._server.parent(int(self._text("winfo", "id", path), 16))

    def _window(self, path: str) -> Facts:
        menu = self._text("winfo", "class", path) == "Menu"
        return {
            "path": path,
            "title": "" if menu else self._text("wm", "title", path),
            "handle": self._handle(path),
            "managed": not menu and not self._is("wm", "overrideredirect", path),
        }

    def _widget(self, path: str, focus: str) -> Facts:
        kind = self._text("winfo", "class", path)
        x, y, width, height, wanted_width, wanted_height = (
            int(self._text("winfo", what, path))
            for what in ("rootx", "rooty", "width", "height", "reqwidth", "reqheight")
        )
        window = self._text("winfo", "toplevel", path)
        there = self._text("winfo", "containing", x + width // 2, y + height // 2)
        facts = {
            "key": path,
            "path": path,
            "kind": kind,
            "text": self._option(path, "text"),
            "window": window,
            "states": self._states(path, kind),
            "x": x,
            "y": y,
            "width": width,
            "height": height,
            "wanted_width": wanted_width,
            "wanted_height": wanted_height,
            "focused": path == focus,
            "uncovered": f"{there}.".startswith(f"{path}.".replace("..", ".")),
        }
        return facts | self._special(kind, facts)

    def _special(self, kind: str, facts: Facts) -> Facts:
        """Return what widgets of its class have beside what all have."""
        path = facts["path"]
        if kind in _ENTRIES:
            shown = self._option(path, "show")
            value = self._text(path, "get")
            return {"value": shown * len(value) if shown else value}
        read = {
            "Text": lambda _: {"value": self._text(path, "get", "1.0", "end-1c")},
            "TProgressbar": self._progress,
            "Treeview": self._table,
            "Listbox": self._listbox,
            "Canvas": lambda _: {"rows": list(self._canvas(facts))},
            "Menu": lambda _: {"entries": list(self._menu(facts))},
            "TNotebook": self._tabs,
        }.get(kind)
        return read(facts) if read else {}

    def _progress(self, facts: Facts) -> Facts:
        return {name: self._option(facts["path"], name) for name in ("value", "maximum", "mode")}

    def _tabs(self, facts: Facts) -> Facts:
        path = facts["path"]
        tabs = self._list(path, "tabs")
        return {"value": "\n".join(self._text(path, "tab", tab, "-text") for tab in tabs)}

    def _states(self, path: str, kind: str) -> list[str]:
        state = self._option(path, "state")
        states = [state] if state in ("disabled", "readonly") else []
        if kind.startswith("T") or kind == "Treeview":
            try:
                flags = self._list(path, "state")
            except tk.TclError:
                return states
            return [flag for flag in flags if flag in _TTK]
        if kind in _CHECKS:
            value = self._text("set", f"::{self._option(path, 'variable')}")
            on = self._option(path, "onvalue" if kind == "Checkbutton" else "value")
            states += ["selected"] * (value == on)
        return states

    def _table(self, facts: Facts) -> Facts:
        path, width, height = (facts[name] for name in ("path", "width", "height"))
        y = 0
        while y < height and self._text(path, "identify", "region", width // 2, y) == "nothing":
            y += 1
        top = y
        while y < height and self._text(path, "identify", "region", width // 2, y) == "heading":
            y += 1
        headings = list(self._headings(facts, top, y - top))
        rows: list[Facts] = []
        before = ""  # at its last pixel a row is not told from the next one
        selected = self._list(path, "selection")
        while y < height:
            item = self._text(path, "identify", "row", width // 2, y)
            box = self._numbers(path, "bbox", item) if item else []
            if not box or item == before:
                y += 1
                continue
            before = item
            rows.append(self._row(facts, item, box, headings))
            rows[-1]["states"] = ["selected"] if item in selected else []
            y = max(y + 1, box[1] + box[3])
        return {"headings": headings, "rows": rows, "total": self._count(path, "")}

    def _headings(self, facts: Facts, top: int, height: int) -> Iterator[Facts]:
        path = facts["path"]
        shown = self._list(path, "cget", "-displaycolumns")
        columns = self._list(path, "cget", "-columns") if shown in (["#all"], []) else shown
        if "tree" in self._list(path, "cget", "-show"):
            columns = ["#0", *columns]
        widths = [int(self._text(path, "column", column, "-width")) for column in columns]
        left = 1 - round(float(self._list(path, "xview")[0]) * sum(widths))
        for column, width in zip(columns, widths, strict=True):
            text = self._text(path, "heading", column, "-text")
            yield self._part(facts, "heading", column, text, (left, top, width, height))
            left += width

    def _row(self, facts: Facts, item: str, box: list[int], headings: list[Facts]) -> Facts:
        path, cells = facts["path"], []
        for heading in headings:
            column = heading["key"].split("\n")[1]
            if column == "#0":
                text = self._text(path, "item", item, "-text")
            else:
                text = self._text(path, "set", item, column)
            place = self._numbers(path, "bbox", item, column)
            if place:
                key = f"{item}\n{heading['text']}"
                cells.append(self._part(facts, "cell", key, text, place))
        text = cells[0]["text"] if cells else ""
        return self._part(facts, "row", item, text, box) | {"cells": cells}

    def _count(self, path: str, item: str) -> int:
        children = self._list(path, "children", item)
        return len(children) + sum(self._count(path, child) for child in children)

    def _listbox(self, facts: Facts) -> Facts:
        path, rows = facts["path"], []
        total = int(self._text(path, "size"))
        selected = self._numbers(path, "curselection")
        for index in range(int(self._text(path, "index", "@0,0")), total):
            box = self._numbers(path, "bbox", index)
            if not box:
                break
            text = self._text(path, "get", index)
            place = (0, box[1], facts["width"], box[3])
            rows.append(self._part(facts, "row", str(index), text, place) | {"cells": []})
            rows[-1]["states"] = ["selected"] if index in selected else []
        return {"rows": rows, "total": total}

    def _canvas(self, facts: Facts) -> Iterator[Facts]:
        """Return the texts on a canvas: Tk's file dialog lists files so."""
        path = facts["path"]
        left, top = (round(float(self._text(path, f"canvas{way}", 0))) for way in "xy")
        for item in self._list(path, "find", "all"):
            if self._text(path, "type", item) == "text":
                box = self._numbers(path, "bbox", item)
                place = (box[0] - left, box[1] - top, box[2] - box[0], box[3] - box[1])
                text = self._text(path, "itemcget", item, "-text")
                row = self._part(facts, "row", item, text, place) | {"cells": []}
                if row["width"] and row["height"]:
                    yield row

    def _menu(self, facts: Facts) -> Iterator[Facts]:
        path = facts["path"]
        if self._text(path, "index", "end") == "none":
            return
        count = int(self._text(path, "index", "end")) + 1
        bar = self._option(path, "type") == "menubar"
        way = "xposition" if bar else "yposition"
        starts = [int(self._text(path, way, index)) for index in range(count)]
        ends = [*starts[1:], facts["width" if bar else "height"]]
        if bar:  # its last entry does not reach to the end
            label = self._text(path, "entrycget", "end", "-label")
            width = int(self._text("font", "measure", self._option(path, "font"), label))
            ends[-1] = min(ends[-1], starts[-1] + width)
        for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
            if self._text(path, "type", index) in ("separator", "tearoff"):
                continue
            text = self._text(path, "entrycget", index, "-label")
            across, down = (start, 0), (0, start)
            size = (end - start, facts["height"]) if bar else (facts["width"], end - start)
            place = (*(across if bar else down), *size)
            entry = self._part(facts, "menu entry", str(index), text, place)
            state = self._text(path, "entrycget", index, "-state")
            yield entry | {"states": [state] if state == "disabled" else []}

    def _part(
        self, facts: Facts, kind: str, key: str, text: str, box: list[int] | tuple[int, ...]
    ) -> Facts:
        """Return a part of a widget, of which ``box`` is the place; only what is seen of it."""
        x, y = max(box[0], 0), max(box[1], 0)
        return {
            "key": f"{facts['path']}\n{key}",
            "kind": kind,
            "text": text,
            "x": facts["x"] + x,
            "y": facts["y"] + y,
            "width": max(0, min(box[0] + box[2], facts["width"]) - x),
            "height": max(0, min(box[1] + box[3], facts["height"]) - y),
            "path": facts["path"],
            "window": facts["window"],
            "states": [],
        }

    def _option(self, path: str, name: str) -> str:
        """Return an option; nothing if there is none of this very name: Tcl takes abbreviations."""
        try:
            full, *_, value = self._list(path, "configure", f"-{name}")
        except tk.TclError:
            return ""
        return value if full == f"-{name}" else ""

    def _text(self, *command: object) -> str:
        """Return what a Tcl command gives, as text even if Tcl has it as a list."""
        self._tk.call("set", "::gui_command", command)
        answer: str = self._tk.eval("{*}$::gui_command")
        return answer

    def _list(self, *command: object) -> list[str]:
        return [str(one) for one in self._tk.splitlist(self._text(*command))]

    def _numbers(self, *command: object) -> list[int]:
        return [int(one) for one in self._list(*command)]

    def _is(self, *command: object) -> bool:
        return self._text(*command) == "1"
