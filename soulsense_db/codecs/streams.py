"""Streams: what is read from, what is written to, and steps in a row that run side by side."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from typing import Protocol


class Reader(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes; none at the end."""


class Writer(Protocol):
    """What bytes are written to."""

    def write(self, data: bytes, /) -> object:
        """Write all of ``data``."""


Transform = Callable[[Reader, Writer], None]
"""Reads one stream to its end and writes another."""


def piped(first: Transform, second: Transform) -> Transform:
    """Return a transform that sends what ``first`` writes through ``second``.

    Both run at the same time, ``first`` in a thread of its own, and neither gets far ahead: memory
    stays flat. What either raises ends both; where both raise, the error is that of who was first.
    """

    def both(source: Reader, target: Writer) -> None:
        reading, writing = os.pipe()
        with (
            ThreadPoolExecutor(1, thread_name_prefix="soulsense_db-pipe") as side,
            os.fdopen(reading, "rb", buffering=0) as inner,  # closed first: it ends the other side
        ):

            def feed() -> None:
                with os.fdopen(writing, "wb", buffering=0) as pipe:
                    first(source, WholeWriter(pipe))

            feeding = side.submit(feed)
            try:
                second(inner, target)
            except Exception:  # an interrupt is nobody's fault, and is raised as it is
                inner.close()
                cause = feeding.exception()
                if cause is not None and not isinstance(cause, BrokenPipeError):
                    raise cause from None
                raise
            inner.close()
            feeding.result()

    return both


class WholeWriter:
    """A pipe, or a file without a buffer, made to take all of what is written."""

    def __init__(self, raw: FileIO) -> None:
        self._raw = raw

    def write(self, data: bytes, /) -> None:
        """Write all of ``data``."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._raw.write(rest) :]
