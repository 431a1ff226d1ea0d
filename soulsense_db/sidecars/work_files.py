"""A private file beside the live database for what is in a backup, while it is worked with.

Each has a lock file, which stays: by it the next one finds what a killed process left::

    .app.db.work         the data
    .app.db.work.lock    held by the process that works with it, free when it died
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

from filelock import FileLock, Timeout

from soulsense_db import fs
from soulsense_db.errors import StorageError
from soulsense_db.fs import Companions, beside, temporary_file
from soulsense_db.notices import cleaning_up, ignoring, log_ignored

_ENDING = ".work"
_LOCK = ".lock"
_MOST = 100


@contextmanager
def work_file(database: Path | None, *, size_bytes: int, companions: Companions) -> Iterator[Path]:
    """Yield an empty file, mode 0600, that is gone at the end, with what was put beside it.

    It is in the system's directory for temporary files where the one of ``database`` cannot be
    written to or has no room for ``size_bytes``, and for a database without a file. Raises
    :class:`~soulsense_db.errors.NotEnoughSpaceError` where there is room in neither.
    """
    with ExitStack() as stack:
        path = None
        if database is not None:
            try:
                fs.require_space(database.parent, size_bytes)
                path = stack.enter_context(_file_beside(database, companions))
            except StorageError as error:
                log_ignored(f"No work file can be made beside {database}", error)
        yield path or stack.enter_context(temporary_file(size_bytes=size_bytes))


@contextmanager
def _file_beside(database: Path, companions: Companions) -> Iterator[Path]:
    _remove_abandoned(database, companions)
    with _free_place(database) as path:
        _remove(path, companions)
        fs.create_private_file(path, owner_of=database)
        try:
            yield path
        finally:
            with cleaning_up(f"{path} is left over"):
                _remove(path, companions)


@contextmanager
def _free_place(database: Path) -> Iterator[Path]:
    """Yield the first name that no living process works with."""
    for path in _places(database):
        lock = _lock_of(path)
        with fs.storage_errors("lock", path):
            fs.make_lock_file(Path(lock.lock_file), owner_of=database)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
        try:
            yield path
        finally:
            fs.release_lock(lock)
        return
    raise StorageError(f"More than {_MOST} processes work beside {database}.", hint="Try later.")


def _remove_abandoned(database: Path, companions: Companions) -> None:
    """Remove what killed processes left, wherever in the row of names it is."""
    for path in _places(database):
        lock = _lock_of(path)
        if not fs.exists(Path(lock.lock_file)):
            return
        with ignoring(StorageError, Timeout, what=f"{path} is in use, or is left over"):
            with fs.storage_errors("lock", path):
                lock.acquire(timeout=0)
            try:
                _remove(path, companions)
            finally:
                fs.release_lock(lock)


def _places(database: Path) -> Iterator[Path]:
    first = beside(database, _ENDING, hidden=True)
    yield first
    for number in count(2):
        if number > _MOST:
            return
        yield first.with_name(f"{first.name}.{number}")


def _lock_of(path: Path) -> FileLock:
    return FileLock(f"{path}{_LOCK}", mode=fs.PRIVATE_FILE, thread_local=False)


def _remove(path: Path, companions: Companions) -> None:
    for ending in ("", *companions.endings):
        fs.remove(Path(f"{path}{ending}"))
