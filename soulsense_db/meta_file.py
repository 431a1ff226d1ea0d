"""Read what is on disk of a backup: its meta file, or else its name and size."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from soulsense_db import files
from soulsense_db.backup_info import (
    MAX_META_BYTES,
    META_SUFFIX,
    BackupInfo,
    from_meta,
    without_meta,
    without_meta_hint,
)
from soulsense_db.errors import BackupError, BackupNotFoundError, MetaFileError, StorageError

# What opening a link, a socket or a device says: no meta file of ours.
_ODD_FILE = {errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EOPNOTSUPP}
# The process or the system has no more of what it takes to open any file.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def read_backup(path: Path, *, meta: Path | None = None) -> BackupInfo:
    """Return the facts of the backup file ``path``, wherever it is, from its meta file or name.

    ``meta``: a meta file with another name.
    """
    with files.storage_errors("read", path):
        status = path.stat()
    return facts_of(path, status, meta=meta)


def facts_of(path: Path, status: os.stat_result, *, meta: Path | None = None) -> BackupInfo:
    """Return the facts of the backup file ``path`` with that ``status``."""
    size = status.st_size
    found_at = _time_of(status)
    try:
        data = read_small_file(meta or Path(f"{path}{META_SUFFIX}"))
        if data is None:
            return without_meta(path, size_bytes=size, found_at=found_at)
        info = from_meta(data, path, size_bytes=size, found_at=found_at)
    except (MetaFileError, StorageError) as error:  # of one meta file: the others are no worse
        if getattr(error.__cause__, "errno", None) in _EXHAUSTED:
            raise  # it says nothing of this file
        return without_meta(path, size_bytes=size, found_at=found_at, meta_problem=error.message)
    return info


def _hint(meta_name: str) -> str:
    return without_meta_hint(meta_name.removesuffix(META_SUFFIX))


def _time_of(status: os.stat_result) -> datetime:
    try:
        return datetime.fromtimestamp(status.st_mtime, UTC)
    except (ValueError, OverflowError, OSError):  # a year that no calendar has
        return datetime.fromtimestamp(0, UTC)


def require_trusted_meta(info: BackupInfo) -> BackupInfo:
    """Return ``info``; raise :class:`MetaFileError` when its meta file could not be trusted."""
    if info.meta_problem:
        data = read_small_file(Path(info.meta_path))
        if data is not None:
            now = datetime.now(UTC)
            return from_meta(data, Path(info.path), size_bytes=info.size_bytes, found_at=now)
        return replace(info, meta_problem="")
    return info


def not_found(ref: object) -> BackupNotFoundError:
    """Return the error for a backup that is not there."""
    return BackupNotFoundError(
        f"Backup file not found: {ref}. Nothing was changed.",
        hint="List the backups to see what there is.",
    )


@contextmanager
def still_there(path: Path) -> Iterator[None]:
    """Tell of an error in the block that the backup ``path`` was deleted meanwhile, if it was.

    Whoever reads one holds no lock: another process may delete it at any time.
    """
    try:
        yield
    except BackupError as error:
        if files.exists(path):
            raise
        raise not_found(path) from error


def read_small_file(path: Path) -> bytes | None:
    """Return the contents of a meta file, or another small one of ours; None when there is none.

    Raises :class:`MetaFileError` when it is not a regular file or too large to be one of ours.
    """
    name = path.name
    # O_NONBLOCK: opening a FIFO must not wait for somebody to write to it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in _ODD_FILE:
            raise files.as_storage_error(error, "read", path) from error
        raise MetaFileError(
            f"{name} cannot be read ({error.strerror}). The backup itself was left alone.",
            hint=_hint(name),
        ) from error
    try:
        with files.storage_errors("read", path):
            status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_META_BYTES:
            what = "is not a file" if not stat.S_ISREG(status.st_mode) else "is far too large"
            raise MetaFileError(
                f"{name} {what}. The backup itself was left alone.",
                hint=_hint(name),
            )
        with files.storage_errors("read", path):
            return os.read(descriptor, MAX_META_BYTES)
    finally:
        os.close(descriptor)
