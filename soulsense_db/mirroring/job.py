"""Work at a mirror, which may hang: its caller waits by the clock, and can be interrupted.

The work is done in a thread of its own. A call into a library, or into a file system of a network,
cannot be ended from outside: where it does not come back in time, the thread is left behind, and
ends at its next step. It is given a moment to remove what it has made.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from soulsense_db.errors import MirrorUnreachableError
from soulsense_db.mirroring.errors import broke_down, late
from soulsense_db.notices import collected_warnings, log_ignored, warn
from soulsense_db.progress import Progress

T = TypeVar("T")

_PAUSES_SECONDS = (1.0, 4.0)
_LOOK_SECONDS = 0.2
# What is done with files of ours ends within that time, and leaves nothing.
_CLEAN_UP_SECONDS = 2.0


class _StoppedError(Exception):
    """Nobody waits for this work any more."""


class Stop:
    """Whether somebody still waits for the work, and who is told how far it is."""

    def __init__(self, progress: Progress | None = None) -> None:
        self._event = threading.Event()
        self._progress = progress
        self._done = 0
        self.total = 0
        self.raised: BaseException | None = None
        """What the progress raised, to cancel the work."""

    def now(self) -> None:
        """End the work at its next step."""
        self._event.set()

    def check(self) -> None:
        """Raise where the work is to end."""
        if self._event.is_set():
            raise _StoppedError

    def pause(self, seconds: float) -> None:
        """Wait, but not when the work is to end."""
        self._event.wait(seconds)
        self.check()

    def told(self, done_bytes: int) -> None:
        """Hear how far the current object is."""
        self.check()
        if self._progress is not None:
            try:
                self._progress(min(self._done + done_bytes, self.total), self.total)
            except BaseException as error:
                self.raised = error
                raise

    def finished(self, size_bytes: int) -> None:
        """Hear that an object of so many bytes is done."""
        self._done += size_bytes


class _Job(Generic[T]):
    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self.ended = threading.Event()
        self.warnings: list[str] = []
        self.result: T
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with collected_warnings() as self.warnings:
                self.result = self._work()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            self.error = error
        finally:
            self.ended.set()


def waited_for(
    work: Callable[[Stop], T],
    *,
    address: str,
    deadline: float | None,
    progress: Progress | None = None,
) -> T:
    """Return what ``work`` returns; it is given what it has to ask whether it may go on.

    ``deadline``: seconds, then :class:`~soulsense_db.errors.MirrorUnreachableError` is raised; None
    waits for as long as it takes. ``progress`` is called in the thread of the work.
    """
    stop = Stop(progress)
    context = contextvars.copy_context()
    job = _Job(lambda: work(stop))
    # A daemon: one that hangs in a system call must not keep the program from its end.
    thread = threading.Thread(
        target=context.run, args=(job.run,), name=f"mirror {address}", daemon=True
    )
    until = None if deadline is None else time.monotonic() + deadline
    thread.start()
    try:
        # In short turns, so that an interrupt is heard on every system.
        while not job.ended.wait(_LOOK_SECONDS):
            if until is not None and time.monotonic() >= until:
                assert deadline is not None
                raise late(address, deadline)
    except BaseException:
        # Perhaps the program ends now, and with it the thread, wherever it is: with data that is
        # decrypted for a while, or a folder for a while.
        stop.now()
        job.ended.wait(_CLEAN_UP_SECONDS)
        raise
    for text in job.warnings:
        warn(text)
    if job.error is not None:
        ordinary = isinstance(job.error, Exception | KeyboardInterrupt | SystemExit)
        if not ordinary and job.error is not stop.raised:
            # A library that is not written in Python has errors of its own for its own faults.
            raise broke_down(address, type(job.error).__name__) from job.error
        raise job.error
    return job.result


def persistently(step: Callable[[], T], stop: Stop) -> T:
    """Return what ``step`` returns; it is done again, after a pause, where the connection broke."""
    for seconds in _PAUSES_SECONDS:
        stop.check()
        try:
            return step()
        except MirrorUnreachableError as error:
            log_ignored(f"Another try follows in {seconds:g} seconds", error)
            stop.pause(seconds)
    stop.check()
    return step()
