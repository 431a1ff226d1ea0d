"""age: ``.age``, as the program ``age`` reads and writes it (https://c2sp.org/age).

Keys of every kind are the library's, ``pyrage``; a passphrase is :mod:`.age_passphrase`'s, so that
both are streams.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from soulsense_db.codecs import age_passphrase
from soulsense_db.codecs.age_header import Header, payload_error, read_header
from soulsense_db.codecs.age_library import pyrage, reason_of
from soulsense_db.codecs.errors import (
    DamagedStreamError,
    TooLongError,
    cannot_seal,
    identity_failed,
    no_identity_fits,
    wrong_passphrase,
)
from soulsense_db.codecs.identities import Identities
from soulsense_db.codecs.recipients import Recipients
from soulsense_db.codecs.streams import Reader, Writer
from soulsense_db.errors import IdentityError

_BLOCK = 256 * 1024
_WHAT = "it"
# What the library says of a stream, apart from which all is of a key.
_NO_KEY = "No matching keys found"
_CUT = "failed to fill whole buffer"  # in the few bytes between the header and the first piece
# The last is of an SSH key that is named in the header, and does not open what is beside its name.
_DAMAGE = ("Header", "Unknown age format", "Incomplete", "Decryption failed")


def encrypt(source: Reader, target: Writer, *, recipients: Recipients) -> None:
    """Write all of ``source``, so that any one of ``recipients`` opens it."""
    if recipients.passphrase is not None:
        age_passphrase.seal(source, target, recipients.passphrase.read_line())
        return
    library = pyrage()
    keys = recipients.for_library()
    reader, writer = _Source(source), _Target(target)
    try:
        library.encrypt_io(reader, writer, keys)
    except (library.EncryptError, OSError) as error:
        _raise_failure(reader, writer)
        raise cannot_seal(reason_of(error)) from None
    _raise_failure(reader, writer)


def decrypt(source: Reader, target: Writer, *, identities: Identities, limit: int) -> None:
    """Write what is in ``source``; no more than ``limit`` bytes.

    Each piece of 64 KB is written when it was found to be what was encrypted; that none is missing
    behind it is known at the end only.

    Raises :class:`~soulsense_db.errors.IdentityError` where nothing opens it,
    :class:`~soulsense_db.codecs.errors.TruncatedStreamError`,
    :class:`~soulsense_db.codecs.errors.DamagedStreamError`,
    :class:`~soulsense_db.codecs.errors.TooLongError`.
    """
    header = read_header(source)
    if _is_decrypted(header, _Source(source, header.rest), _Target(target, limit), identities):
        return
    raise _none_fits(header, identities)


def require_opens(source: Reader, *, identities: Identities) -> None:
    """Raise unless one of ``identities`` opens what begins in ``source``.

    No more than its beginning is read: the header and the first 64 KB, which are decrypted. Raises
    as :func:`decrypt` does.
    """
    header = read_header(source)
    with suppress(_Proven):
        if not _is_decrypted(header, _Source(source, header.rest), _Proof(), identities):
            raise _none_fits(header, identities)


def _none_fits(header: Header, identities: Identities) -> IdentityError:
    if header.passphrase is not None and identities.passphrase is not None:
        return wrong_passphrase(_WHAT, identities.passphrase.source)
    return no_identity_fits(identities.described)


def _is_decrypted(
    header: Header, source: _Source, target: _Target | _Proof, identities: Identities
) -> bool:
    """Decrypt what follows ``header``; False: no identity opens it."""
    if (stanza := header.passphrase) is not None:
        passphrase = identities.passphrase_for(_WHAT)
        return age_passphrase.unseal(source, target, header, stanza, passphrase)
    keys = identities.for_library()
    library = pyrage()
    whole = _Source(source, header.raw)
    try:
        library.decrypt_io(whole, target, keys)
    except library.DecryptError as error:
        _raise_failure(source, target)
        reason = reason_of(error)
        if reason == _NO_KEY:
            return False
        if reason == _CUT:
            raise payload_error(source.size, ended=True) from None
        if reason.startswith(_DAMAGE):
            raise DamagedStreamError("its header has changed") from None
        raise identity_failed(reason) from None
    except OSError:
        _raise_failure(source, target)
        raise payload_error(source.size, ended=source.ended) from None
    _raise_failure(source, target)
    return True


def _raise_failure(*ends: Any) -> None:
    """Raise what a reader or writer has raised: the library tells it as text, or not at all."""
    for end in ends:
        if end.failure is not None:
            raise end.failure


class _Source:
    """What the library reads, in larger pieces than it asks for."""

    def __init__(self, source: Reader, head: bytes = b"") -> None:
        self._source = source
        self._block = memoryview(head)
        self.size = len(head)
        self.ended = False
        self.failure: BaseException | None = None

    def read(self, size: int, /) -> bytes:
        if not self._block:
            try:
                block = self._source.read(_BLOCK)
            except BaseException as error:
                self.failure = error
                raise
            self.ended = not block
            self.size += len(block)
            self._block = memoryview(block)
        piece, self._block = self._block[:size], self._block[size:]
        return bytes(piece)


class _Target:
    """What the library writes to."""

    def __init__(self, target: Writer, limit: int | None = None) -> None:
        self._target = target
        self._left = limit
        self._limit = limit
        self.failure: BaseException | None = None

    def write(self, data: bytes, /) -> int:
        try:
            if self._left is not None:
                self._left -= len(data)
                if self._left < 0:
                    raise TooLongError(f"there are more than {self._limit:,} bytes in it")
            self._target.write(data)
        except BaseException as error:
            self.failure = self.failure or error
            raise
        return len(data)

    def flush(self) -> None:
        """Do nothing: who made the target flushes it."""


class _Proven(Exception):  # noqa: N818 - it is the good end
    """The beginning was decrypted."""


class _Proof:
    """A target that ends all with the first piece that was decrypted."""

    failure: BaseException | None = None

    def write(self, data: bytes, /) -> int:
        if data:
            self.failure = _Proven()
            raise self.failure
        return 0

    def flush(self) -> None:
        """Do nothing."""
