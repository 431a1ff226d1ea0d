"""A private file or folder beside the live database for what is in a backup, worked with.

Each has a lock file, by which the next one finds what a killed process left::

    .app.db.work-1a2b3c4d         the data, or a folder with it
    .app.db.work-1a2b3c4d.lock    held by the process that works with it, free when it died
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from soulsense_db import fs
from soulsense_db.errors import StorageError
from soulsense_db.fs import Companions, beside, temporary_file, temporary_folder
from soulsense_db.notices import cleaning_up, ignoring, log_ignored
from soulsense_db.sidecars.errors import no_work_file

_ENDING = ".work"
_LOCK = ".lock"
_TOKEN_BYTES = 4


@contextmanager
def work_file(
    database: Path | None,
    *,
    size_bytes: int,
    companions: Companions,
    spares: int = 0,
    directory: Path | None = None,
    is_secret: bool = False,
) -> Iterator[Path]:
    """Yield an empty file, mode 0600, that is gone at the end, with what was put beside it.

    It is beside ``database``, or in ``directory`` where one is given. Without that it is in the
    system's directory for temporary files where the one of ``database`` cannot be written to or has
    no room for ``size_bytes``, and for a database without a file. That is no place for what
    ``is_secret``, if there is another: what a killed process leaves there stays
    until its user needs such a file again. ``spares``: what is needed there for something else.

    Raises :class:`~soulsense_db.errors.NotEnoughSpaceError` where there is no room, and other
    errors of :class:`~soulsense_db.errors.StorageError`.
    """
    with _work_place(
        database,
        size_bytes=size_bytes,
        companions=companions,
        spares=spares,
        directory=directory,
        is_secret=is_secret,
        make=lambda path: fs.create_private_file(path, owner_of=database),
    ) as path:
        if path is not None:
            yield path
            return
    # Not in the block: what is raised from here on is no error of the place above.
    with temporary_file(size_bytes=size_bytes) as path:
        yield path


@contextmanager
def work_folder(
    database: Path | None,
    *,
    size_bytes: int,
    companions: Companions,
    directory: Path | None = None,
    is_secret: bool = False,
) -> Iterator[Path]:
    """Yield an empty folder, mode 0700, that is gone at the end, with all that is in it.

    It is where :func:`work_file` would have its file, and the arguments and errors are as there.
    """
    with _work_place(
        database,
        size_bytes=size_bytes,
        companions=companions,
        directory=directory,
        is_secret=is_secret,
        make=lambda path: _make_folder(path, owner_of=database),
    ) as path:
        if path is not None:
            yield path
            return
    with temporary_folder(size_bytes=size_bytes) as path:
        yield path


def remove_abandoned_work(
    database: Path | None, *, companions: Companions, directory: Path | None = None
) -> None:
    """Remove the work files and folders of processes that were killed; arguments as above.

    It fails for none of them: what is in use or cannot be removed stays.
    """
    places = [database] if database else []
    if directory is not None:
        places.append(directory / (database.name if database else "memory"))
    for place in places:
        with ignoring(StorageError, what=f"What is beside {place} is left over"):
            _remove_abandoned(place, companions)


@contextmanager
def _work_place(
    database: Path | None,
    *,
    size_bytes: int,
    companions: Companions,
    spares: int = 0,
    directory: Path | None,
    is_secret: bool,
    make: Callable[[Path], object],
) -> Iterator[Path | None]:
    """Yield what ``make`` makes, a file or folder that is gone at the end.

    None where only the system's directory for temporary files is left.
    """
    place = database
    if directory is not None:
        place = directory / (database.name if database else "memory")
    with ExitStack() as stack:
        path = None
        if directory is not None and database is not None:
            # Left by who had not named a directory yet. What is wrong there is no matter here.
            with ignoring(StorageError, what=f"What is beside {database} is left over"):
                _remove_abandoned(database, companions)
        if place is not None:
            try:
                _remove_abandoned(place, companions)
                fs.require_space(place.parent, size_bytes + spares)
                path = stack.enter_context(_made_beside(place, companions, make, owner_of=database))
            except StorageError as error:
                if directory is not None or is_secret:
                    raise no_work_file(error, place.parent) from error
                log_ignored(f"No work file can be made beside {database}", error)
        yield path


@contextmanager
def _made_beside(
    database: Path,
    companions: Companions,
    make: Callable[[Path], object],
    *,
    owner_of: Path | None,
) -> Iterator[Path]:
    path, lock = _reserve(database, owner_of)
    try:
        make(path)
        yield path
    finally:
        with cleaning_up(f"{path} is left over"):
            _remove(path, companions)
        fs.release_lock(lock)


def _make_folder(path: Path, *, owner_of: Path | None) -> None:
    # Its lock is on the disk before it: what a power cut leaves without one is nobody's.
    fs.sync_directory(path.parent)
    with fs.storage_errors("make a directory in", path.parent):
        path.mkdir(mode=fs.PRIVATE_DIRECTORY)
    if owner_of is not None:
        fs.give_to_owner_of(owner_of, path)


def _reserve(database: Path, owner_of: Path | None) -> tuple[Path, FileLock]:
    """Return a new name, and its lock, held."""
    while True:
        path = _name(database, secrets.token_hex(_TOKEN_BYTES))
        lock = _lock_of(path)
        with fs.storage_errors("lock", path):
            fs.make_lock_file(Path(lock.lock_file), owner_of=owner_of)
            try:
                lock.acquire(timeout=0)
            except Timeout:  # one who tidies up was a moment earlier
                continue
        if fs.exists(Path(lock.lock_file)):  # else that one has removed it, and we hold nothing
            return path, lock
        fs.release_lock(lock)


def _remove_abandoned(database: Path, companions: Companions) -> None:
    """Remove what killed processes left, and nothing that none of them can have made."""
    ours = re.compile(rf"{re.escape(_name(database, '').name)}([0-9a-f]{{{2 * _TOKEN_BYTES}}})\b")
    with fs.storage_errors("list", database.parent):
        found = filter(None, map(ours.match, os.listdir(database.parent)))
    for path in {_name(database, one[1]) for one in found}:
        lock = _lock_of(path)
        with ignoring(StorageError, what=f"{path} is in use, or is left over"):
            if not _may_be_ours(path, Path(lock.lock_file)):
                continue
            fs.make_lock_file(Path(lock.lock_file), owner_of=database)
            with fs.storage_errors("lock", path):
                lock.acquire(timeout=0)
            try:
                _remove(path, companions)
            finally:
                fs.release_lock(lock)


def _may_be_ours(path: Path, lock_file: Path) -> bool:
    """Whether a file, a folder with its lock file, or nothing is at ``path``, and no link."""
    if not os.path.lexists(path):
        return True
    mode = os.lstat(path).st_mode
    # The lock of a folder is there before it and after it: without one it is somebody else's.
    return stat.S_ISREG(mode) or (stat.S_ISDIR(mode) and fs.exists(lock_file))


def _name(database: Path, token: str) -> Path:
    base = beside(database, _ENDING, hidden=True)
    return base.with_name(f"{base.name}-{token}")


def _lock_of(path: Path) -> FileLock:
    return FileLock(f"{path}{_LOCK}", mode=fs.PRIVATE_FILE, thread_local=False)


def _remove(path: Path, companions: Companions) -> None:
    """Remove the data, what is beside it, and last the lock file, which leads to the rest."""
    if path.is_dir() and not path.is_symlink():
        with fs.storage_errors("remove", path):
            shutil.rmtree(path)
        fs.sync_directory(path.parent)  # before its lock goes
    for ending in ("", *companions.endings):
        fs.remove(Path(f"{path}{ending}"))
    for ending in companions.folders:
        fs.remove_folder(Path(f"{path}{ending}"))
    with fs.storage_errors("list", path.parent):
        others = [name for name in os.listdir(path.parent) if name.startswith(f"{path.name}-")]
    for name in others:  # what was put beside it: its name begins with ours, which is random
        fs.remove(path.with_name(name))
    fs.remove(Path(f"{path}{_LOCK}"))
