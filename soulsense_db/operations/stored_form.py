"""The form that a backup is stored in: a plain database file, or a compressed one.

Everything that reads the data of a backup opens it here; what is not plain is decoded to a private
file beside the live database, and checked on the way against both checksums of its meta file.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import RawIOBase
from pathlib import Path
from typing import Any, Self

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo
from soulsense_db.codecs import (
    Compression,
    Reader,
    StreamError,
    TooLongError,
    TruncatedStreamError,
    WholeWriter,
    Writer,
    compress,
    decompress,
)
from soulsense_db.drivers import Driver
from soulsense_db.errors import InvalidBackupError
from soulsense_db.meta_file import not_found_if_deleted
from soulsense_db.operations.errors import checksum_differs
from soulsense_db.operations.stored_form_errors import (
    cannot_be_decoded,
    not_read_back,
    of_the_backup,
    stored_truncated,
)
from soulsense_db.progress import Progress
from soulsense_db.sidecars import work_file

_LIMIT_FACTOR = 1000
_LIMIT_LEAST = 1024**3


@dataclass(frozen=True, slots=True)
class OpenedBackup:
    """A backup whose data can be read at ``path`` as a plain database file.

    ``is_private``: that is a copy of our own, which was checked against the meta file, and which
    nobody else changes.
    """

    info: BackupInfo
    path: Path
    is_private: bool


@contextmanager
def opened(
    driver: Driver, info: BackupInfo, *, spares: int = 0, progress: Progress | None = None
) -> Iterator[OpenedBackup]:
    """Yield the data of ``info``; a decoded copy is gone at the end.

    ``spares``: bytes that are needed beside the live database for something else. What is said of
    the copy in an error of the block is said of the backup. Raises
    :class:`~soulsense_db.errors.InvalidBackupError` where it cannot be decoded,
    :class:`~soulsense_db.errors.NotEnoughSpaceError` where there is no room for that,
    :class:`~soulsense_db.errors.MissingExtraError`.
    """
    if info.is_plain:
        yield OpenedBackup(info, Path(info.path), is_private=False)
        return
    size = info.plain_size_bytes or info.size_bytes
    with work_file(
        driver.location, size_bytes=size, companions=driver.companions, spares=spares
    ) as path:
        with not_found_if_deleted(Path(info.path), info):
            _decode(info, path, progress)
        try:
            yield OpenedBackup(info, path, is_private=True)
        except InvalidBackupError as error:
            raise of_the_backup(error, path, Path(info.path)) from error


def facts_of_plain(source: OpenedBackup) -> dict[str, Any]:
    """Return what a meta file says of the data in a file that is not plain."""
    if source.info.is_plain:
        return {}
    with fs.storage_errors("read", source.path):
        size = source.path.stat().st_size
    return {"plain_size_bytes": size, "plain_sha256": fs.sha256_of_own(source.path)}


def as_plain(info: BackupInfo) -> BackupInfo:
    """Return the facts of ``info`` for a plain copy of its data, which has another path."""
    return replace(
        info,
        size_bytes=info.restored_size_bytes,
        sha256=info.plain_sha256,
        plain_size_bytes=None,
        plain_sha256=None,
    )


def encode(
    info: BackupInfo,
    plain: Path,
    target: Path,
    compression: Compression,
    *,
    progress: Progress | None,
) -> BackupInfo:
    """Write the database ``plain``, whose facts are ``info``, in another form to ``target``.

    Returns the facts of the backup in that form. What was written is decoded again, while the rest
    is written, which compares it with the checksum inside: else nobody would know, until it is
    needed, that it cannot be.
    """
    size = info.size_bytes
    with (
        fs.flushing(target),
        fs.storage_errors("write", target),
        plain.open("rb", buffering=0) as source,
        target.open("r+b", buffering=0) as stored,
        target.open("rb", buffering=0) as again,
        ThreadPoolExecutor(1, thread_name_prefix="soulsense_db-read-back") as side,
    ):
        reader = _Hashing(source, size=size, progress=progress)
        decoded = _Counting(_Nowhere())
        with _Following(again) as follower:
            writer = _Hashing(WholeWriter(stored), passed=follower.may_read)
            decoding = side.submit(decompress, follower, decoded, limit=size)
            compress(
                reader, writer, level=compression.level, threads=compression.threads, size=size
            )
        if reader.digest.hexdigest() != info.sha256:  # since it was checked
            raise not_read_back(target, "the copy of the database changed meanwhile")
        try:
            decoding.result()
        except StreamError as error:
            raise not_read_back(target, str(error)) from error
        if decoded.done != size:
            raise not_read_back(target, f"{decoded.done:,} bytes instead of {size:,}")
    return replace(
        info,
        size_bytes=writer.done,
        sha256=writer.digest.hexdigest(),
        plain_size_bytes=size,
        plain_sha256=info.sha256,
    )


def verify_stored(info: BackupInfo, *, progress: Progress | None) -> None:
    """Compare the stored bytes of a backup that is not plain with its meta file."""
    path = Path(info.path)
    with fs.storage_errors("read", path), path.open("rb", buffering=0) as stored:
        reader = _Hashing(stored, size=info.size_bytes, progress=progress)
        reader.read_all()
    _require_stored(info, path, reader)


def _decode(info: BackupInfo, target: Path, progress: Progress | None) -> None:
    path = Path(info.path)
    with fs.storage_errors("read", path):
        source = path.open("rb", buffering=0)
    with source, fs.storage_errors("write", target), target.open("r+b", buffering=0) as plain:
        size = info.plain_size_bytes
        limit = size if size is not None else _limit_without_meta(path, target.parent)
        _decode_stream(info, path, source, WholeWriter(plain), limit=limit, progress=progress)


def _decode_stream(
    info: BackupInfo,
    path: Path,
    source: Reader,
    plain: Writer,
    *,
    limit: int,
    progress: Progress | None,
) -> None:
    """Write what is in ``source``, the stored bytes of ``info`` at ``path``, to ``plain``."""
    reader = _Hashing(source)
    size = info.plain_size_bytes
    writer = _Hashing(plain, size=size or 0, progress=progress)
    try:
        decompress(reader, writer, limit=limit)
    except StreamError as error:
        reader.read_all()
        _require_stored(info, path, reader)
        is_cut = isinstance(error, TruncatedStreamError)
        unknown = size is None and isinstance(error, TooLongError)
        raise cannot_be_decoded(path, str(error), is_cut=is_cut, is_limit=unknown) from error
    _require_stored(info, path, reader)
    if size is not None and writer.done != size:
        raise checksum_differs(path)
    if info.plain_sha256 is not None and writer.digest.hexdigest() != info.plain_sha256:
        raise checksum_differs(path)


def _require_stored(info: BackupInfo, path: Path, read: _Hashing) -> None:
    """Raise unless all bytes that were ``read`` are those that the meta file tells of."""
    if info.sha256 is None:
        return
    if read.done < info.size_bytes:
        raise stored_truncated(path, read.done, info.size_bytes)
    if read.done != info.size_bytes or read.digest.hexdigest() != info.sha256:
        raise checksum_differs(path)


def _limit_without_meta(path: Path, directory: Path) -> int:
    """Return how many bytes a file of unknown origin may decode to in ``directory``.

    No database shrinks further, and half of what is free is left to the application.
    """
    with fs.storage_errors("read", path):
        most = max(_LIMIT_LEAST, path.stat().st_size * _LIMIT_FACTOR)
    return min(most, fs.free_space(directory) // 2)


class _Counting:
    """A stream, how many bytes have passed, and a progress that is told of it."""

    def __init__(self, stream: Any, *, size: int = 0, progress: Progress | None = None) -> None:
        self._stream = stream  # a Reader or a Writer
        self._size = size
        self._progress = progress
        self.done = 0

    def read(self, size: int, /) -> bytes:
        data: bytes = self._stream.read(size)
        self._passed(data)
        return data

    def write(self, data: bytes, /) -> None:
        self._stream.write(data)
        self._passed(data)

    def read_all(self) -> None:
        """Read to the end."""
        while self.read(1024 * 1024):
            pass

    def _passed(self, data: bytes) -> None:
        self.done += len(data)
        if self._progress is not None:
            self._progress(self.done, max(self.done, self._size))


class _Hashing(_Counting):
    """The same, and the SHA-256 of what has passed."""

    def __init__(
        self,
        stream: Any,
        *,
        size: int = 0,
        progress: Progress | None = None,
        passed: Callable[[int], object] = lambda _: None,
    ) -> None:
        super().__init__(stream, size=size, progress=progress)
        self.digest = hashlib.sha256()
        self._tell = passed

    def _passed(self, data: bytes) -> None:
        self.digest.update(data)
        super()._passed(data)
        self._tell(len(data))


class _Following:
    """A stream that is read while another thread writes it, up to what is written.

    A context manager that is left when all is written.
    """

    def __init__(self, stream: RawIOBase) -> None:
        self._stream = stream
        self._unread = 0
        self._is_whole = False
        self._changed = threading.Condition()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        with self._changed:
            self._is_whole = True
            self._changed.notify()

    def may_read(self, size: int) -> None:
        """Let ``size`` more bytes be read, which are written."""
        with self._changed:
            self._unread += size
            self._changed.notify()

    def read(self, size: int, /) -> bytes:
        """Wait for some; return none once all is written and read."""
        with self._changed:
            while not self._unread and not self._is_whole:
                self._changed.wait()
            data = self._stream.read(min(size, self._unread)) or b""
            self._unread -= len(data)
            return data


class _Nowhere:
    """Where bytes are written that are only looked at."""

    def write(self, data: bytes, /) -> int:
        return len(data)
