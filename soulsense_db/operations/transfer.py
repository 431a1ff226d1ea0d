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
    StorageError,
)
from soulsense_db.fs import COMPANIONS
from soulsense_db.meta_file import read_backup, rewritten, trusted_meta
from soulsense_db.operations.errors import (
    copy_differs,
    in_the_way_of_copy,
    is_live,
    no_directory,
    no_file,
    no_path,
    nothing_to_import,
    other_export,
)
from soulsense_db.operations.verify import verify_backup

# Somebody's own meta file would be overwritten; a log SQLite would replay into the copy.
_BESIDE = (META_SUFFIX, *COMPANIONS)


def importable(driver: Driver, path: str | Path) -> BackupInfo:
    """Return what is known of the file ``path`` from outside, once it may be brought in.

    Raises :class:`~soulsense_db.errors.BackupNotFoundError`,
    :class:`~soulsense_db.errors.InvalidBackupError`, :class:`~soulsense_db.errors.MetaFileError`,
    and :class:`~soulsense_db.errors.BackupError` for the live database itself.
    """
    source = fs.user_path(path)
    if source is None or not fs.exists(source):
        raise nothing_to_import(path)
    with fs.storage_errors("read", source):
        if not source.is_file():
            raise no_file(source)
    if driver.location is not None and _is_same_file(source, driver.location):
        raise is_live(source)
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
    info: BackupInfo, destination: str | Path, *, progress: fs.Progress | None = None
) -> Path:
    """Copy the verified backup ``info`` with its meta file; return the path of the copy.

    ``destination``: a directory, or a file that is not there. Raises
    :class:`~soulsense_db.errors.StorageError`,
    :class:`~soulsense_db.errors.ChecksumMismatchError`.
    """
    target = fs.user_path(destination)
    if str(destination).endswith(("/", os.sep)) and target and not target.is_dir():
        raise no_directory(target)
    if target is None:
        raise no_path(destination)
    if fs.exists(target) and target.is_dir():
        target /= info.filename
    with _alone(target):
        _copy_out(info, target, progress)
    return target


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Keep others from exporting to ``target`` as well."""
    try:
        lock = fs.acquire_lock(target.with_name(f".{target.name}.lock"), timeout=0, is_shared=True)
    except Timeout:
        raise other_export(target) from None
    try:
        yield
    finally:
        with suppress(StorageError):  # an empty file, and no obstacle to the next export
            fs.remove(Path(lock.lock_file))
        fs.release_lock(lock)


def _copy_out(info: BackupInfo, target: Path, progress: fs.Progress | None) -> None:
    meta = Path(f"{target}{META_SUFFIX}")
    _remove_dead_export(target, meta)
    for beside in _BESIDE:
        if os.path.lexists(f"{target}{beside}"):
            raise in_the_way_of_copy(Path(f"{target}{beside}"))

    described = False

    def describe(copy: Path) -> None:
        nonlocal described
        exported = replace(info, path=str(target), sha256=fs.sha256_of_own(copy))
        if info.sha256 not in (None, exported.sha256):
            raise copy_differs(target, info)
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
