"""The base of a differential: find it, choose the one of a new backup, read what is in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from io import FileIO
from pathlib import Path

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo, bases_for, is_best_base, may_be_base
from soulsense_db.codecs import (
    Reader,
    StreamError,
    decrypt,
    pulled,
    read_differential_header,
)
from soulsense_db.errors import IdentityError
from soulsense_db.meta_file import read_backup
from soulsense_db.operations.forms import USUAL_RATIO
from soulsense_db.operations.repository import Repository
from soulsense_db.operations.stored_form_errors import (
    base_missing,
    cannot_be_decoded,
    cannot_be_opened,
)
from soulsense_db.operations.transforms import decoder


def base_of(repository: Repository, info: BackupInfo) -> BackupInfo:
    """Return the base of the differential ``info``: beside it, or in the backup directory.

    Of several with the same content it is one that has not failed a check, and needs no key.
    Raises :class:`~soulsense_db.errors.BaseError` where there is none.
    """
    wanted = info.base_sha256 or _base_named_in(repository, info)
    info = replace(info, base_sha256=wanted)
    beside = _named(info)
    if beside is not None and is_best_base(beside, info):
        return beside  # and no other meta file was read
    there = repository.directory.list()
    bases = bases_for(info, there if beside is None else [beside, *there])
    if not bases:
        raise base_missing(Path(info.path), info.base_name)
    return bases[0]


def _named(info: BackupInfo) -> BackupInfo | None:
    """Return the base whose name the meta file of ``info`` has, where it is that and beside it."""
    name = info.base_name
    if not name or Path(name).name != name:  # no name of a file, whoever wrote it
        return None
    path = Path(info.path).with_name(name)
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):  # to open a FIFO would wait for a writer
            return None
    except OSError:
        return None
    return next(iter(bases_for(info, [read_backup(path)])), None)


def base_for_new(repository: Repository) -> BackupInfo | None:
    """Return the base that a new backup is to have; None where it is to be a full one."""
    policy = repository.forms.differential
    if policy is None:
        return None
    backups = repository.finder.list()
    fits = _fitting(repository)
    usable = [info for info in backups if _is_usable(info)]
    base = next(filter(fits, usable), None)
    if base is None and usable and repository.forms.encrypts and not repository.forms.identities:
        repository.unbased_warning.warn(
            "A full backup is made instead of a differential: the base could be read with its "
            "private key only, and none is given."
        )
    if base is not None and repository.forms.encrypts and not base.form.is_encrypted:
        repository.unbased_warning.warn(
            f"The new backup is encrypted, and its base, {base.filename}, is not. With a private "
            "key at hand, the base is encrypted as well."
        )
    if base is None or datetime.now(UTC) - base.created_at > policy.max_base_age:
        return None
    last = next((i for i in backups if i.base_sha256 == base.database_sha256), None)
    # A full one would be compressed, whatever that one is.
    full = base.size_bytes * (1 if base.form.is_compressed else USUAL_RATIO)
    if last is not None and last.size_bytes > policy.share * full:
        return None
    return base


@contextmanager
def reading_base(repository: Repository, base: BackupInfo) -> Iterator[Reader]:
    """Yield the database that is in ``base``, as a stream."""
    path = Path(base.path)
    with ExitStack() as stack:
        with fs.storage_errors("read", path):
            descriptor = os.open(path, os.O_RDONLY | fs.BINARY | fs.NO_LINK)
        # The application may have opened a plain one, to look at it.
        stack.callback(fs.close_when_unused, descriptor)
        raw = _Reading(FileIO(descriptor, closefd=False), path)
        if base.is_plain:
            yield raw
            return
        size = base.restored_size_bytes
        forms = repository.forms
        transform = decoder(base.form, forms.identities, limit=size, stored=base.size_bytes)
        yield _Opening(stack.enter_context(pulled(transform, raw)), path)


class _Opening:
    """What is decrypted, whose errors of keys say which file it is."""

    def __init__(self, reader: Reader, path: Path) -> None:
        self._reader = reader
        self._path = path

    def read(self, size: int, /) -> bytes:
        try:
            return self._reader.read(size)
        except IdentityError as error:
            raise cannot_be_opened(self._path, error) from error


class _Reading:
    """A file, whose errors say which one it is."""

    def __init__(self, file: FileIO, path: Path) -> None:
        self._file = file
        self._path = path

    def read(self, size: int, /) -> bytes:
        with fs.storage_errors("read", self._path):
            return self._file.read(size)


def _fitting(repository: Repository) -> Callable[[BackupInfo], bool]:
    """Return what tells of a full backup whether new ones may be based on it.

    Who restores them has the base to read as well: it is encrypted for the same recipients, or not
    at all. One that is not is the base of encrypted ones only where no key is at hand.
    """
    forms = repository.forms
    if not forms.encrypts or not forms.identities:
        return lambda info: not info.form.is_encrypted
    recipients = forms.to_recipients().sha256
    return lambda info: info.form.is_encrypted and info.recipients_sha256 == recipients


def _is_usable(info: BackupInfo) -> bool:
    """Whether ``info`` can be a base, as far as it can be told without reading it."""
    if not may_be_base(info) or info.of_unknown_origin or info.verified_at is None:
        return False
    if info.created_at > datetime.now(UTC):  # it would never be too old
        return False
    try:
        return os.stat(info.path).st_size == info.size_bytes
    except OSError:
        return False


def _base_named_in(repository: Repository, info: BackupInfo) -> str:
    """Return the checksum of the base, as the header of a file without a meta file has it."""
    path = Path(info.path)
    try:
        with ExitStack() as stack:
            with fs.storage_errors("read", path):
                file = stack.enter_context(path.open("rb", buffering=0))
            raw: Reader = _Reading(file, path)
            if info.form.is_encrypted:
                identities = repository.forms.identities
                opening = partial(decrypt, identities=identities, limit=info.size_bytes)
                raw = stack.enter_context(pulled(opening, raw))
            return read_differential_header(raw).base_sha256
    except IdentityError as error:
        raise cannot_be_opened(path, error) from error
    except StreamError as error:
        raise cannot_be_decoded(path, error, form=info.form) from error
