"""Copy files whole, and tell by their checksum that they are."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from soulsense_db.errors import Outcome, StorageError
from soulsense_db.fs import durable, reading, space
from soulsense_db.fs.errors import storage_errors, taken
from soulsense_db.notices import ignoring, log_ignored
from soulsense_db.progress import Progress

_BLOCK = 1024 * 1024
_MOST_AT_ONCE = 1024 * _BLOCK


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


def copy_own(source: Path, target: Path) -> None:
    """Copy ``source`` over the existing file ``target``: both are ours alone, and nobody's open.

    The system copies, and shares the blocks where the file system can.
    """
    with (
        storage_errors("copy to", target),
        source.open("rb") as reader,
        target.open("wb") as writer,
    ):
        if _copied_by_system(reader.fileno(), writer.fileno()):
            return
        for descriptor in (reader, writer):
            descriptor.seek(0)
        writer.truncate()
        shutil.copyfileobj(reader, writer, _BLOCK)


def _copied_by_system(reader: int, writer: int) -> bool:
    try:
        while os.copy_file_range(reader, writer, _MOST_AT_ONCE):
            pass
    except (AttributeError, OSError) as error:  # a system or a file system without it; a full one
        log_ignored("The system does not copy the file by itself", error)
        return False
    return True


@contextmanager
def durable_copy(source: Path, target: Path, *, progress: Progress | None = None) -> Iterator[Path]:
    """Copy ``source`` to ``target``, which must not exist; yield the whole copy without its name.

    It has that, on disk, at the end of the block; what the block raises leaves nothing.
    """
    with storage_errors("read", source):
        size = source.stat().st_size
    partial = durable.free_partial_of(target)
    if os.path.lexists(target):
        raise taken(target)
    space.require_space(target.parent, size)
    created = durable.create_private_file(partial)
    try:
        reading.copy_contents(source, partial, progress=progress)
        durable.sync_file(partial)
        # Its name too: what the block makes is found after a power cut by what leads to it.
        durable.sync_directory(target.parent, Outcome.UNCHANGED)
        yield partial
        durable.ensure_same_file(partial, created)
        _publish(partial, target)
    finally:
        # What is left of it, the next copy of that name removes.
        with ignoring(StorageError, what=f"{partial} is left over"):
            durable.remove(partial)


def _publish(partial: Path, target: Path) -> None:
    with storage_errors("rename to", target):
        try:
            os.link(partial, target)  # unlike a rename it never replaces what came meanwhile
        except FileExistsError:
            raise taken(target) from None
        except OSError as error:  # a file system without hard links
            log_ignored(f"No hard link could be made to {target}", error)
            durable.rename_or_not(partial, target)
            return
    try:
        durable.sync_directory(target.parent)
    except StorageError:
        durable.remove(target)  # the caller has the copy under its other name
        raise
