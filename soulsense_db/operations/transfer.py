"""Carry backups into a directory and out of it, verified on the way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from filelock import Timeout

from soulsense_db import fs
from soulsense_db.backup_info import META_SUFFIX, BackupInfo
from soulsense_db.drivers import Driver
from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    ChecksumMismatchError,
    NotADatabaseError,
    StorageError,
)
from soulsense_db.meta_file import read_backup, rewritten, trusted_meta
from soulsense_db.operations.verify import verify_backup
from soulsense_db.progress import Progress


def importable(driver: Driver, path: str | Path) -> BackupInfo:
    """Return what is known of the file ``path`` from outside, once it may be brought in.

    Raises :class:`~soulsense_db.errors.BackupNotFoundError`,
    :class:`~soulsense_db.errors.InvalidBackupError`, :class:`~soulsense_db.errors.MetaFileError`,
    and :class:`~soulsense_db.errors.BackupError` for the live database itself.
    """
    source = fs.user_path(path)
    if source is None or not fs.exists(source):
        raise BackupNotFoundError(
            f"File not found: {path}. Nothing was imported.", hint="Check the path."
        )
    with fs.storage_errors("read", source):
        if not source.is_file():
            raise NotADatabaseError(
                f"Invalid backup file: {source} is not a regular file. Nothing was changed.",
                hint="Name a database file.",
            )
    if driver.location is not None and _is_same_file(source, driver.location):
        raise BackupError(
            f"{source} is the live database itself. Nothing was changed.",
            hint="Create a backup of it instead.",
        )
    told = trusted_meta(read_backup(source))
    if told.sha256 is not None:
        verify_backup(driver, told, level="quick")
    return told


def _is_same_file(path: Path, other: Path) -> bool:
    """Whether both are one file, under whatever names: a hard link has another one."""
    try:
        return path.samefile(other)
    except OSError:  # one of them is gone
        return False


def copy_out(
    driver: Driver,
    info: BackupInfo,
    destination: str | Path,
    *,
    progress: Progress | None = None,
) -> Path:
    """Copy the verified backup ``info`` with its meta file; return the path of the copy.

    ``destination``: a directory, or a file that is not there. Raises
    :class:`~soulsense_db.errors.StorageError`,
    :class:`~soulsense_db.errors.ChecksumMismatchError`.
    """
    target = fs.user_path(destination)
    if str(destination).endswith(("/", os.sep)) and target and not target.is_dir():
        raise StorageError(
            f"There is no directory {target}. Nothing was written.",
            hint="Make it first, or leave out the slash at the end to write a file of that name.",
        )
    if target is None:
        raise StorageError(
            f"{destination!s} is no path. Nothing was written.",
            hint="Name a file or directory.",
        )
    if fs.exists(target) and target.is_dir():
        target /= info.filename
    with _alone(target):
        _copy_out(driver, info, target, progress)
    return target


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Keep others from exporting to ``target`` as well."""
    try:
        lock = fs.acquire_lock(target.with_name(f".{target.name}.lock"), timeout=0, is_shared=True)
    except Timeout:
        raise StorageError(
            f"Another export to {target} is at work. Nothing was written.",
            hint="Wait until it is done, or name another file.",
        ) from None
    try:
        yield
    finally:
        with suppress(StorageError):  # an empty file, and no obstacle to the next export
            fs.remove(Path(lock.lock_file))
        fs.release_lock(lock)


def _copy_out(driver: Driver, info: BackupInfo, target: Path, progress: Progress | None) -> None:
    meta = Path(f"{target}{META_SUFFIX}")
    _remove_dead_export(target, meta)
    # Somebody's own meta file would be overwritten; a log would be replayed into the copy.
    for beside in (META_SUFFIX, *driver.companions.endings):
        if os.path.lexists(f"{target}{beside}"):
            raise StorageError(
                f"{target}{beside} exists already, and would be taken for a part of the copy. "
                "Nothing was written.",
                hint="Name another file, or move that one away.",
            )

    described = False

    def describe(copy: Path) -> None:
        nonlocal described
        exported = replace(info, path=str(target), sha256=fs.sha256_of_own(copy))
        if info.sha256 not in (None, exported.sha256):
            raise ChecksumMismatchError(
                f"The copy {target} differs from {info.filename} and was removed.",
                hint="Check the disk it was copied to, and try again.",
            )
        described = True
        fs.write_durably(meta, rewritten(exported, info.meta_path))

    try:
        fs.copy_durably(Path(info.path), target, progress=progress, ready=describe)
    except BaseException:
        if described:
            with suppress(StorageError):  # what is left, the next export of that name removes
                fs.remove(meta)
        raise


def _remove_dead_export(target: Path, meta: Path) -> None:
    """Remove what an export of that name left that died: its copy leads to the rest."""
    copy = fs.partial_of(target)
    if not os.path.lexists(copy):
        return
    with suppress(StorageError):  # what cannot be removed is passed by: the copy has another name
        if not fs.exists(target):
            fs.remove(meta)
            fs.remove(fs.partial_of(meta))
            fs.sync_directory(target.parent)
        fs.remove(copy)
