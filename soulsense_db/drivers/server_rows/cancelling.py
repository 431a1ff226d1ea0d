"""Long work of a server that can be cancelled: Python waits for it in another thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.1


def cancellable(
    work: Callable[[], T], poll: Callable[[], object], cancel: Callable[[], object]
) -> T:
    """Return ``work()``, which the server does; what ``poll`` raises meanwhile ends it.

    ``cancel`` has the server end the statement that it is at.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def working() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread below
            errors.append(error)

    thread = threading.Thread(target=working, name="soulsense_db-rows", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            poll()
            thread.join(_POLL_SECONDS)
    except BaseException:
        while thread.is_alive():
            with suppress(Exception):  # between two statements there is nothing to cancel
                cancel()
            thread.join(_POLL_SECONDS)
        raise
    if errors:
        raise errors[0]
    return results[0]
