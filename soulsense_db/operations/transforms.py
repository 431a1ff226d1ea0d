"""What brings a database into a form and out of it: the codecs, in a row."""

from __future__ import annotations

from functools import partial

from soulsense_db.backup_info import BackupInfo, Form
from soulsense_db.codecs import (
    Compression,
    Identities,
    Reader,
    Recipients,
    Transform,
    compress,
    decode_differential,
    decompress,
    decrypt,
    encode_differential,
    encrypt,
    piped,
)


def encoder(
    compression: Compression | None,
    recipients: Recipients | None,
    *,
    size: int,
    base: tuple[BackupInfo, Reader] | None = None,
) -> Transform:
    """Return what writes a database of ``size`` bytes in another form.

    ``base``: of a differential, the facts of its base and what is in that.
    """
    inner: Transform | None = None
    if base is not None and compression is not None:
        info, reader = base
        inner = partial(
            encode_differential,
            base=reader,
            base_size=info.restored_size_bytes,
            base_sha256=info.database_sha256 or "",
            size=size,
            level=compression.level,
            threads=compression.threads,
        )
    elif compression is not None:
        inner = partial(compress, level=compression.level, threads=compression.threads, size=size)
    return _in_a_row(inner, None if recipients is None else partial(encrypt, recipients=recipients))


def decoder(
    form: Form,
    identities: Identities,
    *,
    limit: int,
    stored: int,
    base: Reader | None = None,
    base_sha256: str | None = None,
    checks_base: bool = True,
) -> Transform:
    """Return what writes the database that is in a stored file of ``stored`` bytes.

    ``limit``: the most bytes that it writes. ``base``: of a differential, what is in its base, and
    the checksum of that where it is known; ``checks_base``: whether to look at all of it.
    """
    inner: Transform | None = None
    if form.is_differential:
        assert base is not None
        inner = partial(
            decode_differential,
            base=base,
            limit=limit,
            base_sha256=base_sha256,
            checks_base=checks_base,
        )
    elif form.is_compressed:
        inner = partial(decompress, limit=limit)
    outer: Transform | None = None
    if form.is_encrypted:
        # What is in it is never longer than it is itself.
        outer = partial(decrypt, identities=identities, limit=limit if inner is None else stored)
    return _in_a_row(outer, inner)


def _in_a_row(first: Transform | None, second: Transform | None) -> Transform:
    if first is not None and second is not None:
        return piped(first, second)
    only = first or second
    assert only is not None  # a plain form needs none
    return only
