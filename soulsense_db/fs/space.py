"""How much room there is."""

from __future__ import annotations

import shutil
from pathlib import Path

from soulsense_db.fs.durable import exists
from soulsense_db.fs.errors import not_enough_space, storage_errors

# Beside what an operation copies: meta file, lock files, directory blocks.
_MARGIN = 256 * 1024


def require_space(directory: Path, needed: int) -> None:
    """Raise :class:`NotEnoughSpaceError` unless ``directory``'s disk has ``needed`` bytes free.

    And a little more. The directory need not exist yet. Where the file system does not tell, that
    is found out when it is written to.
    """
    needed += _MARGIN
    free = free_space(directory)
    if free is not None and free < needed:
        raise not_enough_space(directory, needed, free)


def free_space(directory: Path) -> int | None:
    """Return the bytes free for ``directory``, or for its nearest existing parent.

    None where the file system does not tell, as some network shares do not: it says that it has no
    bytes at all.
    """
    existing = nearest_existing(directory)
    with storage_errors("read the free space of", existing):
        found = shutil.disk_usage(existing)
    return found.free if found.total else None


def nearest_existing(directory: Path) -> Path:
    """Return ``directory``, or the nearest one above it that exists."""
    while not exists(directory) and directory != directory.parent:
        directory = directory.parent
    return directory
