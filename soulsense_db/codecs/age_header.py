"""The header of an age stream: for whom it is, and where it ends.

The format: https://c2sp.org/age. It is text, one stanza for each recipient and a checksum that the
key inside makes; then 16 bytes, and chunks of 64 KB, each with a checksum of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from soulsense_db.codecs.errors import DamagedStreamError, StreamError, TruncatedStreamError
from soulsense_db.codecs.streams import Reader

CHUNK: Final = 64 * 1024
"""The bytes of plain data in a chunk; the last one has fewer, or as many."""
TAG: Final = 16
"""The bytes of a chunk's checksum."""
NONCE: Final = 16
"""The bytes between the header and the first chunk."""

VERSION: Final = b"age-encryption.org/v1\n"
_ARMOR: Final = b"-----BEGIN AGE"
_LARGEST: Final = 1024 * 1024  # some hundred recipients, however long their keys are
_PIECE: Final = 4096
_END: Final = re.compile(rb"^--- ([A-Za-z0-9+/]{43})\n", re.MULTILINE)
_NO_TEXT: Final = re.compile(rb"[^\n -~]")
_STANZA: Final = re.compile(rb"^-> ([!-~]+)([ !-~]*)\n((?:[A-Za-z0-9+/]*\n)+)", re.MULTILINE)

NOT_AGE: Final = "it is not encrypted with age"
_INCOMPLETE: Final = "it is not complete"


@dataclass(frozen=True, slots=True)
class Stanza:
    """For one recipient: the kind of the key, what it needs beside it, and the key inside."""

    kind: str
    arguments: tuple[str, ...]
    body: str


@dataclass(frozen=True, slots=True)
class Header:
    """A header, complete.

    Attributes:
        raw: All of it.
        stanzas: One for each recipient, and some that mean nothing.
        checksum: At its end, in Base64.
        rest: What was read of what follows it.
    """

    raw: bytes
    stanzas: tuple[Stanza, ...]
    checksum: str
    rest: bytes

    @property
    def passphrase(self) -> Stanza | None:
        """What a passphrase opens, if one does. Nothing else is beside it."""
        found = [stanza for stanza in self.stanzas if stanza.kind == "scrypt"]
        if found and len(self.stanzas) > 1:
            raise DamagedStreamError("its header has a passphrase and keys, which cannot be")
        return found[0] if found else None


def read_header(source: Reader) -> Header:
    """Read the header, and some bytes more, from the beginning of a stream.

    Raises :class:`TruncatedStreamError` where the stream ends within it, and
    :class:`DamagedStreamError` where it is none.
    """
    data = b""
    while (end := _END.search(data)) is None:
        piece = source.read(_PIECE)
        data += piece
        if not data.startswith(VERSION[: len(data)]):
            armored = data.startswith(_ARMOR)
            raise DamagedStreamError(
                "it is armored: `age -d` opens it, and `age` makes what can be read here"
                if armored
                else NOT_AGE
            )
        if not piece:
            raise _without_end(data)
        if len(data) > _LARGEST:
            raise DamagedStreamError("its header has no end")
    raw, rest = data[: end.end()], data[end.end() :]
    stanzas = tuple(
        Stanza(kind.decode(), tuple(arguments.decode().split()), body.replace(b"\n", b"").decode())
        for kind, arguments, body in _STANZA.findall(raw)
    )
    if _NO_TEXT.search(raw) or not stanzas:
        raise DamagedStreamError("its header is damaged")
    return Header(raw, stanzas, end[1].decode(), rest)


def _without_end(data: bytes) -> StreamError:
    """Return why a stream has ended before its header has: bytes behind it tell a change."""
    if _NO_TEXT.search(data):
        return DamagedStreamError("its header is damaged")
    return TruncatedStreamError(_INCOMPLETE)


def payload_error(size: int, *, ended: bool) -> StreamError:
    """Return what is wrong where a chunk cannot be decrypted.

    ``size``: the bytes that were read behind the header; ``ended``: whether the stream has no more.
    """
    if not ended:
        return DamagedStreamError("its bytes have changed")
    if size < NONCE + TAG or (size - NONCE) % (CHUNK + TAG) in range(1, TAG):
        return TruncatedStreamError(_INCOMPLETE)
    return DamagedStreamError("its end is missing, or has changed")
