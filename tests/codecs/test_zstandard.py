"""Zstandard: what is compressed comes back, what is damaged does not, and a bomb stops early."""

from __future__ import annotations

import io
import random
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from soulsense_db.codecs import (
    DamagedStreamError,
    StreamError,
    TooLongError,
    TruncatedStreamError,
    compress,
    decompress,
    require_level,
)
from soulsense_db.errors import OptionError

_DATA = random.Random(13).randbytes(300_000) + b"dear diary " * 200_000
_PROGRAM = shutil.which("zstd")
needs_zstd = pytest.mark.skipif(_PROGRAM is None, reason="the program zstd is not here")


def _compressed(data: bytes = _DATA, **options: Any) -> bytes:
    target = io.BytesIO()
    compress(io.BytesIO(data), target, **options)
    return target.getvalue()


def _zstd(*arguments: str, data: bytes) -> bytes:
    command = [str(_PROGRAM), "-q", *arguments]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def _plain(data: bytes, *, limit: int = len(_DATA)) -> bytes:
    target = io.BytesIO()
    decompress(io.BytesIO(data), target, limit=limit)
    return target.getvalue()


@pytest.mark.parametrize(
    "options", [{}, {"level": 1}, {"level": 19}, {"threads": 1}, {"size": len(_DATA)}]
)
def test_what_is_compressed_comes_back(options: dict[str, Any]) -> None:
    """At every level, with any number of threads, whether or not the size is known."""
    data = _compressed(**options)
    assert len(data) < len(_DATA) / 4
    assert _plain(data) == _DATA


@needs_zstd
def test_the_program_zstd_reads_it_and_is_read(tmp_path: Path) -> None:
    """`zstd -d` opens our files, and we open its, several frames in a row included."""
    assert _zstd("-dc", data=_compressed()) == _DATA
    one = _zstd("-T2", "-19", data=_DATA)
    assert _plain(one) == _DATA
    assert _plain(one + _compressed(), limit=2 * len(_DATA)) == _DATA * 2


def test_every_cut_is_found() -> None:
    """A stream that ends too early is truncated, wherever it ends."""
    data = _compressed()
    for end in (0, 1, 3, 10, len(data) // 2, *range(len(data) - 8, len(data))):
        with pytest.raises(TruncatedStreamError):
            _plain(data[:end])


def test_every_flip_is_found() -> None:
    """No changed bit comes back as other data without an error; something behind is one, too."""
    data = _compressed()
    for at in (0, 2, 3, *range(4, len(data), 9973), len(data) - 2):
        changed = bytearray(data)
        changed[at] ^= 0x10
        with suppress(StreamError):
            assert _plain(bytes(changed)) == _DATA  # a bit that means nothing
    with pytest.raises(DamagedStreamError):
        _plain(data + b"something else")
    with pytest.raises(DamagedStreamError):
        _plain(b"SQLite format 3\0" * 100)


class _Counting(io.BytesIO):
    largest = 0

    def write(self, data: object) -> int:
        self.largest = max(self.largest, len(bytes(data)))  # type: ignore[call-overload]
        return super().write(data)  # type: ignore[arg-type]


def test_a_bomb_stops_at_the_limit() -> None:
    """Ten gigabytes in a megabyte fill neither the disk nor the memory."""
    bomb = _compressed(b"\0" * 50_000_000)
    target = _Counting()
    with pytest.raises(TooLongError):
        decompress(io.BytesIO(bomb), target, limit=1_000_000)
    assert len(target.getvalue()) <= 1_000_000
    assert target.largest <= 1024 * 1024
    with pytest.raises(TooLongError):
        decompress(io.BytesIO(_compressed()), io.BytesIO(), limit=len(_DATA) - 1)


def test_very_many_empty_frames_are_refused() -> None:
    """They mean nothing, and would take minutes."""
    with pytest.raises(DamagedStreamError, match="empty frames"):
        _plain(_compressed(b"") * 2_000 + _compressed())
    assert _plain(_compressed(b"") * 10 + _compressed()) == _DATA


@needs_zstd
def test_a_huge_window_is_refused() -> None:
    """A frame that takes gigabytes of memory to decode is no backup of ours."""
    with pytest.raises(DamagedStreamError):
        _plain(_zstd("--ultra", "--long=31", "--no-content-size", data=_DATA))


@pytest.mark.parametrize("level", [0, 20, -1, "3", True, 3.0])
def test_a_level_that_there_is_not_is_an_error_of_the_tree(level: object) -> None:
    """The error names those that there are."""
    with pytest.raises(OptionError, match="1 to 19"):
        require_level(level)  # type: ignore[arg-type]
