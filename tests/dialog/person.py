"""A person at the application: who looks, moves the pointer, clicks, and types.

Everything goes through the X server: the application cannot tell it from a person's hands.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from dialog.application import PAUSE, SECONDS, Application, EndedError
from dialog.display import Display
from dialog.seen import Look, Row, Thing, Widget, Window, look_from

T = TypeVar("T")

_TRIES = 5  # windows may come and go faster than they are given the keyboard
_PASSIVE = ("Label", "TLabel", "Message", "Labelframe", "TLabelframe")
_DOUBLE_CLICK = 0.55  # two clicks within 0.5 s are a double click to Tk

Target = str | Thing
"""What is pointed at: a thing, or the text of a widget or a menu entry."""


class Person(Application):
    """Starts the application, and is its user: with what ``Application`` does, and its options."""

    def __init__(
        self,
        display: Display,
        setup: str | Path,
        folder: Path,
        *,
        env: dict[str, str] | None = None,
        own_root: bool = False,
        watch_threads: bool = True,
    ) -> None:
        self.display = display
        self._order: list[int] = []  # handles of windows; the last one was used last
        self._clicked = (0.0, (-1, -1), 0)
        self._pictures = 0
        display.xdotool("mousemove", display.width - 1, display.height - 1)
        super().__init__(
            setup, folder, display.env | (env or {}), own_root=own_root, watch_threads=watch_threads
        )

    # What there is to see.

    def look(self) -> Look:
        """Return what is on the screen, once the application has nothing left to draw.

        A window that has appeared has been given the keyboard, as a window manager does.
        """
        for _ in range(_TRIES):
            try:
                answer = self.ask(do="look")
            except EndedError:
                answer = None
            if answer is None:
                return Look(ended=True)
            look = look_from(answer)
            handle = self._wants_keyboard(look)
            if handle == look.keyboard:
                break
            self.display.xdotool("windowfocus", handle, check=False)
        return look

    def sees(self, text: str) -> bool:
        """Whether ``text`` is anywhere to be read, also as a part of something."""
        return any(text in one for one in self.look().texts())

    def waits_for(self, text: str) -> None:
        """Wait until ``text`` is anywhere to be read."""
        self.wait_until(lambda: self.sees(text), f"the text {text!r}")

    def find(
        self, text: str | None = None, *, kind: str | None = None, within: str | Thing | None = None
    ) -> Widget:
        """Return the widget with a text, of a class, or both; wait until there is one.

        ``text``: all of it, or else how it begins; what can be clicked comes before labels.
        ``kind``: ``button`` is Button and TButton. ``within``: a widget, or the title of a window.
        """
        found = self._find(text, kind, within)
        assert isinstance(found, Widget)
        return found

    def now(self, thing: Thing) -> Thing:
        """Return what became of a thing that was seen before."""
        found = self.look().again(thing)
        assert found is not None, f"{thing} is gone"
        return found

    def row(self, text: str, *, within: str | Thing | None = None) -> Row:
        """Return the visible row of a table or a list in which ``text`` can be read."""
        return self._some(
            lambda look: [row for one in _scope(look, within) if (row := one.row(text))],
            f"a row with {text!r}",
        )

    def heading(self, text: str) -> Thing:
        """Return the heading of a column."""
        return self._some(
            lambda look: [
                heading
                for widget in look.widgets
                for heading in widget.headings
                if heading.text.startswith(text)
            ],
            f"a heading {text!r}",
        )

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until ``condition`` holds; fail when something went wrong in the application."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            if self.errors:
                self._fail(f"waited for {what}, but:\n" + "\n".join(self.errors))
            if time.monotonic() > deadline:
                self._fail(f"waited {SECONDS} s in vain for {what}")
            time.sleep(PAUSE)

    def waits_for_end(self) -> None:
        """Wait until the application has ended by itself."""
        self.wait_until(lambda: self.look().ended, "the end of the application")

    def screenshot(self, path: Path) -> Path:
        """Write a picture of the screen, a PNG file."""
        return self.display.screenshot(path)

    # What hands do.

    def click(self, target: Target, *, anyway: bool = False) -> None:
        """Click on something, once it is enabled, uncovered and has stopped moving.

        ``anyway``: also where a click does nothing, or something else: on what is disabled.
        """
        self._click(target, anyway=anyway)

    def double_click(self, target: Target) -> None:
        """Click twice, fast."""
        self._click(target, times=2)

    def right_click(self, target: Target) -> None:
        """Click with the right button."""
        self._click(target, button=3)

    def click_row(self, text: str, *, within: str | Thing | None = None) -> None:
        """Click on the row in which ``text`` can be read."""
        self._click(self.row(text, within=within))

    def click_heading(self, text: str) -> None:
        """Click on the heading of a column."""
        self._click(self.heading(text))

    def hover(self, target: Target) -> None:
        """Move the pointer onto something."""
        x, y = self._settled(target, anyway=True).spot
        self.display.xdotool("mousemove", x - 1, y, "mousemove", x, y)

    def scroll(self, target: Target, notches: int) -> None:
        """Turn the wheel over something: down, or up when ``notches`` is negative."""
        self.hover(target)
        button = 5 if notches > 0 else 4
        self.display.xdotool("click", "--repeat", abs(notches), "--delay", 5, button)

    def press(self, *keys: str) -> None:
        """Press keys, as xdotool names them: ``Escape``, ``ctrl+n``, ``shift+Tab``.

        They go to the window that has the keyboard now: wait for one that is about to open.
        """
        self.look()
        self.display.xdotool("key", "--delay", 5, *keys)

    def type(self, text: str) -> None:
        """Type a text, of any characters that there are, into what has the keyboard now."""
        self.display.bind_keys(text)
        self.look()
        self.display.xdotool("type", "--delay", 2, "--", text)

    # What is done with a window's frame.

    def window(self, title: str) -> Window:
        """Return the window whose title begins so; wait until there is one."""
        return self._some(
            lambda look: [
                one for one in look.windows if one.managed and one.title.startswith(title)
            ],
            f"a window {title!r}",
        )

    def close_window(self, title: str) -> None:
        """Click the button that closes a window."""
        self.run(f"eyes.close({self.window(title).path!r})")

    def move_window(self, title: str, x: int, y: int) -> None:
        """Drag a window to a place."""
        self.display.xdotool("windowmove", self.window(title).handle, x, y)

    def resize_window(self, title: str, width: int, height: int) -> None:
        """Drag the edges of a window, also beyond the limits that it asked for."""
        self.display.xdotool("windowsize", self.window(title).handle, width, height)

    # How it is done.

    def _find(self, text: str | None, kind: str | None, within: str | Thing | None) -> Thing:
        what = " ".join(filter(None, [kind or "widget", text and repr(text)]))
        where = f" in {within!r}" if isinstance(within, str) else ""

        def candidates(look: Look) -> list[Thing]:
            found: list[Thing] = []
            for widget in _scope(look, within):
                found += [one for one in (widget, *widget.entries) if _is_kind(one, kind)]
            if text is not None:
                exact = [one for one in found if one.text == text]
                found = exact or [one for one in found if one.text.startswith(text)]
                found = [one for one in found if one.kind not in _PASSIVE] or found
            return found

        return self._some(candidates, f"a {what}{where}")

    def _some(self, candidates: Callable[[Look], list[T]], what: str) -> T:
        """Wait until there is what is looked for; of several, there must be one uncovered."""
        found: list[T] = []

        def there() -> bool:
            look = self.look()
            if look.ended:
                self._fail(f"no {what}")
            found[:] = candidates(look)
            return bool(found)

        self.wait_until(there, what)
        clear = [one for one in found if getattr(one, "uncovered", True)] or found
        if len(clear) > 1:
            self._fail(f"{len(clear)} times {what}")
        return clear[0]

    def _settled(self, target: Target, *, anyway: bool) -> Thing:
        """Return the target as it is when it can be used and has stopped moving."""
        thing = self._find(target, None, None) if isinstance(target, str) else target
        before: list[Thing | None] = [None]

        def usable() -> bool:
            look = self.look()
            now = look.again(thing)
            still = now is not None and before[0] is not None and _place(now) == _place(before[0])
            before[0] = now
            if now is None or not still:
                return False
            owner = look.at(now.path)
            clear = owner is not None and owner.enabled and owner.uncovered and now.enabled
            return anyway or clear

        self.wait_until(usable, f"the moment to use {thing}")
        assert before[0] is not None
        return before[0]

    def _click(
        self, target: Target, *, button: int = 1, times: int = 1, anyway: bool = False
    ) -> None:
        thing = self._settled(target, anyway=anyway)
        look = self.look()
        for window in look.windows:
            if window.path == thing.window and window.managed and window.handle != look.keyboard:
                self._use(window.handle)
                self.display.xdotool("windowfocus", window.handle, check=False)
        when, where, which = self._clicked
        if (where, which) == (thing.spot, button):
            # Nobody means a double click with two clicks.
            time.sleep(max(0.0, when + _DOUBLE_CLICK - time.monotonic()))
        move = ("mousemove", *thing.spot)
        self.display.xdotool(*move, "click", "--repeat", times, "--delay", 50, button)
        self._clicked = (time.monotonic(), thing.spot, button)

    def _wants_keyboard(self, look: Look) -> int:
        """Return the handle of the window that a window manager would give the keyboard to."""
        managed = [window.handle for window in look.windows if window.managed]
        new = [handle for handle in managed if handle not in self._order]
        self._order = [handle for handle in self._order if handle in managed] + new
        if new:
            return new[-1]
        if look.keyboard in managed:
            self._use(look.keyboard)
        elif self._order and look.keyboard not in [window.handle for window in look.windows]:
            return self._order[-1]
        return look.keyboard

    def _use(self, handle: int) -> None:
        """Note that a window was used last: it gets the keyboard when another one closes."""
        self._order = [one for one in self._order if one != handle] + [handle]

    def _fail(self, why: str) -> None:
        """Fail, telling what is visible."""
        self._pictures += 1
        picture = self.screenshot(self.folder / f"failure-{self._pictures}.png")
        raise AssertionError(f"{why}\nvisible:\n{self.look()}\npicture: {picture}")


def _scope(look: Look, within: str | Thing | None) -> list[Widget]:
    """Return the widgets inside a widget, or inside the window with a title."""
    if within is None:
        return list(look.widgets)
    if isinstance(within, Thing):
        inside = f"{within.path}.".replace("..", ".")
        return [one for one in look.widgets if f"{one.path}.".startswith(inside)]
    windows = [one.path for one in look.windows if one.managed and one.title.startswith(within)]
    return [one for one in look.widgets if one.window in windows]


def _is_kind(thing: Thing, kind: str | None) -> bool:
    return kind is None or thing.kind.lower() in (kind.lower(), f"t{kind.lower()}")


def _place(thing: Thing) -> tuple[int, int, int, int]:
    return thing.x, thing.y, thing.width, thing.height
