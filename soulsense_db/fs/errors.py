"""What the system refused, and what this wing refuses itself, as errors of the tree."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from soulsense_db.errors import (
    DirectoryIsAFileError,
    NotEnoughSpaceError,
    Outcome,
    PermissionDeniedError,
    StorageError,
    UntrustedDirectoryError,
)
from soulsense_db.shown_text import shell_command

DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def storage_errors(
    action: str, path: str | os.PathLike[str], outcome: Outcome = Outcome.UNCHANGED
) -> Iterator[None]:
    """Turn an :class:`OSError` of the block into a :class:`StorageError` that names ``path``."""
    try:
        yield
    except OSError as error:
        raise as_storage_error(error, action, path, outcome) from error


def as_storage_error(
    error: OSError,
    action: str,
    path: str | os.PathLike[str],
    outcome: Outcome = Outcome.UNCHANGED,
) -> StorageError:
    """Return the error of the tree for ``error``; ``action``: a verb phrase without a subject."""
    reason = error.strerror or str(error)
    named = Path(path)  # or a phrase, where there is no path yet
    kind, title, hint = _kind_of(error.errno)
    return kind(
        f"{title}: could not {action} {os.fspath(path)} ({reason}).",
        outcome=outcome,
        hint=hint,
        path=named if named.is_absolute() else None,
        reason=reason,
    )


def _kind_of(code: int | None) -> tuple[type[StorageError], str, str]:
    if code in _FULL:
        hint = "Free some space on that disk and try again."
        return NotEnoughSpaceError, "Not enough space", hint
    if code in DENIED:
        hint = "Check its owner and permissions, or run the command as its owner."
        return PermissionDeniedError, "Permission denied", hint
    if code == errno.ENOTDIR:
        hint = (
            "A file is in the place of a directory. Move it away, or name another backup directory."
        )
        return DirectoryIsAFileError, "Not a directory", hint
    hint = "Check that the disk is connected and healthy, then try again."
    return StorageError, "Storage error", hint


def not_enough_space(directory: Path, needed: int, free: int) -> NotEnoughSpaceError:
    """Return the error for a disk with less room than an operation needs, in bytes."""
    return NotEnoughSpaceError(
        f"Not enough space in {directory}: {needed:,} bytes are needed and {free:,} are free.",
        hint="Free some space, delete old backups, or name a directory on another disk.",
        path=directory,
    )


def taken(path: Path) -> StorageError:
    """Return the error for a file that would have to be replaced."""
    return StorageError(
        f"{path} already exists.",
        hint="Name another file, or move the existing one away.",
        path=path,
    )


def no_path(path: Path) -> StorageError:
    """Return the error for a directory's name that no file system has."""
    return StorageError(
        f"{str(path)!r} is not a valid path.", hint="Name another directory.", path=path
    )


def no_current_directory(path: Path, reason: str) -> StorageError:
    """Return the error for a relative path without a directory that it could begin at."""
    return StorageError(
        f"{str(path)!r} cannot be resolved: the current directory does not exist ({reason}).",
        hint="Change to a directory that exists, or name an absolute path.",
        path=path,
        reason=reason,
    )


def link_of_another(link: Path, owner: int, real: Path) -> PermissionDeniedError:
    """Return the error for a ``link`` to ``real`` that belongs to another user."""
    return PermissionDeniedError(
        f"{link} is a link that belongs to another user (uid {owner}), who could change its target "
        "at any time. It was not followed.",
        hint=f"If you trust its target, name that directory: {shell_command(real)}",
        path=link,
    )


def link_appeared(path: Path) -> StorageError:
    """Return the error for a directory on whose path a link was put."""
    return StorageError(
        f"{path} is not the directory that it was: it, or a directory above it, was replaced with "
        "a link. The link was not followed.",
        hint="Find out what created the link. If it is intended, restart the program: a link that "
        "exists from the beginning is followed.",
        path=path,
    )


def other_bytes_read(path: Path) -> StorageError:
    """Return the error for a new file that does not hold what was written to it."""
    return StorageError(
        f"{path} was written, but other bytes were read back from it. It was not used, and the "
        "database is unchanged.",
        hint="Check the disk, or name a directory on another one.",
        path=path,
    )


def untrusted(directory: Path, problem: str) -> UntrustedDirectoryError:
    """Return the error for a directory whose backups may be somebody else's; ``problem``: why."""
    return UntrustedDirectoryError(
        problem,
        hint="If you trust the backups, restore with --trust-directory (in Python: "
        "trust_directory=True). Otherwise import the backup into a directory of your own.",
        path=directory,
    )


def replaced(path: Path) -> StorageError:
    """Return the error for a file of ours in whose place there is another."""
    return StorageError(
        f"{path} is not the file that was created there: another program replaced it. It was not "
        "used.",
        hint=f"Find out who can write there: {shell_command('ls', '-ld', path.parent)}",
        path=path,
    )
