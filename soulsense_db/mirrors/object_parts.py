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
        error: What reading them raised.
    """

    def __init__(self, file: Outgoing) -> None:
        self._file = file
        needed = -(-file.size_bytes // _MOST_PARTS)
        self.size = max(_PART, -(-needed // CHUNK) * CHUNK)
        self.at_once = max(1, min(_AT_ONCE, _MOST_MEMORY // self.size))
        self.is_single = file.size_bytes <= self.size
        self.error: BaseException | None = None
        self._begun = 0
        self._parts: list[hashlib._Hash] = []

    def __iter__(self) -> Iterator[bytes]:
        """Yield the file, in pieces of which a whole number makes a part."""
        try:
            for piece in self._file.chunks(CHUNK):
                if self._begun % self.size == 0:
                    # As the store does it; it protects from accidents, nothing else.
                    self._parts.append(hashlib.md5(usedforsecurity=False))
                self._parts[-1].update(piece)
                self._begun += len(piece)
                if self._begun <= self._file.size_bytes:  # else it grew: an error at its end
                    yield piece
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise

    @property
    def count(self) -> int:
        """How many have been begun."""
        return len(self._parts)

    def md5(self) -> str:
        """Return what S3 says of an object that was stored in these parts."""
        if self.is_single:
            return (self._parts or [hashlib.md5(usedforsecurity=False)])[0].hexdigest()
        digests = b"".join(part.digest() for part in self._parts)
        return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{self.count}"
