"""Open a backup, in whatever form it is stored, and check what is stored.

Everything that reads the data of a backup opens it here; what is not plain is decoded to a private
file beside the live database, and checked on the way against both checksums of its meta file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo
from soulsense_db.codecs import (
    Reader,
    StreamError,
    WholeWriter,
    WrongBaseError,
)
from soulsense_db.errors import IdentityError, InvalidBackupError
from soulsense_db.meta_file import not_found_if_deleted
from soulsense_db.operations.bases import base_of, reading_base
from soulsense_db.operations.errors import checksum_differs
from soulsense_db.operations.form_streams import Counting, Hashing
from soulsense_db.operations.repository import Repository
from soulsense_db.operations.stored_form_errors import (
    base_changed,
    cannot_be_decoded,
    cannot_be_opened,
    of_the_backup,
    stored_truncated,
)
from soulsense_db.operations.transforms import decoder
from soulsense_db.progress import Progress

_LIMIT_FACTOR = 1000
_LIMIT_LEAST = 1024**3


@dataclass(frozen=True, slots=True)
class OpenedBackup:
    """A backup whose data can be read at ``path`` as a plain database file.

    ``is_private``: that is a copy of our own, which was checked against the meta file, and which
    nobody else changes. ``is_changed``: we have changed it since, by migrations: what was read from
    the backup itself does not stand for it any more.
    """

    info: BackupInfo
    path: Path
    is_private: bool
    is_changed: bool = False


@contextmanager
def opened(
    repository: Repository, info: BackupInfo, *, spares: int = 0, progress: Progress | None = None
) -> Iterator[OpenedBackup]:
    """Yield the data of ``info``; a decoded copy is gone at the end.

    ``spares``: bytes that are needed beside the live database for something else. What is said of
    the copy in an error of the block is said of the backup. Raises
    :class:`~soulsense_db.errors.InvalidBackupError` where it cannot be decoded,
    :class:`~soulsense_db.errors.IdentityError` where nothing at hand opens it,
    :class:`~soulsense_db.errors.NotEnoughSpaceError` where there is no room for that,
    :class:`~soulsense_db.errors.MissingExtraError`.
    """
    if info.is_plain:
        yield OpenedBackup(info, Path(info.path), is_private=False)
        return
    size = info.plain_size_bytes or info.size_bytes
    with repository.work_file(size, spares=spares, is_secret=info.form.is_encrypted) as path:
        with not_found_if_deleted(Path(info.path), info):
            _decode(repository, info, path, progress)
        try:
            yield OpenedBackup(info, path, is_private=True)
        except InvalidBackupError as error:
            if path.name not in error.what:  # of another one, which is open as well
                raise
            raise of_the_backup(error, path, Path(info.path)) from error


def facts_of_form(repository: Repository, source: OpenedBackup) -> dict[str, Any]:
    """Return what a meta file says of the data in a file that is not plain."""
    info = source.info
    if info.is_plain:
        return {}
    with fs.storage_errors("read", source.path):
        size = source.path.stat().st_size
    facts: dict[str, Any] = {
        "plain_size_bytes": size,
        "plain_sha256": fs.sha256_of_own(source.path),
    }
    if info.form.is_differential:
        base = base_of(repository, info)
        facts |= {"base_sha256": base.database_sha256, "base_name": base.filename}
    return facts


def as_plain(info: BackupInfo) -> BackupInfo:
    """Return the facts of ``info`` for a plain copy of its data, which has another path."""
    return replace(
        info,
        size_bytes=info.restored_size_bytes,
        sha256=info.plain_sha256,
        plain_size_bytes=None,
        plain_sha256=None,
        base_sha256=None,
        base_name=None,
        sealed_description=None,
        sealed_row_counts=None,
        recipients_sha256=None,
    )


def verify_stored(info: BackupInfo, *, progress: Progress | None) -> None:
    """Compare the stored bytes of a backup that is not plain with its meta file."""
    path = Path(info.path)
    with fs.storage_errors("read", path), path.open("rb", buffering=0) as stored:
        reader = Hashing(stored, size=info.size_bytes, progress=progress)
        reader.read_all()
    _require_stored(info, path, reader)


def _decode(
    repository: Repository, info: BackupInfo, target: Path, progress: Progress | None
) -> None:
    """Write what is in the backup ``info`` to ``target``, and check it."""
    path = Path(info.path)
    with fs.storage_errors("read", path):
        source = path.open("rb", buffering=0)
    with source, fs.storage_errors("write", target), target.open("r+b", buffering=0) as plain:
        size = info.plain_size_bytes
        limit = size if size is not None else _limit_without_meta(path, target.parent)
        reader = Hashing(source)
        writer = Hashing(WholeWriter(plain), size=size or 0, progress=progress)
        _decode_stream(repository, info, reader, writer, limit=limit)
    _require_stored(info, path, reader)
    if size is not None and writer.done != size:
        raise checksum_differs(path)
    if info.plain_sha256 is not None and writer.digest.hexdigest() != info.plain_sha256:
        raise checksum_differs(path)


def _decode_stream(
    repository: Repository, info: BackupInfo, source: Hashing, plain: Counting, *, limit: int
) -> None:
    path = Path(info.path)
    base_name, base_path = info.base_name, None
    try:
        with ExitStack() as stack:
            base: Reader | None = None
            if info.form.is_differential:
                found = base_of(repository, info)
                base_name, base_path = found.filename, Path(found.path)
                base = stack.enter_context(reading_base(repository, found))
            decode = decoder(
                info.form,
                repository.forms.identities,
                limit=limit,
                stored=info.size_bytes,
                base=base,
                base_sha256=info.base_sha256,
            )
            decode(source, plain)
    except IdentityError as error:
        raise cannot_be_opened(path, error, base=base_path) from error
    except StreamError as error:
        source.read_all()
        _require_stored(info, path, source)
        if isinstance(error, WrongBaseError):
            raise base_changed(path, base_name, str(error)) from error
        is_limit = info.plain_size_bytes is None
        raise cannot_be_decoded(path, error, form=info.form, is_limit=is_limit) from error


def _require_stored(info: BackupInfo, path: Path, read: Hashing) -> None:
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
    free = fs.free_space(directory)
    return most if free is None else min(most, free // 2)
