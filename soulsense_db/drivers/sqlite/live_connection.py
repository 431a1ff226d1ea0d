"""A connection to the live database, run in the thread that it belongs to."""

from __future__ import annotations

import inspect
import sqlite3
import threading
import traceback
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.util import greenlet_spawn

from soulsense_db.drivers.event_loop import EventLoop
from soulsense_db.drivers.sqlite.refusals import other_library

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


class LiveConnection(ABC):
    """A connection to the live database. ``run`` and ``close`` are the only ways to use it."""

    @abstractmethod
    def run(self, work: Work[T]) -> T:
        """Return ``work(connection)`` of the raw connection, in the thread it belongs to."""

    @abstractmethod
    def close(self) -> None:
        """Close it; a second call does nothing."""


class PlainConnection(LiveConnection):
    """A connection of :mod:`sqlite3` itself, in the thread of whoever uses it."""

    def __init__(self, record: ConnectionPoolEntry, raw: sqlite3.Connection) -> None:
        self._record = record
        self._raw = raw

    def run(self, work: Work[T]) -> T:
        """Return ``work(connection)``."""
        with _forgetting_cursors():
            return work(self._raw)

    def close(self) -> None:
        """Close it as the application's pool would."""
        try:
            self._record.close()
        except Exception:  # noqa: BLE001 - a "close" event of the application, which came first
            self._raw.close()


class AsyncConnection(LiveConnection):
    """A connection of aiosqlite, which has a thread for it."""

    def __init__(self, loop: EventLoop, record: ConnectionPoolEntry) -> None:
        self._loop = loop
        self._record = record
        self._driver: Any = record.driver_connection
        self._closed = False

    def run(self, work: Work[T]) -> T:
        """Return ``work(connection)``, done in aiosqlite's thread."""
        return run_in_its_thread(self._loop, self._driver, work)

    def close(self) -> None:
        """Close it, and end the event loop that it was made in."""
        if self._closed:
            return
        self._closed = True
        try:
            self._loop.call(greenlet_spawn(self._record.close))
        except Exception:  # noqa: BLE001 - as above
            self._loop.call(self._driver.close())
        finally:
            self._loop.__exit__()


def run_in_its_thread(loop: EventLoop, driver: Any, work: Work[T]) -> T:
    """Return ``work(connection)`` of a connection of aiosqlite, run in the thread that it has."""
    raw = innermost(driver)
    interrupted = threading.Event()

    def interrupt() -> None:
        interrupted.set()
        raw.interrupt()

    def in_its_thread() -> tuple[T, None] | tuple[None, BaseException]:
        _this_thread.interrupted = interrupted
        try:
            return work(raw), None
        # asyncio cannot set a StopIteration on a future; a KeyboardInterrupt or SystemExit would
        # end the event loop instead of the call: with all of them we would wait for ever.
        except BaseException as error:  # noqa: BLE001 - raised below
            return None, error
        finally:
            del _this_thread.interrupted

    with _forgetting_cursors():
        running: Coroutine[Any, Any, Any] = driver._execute(in_its_thread)
        result, raised = loop.call(running, interrupt=interrupt)
        if raised is not None:
            raise raised
    # It is what work returned; aiosqlite has no type for that.
    return result  # type: ignore[no-any-return]


_this_thread = threading.local()


def require_not_interrupted() -> None:
    """Raise ``KeyboardInterrupt`` where the thread that waits for this one was interrupted.

    ``sqlite3.Connection.interrupt`` does not end a running ``backup()``.
    """
    interrupted: threading.Event | None = getattr(_this_thread, "interrupted", None)
    if interrupted is not None and interrupted.is_set():
        raise KeyboardInterrupt


@contextmanager
def _forgetting_cursors() -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        forget_cursors(error)
        raise


def forget_cursors(error: BaseException | None) -> None:
    """Clear what the frames of ``error`` hold.

    A cursor in one of them, a connect event's say, keeps the connection from closing for as long as
    somebody holds the error, and an exclusive locking mode its locks with it. asyncio's futures
    hold each other and their errors in circles.
    """
    seen = set[int]()
    while error is not None and id(error) not in seen:  # the chain may be a circle
        seen.add(id(error))
        for frame, _ in traceback.walk_tb(error.__traceback__):
            # One that is suspended would be closed: a request of the application that has raised
            # this very error before and goes on now.
            if not frame.f_code.co_flags & _MAY_BE_SUSPENDED or _is_of_a_driver(frame):
                with suppress(RuntimeError):  # it is running
                    frame.clear()
        error = error.__cause__ or error.__context__


_MAY_BE_SUSPENDED = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


def _is_of_a_driver(frame: types.FrameType) -> bool:
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return package in {"soulsense_db", "sqlalchemy", "aiosqlite"}


def innermost(connection: Any) -> sqlite3.Connection:
    """Return the connection of :mod:`sqlite3` inside all wrappers.

    Raises :class:`UnsupportedDatabaseError` when it is of another SQLite library.
    """
    found = connection
    for _ in range(_MOST_WRAPPERS):
        if issubclass(type(found), sqlite3.Connection):
            return found  # type: ignore[no-any-return]
        # aiosqlite has it as _conn, proxies of tracing libraries as __wrapped__.
        inner = getattr(found, "_conn", None) or getattr(found, "__wrapped__", None)
        if inner is None:
            break
        found = inner
    raise other_library(type(found).__module__)


_MOST_WRAPPERS = 5
