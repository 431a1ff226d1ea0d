"""A reader of differentials that is written after the format's description alone."""

from __future__ import annotations

import struct
import sys

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def differential_by_others(data: bytes, base: bytes) -> bytes:
    """Return the database in a differential."""
    _, length, _, _, window, _, size, _ = struct.unpack_from("<II8sIIQQ32s", data)
    rest, plain = data[8 + length :], b""
    while len(plain) < size:
        prefix = base[len(plain) : len(plain) + window]
        dictionary = zstd.ZstdDict(prefix, is_raw=True).as_prefix if len(prefix) >= 8 else None
        frame = zstd.ZstdDecompressor(dictionary)
        plain += frame.decompress(rest)
        rest = frame.unused_data
    return plain
