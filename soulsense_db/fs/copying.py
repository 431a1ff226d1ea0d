"""Copy files whole, and tell by their checksum that they are."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from soulsense_db.errors import Outcome, StorageError
from soulsense_db.fs import durable, reading
from soulsense_db.fs.errors import storage_errors, taken

Progress = Callable[[int, int], object]
"""Called with ``(done, total)``, bytes unless said otherwise; what it raises cancels the work.

A new backup can be cancelled up to the last call, which comes when the copy is checked, and then
leaves nothing; the last call of a restore finds it done. Any call may come in another thread.
"""

_BLOCK = 1024 * 1024


def sha256_of_own(path: Path, *, progress: Progress | None = None) -> str:
    """Return the SHA-256 of the file ``path``, which is ours alone, as 64 hexadecimal digits.

    Of any other file: :func:`soulsense_db.fs.reading.sha256_of`.
    """
    digest = hashlib.sha256()
    block = memoryview(bytearray(_BLOCK))
    done = 0
    with storage_errors("read", path), path.open("rb", buffering=0) as stream:
        total = os.fstat(stream.fileno()).st_size
        while read := stream.readinto(block):
            digest.update(block[:read])
            done += read
            if progress is not None:
                progress(done, max(done, total))
    return digest.hexdigest()


def copy_durably(
    source: Path,
    target: Path,
    *,
    progress: Progress | None = None,
    ready: Callable[[Path], object] = lambda _: None,
) -> None:
    """Copy ``source`` to ``target``, which must not exist; it is complete and on disk at return.

    ``ready`` is called with the copy before that has its name; what it raises cancels.
    """
    with storage_errors("read", source):
        size = source.stat().st_size
    partial = durable.free_partial_of(target)
    if os.path.lexists(target):
        raise taken(target)
    durable.require_space(target.parent, size)
    made = durable.create_private_file(partial)
    try:
        reading.copy_contents(source, partial, progress=progress)
        durable.sync_file(partial)
        # Its name too: what `ready` makes is found after a power cut by what leads to it.
        durable.sync_directory(target.parent, Outcome.UNCHANGED)
        ready(partial)
        durable.ensure_same_file(partial, made)
        _publish(partial, target)
    finally:
        with suppress(StorageError):  # what is left of it, the next copy of that name removes
            durable.remove(partial)


def _publish(partial: Path, target: Path) -> None:
    with storage_errors("rename to", target):
        try:
            os.link(partial, target)  # unlike a rename it never replaces what came meanwhile
        except FileExistsError:
            raise taken(target) from None
        except OSError:  # a file system without hard links
            durable.rename_or_not(partial, target)
            return
    try:
        durable.sync_directory(target.parent)
    except StorageError:
        durable.remove(target)  # the caller has the copy under its other name
        raise
