"""Waiting for a network in a way that Ctrl-C interrupts.

The functions of the library for object stores that wait themselves cannot be interrupted, however
long it takes; those for event loops can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ParamSpec, Self, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Waiting:
    """An event loop to wait in, for this thread and as long as it is entered."""

    def __enter__(self) -> Self:
        """Make it."""
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self._runner.close()

    def answer(self, ask: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``ask`` in the event loop; return what it leads to."""

        async def asked() -> T:
            return await ask(*args, **kwargs)

        return self._runner.run(asked())


def answer(ask: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call ``ask`` in an event loop of its own; return what it leads to."""
    with Waiting() as waiting:
        return waiting.answer(ask, *args, **kwargs)
