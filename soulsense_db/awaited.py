"""Blocking work, awaited: it runs in a thread, and goes on no longer than somebody waits for it."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

from soulsense_db.notices import log_ignored
from soulsense_db.progress import Progress

M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)
P = ParamSpec("P")
T = TypeVar("T")


class _Asynchronous(Protocol[M_co]):
    """What has an object whose methods are awaited."""

    @property
    def sync_manager(self) -> M_co:
        """The object, whose methods block."""


class Awaited(Generic[M, P, T]):
    """A method of ``sync_manager``, to be awaited; its progress stops it when that is cancelled.

    ``is_done_at_the_last_call``: the last call of its progress comes too late to stop it.
    """

    def __init__(
        self, method: Callable[Concatenate[M, P], T], *, is_done_at_the_last_call: bool = False
    ) -> None:
        self._method: Callable[..., T] = method
        self._can_stop = "progress" in inspect.signature(method).parameters
        self._until_done = is_done_at_the_last_call
        self.__doc__ = f"Await it: what ``sync_manager.{method.__name__}`` does."

    @overload
    def __get__(self, manager: None, owner: type) -> Self: ...
    @overload
    def __get__(
        self, manager: _Asynchronous[M], owner: type
    ) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(
        self, manager: _Asynchronous[M] | None, owner: type
    ) -> Self | Callable[P, Coroutine[Any, Any, T]]:
        """Return the method of ``manager``."""
        if manager is None:
            return self
        bound = functools.partial(self._method, manager.sync_manager)

        @functools.wraps(self._method)
        async def call(*args: Any, progress: Progress | None = None, **kwargs: Any) -> T:
            stop = _Stop(progress, until_done=self._until_done)
            if self._can_stop or progress is not None:  # else it is Python that refuses it
                kwargs["progress"] = stop
            return await in_a_thread(functools.partial(bound, *args, **kwargs), stop=stop)

        # To mypy it has a keyword of its own, "progress", which the parameters P may have as well.
        return call  # type: ignore[return-value]


async def in_a_thread(work: Callable[[], T], *, stop: _Stop | None = None) -> T:
    """Return what ``work`` returns, done in a thread of its own.

    Where the task is cancelled, ``stop`` has the work end early; in any case it has ended when the
    ``CancelledError`` is raised, which has a note when the work was done nevertheless.
    """
    # Not in the loop's own executor: what waits there for a lock keeps others from their work.
    executor = ThreadPoolExecutor(1, thread_name_prefix="soulsense_db")
    run = functools.partial(contextvars.copy_context().run, _outcome_of, work)
    running = asyncio.get_running_loop().run_in_executor(executor, run)
    executor.shutdown(wait=False)  # once it has done that
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError as error:  # one after another, when a loop is closed
            cancelled = cancelled or error
            if stop is not None:
                stop.is_asked_for = True
    result, raised = running.result()
    if cancelled is None:
        if raised is not None:
            raise raised
        return result  # type: ignore[return-value]
    if raised is None:
        cancelled.add_note("The work was done nevertheless.")
    elif not isinstance(raised, _Stopped):
        log_ignored("Cancelled work failed", raised)
    raise cancelled


class _Stopped(BaseException):
    """The task that waited was cancelled: an interrupt, and no failure of the work."""


class _Stop:
    """The progress of work that can be stopped, and passes on to ``progress`` how far it is."""

    def __init__(self, progress: Progress | None, *, until_done: bool) -> None:
        if inspect.iscoroutinefunction(progress):
            raise TypeError("progress is async: nobody would await it.")
        self.is_asked_for = False
        self._progress = progress
        self._until_done = until_done

    def __call__(self, done: int, total: int) -> None:
        if self.is_asked_for and not (self._until_done and done >= total):
            raise _Stopped
        if self._progress is not None:
            self._progress(done, total)


def _outcome_of(work: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    """Return what ``work`` returns or raises: an executor would change some errors."""
    try:
        return work(), None
    except BaseException as error:  # noqa: BLE001 - raised where it is waited for
        return None, error
