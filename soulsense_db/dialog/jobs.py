"""Work in threads, so that the window never waits; results come back in the window's own thread.

Tk is only ever touched by the thread that runs its main loop: a thread leaves what it found in its
:class:`Job`, and the window looks there now and then, with ``after``.
"""

from __future__ import annotations

import threading
import time
import tkinter as tk
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from soulsense_db.notices import log_ignored

T = TypeVar("T")

_LOOK_EVERY_MS = 30
# What hears that it is cancelled has ended by then, and tidied up.
_LEFT_AFTER_SECONDS = 2.0
# The Tk of every window whose thread still works. An application may let go of it meanwhile, and
# Python may collect it in any thread; but Tcl aborts the process when it goes in another one than
# its own. What is in here outlasts the thread.
_kept: dict[Job[Any], object] = {}


class Cancelled(Exception):  # noqa: N818 - it is no error
    """The user cancelled the work, and it has changed nothing."""


class Job(Generic[T]):
    """One piece of work: a thread of its own, how far it is, how it ended."""

    def __init__(self, work: Callable[[Job[T]], T], *, may_be_left: bool) -> None:
        self._work = work
        self._may_be_left = may_be_left
        self._cancelled_at = 0.0
        self._is_left = False
        self._cancelled = threading.Event()
        self._reached: tuple[int, int] | None = None
        self._result: T | None = None
        self._error: BaseException | None = None
        # When the application ends, what changes something comes to its own end first.
        self._thread = threading.Thread(target=self._run, name="soulsense_db", daemon=may_be_left)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def cancel(self) -> None:
        """Have the next call of :meth:`progress` end the work."""
        if not self.is_cancelled:
            self._cancelled_at = time.monotonic()
            self._cancelled.set()

    def leave_if_stuck(self) -> bool:
        """Give up work that was cancelled and does not hear of it; return whether that is so.

        What hangs, in a network for example, ends at its next call of :meth:`progress`. Where all
        bytes are done there may be none, and it is waited for: it may have done what it was to do.
        """
        done, total = self._reached or (0, 1)
        if self._may_be_left and self.is_cancelled and done < total:
            self._is_left = time.monotonic() >= self._cancelled_at + _LEFT_AFTER_SECONDS
        return self._is_left

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody asked for it; the work may have ended all the same."""
        return self._cancelled.is_set()

    def progress(self, done: int, total: int) -> None:
        """Note how far the work is, for ``progress=`` of the manager; raises :class:`Cancelled`."""
        self._reached = done, total
        if self.is_cancelled:
            raise Cancelled

    def go_on(self, _done: int, _total: int) -> None:
        """Like :meth:`progress`, where the numbers are none of bytes, and are not shown."""
        if self.is_cancelled:
            raise Cancelled

    def progress_until_done(self, done: int, total: int) -> None:
        """Like :meth:`progress`, where the last call comes too late: what was asked for is done."""
        if done < total:
            self.progress(done, total)

    @property
    def reached(self) -> tuple[int, int] | None:
        """How far it is, in the numbers of the last call of :meth:`progress`."""
        return self._reached

    @property
    def is_over(self) -> bool:
        """Whether the thread has ended."""
        return self._thread.ident is not None and not self._thread.is_alive()

    @property
    def error(self) -> BaseException | None:
        """What the work raised, if it has ended so."""
        return Cancelled() if self._is_left else self._error

    @property
    def result(self) -> T:
        """What the work returned; only where it has ended without an error."""
        return self._result  # type: ignore[return-value] # None only where T is

    def _run(self) -> None:
        try:
            self._result = self._work(self)
        except BaseException as error:  # noqa: BLE001 - the window shows it, whatever it is
            self._error = error
            if self._is_left:  # nobody looks at it any more
                log_ignored("The cancelled work has ended", error)


class Workers:
    """The jobs of one window, looked after in its thread."""

    def __init__(self, window: tk.Misc) -> None:
        self._window = window
        # Its timer is the root's: when a callback closes the window, tkinter deletes the window's
        # commands, and then by its name the one that it is in: by now it may be another window's.
        self._root = window.nametowidget(".")
        self._jobs: dict[Job[Any], tuple[Callable[[Any], object], Callable[[Any], object]]] = {}
        self._timer: str | None = None
        window.bind("<Destroy>", self._close, add=True)

    def start(
        self,
        work: Callable[[Job[T]], T],
        *,
        ended: Callable[[Job[T]], object],
        reached: Callable[[Job[T]], object] = lambda _: None,
        may_be_left: bool = False,
    ) -> Job[T]:
        """Have a thread do ``work``; then ``ended`` is called in the window's thread.

        ``reached``: called there now and then meanwhile. ``may_be_left``: it changes nothing, or
        all of it at its end: neither the end of the application nor who cancels it need wait.
        """
        job = Job(work, may_be_left=may_be_left)
        for over in [one for one in _kept if one.is_over]:
            del _kept[over]
        _kept[job] = self._window.tk
        self._jobs[job] = ended, reached
        job.start()
        if self._timer is None:
            self._timer = self._root.after(_LOOK_EVERY_MS, self._look)
        return job

    def _close(self, event: tk.Event[tk.Misc]) -> None:
        """Cancel all jobs and look after them no more: the window is going."""
        if event.widget is not self._window:
            return
        for job in self._jobs:
            job.cancel()
        self._jobs.clear()
        if self._timer is not None:
            self._root.after_cancel(self._timer)
            self._timer = None

    def _look(self) -> None:
        # First of all: a callback may fail, wait in a loop of its own, or close the window.
        self._timer = self._root.after(_LOOK_EVERY_MS, self._look)
        for job, (ended, reached) in list(self._jobs.items()):
            if job not in self._jobs:
                continue
            if not (job.is_over or job.leave_if_stuck()):
                reached(job)
                continue
            del self._jobs[job]
            if job.is_over:
                _kept.pop(job, None)  # it may hold a passphrase, and has no thread any more
            ended(job)
        if not self._jobs and self._timer is not None:
            self._root.after_cancel(self._timer)
            self._timer = None
