"""The one piece of work that the window does at a time: what comes before, meanwhile and after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from soulsense_db.dialog import texts
from soulsense_db.dialog.bars import StatusBar
from soulsense_db.dialog.jobs import Cancelled, Job, Workers
from soulsense_db.dialog.translation import _

T = TypeVar("T")
_Failed = Callable[[BaseException | None], object]


class TaskWindow(Protocol):
    """What a task uses of its window."""

    status: StatusBar
    is_gone: bool

    def allow(self) -> None:
        """Let be pressed what makes sense now."""

    def work_ended(self, *, may_close: bool) -> None:
        """Show what has changed."""

    def show_error(self, error: BaseException) -> None:
        """Tell of ``error`` in a window of its own."""


class Task:
    """Work of ``window``, told of in its status bar.

    ``name``: what is being done, as the texts call it, or empty.
    """

    def __init__(self, window: TaskWindow, workers: Workers) -> None:
        self._window = window
        self._workers = workers
        self._job: Job[Any] | None = None
        self.name = ""

    def run(
        self,
        name: str,
        label: str,
        work: Callable[[Job[T]], T],
        *,
        then: Callable[[T], object],
        prepare: Callable[[], bool] = lambda: True,
        before: str = "",
        afterwards: str = "",
        failed: _Failed = lambda _: None,
        may_be_left: bool = False,
    ) -> None:
        """Do ``work`` in a thread, then ``then`` with what it returned.

        ``name``: it can be cancelled where there is a text for that. ``label``: shown meanwhile,
        ``before`` until the first byte is done, ``afterwards`` when all are. ``prepare``: called
        first, while nothing else can be begun any more; nothing is done where it returns False.
        ``failed``: called with its error when the work was cancelled or did not work, before that
        is told; with None when it was not begun. ``may_be_left``: as for :class:`Workers`.
        """
        assert not self.name, "who calls this has asked whether the window is free"
        self.name = name
        self._window.allow()
        ready = False
        try:
            ready = prepare()
        finally:
            if not ready:
                self.name = ""
                self._window.allow()
        if not ready:
            return
        if self._window.is_gone:  # what was prepared has closed it
            failed(None)
            return

        def reached(job: Job[T]) -> None:
            if job.reached is None or job.is_cancelled:
                return
            done, total = job.reached
            if done >= total and afterwards:
                self._window.status.wait(_(afterwards))
            else:
                self._window.status.advance(_(label), done, total)

        def ended(job: Job[T]) -> None:
            self._end(job, then, failed)

        cancel = self.cancel if name in texts.CANCELLED else None
        self._window.status.work(_(before or label), cancel=cancel)
        self._job = self._workers.start(work, ended=ended, reached=reached, may_be_left=may_be_left)

    def cancel(self) -> None:
        """Ask the work to stop."""
        if self._job is not None:
            self._job.cancel()
            self._window.status.stop()

    def _end(self, job: Job[T], then: Callable[[T], object], failed: _Failed) -> None:
        name, self.name, self._job = self.name, "", None
        self._window.status.tell("")
        # Where it was too late to cancel, nobody may think that it is not done; nor that it is,
        # where it failed.
        cancelled = isinstance(job.error, Cancelled)
        unexpected = not cancelled and (job.error is not None or job.is_cancelled)
        try:
            self._tell(name, job, then, failed)
        finally:
            self._window.work_ended(may_close=not unexpected)

    def _tell(self, name: str, job: Job[T], then: Callable[[T], object], failed: _Failed) -> None:
        if job.error is None:
            then(job.result)
            return
        failed(job.error)
        if self._window.is_gone:  # the application may close it when its data has changed
            return
        if isinstance(job.error, Cancelled):
            self._window.status.tell(_(texts.CANCELLED[name]))
        else:
            self._window.show_error(job.error)
