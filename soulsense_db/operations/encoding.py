"""Bring a new backup into its form, and read back what was written."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo
from soulsense_db.codecs import (
    Recipients,
    StreamError,
    Transform,
    WholeWriter,
    WrongBaseError,
    largest_differential,
)
from soulsense_db.errors import BackupError, IdentityError, StorageError
from soulsense_db.notices import log_event, log_ignored
from soulsense_db.operations.bases import reading_base
from soulsense_db.operations.form_streams import Counting, Following, Hashing, Nowhere
from soulsense_db.operations.repository import Repository
from soulsense_db.operations.stored_form_errors import (
    not_read_back,
)
from soulsense_db.operations.transforms import decoder, encoder
from soulsense_db.progress import Progress


class UnusableBaseError(Exception):
    """The base of a new differential cannot be read, or is not what its meta file says."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def encode(
    repository: Repository,
    info: BackupInfo,
    plain: Path,
    target: Path,
    *,
    base: BackupInfo | None,
    progress: Progress | None,
) -> BackupInfo:
    """Write the database ``plain`` in the form of the backup ``info`` to ``target``.

    ``info`` has the facts of the database, and the backup's path; ``base``: of a differential.
    Returns the facts of the backup in its form. What was written is decoded again while the rest is
    written: else nobody would know, until it is needed, that it cannot be. Without a key for what
    is encrypted it is read again and no more; one that does not fit is a warning as well.

    Raises :class:`UnusableBaseError`, and :class:`~soulsense_db.errors.StorageError`.
    """
    forms, size = repository.forms, info.size_bytes
    recipients = forms.to_recipients() if info.form.is_encrypted else None
    if recipients is not None:
        info = replace(info, recipients_sha256=recipients.sha256)
    if base is not None:
        info = replace(info, base_sha256=base.database_sha256, base_name=base.filename)
    with ExitStack() as stack:
        stack.enter_context(fs.flushing(target))
        stack.enter_context(fs.storage_errors("write", target))
        source = stack.enter_context(plain.open("rb", buffering=0))
        stored = stack.enter_context(target.open("r+b", buffering=0))
        read_back = _ReadBack(repository, target, size, recipients)
        with (
            _blaming_base(base),
            _decoder(repository, info, base) as decode,
            read_back.following(decode) as follower,
            _encoder(repository, recipients, base, size) as run,
        ):
            # A callback of the application is called in its own thread, as all of it is read
            # there, or written where another thread reads.
            reader = Hashing(source, size=size, progress=None if recipients else progress)

            def written(count: int) -> None:
                follower.may_read(count)
                if recipients is not None and progress is not None:
                    progress(min(reader.done, size), size)

            writer = Hashing(WholeWriter(stored), passed=written)
            run(reader, writer)
        if reader.digest.hexdigest() != info.sha256:  # since it was checked
            raise not_read_back(target, "the copy of the database changed meanwhile")
        with _blaming_base(base):
            read_back.require(writer)
    return replace(
        info,
        size_bytes=writer.done,
        sha256=writer.digest.hexdigest(),
        plain_size_bytes=size,
        plain_sha256=info.sha256,
    )


@contextmanager
def _encoder(
    repository: Repository, recipients: Recipients | None, base: BackupInfo | None, size: int
) -> Iterator[Transform]:
    with ExitStack() as stack:
        opened_base = None
        if base is not None:
            opened_base = base, stack.enter_context(reading_base(repository, base))
        yield encoder(repository.forms.compression, recipients, size=size, base=opened_base)


@contextmanager
def _decoder(
    repository: Repository, info: BackupInfo, base: BackupInfo | None
) -> Iterator[Transform | None]:
    """Yield what reads back what is written; None without a key."""
    identities, size = repository.forms.identities, info.size_bytes
    if info.form.is_encrypted and not identities:
        yield None
        return
    with ExitStack() as stack:
        reader = None if base is None else stack.enter_context(reading_base(repository, base))
        most = largest_differential(size)
        yield decoder(
            info.form, identities, limit=size, stored=most, base=reader, checks_base=False
        )


@contextmanager
def _blaming_base(base: BackupInfo | None) -> Iterator[None]:
    """Raise :class:`UnusableBaseError` for what is wrong with ``base``."""
    try:
        yield
    except (WrongBaseError, IdentityError, StorageError) as error:
        # What the disk says of the new file is no StorageError yet.
        if base is None or (isinstance(error, StorageError) and error.path != Path(base.path)):
            raise
        reason = error.what.rstrip(".") if isinstance(error, BackupError) else str(error)
        raise UnusableBaseError(reason) from error


class _ReadBack:
    """What is written to ``target``, decoded in a thread of its own while the rest is written."""

    def __init__(
        self, repository: Repository, target: Path, size: int, recipients: Recipients | None
    ) -> None:
        self._repository = repository
        self._target = target
        self._size = size
        # To try a passphrase takes as much memory as all the rest: then one after the other.
        self._is_afterwards = recipients is not None and recipients.passphrase is not None
        self._decoded = Counting(Nowhere())
        self._result: Future[None] | None = None

    @contextmanager
    def following(self, decode: Transform | None) -> Iterator[Following]:
        """Yield what is to be told of each piece that is written; None: there is no key."""
        with (
            ThreadPoolExecutor(1, thread_name_prefix="soulsense_db-read-back") as side,
            self._target.open("rb", buffering=0) as again,
        ):
            follower = Following(again)
            if decode is not None and not self._is_afterwards:
                self._result = side.submit(decode, follower, self._decoded)
            try:
                yield follower
                if decode is not None and self._is_afterwards:
                    self._result = side.submit(decode, follower, self._decoded)
            finally:
                follower.end()
                if self._result is not None:
                    wait([self._result])

    def require(self, written: Hashing) -> None:
        """Raise unless all that was ``written`` is there, and is the database."""
        if self._result is None:  # nobody wants a key on this machine: no reason to warn
            log_event(
                logging.INFO,
                "It could not be proven that the new backup can be decrypted: no key is given.",
            )
            self._require_stored(written)
            return
        try:
            self._result.result()
        except IdentityError as error:
            log_ignored("The new backup could not be decrypted", error)
            self._require_stored(written)
            self._repository.unproven_warning.warn(
                "It could not be proven that the encrypted backup can be decrypted. "
                f"{error.what} The backup is complete: verify it where its key is. {error.hint}"
            )
        except WrongBaseError:
            raise
        except StreamError as error:
            raise not_read_back(self._target, str(error)) from error
        else:
            if self._decoded.done != self._size:
                found = f"{self._decoded.done:,} bytes instead of {self._size:,}"
                raise not_read_back(self._target, found)

    def _require_stored(self, written: Hashing) -> None:
        with fs.storage_errors("read", self._target), self._target.open("rb") as again:
            stored = Hashing(again)
            stored.read_all()
        if stored.digest.digest() != written.digest.digest():
            raise not_read_back(self._target, "its bytes differ")
