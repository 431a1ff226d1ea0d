"""Differentials: the database comes back with its base, and with nothing else."""

from __future__ import annotations

import hashlib
import io
import random
import shutil
import sqlite3
import struct
import subprocess
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from doc_blocks import DOCS, blocks_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from soulsense_db.codecs import (
    WINDOW,
    DamagedStreamError,
    DifferentialHeader,
    NewerStreamError,
    Reader,
    StreamError,
    TooLongError,
    TruncatedStreamError,
    Writer,
    WrongBaseError,
    compress,
    decode_differential,
    decompress,
    encode_differential,
    largest_differential,
    pulled,
    read_differential_header,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_PROGRAMS = Path(__file__).parent.parent / "programs"
_PAGE = DOCS / "reference" / "differential-format.md"
_HEADER = 76  # bytes
_PROGRAM = shutil.which("zstd")
needs_zstd = pytest.mark.skipif(_PROGRAM is None, reason="the program zstd is not here")


def _encoded(data: bytes, base: bytes, **options: Any) -> bytes:
    target = io.BytesIO()
    told: dict[str, Any] = {
        "base_size": len(base),
        "base_sha256": hashlib.sha256(base).hexdigest(),
        "size": len(data),
    }
    encode_differential(io.BytesIO(data), target, base=io.BytesIO(base), **told | options)
    return target.getvalue()


def _decoded(differential: bytes, base: bytes, *, limit: int = 2**40, **options: Any) -> bytes:
    target = io.BytesIO()
    source = io.BytesIO(differential)
    decode_differential(source, target, base=io.BytesIO(base), limit=limit, **options)
    return target.getvalue()


def _compressed(data: bytes) -> bytes:
    target = io.BytesIO()
    compress(io.BytesIO(data), target)
    return target.getvalue()


# Databases


def _make_database(path: Path) -> None:
    words = random.Random(1).choices(range(10**6), k=3000)
    rng = random.Random(2)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, day TEXT, body TEXT)")
        connection.execute("CREATE INDEX by_day ON entry (day)")
        rows = (
            (rng.randbytes(4).hex(), " ".join(str(word) for word in rng.choices(words, k=40)))
            for _ in range(12_000)
        )
        connection.executemany("INSERT INTO entry (day, body) VALUES (?, ?)", rows)
        connection.commit()


def _nothing(_connection: sqlite3.Connection) -> None:
    pass


