"""Locks between processes, in directories where others may have put something in their place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from soulsense_db.errors import PermissionDeniedError, StorageError
from soulsense_db.fs import durable
from soulsense_db.fs.errors import as_storage_error
from soulsense_db.notices import TOLD_AFTER_SECONDS, Wait, ignoring, warn

_MOST = 100
_reported: set[Path] = set()


def acquire_lock(
    path: Path, *, timeout: float, owner_of: Path | None = None, is_shared: bool = False
) -> FileLock:
    """Return the lock ``path``, held; raises :class:`filelock.Timeout` after ``timeout`` seconds.

    What is no lock file in its place (a directory, a link, a pipe) is passed by with a warning: the
    next one is ``.name.2.lock``, for all processes. ``is_shared``: so is the file of another user,
    whom it would keep out. ``owner_of``: as for :func:`~soulsense_db.fs.durable.give_to_owner_of`.
    Raises :class:`~soulsense_db.errors.StorageError`.
    """
    obstacles: list[StorageError] = []
    for candidate in _candidates(path):
        try:
            durable.make_lock_file(candidate, owner_of=owner_of)
        except StorageError as error:
            if isinstance(error.__cause__, OSError):
                raise
            obstacles.append(error)
            continue
        try:
            lock = _acquired(candidate, timeout)
        except PermissionDeniedError as error:
            if not is_shared:
                raise
            obstacles.append(error)
            continue
        for obstacle in obstacles:
            _report(path, obstacle)
        return lock
    raise obstacles[0]


def release_lock(lock: FileLock) -> None:
    """Give ``lock`` back; what it was held for is done, so that no error of this is one of that."""
    # The system frees it when the process ends.
    with ignoring(OSError, what=f"The lock {lock.lock_file} could not be given back"):
        lock.release()


def _candidates(path: Path) -> Iterator[Path]:
    yield path
    for number in range(2, _MOST):
        yield path.with_name(f"{path.stem}.{number}{path.suffix}")


def _acquired(path: Path, timeout: float) -> FileLock:
    # Not thread-local: it may be given back by another thread. A new object each time: threads of
    # one process exclude each other as well.
    lock = FileLock(path, timeout=timeout, mode=durable.PRIVATE_FILE, thread_local=False)
    wait = Wait(f"another process that holds the lock {path}")
    try:
        try:
            lock.acquire(timeout=min(timeout, TOLD_AFTER_SECONDS))
        except Timeout:
            if timeout <= TOLD_AFTER_SECONDS:
                raise
            wait.goes_on()
            lock.acquire(timeout=timeout - TOLD_AFTER_SECONDS)
    except Timeout:
        raise
    except OSError as error:
        raise as_storage_error(error, "lock", path) from error
    return lock


def _report(path: Path, obstacle: StorageError) -> None:
    if path not in _reported:
        _reported.add(path)
        warn(f"{obstacle.cause}. Another lock is used instead. {obstacle.hint}")
