"""Streams that count, hash and follow what passes when a backup is brought into a form or out."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from io import RawIOBase
from typing import Any

from soulsense_db.progress import Progress

_BLOCK = 1024 * 1024


class Counting:
    """A stream, how many bytes have passed, and a progress that is told of it."""

    def __init__(self, stream: Any, *, size: int = 0, progress: Progress | None = None) -> None:
        self._stream = stream  # a Reader or a Writer
        self._size = size
        self._progress = progress
        self.done = 0

    def read(self, size: int, /) -> bytes:
        """Read up to ``size`` bytes."""
        data: bytes = self._stream.read(size)
        self._passed(data)
        return data

    def write(self, data: bytes, /) -> None:
        """Write all of ``data``."""
        self._stream.write(data)
        self._passed(data)

    def read_all(self) -> None:
        """Read to the end."""
        while self.read(_BLOCK):
            pass

    def _passed(self, data: bytes) -> None:
        self.done += len(data)
        if self._progress is not None:
            self._progress(self.done, max(self.done, self._size))


class Hashing(Counting):
    """The same, and the SHA-256 of what has passed; ``passed`` is told how much each time."""

    def __init__(
        self,
        stream: Any,
        *,
        size: int = 0,
        progress: Progress | None = None,
        passed: Callable[[int], object] = lambda _: None,
    ) -> None:
        super().__init__(stream, size=size, progress=progress)
        self.digest = hashlib.sha256()
        self._tell = passed

    def _passed(self, data: bytes) -> None:
        self.digest.update(data)
        super()._passed(data)
        self._tell(len(data))


class Following:
    """A stream that is read while another thread writes it, up to what is written."""

    def __init__(self, stream: RawIOBase) -> None:
        self._stream = stream
        self._unread = 0
        self._is_whole = False
        self._changed = threading.Condition()

    def end(self) -> None:
        """Say that all is written."""
        with self._changed:
            self._is_whole = True
            self._changed.notify()

    def may_read(self, size: int) -> None:
        """Let ``size`` more bytes be read, which are written."""
        with self._changed:
            self._unread += size
            self._changed.notify()

    def read(self, size: int, /) -> bytes:
        """Wait for some; return none once all is written and read."""
        with self._changed:
            while not self._unread and not self._is_whole:
                self._changed.wait()
            data = self._stream.read(min(size, self._unread)) or b""
            self._unread -= len(data)
            return data


class Nowhere:
    """Where bytes are written that are only looked at."""

    def write(self, data: bytes, /) -> int:
        """Do nothing with ``data``."""
        return len(data)
