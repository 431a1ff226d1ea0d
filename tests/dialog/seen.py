"""What a look at the application gives: its windows and widgets as a person sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that can be pointed at; its coordinates are those of the screen."""

    key: str
    """What finds it again in another look."""
    kind: str
    """The class of a widget, or ``row``, ``cell``, ``heading``, ``menu entry``."""
    text: str
    x: int
    y: int
    width: int
    height: int
    path: str
    """The widget that it is, or is a part of."""
    window: str
    """The path of the toplevel that it is in."""
    states: tuple[str, ...] = ()

    @property
    def spot(self) -> tuple[int, int]:
        """The point in its middle."""
        return self.x + self.width // 2, self.y + self.height // 2

    @property
    def enabled(self) -> bool:
        """Whether it can be used."""
        return "disabled" not in self.states

    @property
    def selected(self) -> bool:
        """Whether it is selected, or has its check mark."""
        return "selected" in self.states

    def texts(self) -> Iterator[str]:
        """Return all that can be read on it."""
        yield self.text

    def __str__(self) -> str:
        states = f" ({', '.join(self.states)})" if self.states else ""
        return f"{self.kind} {self.text!r}{states} {self.width}x{self.height}+{self.x}+{self.y}"


@dataclass(frozen=True, slots=True)
class Row(Thing):
    """A visible row of a table or a list."""

    cells: tuple[Thing, ...] = ()

    def texts(self) -> Iterator[str]:
        """Return all that can be read on it."""
        yield self.text
        yield from (cell.text for cell in self.cells)

    def cell(self, heading: str) -> Thing:
        """Return the cell below a heading."""
        return next(cell for cell in self.cells if cell.key.endswith(f"\n{heading}"))

    def __str__(self) -> str:
        return f"row {[cell.text for cell in self.cells] or self.text}{' *' * self.selected}"


@dataclass(frozen=True, slots=True)
class Widget(Thing):
    """A widget; what a class of widgets does not have is empty."""

    wanted_width: int = 0
    """What it asked for: with less, its text is cut off."""
    wanted_height: int = 0
    focused: bool = False
    uncovered: bool = True
    """Whether a click in its middle arrives in it."""
    value: str = ""
    """What can be changed: the contents of an entry, the value of a progress bar."""
    maximum: str = ""
    mode: str = ""
    headings: tuple[Thing, ...] = ()
    rows: tuple[Row, ...] = ()
    total: int = 0
    """How many rows there are, seen or not."""
    entries: tuple[Thing, ...] = ()

    def texts(self) -> Iterator[str]:
        """Return all that can be read on it."""
        yield from (self.text, self.value)
        for part in self.parts():
            yield from part.texts()

    def parts(self) -> Iterator[Thing]:
        """Return what can be pointed at on it."""
        yield from self.headings
        yield from self.entries
        for row in self.rows:
            yield row
            yield from row.cells

    def row(self, text: str) -> Row | None:
        """Return the first visible row in which ``text`` can be read."""
        return next((row for row in self.rows if any(text in one for one in row.texts())), None)

    def __str__(self) -> str:
        facts = [f"= {self.value!r}"] if self.value else []
        facts += ["<focus>"] * self.focused + ["<covered>"] * (
            not self.uncovered and bool(self.text)
        )
        if self.total:
            facts.append(f"{self.total} rows")
        parts = [*self.headings, *self.entries, *self.rows]
        own = " ".join([Thing.__str__(self), *facts])
        return "".join([own, *(f"\n    {part}" for part in parts)])


@dataclass(frozen=True, slots=True)
class Window:
    """A toplevel; ``handle`` is what the X server calls it."""

    path: str
    title: str
    handle: int
    managed: bool
    """Whether a window manager would care for it: not so for menus and tooltips."""


@dataclass(frozen=True, slots=True)
class Look:
    """All that is on the screen, at one moment."""

    widgets: tuple[Widget, ...] = ()
    windows: tuple[Window, ...] = ()
    keyboard: int = 0
    """The handle of the window that keys go to."""
    grab: str = ""
    """The widget that has all clicks to itself."""
    ended: bool = field(default=False)
    """Whether there is no application any more."""

    def things(self) -> Iterator[Thing]:
        """Return everything that can be pointed at."""
        for widget in self.widgets:
            yield widget
            yield from widget.parts()

    def again(self, thing: Thing) -> Thing | None:
        """Return what became of a thing of another look."""
        return next((now for now in self.things() if now.key == thing.key), None)

    def at(self, path: str) -> Widget | None:
        """Return the widget with a path."""
        return next((widget for widget in self.widgets if widget.path == path), None)

    def texts(self) -> Iterator[str]:
        """Return all that can be read."""
        for window in self.windows:
            if window.managed:
                yield window.title
        for widget in self.widgets:
            yield from widget.texts()

    def __str__(self) -> str:
        if self.ended:
            return "nothing: the application has ended"
        lines = []
        for window in self.windows:
            keys = " <keyboard>" if window.handle == self.keyboard else ""
            lines.append(f"[{window.title}] {window.path}{keys}")
            lines += [f"  {one}" for one in self.widgets if one.window == window.path]
        return "\n".join(lines) or "nothing"


def look_from(answer: dict[str, Any]) -> Look:
    """Return the look that the application sent."""
    return Look(
        widgets=tuple(_widget(one) for one in answer["widgets"]),
        windows=tuple(Window(**one) for one in answer["windows"]),
        keyboard=answer["keyboard"],
        grab=answer["grab"],
    )


def _widget(sent: dict[str, Any]) -> Widget:
    things: dict[str, Any] = {
        name: tuple(Thing(**_flat(one)) for one in sent.pop(name, ()))
        for name in ("headings", "entries")
    }
    rows = tuple(
        Row(**_flat(one) | {"cells": tuple(Thing(**_flat(cell)) for cell in one["cells"])})
        for one in sent.pop("rows", ())
    )
    return Widget(**_flat(sent), **things, rows=rows)


def _flat(sent: dict[str, Any]) -> dict[str, Any]:
    return sent | {"states": tuple(sent["states"])}
