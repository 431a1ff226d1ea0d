"""Private files where the system has temporary ones; what killed processes left is removed."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from soulsense_db.fs.durable import PRIVATE_DIRECTORY, PRIVATE_FILE, create_private_file
from soulsense_db.fs.errors import storage_errors
from soulsense_db.fs.space import require_space
from soulsense_db.notices import log_ignored

_PREFIX = "soulsense_db-work-"
_LOCK, _WORK = "lock", "work"
_ATTEMPTS = 10
# One that has no lock file is being made, or was half removed.
_ABANDONED_SECONDS = 3600.0


@contextmanager
def temporary_folder(*, size_bytes: int | None = None) -> Iterator[Path]:
    """Make an empty private directory that is gone at the end, with all that is in it.

    What a process that was killed has left of such, the next call removes. ``size_bytes``: what it
    will take, where room is to be asked for. Raises :class:`~soulsense_db.errors.StorageError`.
    """
    with storage_errors("find", "a directory for temporary files"):
        place = Path(tempfile.gettempdir())
    remove_abandoned(place)
    if size_bytes is not None:
        require_space(place, size_bytes)
    with storage_errors("make a directory in", place):
        folder, lock = _new_folder(place)
    try:
        with storage_errors("make a directory in", place):
            (folder / _WORK).mkdir(mode=PRIVATE_DIRECTORY)
        yield folder / _WORK
    finally:
        _release(lock)  # first: Windows removes no file that is open
        _remove(folder)  # what is left, the next call removes


@contextmanager
def temporary_file(name: str = "copy", *, size_bytes: int | None = None) -> Iterator[Path]:
    """Make an empty private file in a directory of its own, as :func:`temporary_folder`."""
    with temporary_folder(size_bytes=size_bytes) as folder:
        path = folder / name
        create_private_file(path)
        yield path


def remove_abandoned(place: Path) -> None:
    """Remove the folders in ``place`` that nobody holds; it fails for none."""
    try:
        found = [path for path in place.iterdir() if path.name.startswith(_PREFIX)]
    except OSError as error:
        log_ignored(f"What is left over in {place} is not known", error)
        return
    for folder in found:
        try:
            _remove_if_abandoned(folder)
        except (OSError, NotImplementedError) as error:
            log_ignored(f"{folder} is left over", error)


def _remove_if_abandoned(folder: Path) -> None:
    status = folder.lstat()
    is_ours = status.st_uid == os.geteuid() if hasattr(os, "geteuid") else True
    if not is_ours or folder.is_symlink() or not folder.is_dir():
        return
    if not (folder / _LOCK).exists():
        if time.time() - status.st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
        return
    try:
        lock = _held(folder)
    except Timeout:
        return
    _release(lock)
    _remove(folder)


def _remove(folder: Path) -> None:
    """Remove the lock last: a folder without one is left alone for an hour."""
    shutil.rmtree(folder / _WORK, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def _new_folder(place: Path) -> tuple[Path, FileLock | None]:
    """Return a new folder, and its lock; None where this file system has no locks."""
    for _ in range(_ATTEMPTS):
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        folder.chmod(PRIVATE_DIRECTORY)  # whatever the umask
        try:
            return folder, _held(folder)
        except Timeout:  # another process took it for abandoned in between, and removes it
            continue
        except (OSError, NotImplementedError) as error:
            log_ignored(f"{folder} will be left over if this process is killed", error)
            return folder, None
    raise OSError(f"other processes remove each directory made in {place}")


def _held(folder: Path) -> FileLock:
    lock = FileLock(folder / _LOCK, mode=PRIVATE_FILE, thread_local=False)
    lock.acquire(timeout=0)
    return lock


def _release(lock: FileLock | None) -> None:
    if lock is None:
        return
    try:
        lock.release()
    except OSError as error:  # the system frees it when the process ends
        log_ignored("A lock could not be given back", error)