def _change_one_percent(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE entry SET body = body || ' later' WHERE id % 100 = 7")


def _add_a_third(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO entry (day, body) SELECT body, day FROM entry WHERE id < 4000")
    connection.execute("INSERT INTO entry (day, body) SELECT day, body FROM entry WHERE id < 4000")


def _remove_half_and_vacuum(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM entry WHERE id % 2")
    connection.commit()
    connection.execute("VACUUM")


def _change_the_page_size(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA page_size = 1024")
    connection.execute("VACUUM")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a database of several windows."""
    path = tmp_path_factory.mktemp("first") / "app.db"
    _make_database(path)
    data = path.read_bytes()
    assert 3 * WINDOW < len(data) < 10 * WINDOW
    return data


def _later(first: bytes, change: Callable[[sqlite3.Connection], None], path: Path) -> bytes:
    path.write_bytes(first)
    with closing(sqlite3.connect(path)) as connection:
        change(connection)
        connection.commit()
    return path.read_bytes()


@pytest.mark.parametrize(
    ("change", "share"),
    [
        (_nothing, 0.001),
        (_change_one_percent, 0.05),
        (_add_a_third, 0.9),
        (_remove_half_and_vacuum, 1.2),
        (_change_the_page_size, 1.2),
    ],
)
def test_a_database_comes_back(
    first: bytes,
    tmp_path: Path,
    change: Callable[[sqlite3.Connection], None],
    share: float,
) -> None:
    """Byte by byte, whatever changed; it takes the share of a full one that the changes are."""
    later = _later(first, change, tmp_path / "app.db")
    differential = _encoded(later, first)
    assert len(differential) < share * len(_compressed(later))
    assert _decoded(differential, first, limit=len(later)) == later
    # And the other way: the base is what is longer or shorter now.
    assert _decoded(_encoded(first, later), later) == first


@pytest.mark.parametrize("options", [{"level": 1}, {"level": 9}, {"threads": 1}, {"threads": 3}])
def test_every_level_finds_the_base(first: bytes, tmp_path: Path, options: dict[str, Any]) -> None:
    """The fastest one included; the number of threads changes nothing of the file."""
    later = _later(first, _change_one_percent, tmp_path / "app.db")
    differential = _encoded(later, first, **options)
    assert len(differential) < len(later) / 40
    assert _decoded(differential, first) == later
    if "threads" in options:
        assert differential == _encoded(later, first)


def test_what_is_as_in_the_base_costs_next_to_nothing() -> None:
    """A window that has not changed takes less than a page of SQLite would."""
    data = random.Random(1).randbytes(5 * WINDOW)
    assert len(_encoded(data, data)) < 5 * 4096  # even where nothing compresses


# Sizes


class _Hesitant:
    """Gives fewer bytes than it is asked for, as a pipe does."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, size: int, /) -> bytes:
        return self._data.read(min(size, 777))


@settings(max_examples=150, deadline=None)
@given(
    size=st.integers(0, 3300),
    base_size=st.integers(0, 3300),
    seed=st.integers(0, 3),
    alike=st.booleans(),
)
@example(size=0, base_size=0, seed=0, alike=True)
@example(size=0, base_size=3000, seed=0, alike=True)
@example(size=3000, base_size=0, seed=0, alike=True)
@example(size=1024, base_size=1024, seed=0, alike=True)
@example(size=2049, base_size=1024 + 7, seed=0, alike=True)
@example(size=2049, base_size=1024 + 8, seed=0, alike=True)
def test_any_size_with_a_base_of_any_size(
    size: int, base_size: int, seed: int, alike: bool
) -> None:
    """Empty, shorter, longer, around the ends of windows, and read in pieces of any size."""
    data = random.Random(seed).randbytes(size)
    base = random.Random(seed if alike else 99).randbytes(base_size)
    differential = _encoded(data, base, window=1024)
    assert _decoded(differential, base) == data
    target = io.BytesIO()
    decode_differential(_Hesitant(differential), target, base=_Hesitant(base), limit=size)
    assert target.getvalue() == data


@pytest.mark.parametrize("size", [WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW])
def test_the_ends_of_real_windows(size: int) -> None:
    """The window of the format is one as those of the test above."""
    data = random.Random(1).randbytes(size)
    base = data[: size // 2] + b"?" + data[size // 2 + 1 :] + b"more"
    assert _decoded(_encoded(data, base), base) == data


@pytest.mark.parametrize("size", [0, 1, 131_072, WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW + 77])
def test_how_large_a_differential_is_at_most(size: int) -> None:
    """What neither compresses nor is in the base takes no more than is said, nor much less."""
    data = random.Random(1).randbytes(size)
    real = len(_encoded(data, random.Random(2).randbytes(size)))
    assert real <= largest_differential(size) <= real + 64 * (1 + size // WINDOW)


@pytest.mark.parametrize("told", [-1, 1])
def test_another_size_than_was_said_is_an_error(first: bytes, told: int) -> None:
    """No differential of half a database passes for a whole one."""
    with pytest.raises(DamagedStreamError, match="bytes to encode"):
        _encoded(first, first, size=len(first) + told)


# Damage


@pytest.fixture(scope="module")
def damageable() -> tuple[bytes, bytes, bytes]:
    """Return a database, its base and a differential with windows of all kinds."""
    rng = random.Random(5)
    base = rng.randbytes(3 * WINDOW)
    new = rng.randbytes(WINDOW + 5000)  # nothing of the base in it
    data = base[: WINDOW - 9] + b"different" + new + base[2 * WINDOW + 5000 :] + b"behind the base"
    return data, base, _encoded(data, base)


def _every_64_kb(differential: bytes) -> list[int]:
    last = len(differential) - 1
    return sorted({*range(_HEADER + 40), *range(_HEADER, last, 65_536), *range(last - 60, last)})


def test_every_cut_is_found(damageable: tuple[bytes, bytes, bytes]) -> None:
    """At every 64 KB, in the header and between two frames; whole windows alone are written."""
    data, base, differential = damageable
    for end in [*_every_64_kb(differential), len(differential) - 1]:
        target = io.BytesIO()
        with pytest.raises(TruncatedStreamError, match="it is not complete"):
            decode_differential(
                io.BytesIO(differential[:end]), target, base=io.BytesIO(base), limit=len(data)
            )
        assert len(target.getvalue()) % WINDOW == 0
        assert data.startswith(target.getvalue())


@pytest.mark.parametrize("bit", [0, 2, 7])
def test_every_flip_is_found(damageable: tuple[bytes, bytes, bytes], bit: int) -> None:
    """No changed bit comes back as other data; the base is not blamed for it."""
    data, base, differential = damageable
    for at in _every_64_kb(differential):
        changed = bytearray(differential)
        changed[at] ^= 1 << bit
        target = io.BytesIO()
        try:
            decode_differential(
                io.BytesIO(changed), target, base=io.BytesIO(base), limit=2 * len(data)
            )
        except (DamagedStreamError, TruncatedStreamError):
            assert data.startswith(target.getvalue())
        else:
            assert target.getvalue() == data  # a bit that means nothing


def test_what_is_behind_the_end_is_found(first: bytes) -> None:
    """A file that something was added to is damaged, also where it is a whole frame."""
    differential = _encoded(first, first)
    for more in (b"\0", _compressed(b""), differential):
        with pytest.raises(DamagedStreamError, match="behind its end"):
            _decoded(differential + more, first)


@pytest.mark.parametrize(
    "data", [b"SQLite format 3\0" * 9, b"", b"\x5d\x2a\x4d\x18\x44\0\0\0SSDB", _compressed(b"x")]
)
def test_what_is_no_differential_is_an_error(data: bytes) -> None:
    """A plain database, an empty file, half a header, and a full compressed one."""
    with pytest.raises((DamagedStreamError, TruncatedStreamError)):
        _decoded(data, b"base")


def test_a_frame_without_a_checksum_is_refused() -> None:
    """What nobody could check is not taken for sound."""
    differential = _encoded(b"dear diary", b"")
    frame = zstd.compress(b"dear diary", options={zstd.CompressionParameter.checksum_flag: 0})
    with pytest.raises(DamagedStreamError, match="does not begin"):
        _decoded(differential[:_HEADER] + frame, b"")


# Versions


def _with_header(differential: bytes, at: int, value: bytes) -> bytes:
    data = bytearray(differential)
    data[at : at + len(value)] = value
    data[_HEADER - 4 : _HEADER] = struct.pack("<I", zlib.crc32(bytes(data[: _HEADER - 4])))
    return bytes(data)


def test_the_header_says_of_which_base_it_is(first: bytes) -> None:
    """It is read alone, before anything is decoded."""
    header = read_differential_header(io.BytesIO(_encoded(first, b"base")[:_HEADER]))
    assert header == DifferentialHeader(
        window=WINDOW,
        base_size=4,
        base_sha256=hashlib.sha256(b"base").hexdigest(),
        size=len(first),
    )


def test_the_header_is_as_the_page_has_it() -> None:
    """Byte by byte: what is written today is read for ever."""
    header = _encoded(b"diary", b"base")[:_HEADER]
    assert header.hex(" ", 4) == (
        "5d2a4d18 44000000 53534442 44494646 01000000 00001000 04000000 00000000 05000000 00000000 "
        f"{hashlib.sha256(b'base').digest().hex(' ', 4)} "
        f"{struct.pack('<I', zlib.crc32(header[:72])).hex()}"
    )


def test_a_newer_format_is_refused_not_guessed_at() -> None:
    """The error says which format it is of; a flipped bit is no newer format."""
    differential = _encoded(b"dear diary", b"")
    newer = struct.pack("<I", 2)
    longer = _with_header(_with_header(differential, 4, struct.pack("<I", 100)), 16, newer)
    for data in (_with_header(differential, 16, newer), longer):
        with pytest.raises(NewerStreamError, match=r"of format 2, .* reads format 1"):
            _decoded(data, b"")
    for at, value in ((16, 0), (20, 0), (20, 2**31), (4, 100)):
        with pytest.raises(DamagedStreamError, match="header is damaged"):
            _decoded(_with_header(differential, at, struct.pack("<I", value)), b"")


# Bases


class _Untouched:
    def read(self, _size: int, /) -> bytes:
        raise AssertionError("nothing is read of it")


def test_another_base_is_noticed_at_once(first: bytes) -> None:
    """Where its checksum is known, nothing is read of it and nothing is written."""
    target = io.BytesIO()
    with pytest.raises(WrongBaseError, match="it needs another base"):
        decode_differential(
            io.BytesIO(_encoded(first, first)),
            target,
            base=_Untouched(),
            limit=len(first),
            base_sha256="0" * 64,
        )
    assert not target.getvalue()
    differential = _encoded(first, b"base")
    right = hashlib.sha256(b"base").hexdigest()
    assert _decoded(differential, b"base", base_sha256=right) == first


@pytest.mark.parametrize(
    "change",
    [
        lambda base: b"",
        lambda base: base[:-1],
        lambda base: base + b"\0",
        lambda base: base + base,
        lambda base: b"x" + base[1:],
        lambda base: base[: WINDOW + 5] + b"x" + base[WINDOW + 6 :],
        lambda base: base[:-1] + b"x",
        lambda base: base[::-1],
    ],
)
@pytest.mark.parametrize("alike", [True, False])
def test_a_base_that_has_changed_is_noticed(change: Callable[[bytes], bytes], alike: bool) -> None:
    """Where its checksum is not known, too; even if nothing of the base was needed."""
    base = random.Random(1).randbytes(3 * WINDOW)
    data = base if alike else random.Random(2).randbytes(2 * WINDOW)
    differential = _encoded(data, base)
    target = io.BytesIO()
    with pytest.raises(WrongBaseError, match="its base has changed, or is another one"):
        decode_differential(
            io.BytesIO(differential), target, base=io.BytesIO(change(base)), limit=len(data)
        )
    assert data.startswith(target.getvalue())


def test_without_a_look_at_all_of_the_base_nothing_wrong_is_written() -> None:
    """A base that has changed is damage then, and only if a window needs what has changed."""
    base = random.Random(1).randbytes(3 * WINDOW)
    data = base[: WINDOW * 2]
    differential = _encoded(data, base)
    target = io.BytesIO()
    with pytest.raises(DamagedStreamError):
        decode_differential(
            io.BytesIO(differential),
            target,
            base=io.BytesIO(base[:WINDOW] + base[::-1]),
            limit=len(data),
            checks_base=False,
        )
    assert target.getvalue() == data[:WINDOW]
    needed = base[: WINDOW * 2] + b"?" * WINDOW
    assert _decoded(differential, needed, checks_base=False) == data


@pytest.mark.parametrize("changed", [b"", b"bass", b"base and more"])
def test_a_differential_is_made_of_the_right_base_alone(first: bytes, changed: bytes) -> None:
    """A base that is damaged by now is noticed while a differential of it is made."""
    told = {"base_size": 4, "base_sha256": hashlib.sha256(b"base").hexdigest()}
    with pytest.raises(WrongBaseError, match="its base has changed"):
        _encoded(first, changed, **told)


def _plain(source: Reader, target: Writer) -> None:
    decompress(source, target, limit=2**40)


def test_the_base_may_be_compressed(first: bytes, tmp_path: Path) -> None:
    """It is decoded while it is read; where it cannot be, the differential is not blamed."""
    later = _later(first, _change_one_percent, tmp_path / "app.db")
    stored = _compressed(first)
    sha256 = hashlib.sha256(first).hexdigest()
    target = io.BytesIO()
    with pulled(_plain, io.BytesIO(stored)) as base:
        encode_differential(
            io.BytesIO(later),
            target,
            base=base,
            base_size=len(first),
            base_sha256=sha256,
            size=len(later),
        )
    differential = target.getvalue()
    assert differential == _encoded(later, first)
    result = io.BytesIO()
    with pulled(_plain, io.BytesIO(stored)) as base:
        decode_differential(io.BytesIO(differential), result, base=base, limit=len(later))
    assert result.getvalue() == later
    with (
        pytest.raises(WrongBaseError, match="its base cannot be decoded: it is not complete"),
        pulled(_plain, io.BytesIO(stored[:-100_000])) as base,
    ):
        decode_differential(io.BytesIO(differential), io.BytesIO(), base=base, limit=len(later))


# Bombs


def test_a_bomb_stops_at_the_limit() -> None:
    """What says that it is too long is refused at once, and what does not say so at its window."""
    bomb = _encoded(b"\0" * 3 * WINDOW, b"")
    target = io.BytesIO()
    with pytest.raises(TooLongError, match=f"more than {3 * WINDOW - 1:,} bytes"):
        decode_differential(io.BytesIO(bomb), target, base=io.BytesIO(b""), limit=3 * WINDOW - 1)
    assert not target.getvalue()
    hidden = bomb[:_HEADER] + _compressed(b"\0" * 50_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(DamagedStreamError, match="another size"):
            decode_differential(io.BytesIO(hidden), target, base=io.BytesIO(b""), limit=3 * WINDOW)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert not target.getvalue()
    assert peak < 5 * WINDOW


def test_a_huge_window_is_refused() -> None:
    """A frame that takes more memory than its window has is none of ours."""
    parameter = zstd.CompressionParameter
    compressor = zstd.ZstdCompressor(options={parameter.window_log: 27, parameter.checksum_flag: 1})
    frame = compressor.compress(b"x" * WINDOW) + compressor.flush()
    with pytest.raises(DamagedStreamError, match="memory"):
        _decoded(_encoded(b"x" * WINDOW, b"")[:_HEADER] + frame, b"")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_memory_stays_flat() -> None:
    """Neither way takes memory that grows with the database."""
    command = [sys.executable, str(_PROGRAMS / "differential_memory.py"), "200"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    grown = {line.split()[0]: int(line.split()[1]) for line in done.stdout.splitlines()}
    assert set(grown) == {"encode", "decode"}
    assert max(grown.values()) < 50, grown


# Other readers


@needs_zstd
def test_the_program_zstd_makes_no_wrong_database_of_it(
    damageable: tuple[bytes, bytes, bytes], tmp_path: Path
) -> None:
    """Without the base it fails, as does our own reader of full backups."""
    _data, _base, differential = damageable
    (tmp_path / "later.zst").write_bytes(differential)
    command = [str(_PROGRAM), "-q", "-d", "later.zst", "-o", "later"]
    failed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert failed.returncode
    assert "corruption" in failed.stderr
    assert not (tmp_path / "later").exists()
    with pytest.raises(StreamError):
        decompress(io.BytesIO(differential), io.BytesIO(), limit=2**40)


@needs_zstd
def test_the_program_zstd_reads_each_frame(
    damageable: tuple[bytes, bytes, bytes], tmp_path: Path
) -> None:
    """`zstd -d --patch-from` with the window of the base decodes a frame that was cut out."""
    data, base, differential = damageable
    rest = differential[_HEADER:]
    plain = b""
    for start in range(0, len(data), WINDOW):
        frame = zstd.ZstdDecompressor(
            zstd.ZstdDict(base[start : start + WINDOW] or bytes(8), is_raw=True).as_prefix
        )
        frame.decompress(rest)
        (tmp_path / "frame.zst").write_bytes(rest[: len(rest) - len(frame.unused_data)])
        rest = frame.unused_data
        (tmp_path / "window").write_bytes(base[start : start + WINDOW])
        command = [str(_PROGRAM), "-q", "-d", "-c", "frame.zst"]
        if start < len(base):
            command.insert(2, "--patch-from=window")
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
        plain += done.stdout
    assert plain == data


def test_the_reader_of_the_documentation_reads_it(
    damageable: tuple[bytes, bytes, bytes], tmp_path: Path
) -> None:
    """It needs nothing of this package, reads every kind of window, and refuses a wrong base."""
    data, base, _differential = damageable
    (code,) = [
        block.code
        for block in blocks_of(_PAGE.read_text("utf-8"))
        if "def read_differential" in block.code
    ]
    assert "soulsense_db" not in code
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - the page's own
    cases = [(data, base, 1), (b"", base, 1), (data, b"", 1), (base, base, 2)]
    for number, (one, its_base, windows) in enumerate(cases):
        files = [str(tmp_path / f"{name}{number}") for name in ("differential", "base", "result")]
        Path(files[0]).write_bytes(_encoded(one, its_base, window=windows * WINDOW))
        Path(files[1]).write_bytes(its_base)
        names["read_differential"](*files)
        assert Path(files[2]).read_bytes() == one
    Path(files[1]).write_bytes(base[:-1])
    with pytest.raises(AssertionError):
        names["read_differential"](files[0], files[1], str(tmp_path / "other"))


# A stream that is decoded while it is read


class _OwnError(Exception):
    pass


def test_a_pulled_stream_ends_with_the_error_of_its_transform() -> None:
    """What came before the error is read; the end is no end, but the error."""

    def fails(_source: Reader, target: Writer) -> None:
        target.write(b"all there is")
        raise _OwnError

    with pulled(fails, io.BytesIO()) as reader:
        assert reader.read(100) == b"all there is"
        assert reader.read(0) == b""
        for _ in range(2):
            with pytest.raises(_OwnError):
                reader.read(100)


def test_a_pulled_stream_may_be_left_early() -> None:
    """Nobody waits for the rest, and no thread stays behind."""

    def endless(_source: Reader, target: Writer) -> None:
        while True:
            target.write(bytes(100_000))

    with pulled(endless, io.BytesIO()) as reader:
        assert len(reader.read(10)) == 10
    assert not [one for one in threading.enumerate() if one.name.startswith("soulsense_db-pulled")]
