"""Zstandard: ``.zst``, as the program ``zstd`` reads and writes it (RFC 8878).

By the module of Python 3.14, or ``backports.zstd``, which is the same for earlier ones.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from soulsense_db.codecs.errors import (
    DamagedStreamError,
    TooLongError,
    TruncatedStreamError,
    extra_missing,
    not_loaded,
)
from soulsense_db.codecs.streams import Reader, Writer
from soulsense_db.errors import OptionError

if TYPE_CHECKING:
    import types

DEFAULT_LEVEL = 3
"""As of the program ``zstd``: a third of the size of a database at some hundred MB/s."""

_LEVELS = range(1, 20)  # what is above takes memory that grows with the window
_MOST_THREADS = 4  # each has several MB of its own
_BLOCK = 1024 * 1024
# Of what is decompressed: what follows a frame is copied, so that many small ones take long.
_STORED_BLOCK = 128 * 1024
_MOST_EMPTY_FRAMES = 1000
_LARGEST_WINDOW = 27  # 2 ** 27 bytes: what the program zstd decodes without being asked to


def require_zstd() -> None:
    """Raise :class:`~soulsense_db.errors.MissingExtraError` where there is no Zstandard."""
    zstd_library()


def require_level(level: int) -> None:
    """Raise :class:`~soulsense_db.errors.OptionError` for a level that there is not."""
    if type(level) is not int or level not in _LEVELS:
        raise OptionError(
            f"The compression level {level!r} is out of range.",
            hint=f"Give a whole number from {_LEVELS.start} to {_LEVELS.stop - 1}; without one it "
            f"is {DEFAULT_LEVEL}.",
        )


def compress(
    source: Reader,
    target: Writer,
    *,
    level: int = DEFAULT_LEVEL,
    threads: int | None = None,
    size: int | None = None,
) -> None:
    """Write one frame, with a checksum, that holds all of ``source``.

    ``threads``: by default one for each core, four at most. ``size``: the bytes of ``source``,
    where they are known; they are then in the frame's header.
    """
    zstd = zstd_library()
    parameter = zstd.CompressionParameter
    workers = threads if threads is not None else min(os.cpu_count() or 1, _MOST_THREADS)
    compressor = zstd.ZstdCompressor(
        options={
            parameter.compression_level: level,
            parameter.checksum_flag: 1,
            parameter.nb_workers: workers if workers > 1 else 0,
        }
    )
    if size is not None:
        compressor.set_pledged_input_size(size)
    try:
        while block := source.read(_BLOCK):
            if data := compressor.compress(block):
                target.write(data)
        target.write(compressor.flush())
    except zstd.ZstdError as error:  # another size than was said
        raise DamagedStreamError(zstd_reason(error)) from error


def decompress(source: Reader, target: Writer, *, limit: int) -> None:
    """Write what is in all frames of ``source``; no more than ``limit`` bytes.

    Raises :class:`~soulsense_db.codecs.errors.TruncatedStreamError`,
    :class:`~soulsense_db.codecs.errors.DamagedStreamError`,
    :class:`~soulsense_db.codecs.errors.TooLongError`.
    """
    zstd = zstd_library()
    written = empty = 0
    frame: Any = None
    data = b""
    try:
        while data or (data := source.read(_STORED_BLOCK)):
            if frame is None:
                frame, begun_at = _new_frame(zstd), written
            # One byte more than may come: a bomb is found by it, and goes no further.
            plain = frame.decompress(data, max_length=min(_BLOCK, limit - written + 1))
            data = b""
            while True:
                written += len(plain)
                if written > limit:
                    raise TooLongError(f"there are more than {limit:,} bytes in it")
                target.write(plain)
                if frame.eof or frame.needs_input:
                    break
                plain = frame.decompress(b"", max_length=min(_BLOCK, limit - written + 1))
            if frame.eof:
                empty += written == begun_at
                if empty > _MOST_EMPTY_FRAMES:
                    raise DamagedStreamError("it has too many empty frames")
                frame, data = None, frame.unused_data
    except zstd.ZstdError as error:
        raise DamagedStreamError(zstd_reason(error)) from error
    if frame is not None or written == 0:
        raise TruncatedStreamError("it is not complete")


def _new_frame(zstd: types.ModuleType) -> Any:
    largest = {zstd.DecompressionParameter.window_log_max: _LARGEST_WINDOW}
    return zstd.ZstdDecompressor(options=largest)


def zstd_library() -> types.ModuleType:
    """Return the module; raises :class:`~soulsense_db.errors.MissingExtraError` without one."""
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError:
        raise extra_missing("Compression with zstd", "zstd") from None
    except OSError as error:  # too many files are open, say
        raise not_loaded("zstd", error) from error
    # Of the two, mypy sees only the one of the Python that it runs for.
    return zstd  # type: ignore[no-any-return,unused-ignore]


def zstd_reason(error: Exception) -> str:
    """Return what the library says of an error, as a clause."""
    return str(error)[:1].lower() + str(error)[1:].rstrip(".")
