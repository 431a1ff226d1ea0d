"""Read what is on disk of a backup: its meta file, or else its name and size."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from soulsense_db import fs
from soulsense_db.backup_info import (
    MAX_META_BYTES,
    META_SUFFIX,
    BackupInfo,
    from_meta,
    meta_unreadable,
    no_meta,
    read_meta,
    to_meta,
    unknown_facts,
    without_meta,
)
from soulsense_db.codecs import StreamError, holds_secret, read_differential_header
from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    MetaFileError,
    StorageError,
    UnsupportedDatabaseError,
)
from soulsense_db.fs import BINARY, NO_LINK
from soulsense_db.notices import log_ignored

# What opening a link, a socket or a device says: no meta file of ours.
_ODD_FILE = {errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EOPNOTSUPP}
# The process or the system has no more of what it takes to open any file.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def read_backup(path: Path, *, meta: Path | None = None) -> BackupInfo:
    """Return the facts of the backup file ``path``, wherever it is, from its meta file or name.

    ``meta``: a meta file with another name.
    """
    with fs.storage_errors("read", path):
        status = path.stat()
    return facts_of(path, lambda: status, meta=meta)


def facts_of(
    path: str | Path, status: Callable[[], os.stat_result], *, meta: Path | None = None
) -> BackupInfo:
    """Return the facts of the backup file ``path``.

    ``status`` is called only where no meta file tells size and date: in a long list each call of
    the system counts. It may raise :class:`FileNotFoundError`.
    """
    description = problem = ""
    try:
        data = read_small_file(meta or f"{path}{META_SUFFIX}")
        found = read_meta(data, path) if data is not None else ""
        if isinstance(found, BackupInfo):
            return found
        description = found
    except (MetaFileError, StorageError) as error:  # of one meta file: the others are no worse
        if getattr(error.__cause__, "errno", None) in _EXHAUSTED:
            raise  # it says nothing of this file
        problem = error.what
    size, found_at = _size_and_time(status)
    info = without_meta(
        Path(path),
        size_bytes=size,
        found_at=found_at,
        description=description,
        meta_problem=problem,
    )
    return replace(info, base_sha256=_base_named_in(info))


def _base_named_in(info: BackupInfo) -> str | None:
    """Return the checksum of the base, which a differential tells itself unless it is encrypted.

    Nobody could use it any more if its base were removed because its meta file is lost.
    """
    if not info.form.is_differential or info.form.is_encrypted:
        return None
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | NO_LINK | BINARY
    try:
        with os.fdopen(os.open(info.path, flags), "rb", buffering=0) as stored:
            return read_differential_header(stored).base_sha256
    except (OSError, StreamError) as error:
        log_ignored(f"{info.filename} does not tell its base", error)
        return None


def _size_and_time(status: Callable[[], os.stat_result]) -> tuple[int, datetime]:
    try:
        known = status()
    except FileNotFoundError:  # it vanished meanwhile: its name tells the rest
        return 0, datetime.now(UTC)
    return known.st_size, time_of(known)


def time_of(status: os.stat_result) -> datetime:
    """Return when a file was last changed; aware, UTC."""
    try:
        return datetime.fromtimestamp(status.st_mtime, UTC)
    except (ValueError, OverflowError, OSError):  # a year that no calendar has
        return datetime.fromtimestamp(0, UTC)


def trusted_meta(info: BackupInfo) -> BackupInfo:
    """Return ``info``; raise :class:`MetaFileError` when its meta file could not be trusted."""
    if info.meta_problem:
        data = read_small_file(Path(info.meta_path))
        if data is not None:
            now = datetime.now(UTC)
            return from_meta(data, Path(info.path), size_bytes=info.size_bytes, found_at=now)
        return replace(info, meta_problem="")
    return info


def is_backup(database: Path | None) -> bool:
    """Whether the live database ``database`` is a backup: a whole meta file of ours is beside it.

    Not with the description that an older program wrote: it has no checksum to be spoilt.
    """
    if database is None or not fs.exists(database):
        return False
    try:
        data = read_small_file(f"{database}{META_SUFFIX}")
        found = read_meta(data, database) if data is not None else ""
    except (MetaFileError, StorageError) as error:  # it says nothing of this file
        log_ignored("What is beside the database is no meta file of ours", error)
        return False
    return isinstance(found, BackupInfo) and found.sha256 is not None


def require_no_backup(database: Path | None) -> None:
    """Raise :class:`UnsupportedDatabaseError` before anything is written to what is a backup."""
    if is_backup(database):
        raise UnsupportedDatabaseError(
            f"{database} is a backup, with its meta file beside it, and no live database: it could "
            "not be restored any more if anything were written to it.",
            hint="Name the database itself in the URL, and restore the backup there; or copy the "
            "backup elsewhere without its .meta file, to use the copy as a database.",
        )


def rewritten(info: BackupInfo, meta: str | Path) -> bytes:
    """Return the contents of the meta file for ``info``, whose facts were read from ``meta``.

    What a newer version wrote there and this one does not know stays in it. Raises
    :class:`MetaFileError` for facts that no meta file can hold.
    """
    return to_meta(info, unknown_facts(read_small_file(meta) or b""))


def not_found(ref: object) -> BackupNotFoundError:
    """Return the error for a backup that is not there."""
    return BackupNotFoundError(
        f"Backup file not found: {shown_reference(ref)}.",
        hint="List the backups to see which there are.",
    )


def shown_reference(ref: object) -> str:
    """Return what was given as the name of a backup, unless it is a secret key."""
    return "what is given is a secret key" if holds_secret(str(ref)) else str(ref)


@contextmanager
def not_found_if_deleted(path: Path, info: BackupInfo | None = None) -> Iterator[None]:
    """Tell of an error in the block that the backup ``path`` was deleted meanwhile, if it was.

    Whoever reads one holds no lock: another process may delete it at any time, and within the same
    second give its name to another backup. That is noticed where ``info`` has the facts of the one.
    """
    try:
        yield
    except BackupError as error:
        if fs.exists(path) and not (info and _names_another(info)):
            raise
        raise not_found(path) from error


def _names_another(info: BackupInfo) -> bool:
    """Whether the meta file of ``info`` is now that of another backup."""
    if info.sha256 is None:
        return False
    now = facts_of(Path(info.path), Path(info.path).stat)
    return now.sha256 is not None and now.id != info.id


def read_small_file(path: str | Path) -> bytes | None:
    """Return the contents of a meta file, or another small one of ours; None when there is none.

    Raises :class:`MetaFileError` when it is not a regular file or too large to be one of ours.
    """
    # O_NONBLOCK: opening a FIFO must not wait for somebody to write to it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | NO_LINK | BINARY
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in _ODD_FILE:
            raise fs.as_storage_error(error, "read", path) from error
        raise meta_unreadable(Path(path), error.strerror or str(error)) from error
    has_other_names = True
    try:
        status = os.fstat(descriptor)
        has_other_names = status.st_nlink > 1
        if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_META_BYTES:
            return os.read(descriptor, status.st_size)
    except OSError as error:
        raise fs.as_storage_error(error, "read", path) from error
    finally:
        if has_other_names:  # perhaps it is the database itself, which SQLite has open
            fs.close_when_unused(descriptor)
        else:
            os.close(descriptor)
    what = "is not a file" if not stat.S_ISREG(status.st_mode) else "is far too large"
    raise no_meta(Path(path), what)
