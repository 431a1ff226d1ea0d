"""Seal and open a gigabyte, and print the memory before and at the peak, in MB.

age_peak.py keys|passphrase
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from pyrage import x25519

from soulsense_db.codecs import Identities, Recipients, Secret, decrypt, encrypt

SIZE = 1024 * 1024 * 1024
BLOCK = os.urandom(1024 * 1024)


class Source:
    """What there is a gigabyte of."""

    left = SIZE

    def read(self, size: int, /) -> bytes:
        """Return bytes while there are any."""
        size = min(size, self.left, len(BLOCK))
        self.left -= size
        return BLOCK[:size]


class Target:
    """What counts."""

    size = 0

    def write(self, data: bytes, /) -> None:
        """Count ``data``."""
        self.size += len(data)


def peak() -> int:
    """Return the peak so far; not ru_maxrss, which begins with what the parent had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


if sys.argv[1] == "keys":
    pair = x25519.Identity.generate()
    recipients = Recipients.of([str(pair.to_public())])
    identities = Identities(Secret.from_callable(lambda: str(pair)))
else:
    passphrase = Secret.from_callable(lambda: "correct horse battery staple")
    recipients = Recipients.with_passphrase(passphrase)
    identities = Identities(passphrase=passphrase)

before = peak()
reading, writing = os.pipe()
with os.fdopen(reading, "rb") as sealed:

    def seal() -> None:
        """Write the sealed stream into the pipe."""
        with os.fdopen(writing, "wb") as pipe:
            encrypt(Source(), pipe, recipients=recipients)

    side = threading.Thread(target=seal)
    side.start()
    target = Target()
    decrypt(sealed, target, identities=identities, limit=SIZE)
    side.join()
assert target.size == SIZE
print(before, peak())
