"""Print how many MB encoding and decoding a differential take at their peak.

differential_memory.py MEGABYTES: of a database that is made up while it is read.
"""

from __future__ import annotations

import hashlib
import random
import sys
import tempfile
from pathlib import Path

from soulsense_db.codecs import Reader, decode_differential, encode_differential

MIB = 1024 * 1024
SIZE = int(sys.argv[1]) * MIB


class MadeUp:
    """The same random bytes again and again; every tenth page of a changed one is another."""

    def __init__(self, *, changed: bool) -> None:
        self._bytes = bytearray(random.Random(13).randbytes(MIB))
        if changed:
            for start in range(0, MIB, 40_960):
                self._bytes[start : start + 4096] = random.Random(start).randbytes(4096)
        self._at = 0

    def read(self, size: int, /) -> bytes:
        """Return up to as many bytes, faster than anybody encodes them."""
        start = self._at % MIB
        data = bytes(self._bytes[start : start + min(size, SIZE - self._at, 999_983)])
        self._at += len(data)
        return data


class Nowhere:
    """What is written is gone."""

    def write(self, _data: bytes, /) -> None:
        """Forget it."""


def peak() -> int:
    """Return the peak so far; not ru_maxrss, which begins with what the parent had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


def sha256_of(source: Reader) -> str:
    """Return the checksum of all that is in it."""
    sha256 = hashlib.sha256()
    while data := source.read(MIB):
        sha256.update(data)
    return sha256.hexdigest()


checksum = sha256_of(MadeUp(changed=False))
before = peak()
with tempfile.TemporaryFile() as differential:
    encode_differential(
        MadeUp(changed=True),
        differential,
        base=MadeUp(changed=False),
        base_size=SIZE,
        base_sha256=checksum,
        size=SIZE,
        threads=2,
        level=9,  # slower than what is read: it must not pile up
    )
    print("encode", peak() - before)
    differential.seek(0)
    decode_differential(differential, Nowhere(), base=MadeUp(changed=False), limit=SIZE)
    print("decode", peak() - before)
