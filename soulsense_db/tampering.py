"""What somebody else may put in the place of a file or directory of ours, and how it is noticed.

A link is the worst of it: what we write, read or delete would be somewhere else. The system does
not follow one where a file is created or opened with the flags here; SQLite, which opens files by
name, does, so that names are looked at before and after.
"""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from soulsense_db.errors import PermissionDeniedError, StorageError

NO_LINK = getattr(os, "O_NOFOLLOW", 0)
"""For ``os.open``: a link in the place of the file is an error."""


def resolve_directory(path: Path, *, live: Path | None) -> Path:
    """Return ``path`` absolute, with its links followed, which from then on nobody does any more.

    It need not exist. Raises :class:`PermissionDeniedError` for one that is itself a link of
    another user, who could lead it elsewhere at any time, unless that is root, or the one who owns
    both the directory that it leads to and the ``live`` database.
    """
    given = Path(os.path.abspath(path))
    try:
        real = Path(os.path.realpath(given))
    except ValueError:  # a NUL
        raise StorageError(
            f"{str(given)!r} is no path. Nothing was changed.", hint="Name another directory."
        ) from None
    owner = _foreign_owner(given)
    if owner is not None and not (live and owner == _owner(real) == _owner(live)):
        raise PermissionDeniedError(
            f"{given} is a link of another user (uid {owner}), who could lead it elsewhere at any "
            "time. It was not followed, and nothing was changed.",
            hint=f"If you trust where it leads, name that directory: {shlex.quote(str(real))}",
        )
    return real


def _foreign_owner(path: Path) -> int | None:
    """Return whose link ``path`` is, if it is one, and neither root's nor ours."""
    try:
        status = os.lstat(path)
    except OSError:  # absent, or behind a closed door, which the first use will tell
        return None
    if not stat.S_ISLNK(status.st_mode) or not hasattr(os, "geteuid"):
        return None
    return status.st_uid if status.st_uid not in {0, os.geteuid()} else None


def _owner(path: Path) -> int | None:
    try:
        return os.stat(path).st_uid
    except OSError:
        return None


def require_no_link(path: Path) -> None:
    """Raise :class:`StorageError` when there is a link on ``path``, which had none before."""
    if os.path.realpath(path) != os.path.abspath(path):
        raise StorageError(
            f"{path} is not the directory it was: there is a link in its place, or above it. It "
            "was not followed, and nothing was changed.",
            hint="Find out who put it there. If it is meant, start the program again: a link that "
            "is there from the beginning is followed.",
        )


def open_to_others(directory: Path) -> str:
    """Return what is wrong, and the cure, where others may write to ``directory``; else nothing."""
    try:
        mode = directory.stat().st_mode
    except OSError:  # absent: it will be ours alone
        return ""
    if os.name != "posix" or not mode & (stat.S_IWGRP | stat.S_IWOTH):
        return ""
    who = "Every user" if mode & stat.S_IWOTH else "Its group"
    return (
        f"{who} may write to {directory} (mode {stat.S_IMODE(mode):04o}): others could replace or "
        f"remove backups. To forbid it: chmod go-w {shlex.quote(str(directory))}"
    )


def require_file(path: Path) -> os.stat_result:
    """Return the status of ``path``, for :func:`require_same`; a link, say, is an error."""
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        raise _replaced(path)
    return status


def require_lock_file(path: Path) -> None:
    """Raise :class:`StorageError` for what is no lock file: some versions of filelock empty it."""
    status = require_file(path)
    if status.st_size and status.st_nlink > 1:  # a file of somebody's that has another name
        raise _replaced(path)


def require_same(path: Path, made: os.stat_result) -> None:
    """Raise :class:`StorageError` unless ``path`` is still the file that ``made`` describes."""
    # A new file may have the number of one that was deleted.
    if not os.path.samestat(require_file(path), made):
        raise _replaced(path)


def _replaced(path: Path) -> StorageError:
    return StorageError(
        f"{path} is not the file that was made there: somebody put something else in its place. It "
        "was not used, and nothing was changed.",
        hint=f"Find out who may write there: ls -ld {shlex.quote(str(path.parent))}",
    )
