"""Long work of SQLite that can be cancelled.

While SQLite checks or sorts, no Python runs in the thread that called it, so that Ctrl-C would wait
for the end. The work therefore runs in a thread of its own, and the caller's waits in Python.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_LOOK_SECONDS = 0.05
_POLL_SECONDS = 0.25


def interruptible(
    work: Callable[[], T],
    *connections: sqlite3.Connection,
    poll: Callable[[], object] | None = None,
) -> T:
    """Return ``work()``, which uses ``connections`` that any thread may use.

    ``poll`` is called four times a second. What it raises, or Ctrl-C, interrupts the statements and
    comes out of here when the work has ended.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    ended = threading.Event()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread below
            errors.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=run, name="soulsense_db-check", daemon=True)
    thread.start()
    try:
        _wait(ended, poll)
    except BaseException:
        while not ended.is_set():  # between two statements there is nothing to interrupt
            for connection in connections:
                connection.interrupt()
            ended.wait(_LOOK_SECONDS)
        raise
    finally:
        thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _wait(ended: threading.Event, poll: Callable[[], object] | None) -> None:
    polled = time.monotonic()
    while not ended.wait(_LOOK_SECONDS):
        if poll is not None and time.monotonic() - polled >= _POLL_SECONDS:
            poll()
            polled = time.monotonic()
