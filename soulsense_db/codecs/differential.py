"""Differentials: what a database has that an earlier one, its base, has not.

SQLite changes pages where they are. So a window of the database is nearly the same window of its
base, which is the prefix (RFC 8878: a raw content dictionary) that the window is compressed with: a
changed row costs its bytes, not its page. Windows of 1 MiB are as small in the end as those of
4 MiB, at less than half of the time: the base's window and the tables for it fit a cache.

The format is in ``docs/reference/differential-format.md``.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from soulsense_db.codecs.errors import (
    DamagedStreamError,
    NewerStreamError,
    StreamError,
    TooLongError,
    TruncatedStreamError,
    WrongBaseError,
)
from soulsense_db.codecs.streams import Reader, Writer
from soulsense_db.codecs.zstandard import DEFAULT_LEVEL, zstd_library, zstd_reason

if TYPE_CHECKING:
    import types

WINDOW = 1024 * 1024
"""How many bytes of the database are compressed with as many of its base."""

_WINDOWS = range(1024, 16 * 1024 * 1024 + 1)
_MOST_THREADS = 4  # each takes about 8 MB
_BLOCK = 64 * 1024
_SHORTEST_PREFIX = 8  # zstd ignores a shorter one, and Python's module refuses it

_FORMAT = 1
_MARK = b"SSDBDIFF"
_SKIPPABLE = 0x184D2A5D  # a frame that the program zstd passes over
_HEADER = struct.Struct("<II8sIIQQ32s")
_CHECKSUM = struct.Struct("<I")
_HEADER_SIZE = _HEADER.size + _CHECKSUM.size
_CONTENT_SIZE = _HEADER_SIZE - 8  # without the two numbers that every skippable frame begins with
_FRAME = b"\x28\xb5\x2f\xfd"
_HAS_CHECKSUM = 0x04  # in the byte behind it
_FRAME_OVERHEAD = 22  # header and checksum, at most
_BLOCK_OVERHEAD = 3
_BLOCK_OF_A_FRAME = 128 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferentialHeader:
    """What the beginning of a differential says.

    Attributes:
        window: How many bytes each frame holds; the last one may hold fewer.
        base_size: Bytes of the plain base.
        base_sha256: SHA-256 of the plain base, as 64 hexadecimal digits.
        size: Bytes of the database that is in it.
    """

    window: int
    base_size: int
    base_sha256: str
    size: int


def encode_differential(
    source: Reader,
    target: Writer,
    *,
    base: Reader,
    base_size: int,
    base_sha256: str,
    size: int,
    level: int = DEFAULT_LEVEL,
    threads: int | None = None,
    window: int = WINDOW,
) -> None:
    """Write a differential that holds all of ``source``, and is decoded with ``base`` alone.

    ``base``: the plain base, which is read to its end, ``base_size`` and ``base_sha256``: what it
    has to be. ``size``: the bytes of ``source``. ``threads``: by default one for each core, four at
    most.

    Raises :class:`~soulsense_db.codecs.errors.WrongBaseError` if the base is not what it has to be,
    and :class:`~soulsense_db.codecs.errors.DamagedStreamError` if ``source`` has another size; what
    was written is of no use then.
    """
    zstd = zstd_library()
    header = DifferentialHeader(
        window=window, base_size=base_size, base_sha256=base_sha256, size=size
    )
    target.write(_written(header))
    bases = _Base(base, header)
    workers = max(threads if threads is not None else min(os.cpu_count() or 1, _MOST_THREADS), 1)
    under_way: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="soulsense_db-differential") as pool:
        for expected in _windows(header):
            plain = _up_to(source, expected)
            if len(plain) != expected:
                raise DamagedStreamError(f"there are fewer than {size:,} bytes to encode")
            base_window = bases.next_window()
            if len(under_way) == workers:  # memory stays flat
                target.write(under_way.popleft().result())
            under_way.append(pool.submit(_frame, zstd, plain, base_window, level, window))
        while under_way:
            target.write(under_way.popleft().result())
    if source.read(1):
        raise DamagedStreamError(f"there are more than {size:,} bytes to encode")
    bases.require()


def decode_differential(
    source: Reader,
    target: Writer,
    *,
    base: Reader,
    limit: int,
    base_sha256: str | None = None,
    checks_base: bool = True,
) -> None:
    """Write the database that is in the differential ``source``; no more than ``limit`` bytes.

    ``base``: the plain base. ``base_sha256``: its SHA-256, where it is known: another base is then
    noticed at once. Else it is noticed at the first window that needs what differs, or at the end.
    Nothing is written of a window that is not as it was encoded. ``checks_base``: False does not
    look at what no window needs, which saves a third of the time; a wrong base is then a
    :class:`~soulsense_db.codecs.errors.DamagedStreamError`.

    Raises :class:`~soulsense_db.codecs.errors.WrongBaseError`,
    :class:`~soulsense_db.codecs.errors.NewerStreamError`,
    :class:`~soulsense_db.codecs.errors.TruncatedStreamError`,
    :class:`~soulsense_db.codecs.errors.DamagedStreamError`,
    :class:`~soulsense_db.codecs.errors.TooLongError`.
    """
    zstd = zstd_library()
    header = read_differential_header(source)
    if header.size > limit:
        raise TooLongError(f"there are more than {limit:,} bytes in it")
    if base_sha256 is not None and base_sha256 != header.base_sha256:
        raise WrongBaseError("it needs another base")
    bases = _Base(base, header, is_checked=checks_base)
    frames = _Frames(zstd, source, header.window)
    try:
        for expected in _windows(header):
            target.write(frames.next(expected, bases.next_window()))
        frames.require_end()
    except DamagedStreamError:
        if checks_base:
            bases.require()  # else it is the base that is to blame
        raise
    if checks_base:
        bases.require()


def read_differential_header(source: Reader) -> DifferentialHeader:
    """Return what the beginning of a differential says; ``source`` is then behind it.

    Raises :class:`~soulsense_db.codecs.errors.NewerStreamError`,
    :class:`~soulsense_db.codecs.errors.TruncatedStreamError`, and
    :class:`~soulsense_db.codecs.errors.DamagedStreamError` for what is no differential.
    """
    data = _up_to(source, _HEADER_SIZE)
    start = struct.pack("<I", _SKIPPABLE)
    if data[:4] != start[: len(data)] or data[8:16] != _MARK[: max(len(data) - 8, 0)]:
        raise DamagedStreamError("it is no differential")
    if len(data) < _HEADER_SIZE:
        raise TruncatedStreamError("it is not complete")
    _start, length, _mark, version, window, base_size, size, sha256 = _HEADER.unpack_from(data)
    intact = zlib.crc32(data[: _HEADER.size]) == _CHECKSUM.unpack_from(data, _HEADER.size)[0]
    if version > _FORMAT and (intact or length != _CONTENT_SIZE):
        raise NewerStreamError(
            f"it is a differential of format {version}, and this version reads format {_FORMAT}"
        )
    if not intact or version != _FORMAT or length != _CONTENT_SIZE or window not in _WINDOWS:
        raise DamagedStreamError("its header is damaged")
    return DifferentialHeader(
        window=window, base_size=base_size, base_sha256=sha256.hex(), size=size
    )


def largest_differential(size: int) -> int:
    """Return the most bytes that the differential of a database of ``size`` bytes has.

    That is what it may take where nothing is as in the base, nor compresses. How near a new base is
    due, and what the next differential will take, is told by the size of the last one alone.
    """
    windows = -(-size // WINDOW)
    blocks = windows * -(-WINDOW // _BLOCK_OF_A_FRAME)
    return _HEADER_SIZE + size + windows * _FRAME_OVERHEAD + blocks * _BLOCK_OVERHEAD


def _written(header: DifferentialHeader) -> bytes:
    data = _HEADER.pack(
        _SKIPPABLE,
        _CONTENT_SIZE,
        _MARK,
        _FORMAT,
        header.window,
        header.base_size,
        header.size,
        bytes.fromhex(header.base_sha256),
    )
    return data + _CHECKSUM.pack(zlib.crc32(data))


def _windows(header: DifferentialHeader) -> Iterator[int]:
    """Yield how many bytes are in each window of the database."""
    for start in range(0, header.size, header.window):
        yield min(header.window, header.size - start)


def _frame(
    zstd: types.ModuleType, plain: bytes, base_window: bytes, level: int, window: int
) -> bytes:
    """Return ``plain`` as a frame with its size and a checksum, whose prefix is ``base_window``."""
    parameter = zstd.CompressionParameter
    both = (2 * window - 1).bit_length()  # as a power of two
    compressor = zstd.ZstdCompressor(
        options={
            parameter.compression_level: level,
            parameter.checksum_flag: 1,
            # The levels' own tables are for one window of a large file: level 1 finds nothing in
            # the base with them. A place for every fourth byte finds it at any level.
            parameter.window_log: both,
            parameter.hash_log: both - 2,
            parameter.chain_log: both - 2,
        },
        zstd_dict=_prefix(zstd, base_window),
    )
    compressor.set_pledged_input_size(len(plain))
    frame: bytes = compressor.compress(plain, compressor.FLUSH_FRAME)
    return frame


def _prefix(zstd: types.ModuleType, base_window: bytes) -> Any:
    if len(base_window) < _SHORTEST_PREFIX:
        return None
    return zstd.ZstdDict(base_window, is_raw=True).as_prefix


class _Base:
    """The plain base, window by window, and its checksum on the way."""

    def __init__(
        self, base: Reader, header: DifferentialHeader, *, is_checked: bool = True
    ) -> None:
        self._base = base
        self._header = header
        self._is_checked = is_checked
        self._sha256 = hashlib.sha256()
        self._read = 0

    def next_window(self) -> bytes:
        """Return the next window; behind the end it is empty."""
        try:
            window = _up_to(self._base, self._header.window)
        except StreamError as error:
            raise WrongBaseError(f"its base cannot be decoded: {error}") from error
        if self._is_checked:
            self._sha256.update(window)
        self._read += len(window)
        if self._read > self._header.base_size:
            raise self._wrong()
        return window

    def require(self) -> None:
        """Read the rest; raise :class:`WrongBaseError` if it is not the base that it has to be."""
        while self.next_window():
            pass
        if self._sha256.hexdigest() != self._header.base_sha256:
            raise self._wrong()

    def _wrong(self) -> WrongBaseError:
        return WrongBaseError("its base has changed, or is another one")


class _Frames:
    """The frames of a differential, one after the other."""

    def __init__(self, zstd: types.ModuleType, source: Reader, window: int) -> None:
        self._zstd = zstd
        self._source = source
        largest = max((2 * window - 1).bit_length(), 10)
        self._options = {zstd.DecompressionParameter.window_log_max: largest}
        self._data = b""

    def next(self, size: int, base_window: bytes) -> bytes:
        """Return what is in the next frame: ``size`` bytes, as its checksum says."""
        self._require_checksum()
        try:
            return self._decoded(size, base_window)
        except self._zstd.ZstdError as error:
            raise DamagedStreamError(zstd_reason(error)) from error

    def require_end(self) -> None:
        """Raise :class:`DamagedStreamError` if there is anything left."""
        if self._data or self._source.read(1):
            raise DamagedStreamError("there is something behind its end")

    def _decoded(self, size: int, base_window: bytes) -> bytes:
        frame = self._zstd.ZstdDecompressor(_prefix(self._zstd, base_window), self._options)
        pieces: list[bytes] = []
        left = size
        while not frame.eof:
            if frame.needs_input and not self._data:
                self._data = self._source.read(_BLOCK)
                if not self._data:
                    raise TruncatedStreamError("it is not complete")
            # One byte more than there may be: a bomb is found by it, and goes no further.
            piece = frame.decompress(self._data, max_length=left + 1)
            self._data = b""
            pieces.append(piece)
            left -= len(piece)
            if left < 0:
                break
        if left:
            raise DamagedStreamError("a window of it has another size than it has to have")
        self._data = frame.unused_data
        return b"".join(pieces)

    def _require_checksum(self) -> None:
        if len(self._data) <= len(_FRAME):
            self._data += _up_to(self._source, _BLOCK)
        if len(self._data) <= len(_FRAME):
            raise TruncatedStreamError("it is not complete")
        if not self._data.startswith(_FRAME) or not self._data[len(_FRAME)] & _HAS_CHECKSUM:
            raise DamagedStreamError("a window of it does not begin as it has to")


def _up_to(source: Reader, size: int) -> bytes:
    """Return ``size`` bytes, or all there are."""
    data = source.read(size)
    if len(data) == size or not data:
        return data
    pieces = [data]
    missing = size - len(data)
    while missing and (data := source.read(missing)):
        pieces.append(data)
        missing -= len(data)
    return b"".join(pieces)
