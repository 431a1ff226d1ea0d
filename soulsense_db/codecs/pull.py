"""A stream that is decoded while it is read: the plain base of a differential, for example."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from io import FileIO

from soulsense_db.codecs.streams import Reader, Transform, WholeWriter


@contextmanager
def pulled(transform: Transform, source: Reader) -> Iterator[Reader]:
    """Yield a reader of what ``transform`` makes of ``source``, in a thread of its own.

    It does not get far ahead: memory stays flat. What it raises is raised where its end is read,
    and not at all if nobody reads that far.
    """
    reading, writing = os.pipe()
    with (
        ThreadPoolExecutor(1, thread_name_prefix="soulsense_db-pulled") as side,
        os.fdopen(reading, "rb", buffering=0) as pipe,  # closed first: it ends the other side
    ):

        def feed() -> None:
            with os.fdopen(writing, "wb", buffering=0) as inner:
                transform(source, WholeWriter(inner))

        yield _Pulled(pipe, side.submit(feed))


class _Pulled:
    def __init__(self, pipe: FileIO, feeding: Future[None]) -> None:
        self._pipe = pipe
        self._feeding = feeding

    def read(self, size: int, /) -> bytes:
        if not (data := self._pipe.read(size)) and size:
            self._feeding.result()
        return data
