"""The parts in which a file goes to an object store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from soulsense_db.mirrors.base import CHUNK, Outgoing

_PART = 5 * CHUNK  # the smallest that S3 takes, but for the last one
_MOST_PARTS = 10_000
_AT_ONCE = 4
_MOST_MEMORY = _PART * _AT_ONCE


class Parts:
    """The parts of a file as they are uploaded, and their MD5s.

    Args:
        file: What is uploaded, once.

    Attributes:
        size: Bytes of each part but the last.
        at_once: How many may be under way.
        is_single: Whether there is no more than one.
        count: How many have been handed on.
        error: What reading them raised.
    """

    def __init__(self, file: Outgoing) -> None:
        self._file = file
        needed = -(-file.size_bytes // _MOST_PARTS)
        self.size = max(_PART, -(-needed // CHUNK) * CHUNK)
        self.at_once = max(1, min(_AT_ONCE, _MOST_MEMORY // self.size))
        self.is_single = file.size_bytes <= self.size
        self.count = 0
        self.error: BaseException | None = None
        self._digests: list[bytes] = []

    def __iter__(self) -> Iterator[bytes]:
        """Yield them."""
        try:
            for piece in self._file.chunks(self.size):
                # As the store does it; it protects from accidents, nothing else.
                self._digests.append(hashlib.md5(piece, usedforsecurity=False).digest())
                self.count += 1
                yield piece
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise

    def whole(self) -> bytes:
        """Return the only part."""
        first = b""
        for piece in self:  # to the end: there is more in a file that is not what it was
            first = first or piece
        return first

    def md5(self) -> str:
        """Return what S3 says of an object that was stored in these parts."""
        if self.is_single:
            return (self._digests or [hashlib.md5(usedforsecurity=False).digest()])[0].hex()
        of_all = hashlib.md5(b"".join(self._digests), usedforsecurity=False)
        return f"{of_all.hexdigest()}-{len(self._digests)}"
