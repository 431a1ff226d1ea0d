"""Streams: what is read from, what is written to, and steps in a row that run side by side."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
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

    Both run at the same time, ``first`` in a thread of its own once ``second`` reads, and neither
    gets far ahead: memory stays flat. What either raises ends both; where both raise, the error is
    that of who was first.
    """

    def both(source: Reader, target: Writer) -> None:
        reading, writing = os.pipe()
        with (
            os.fdopen(writing, "wb", buffering=0) as pipe,
            ThreadPoolExecutor(1, thread_name_prefix="soulsense_db-pipe") as side,
            os.fdopen(reading, "rb", buffering=0) as inner,  # closed first: it ends the other side
        ):

            def feed() -> None:
                with pipe:
                    first(source, WholeWriter(pipe))

            reader = _StartingReader(inner, lambda: side.submit(feed))
            try:
                second(reader, target)
                reader.start()  # where nothing was read, what it raises is not lost
            except Exception:  # an interrupt is nobody's fault, and is raised as it is
                inner.close()
                cause = reader.feeding.exception() if reader.feeding else None
                if cause is not None and not isinstance(cause, BrokenPipeError):
                    raise cause from None
                raise
            inner.close()
            reader.start().result()

    return both


class _StartingReader:
    """A stream that starts what writes it when it is first read."""

    def __init__(self, stream: FileIO, submit: Callable[[], Future[None]]) -> None:
        self._stream = stream
        self._submit = submit
        self.feeding: Future[None] | None = None

    def start(self) -> Future[None]:
        """Return what writes it."""
        if self.feeding is None:
            self.feeding = self._submit()
        return self.feeding

    def read(self, size: int, /) -> bytes:
        self.start()
        return self._stream.read(size)


class WholeWriter:
    """A pipe, or a file without a buffer, made to take all of what is written."""

    def __init__(self, raw: FileIO) -> None:
        self._raw = raw

    def write(self, data: bytes, /) -> None:
        """Write all of ``data``."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._raw.write(rest) :]
