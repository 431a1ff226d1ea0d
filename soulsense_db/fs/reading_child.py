"""Read a file in a process of its own; :mod:`soulsense_db.fs.reading` starts it.

Run as ``python reading_child.py ACTION PATH BLOCK_BYTES``. It imports little: it starts in
milliseconds. What it reads goes to standard output; for ``starts`` once more for each byte that
comes in. What it reports goes to standard error, one
line each: ``done BYTES TOTAL`` per block, ``sha256 HEX``, and last either ``ended`` or
``errno ACTION NUMBER``, with what failed: ``read`` or ``write``.
"""

from __future__ import annotations

import os
import sys

START_BYTES = 100
"""How much ``start`` and ``sha256`` write: the header of an SQLite file."""


class _WriteError(Exception):
    """What was read could not be written; ``args``: the number of the error."""


def _say(*words: object) -> None:
    os.write(2, (" ".join(map(str, words)) + "\n").encode())


def _read(action: str, descriptor: int, block_bytes: int) -> None:
    total = os.fstat(descriptor).st_size
    if action == "start":
        _write(os.read(descriptor, START_BYTES))
        return
    if action == "starts":
        while os.read(0, 1):
            _write(os.pread(descriptor, START_BYTES, 0).ljust(START_BYTES, b"\0"))
        return
    digest = None
    if action == "sha256":
        import hashlib

        digest = hashlib.sha256()
        _write(os.pread(descriptor, START_BYTES, 0))
    done = 0
    while block := os.read(descriptor, block_bytes):
        if digest is not None:
            digest.update(block)
        else:
            _write(block)
        done += len(block)
        _say("done", done, max(done, total))
    if digest is not None:
        _say("sha256", digest.hexdigest())


def _write(block: bytes) -> None:
    try:
        write_all(1, block)
    except OSError as error:
        raise _WriteError(error.errno) from error


def write_all(descriptor: int, block: bytes) -> None:
    """Write all of ``block``, in several calls where the system takes a part at a time."""
    view = memoryview(block)
    while view:
        view = view[os.write(descriptor, view) :]


def main() -> int:
    """Do what the arguments say; 0 when it is done."""
    action, path, block_bytes = sys.argv[1:]
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        _read(action, descriptor, int(block_bytes))
    except _WriteError as error:
        _say("errno", "write", *error.args)
        return 1
    except OSError as error:
        _say("errno", "read", error.errno)
        return 1
    _say("ended")
    return 0


if __name__ == "__main__":
    sys.exit(main())
