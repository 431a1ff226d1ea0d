"""What stands for a value that is too long to be kept in memory."""

from __future__ import annotations

import codecs
import hashlib
from typing import Any, Protocol

from soulsense_db.drivers.diff_report import LongValue, Value

_BLOCK = 1024 * 1024
_START = 200
_SURROGATES = "surrogateescape"


class _Readable(Protocol):
    def read(self, length: int, /) -> bytes: ...


def shortened(value: Any, most: int, encoding: str = "UTF-8") -> Value:
    """Return ``value``, or what stands for one of more than ``most`` bytes in ``encoding``."""
    if isinstance(value, bytes) and len(value) > most:
        digest = hashlib.sha256(value).hexdigest()
        return LongValue(kind="blob", length=len(value), sha256=digest, start=value[:_START])
    if isinstance(value, str) and bytes_of(value, encoding) > most:
        digest = hashlib.sha256(value.encode(errors=_SURROGATES)).hexdigest()
        return LongValue(kind="text", length=len(value), sha256=digest, start=value[:_START])
    found: Value = value
    return found


def bytes_of(text: str, encoding: str) -> int:
    """Return how many bytes ``text`` takes in a database of this encoding."""
    # In UTF-16, halves of pairs that are alone have come as three bytes each.
    return len(text.encode(encoding, errors=_SURROGATES if encoding == "UTF-8" else "replace"))


def read_long_value(blob: _Readable, kind: str, encoding: str) -> LongValue:
    """Read a value in blocks; of text what is compared is text, whatever bytes there are for it."""
    digest = hashlib.sha256()
    length, start = 0, b""
    if kind != "text":
        while block := blob.read(_BLOCK):
            digest.update(block)
            length += len(block)
            start = start or block[:_START]
        return LongValue(kind="blob", length=length, sha256=digest.hexdigest(), start=start)
    errors = _SURROGATES if encoding == "UTF-8" else "surrogatepass"
    decoder = codecs.getincrementaldecoder(encoding)(errors=errors)
    beginning = ""
    while True:
        block = blob.read(_BLOCK)
        text = decoder.decode(block, final=not block)
        digest.update(text.encode(errors=errors))
        length += len(text)
        beginning = beginning or text[:_START]
        if not block:
            return LongValue(kind="text", length=length, sha256=digest.hexdigest(), start=beginning)
