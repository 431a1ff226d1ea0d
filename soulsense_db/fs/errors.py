"""What the system refuses, as errors of the tree."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from soulsense_db.errors import (
    DirectoryIsAFileError,
    NotEnoughSpaceError,
    PermissionDeniedError,
    StorageError,
)

_FULL = {errno.ENOSPC, errno.EDQUOT}
DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
NOTHING_CHANGED = "Nothing was changed."
MAY_BE_LOST = "What was changed in it may not outlast a power cut."


@contextmanager
def storage_errors(
    action: str, path: str | os.PathLike[str], consequence: str = NOTHING_CHANGED
) -> Iterator[None]:
    """Turn an :class:`OSError` of the block into a :class:`StorageError` that names ``path``."""
    try:
        yield
    except OSError as error:
        raise as_storage_error(error, action, path, consequence) from error


def as_storage_error(
    error: OSError,
    action: str,
    path: str | os.PathLike[str],
    consequence: str = NOTHING_CHANGED,
) -> StorageError:
    """Return the error of the tree for ``error``.

    ``action``: a verb phrase without a subject; ``consequence``: what that means for the data.
    """
    name = os.fspath(path)
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        return NotEnoughSpaceError(
            f"Not enough space: could not {action} {name} ({reason}). {consequence}",
            hint="Free some space on that disk and try again.",
        )
    if error.errno in DENIED:
        return PermissionDeniedError(
            f"Permission denied: could not {action} {name} ({reason}). {consequence}",
            hint="Check who owns it and its permissions, or run as the user who does.",
        )
    if error.errno == errno.ENOTDIR:
        return DirectoryIsAFileError(
            f"Not a directory: could not {action} {name} ({reason}). {consequence}",
            hint="Move that file away, or name another backup directory.",
        )
    return StorageError(
        f"Storage error: could not {action} {name} ({reason}). {consequence}",
        hint="Check that the disk is there and healthy, then try again.",
    )
