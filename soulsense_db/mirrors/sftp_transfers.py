"""Contents of files on an SFTP server: sent and read with many requests under way.

All that waits for the server raises :class:`TimeoutError` after so many seconds without an answer.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable
from typing import TypeVar

import asyncssh

from soulsense_db.notices import log_ignored

T = TypeVar("T")

WINDOW = 4 * 1024 * 1024
"""Bytes that are under way at most: sent and not confirmed, or asked for and not come."""
_PIECE = 2 * 1024 * 1024
_PIECE_SECONDS = 0.5
_SMALL_BLOCK = 32 * 1024
# A block should take this part of the timeout at most: an answer comes for a whole one only.
_SHARE = 1 / 16


class Pace:
    """How large blocks are: large for throughput, small where the network is slow.

    Args:
        largest: What the server takes.
        timeout: Seconds in which a block must have been answered.
    """

    def __init__(self, largest: int, timeout: float) -> None:
        self.timeout = timeout
        self._largest = largest
        self._since = time.monotonic()
        self._done_bytes = 0
        self.block = min(_SMALL_BLOCK, largest)

    def tell(self, done_bytes: int) -> None:
        """Take notice of so many bytes that were answered."""
        self._done_bytes += done_bytes
        rate = self._done_bytes / max(1e-6, time.monotonic() - self._since)
        fitting = int(rate * self.timeout * _SHARE)
        self.block = max(min(_SMALL_BLOCK, self._largest), min(self._largest, fitting))

    async def answer(self, awaited: Awaitable[T]) -> T:
        """Return what a single request is answered."""
        async with asyncio.timeout(self.timeout):
            return await awaited


class Upload:
    """Writes to a file from ``start`` on, many at a time."""

    def __init__(self, file: asyncssh.SFTPClientFile, pace: Pace, *, start: int) -> None:
        self._file = file
        self._pace = pace
        self._offset = start
        self._under_way: dict[asyncio.Task[int], int] = {}
        self._bytes = 0

    async def add(self, data: bytes) -> None:
        """Send more; return once it is under way."""
        rest = memoryview(data)
        while rest:
            block = bytes(rest[: self._pace.block])
            while self._bytes and self._bytes + len(block) > WINDOW:
                await self._wait()
            task = asyncio.ensure_future(self._file.write(block, self._offset))
            self._under_way[task] = len(block)
            self._bytes += len(block)
            self._offset += len(block)
            rest = rest[len(block) :]

    async def finish(self) -> None:
        """Return once all is confirmed, and on the server's disk where it has a word for that."""
        while self._under_way:
            await self._wait()
        try:
            await self._pace.answer(self._file.fsync())
        except asyncssh.SFTPOpUnsupported as error:
            log_ignored("The server cannot be asked to flush a file", error)

    async def _wait(self) -> None:
        done, _ = await asyncio.wait(
            self._under_way, timeout=self._pace.timeout, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            raise TimeoutError
        for task in done:
            size = self._under_way.pop(task)
            self._bytes -= size
            task.result()
            self._pace.tell(size)

    async def close(self) -> None:
        """Stop, and close the file."""
        await _cancelled(self._under_way)
        await _close(self._file, self._pace)


class Download:
    """Reads of a file from ``start`` to ``end``, many at a time."""

    def __init__(self, file: asyncssh.SFTPClientFile, pace: Pace, *, start: int, end: int) -> None:
        self._file = file
        self._pace = pace
        self._next = start
        self._end = end
        self._under_way: deque[asyncio.Task[bytes]] = deque()
        self._bytes = 0
        self._broken: Exception | None = None

    async def piece(self) -> bytes:
        """Return the next bytes, a few MB at most; nothing at the end.

        The event loop runs only in here: it is worth while to stay for more. What has come before
        the connection broke is returned, and the error is raised by the next call.
        """
        if self._broken is not None:
            raise self._broken
        found: list[bytes] = []
        size = 0
        since = time.monotonic()
        while size < _PIECE and not (found and time.monotonic() - since > _PIECE_SECONDS):
            self._ask()
            if not self._under_way:
                break
            try:
                data = await self._first()
            except (OSError, asyncssh.Error) as error:
                if not found:
                    raise
                self._broken = error
                break
            if not data:  # it is shorter than it was
                self._next = self._end
                break
            found.append(data)
            size += len(data)
        return b"".join(found)

    def _ask(self) -> None:
        while self._next < self._end and self._bytes < WINDOW:
            size = min(self._pace.block, self._end - self._next)
            self._under_way.append(asyncio.ensure_future(self._block(self._next, size)))
            self._bytes += size
            self._next += size

    async def _block(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes, less at the end of the file only."""
        data = b""
        while len(data) < size:
            more: bytes = await self._file.read(size - len(data), offset + len(data))
            if not more:
                break
            data = data + more if data else more
        self._bytes -= size
        self._pace.tell(size)
        return data

    async def _first(self) -> bytes:
        task = self._under_way[0]
        while not task.done():
            # Another one that comes before it is an answer, too.
            waiting = [one for one in self._under_way if not one.done()]
            done, _ = await asyncio.wait(
                waiting, timeout=self._pace.timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                raise TimeoutError
        self._under_way.popleft()
        return task.result()

    async def close(self) -> None:
        """Stop, and close the file."""
        await _cancelled(self._under_way)
        await _close(self._file, self._pace)


async def _cancelled(tasks: dict[asyncio.Task[int], int] | deque[asyncio.Task[bytes]]) -> None:
    for task in tasks:
        task.cancel()
    # Else asyncio complains of errors that nobody has seen; the first one was raised.
    await asyncio.gather(*tasks, return_exceptions=True)
    tasks.clear()


async def _close(file: asyncssh.SFTPClientFile, pace: Pace) -> None:
    try:
        await pace.answer(file.close())
    except asyncssh.SFTPError as error:
        log_ignored("A file on the server could not be closed", error)
