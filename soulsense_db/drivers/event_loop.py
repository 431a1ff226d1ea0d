"""An event loop in a thread of its own, in which an async engine makes and closes connections.

The caller may be in an event loop already, or in none.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from typing import Any, Self, TypeVar

from sqlalchemy.exc import DBAPIError

T = TypeVar("T")

_PATIENCE_SECONDS = 0.1


class EventLoop:
    """A running event loop; a context manager that ends it."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="soulsense_db-async", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    def call(
        self,
        coroutine: Coroutine[Any, Any, T],
        *,
        interrupt: Callable[[], object] = lambda: None,
    ) -> T:
        """Run ``coroutine`` and return its result.

        Where the caller is interrupted (Ctrl-C), ``interrupt`` is called until the coroutine has
        ended: nothing goes on in the background.
        """
        future: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException as error:
            while not future.done():
                interrupt()
                wait([future], timeout=_PATIENCE_SECONDS)
            if isinstance(error, DBAPIError) and error.orig is not None:
                raise error.orig from None
            raise
