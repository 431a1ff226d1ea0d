"""Signals while steps run, and while the database is put back.

Python runs signal handlers in the main thread alone: elsewhere everything stays as it is. So does a
handler of the application for SIGTERM or SIGHUP, and a signal that it ignores. That for SIGINT,
whosever it is, waits while the database is put back.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from soulsense_db.alembic.telling import say_at_once

# What ends a process without a word, where nothing else was asked for: SIGHUP is not on Windows.
_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
_Handler = Callable[[int, FrameType | None], Any] | int | None


class Signals:
    """The handlers of one command, in the process and thread that made it."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._armed: set[int] = set()

    def arm(self) -> None:
        """Have SIGTERM and SIGHUP end the steps as an error does, so that they are put back."""
        if not _in_main_thread():
            return
        for number in _ENDING:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._end)
                self._armed.add(number)

    def disarm(self) -> None:
        """Give them the handlers that they had."""
        if not _in_main_thread():
            return
        for number in self._armed:
            if signal.getsignal(number) == self._end:
                signal.signal(number, signal.SIG_DFL)
        self._armed.clear()

    @contextmanager
    def held(self, tell: Callable[[], list[str]]) -> Iterator[None]:
        """Let the block run to its end when a signal comes; a second one ends it all the same.

        With the first, what ``tell`` returns is said at once, a line each.
        """
        if not _in_main_thread():
            yield
            return
        came: list[int] = []

        def on_signal(number: int, _: FrameType | None) -> None:
            if self._is_of_a_child(number):
                return
            came.append(number)
            if len(came) == 1:
                for line in tell():
                    say_at_once(line)
                return
            _raise(number)

        before: dict[int, _Handler] = {}
        for number in (signal.SIGINT, *_ENDING):
            handler = signal.getsignal(number)
            if handler == self._end or (number == signal.SIGINT and callable(handler)):
                before[number] = handler
                signal.signal(number, on_signal)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _end(self, number: int, _: FrameType | None) -> None:
        if not self._is_of_a_child(number):
            _raise(number)

    def _is_of_a_child(self, number: int) -> bool:
        """Whether a child of a fork got it: it then does what it would have done without us."""
        if os.getpid() == self._process:
            return False
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return True


def _raise(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)  # as a shell says it


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
