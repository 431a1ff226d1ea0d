"""Streams of age that a passphrase opens, as ``age -p`` writes and ``age -d`` reads them.

The library that does the rest can do these in memory only. The format is short
(https://c2sp.org/age): the passphrase makes a key, which opens the key that is in the header, which
opens one chunk after the other.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import threading
from collections.abc import Iterator
from typing import Final

from soulsense_db.codecs.age_header import (
    CHUNK,
    NONCE,
    TAG,
    VERSION,
    Header,
    Stanza,
    payload_error,
)
from soulsense_db.codecs.age_library import chacha20_poly1305
from soulsense_db.codecs.errors import DamagedStreamError
from soulsense_db.codecs.streams import Reader, Writer

DEFAULT_WORK: Final = 17
"""2 ** 17 rounds take half a second and 128 MB, for who guesses as well.

What OWASP recommends at least (Password Storage Cheat Sheet, scrypt); ``age -p`` asks for twice as
much, and memory for that is more than all the rest of a backup takes.
"""
_MOST_WORK: Final = 20  # 1 GB of memory
_SCRYPT_BLOCK: Final = 8
_LABEL: Final = b"age-encryption.org/v1/scrypt"
_KEY_SIZE: Final = 16
_ZEROES: Final = bytes(12)
_stretching: Final = threading.Lock()  # one at a time: the memory of two is too much


def seal(source: Reader, target: Writer, passphrase: str, *, work: int = DEFAULT_WORK) -> None:
    """Encrypt all of ``source``, so that ``passphrase`` opens it; ``work`` makes guessing slow."""
    cipher = chacha20_poly1305()
    key, salt = os.urandom(_KEY_SIZE), os.urandom(16)
    wrapped = cipher(_stretched(passphrase, salt, work)).encrypt(_ZEROES, key, None)
    head = VERSION + b"-> scrypt %s %d\n%s\n---" % (_base64(salt), work, _base64(wrapped))
    nonce = os.urandom(NONCE)
    target.write(head + b" " + _base64(_checksum(key, head)) + b"\n" + nonce)
    stream = cipher(_derived(key, salt=nonce, label=b"payload"))
    for number, (plain, is_last) in enumerate(_chunks(source, CHUNK)):
        target.write(stream.encrypt(_chunk_nonce(number, is_last), plain, None))


def unseal(source: Reader, target: Writer, header: Header, stanza: Stanza, passphrase: str) -> bool:
    """Decrypt what follows ``header``; whether ``passphrase`` opens it."""
    from cryptography.exceptions import InvalidTag

    cipher = chacha20_poly1305()
    salt, work, wrapped = _read_stanza(stanza)
    try:
        key = cipher(_stretched(passphrase, salt, work)).decrypt(_ZEROES, wrapped, None)
    except InvalidTag:
        return False
    head = header.raw[: header.raw.rindex(b"---") + 3]
    if not hmac.compare_digest(_base64(_checksum(key, head)).decode(), header.checksum):
        raise DamagedStreamError("its header has changed")
    nonce = _exactly(source, NONCE)
    if len(nonce) < NONCE:
        raise payload_error(len(nonce), ended=True)
    stream = cipher(_derived(key, salt=nonce, label=b"payload"))
    size = NONCE
    for number, (sealed, is_last) in enumerate(_chunks(source, CHUNK + TAG)):
        size += len(sealed)
        try:
            plain = stream.decrypt(_chunk_nonce(number, is_last), sealed, None)
        except (InvalidTag, ValueError):
            raise payload_error(size, ended=is_last) from None
        if not plain and number:
            raise DamagedStreamError("there is an empty piece at its end")
        target.write(plain)
    return True


def _read_stanza(stanza: Stanza) -> tuple[bytes, int, bytes]:
    """Return the salt, the work and the wrapped key of a header's stanza."""
    try:
        salt, work = stanza.arguments
        found = _bytes(salt), int(work), _bytes(stanza.body)
    except (ValueError, binascii.Error):
        raise DamagedStreamError("its header is damaged") from None
    if len(found[0]) != 16 or len(found[2]) != _KEY_SIZE + TAG or found[1] < 1:
        raise DamagedStreamError("its header is damaged")
    if found[1] > _MOST_WORK:
        raise DamagedStreamError(f"to try a passphrase would take {2 ** (found[1] - 20):,} GB")
    return found


def _stretched(passphrase: str, salt: bytes, work: int) -> bytes:
    memory = 128 * _SCRYPT_BLOCK * 2**work
    with _stretching:
        return hashlib.scrypt(
            passphrase.encode(),
            salt=_LABEL + salt,
            n=2**work,
            r=_SCRYPT_BLOCK,
            p=1,
            maxmem=memory + 1024 * 1024,
            dklen=32,
        )


def _derived(key: bytes, *, salt: bytes, label: bytes) -> bytes:
    """Return HKDF-SHA-256 of ``key``, 32 bytes (RFC 5869)."""
    extracted = hmac.digest(salt or bytes(32), key, "sha256")
    return hmac.digest(extracted, label + b"\x01", "sha256")


def _checksum(key: bytes, head: bytes) -> bytes:
    return hmac.digest(_derived(key, salt=b"", label=b"header"), head, "sha256")


def _chunk_nonce(number: int, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])


def _chunks(source: Reader, size: int) -> Iterator[tuple[bytes, bool]]:
    """Yield all of ``source`` in pieces of ``size``, and with each whether it is the last."""
    piece = _exactly(source, size)
    while len(piece) == size and (following := _exactly(source, size)):
        yield piece, False
        piece = following
    yield piece, True


def _exactly(source: Reader, size: int) -> bytes:
    """Return ``size`` bytes; fewer at the end only."""
    found = source.read(size)
    if len(found) == size or not found:
        return found
    pieces = bytearray(found)
    while len(pieces) < size and (piece := source.read(size - len(pieces))):
        pieces += piece
    return bytes(pieces)


def _base64(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def _bytes(text: str) -> bytes:
    data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    if _base64(data).decode() != text:  # other bits at its end mean the same, and are a change
        raise ValueError(text)
    return data
