"""age: what is sealed comes back, the program age agrees, and what is damaged stays away."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from age_keys import CHUNK, SEALED_CHUNK, Key, age, needs_age, sealed, unsealed

from soulsense_db.codecs import (
    DamagedStreamError,
    Identities,
    Reader,
    StreamError,
    TooLongError,
    TruncatedStreamError,
    Writer,
    compress,
    decompress,
    decrypt,
    encrypt,
    piped,
    require_opens,
)
from soulsense_db.errors import IdentityError

_DATA = random.Random(13).randbytes(20 * CHUNK + 1000)
_SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, len(_DATA)]


@pytest.fixture
def key(tmp_path: Path) -> Key:
    """Return a key pair of this test."""
    return Key(tmp_path)


def _payload(data: bytes) -> int:
    """Return where the header of a stream ends."""
    return data.index(b"\n", data.index(b"\n--- ") + 1) + 1


@pytest.mark.parametrize("size", _SIZES)
def test_what_is_sealed_comes_back(key: Key, size: int) -> None:
    """Whatever its size; and it is not to be read in what is stored."""
    data = sealed(_DATA[:size], key.recipients)
    assert unsealed(data, key.identities, limit=size) == _DATA[:size]
    require_opens(io.BytesIO(data), identities=key.identities)
    assert size < 32 or _DATA[:32] not in data


@needs_age
@pytest.mark.parametrize("size", _SIZES)
def test_the_program_age_reads_it_and_is_read(key: Key, size: int) -> None:
    """`age -d` opens our streams, and we open its."""
    data = _DATA[:size]
    assert age("-d", "-i", key.path, data=sealed(data, key.recipients)) == data
    assert unsealed(age("-r", key.public, data=data), key.identities) == data


def test_each_of_several_keys_opens_it(tmp_path: Path) -> None:
    """Who has one of the keys opens it; who has none does not, and is told so."""
    first, second, other = (Key(tmp_path, name) for name in "abc")
    recipients = type(first.recipients).of([first.public, second.public])
    data = sealed(_DATA, recipients)
    assert unsealed(data, first.identities) == unsealed(data, second.identities) == _DATA
    require_opens(io.BytesIO(data), identities=second.identities)
    both = Identities(*other.identities.sources, *second.identities.sources)
    assert unsealed(data, both) == _DATA
    for call in (unsealed, _opens):
        with pytest.raises(IdentityError, match=rf"No private key of the file {other.path} opens"):
            call(data, other.identities)


def test_without_a_key_nothing_is_opened(key: Key) -> None:
    """That none is given is another error than that none fits."""
    data = sealed(_DATA, key.recipients)
    for call in (unsealed, _opens):
        with pytest.raises(IdentityError, match="no private key is given"):
            call(data, Identities())


def _opens(data: bytes, identities: Identities) -> None:
    require_opens(io.BytesIO(data), identities=identities)


class _Counted(io.BytesIO):
    total = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.total += len(data)
        return data


def test_a_proof_reads_the_beginning_only(key: Key) -> None:
    """That a key opens it is known without all of it; the rest of it may be damaged."""
    source = _Counted(sealed(_DATA, key.recipients))
    require_opens(source, identities=key.identities)
    assert source.total < len(_DATA) / 2
    _opens(_flipped(source.getvalue(), len(source.getvalue()) - 1), key.identities)
    with pytest.raises(StreamError):
        _opens(_flipped(source.getvalue(), 1000), key.identities)


def _places(data: bytes) -> Iterator[int]:
    """Yield places at each edge of a piece, and between them."""
    start = _payload(data) + 16
    for edge in range(start, len(data), SEALED_CHUNK):
        yield from (edge - 1, edge, edge + 1, edge + CHUNK // 2, edge + CHUNK)
    yield from (len(data) - 17, len(data) - 16, len(data) - 1)


def _flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def test_every_cut_is_found(key: Key) -> None:
    """A stream that ends too early is never taken for a whole one, or for somebody else's."""
    data = sealed(_DATA, key.recipients)
    header = _payload(data)
    for end in [*range(header + 32), *_places(data)]:
        if end < len(data):
            with pytest.raises(StreamError) as caught:
                unsealed(data[:end], key.identities)
            if end < header + 32:
                assert type(caught.value) is TruncatedStreamError, end


def test_every_flip_is_found(key: Key) -> None:
    """A changed bit, in whatever piece, is damage, and no piece of it is written."""
    data = sealed(_DATA, key.recipients)
    for at in _places(data):
        if at < len(data):
            target = io.BytesIO()
            with pytest.raises(DamagedStreamError):
                decrypt(
                    io.BytesIO(_flipped(data, at)), target, identities=key.identities, limit=10**9
                )
            assert _DATA.startswith(target.getvalue())
            assert len(target.getvalue()) <= max(0, at - _payload(data))
    with pytest.raises(DamagedStreamError):
        unsealed(data + b"x", key.identities)


def test_every_flip_in_the_header_is_found(key: Key) -> None:
    """It is damage, or the key does not fit any more; never other data."""
    data = sealed(b"dear diary", key.recipients)
    damaged = 0
    for at in range(_payload(data)):
        with pytest.raises((StreamError, IdentityError)) as caught:
            unsealed(_flipped(data, at), key.identities)
        damaged += isinstance(caught.value, DamagedStreamError)
        if isinstance(caught.value, IdentityError):
            assert "damaged" in caught.value.hint
    assert damaged > 100  # its checksum, its version, its form


def test_damage_is_told_from_a_wrong_key(tmp_path: Path, key: Key) -> None:
    """Who has another key hears that, whatever is damaged behind the header."""
    data = sealed(_DATA, key.recipients)
    other = Key(tmp_path, "other.txt").identities
    for changed in (_flipped(data, len(data) // 2), data[: len(data) // 2]):
        with pytest.raises(IdentityError):
            unsealed(changed, other)
        with pytest.raises(StreamError):
            unsealed(changed, key.identities)


@pytest.mark.parametrize(
    "data",
    [b"SQLite format 3\0" * 5000, b"age-encryption.org/v2\n" * 100, b"x", _DATA],
    ids=["database", "version", "letter", "noise"],
)
def test_other_files_are_not_of_age(key: Key, data: bytes) -> None:
    """What is no stream of age is said to be none."""
    with pytest.raises(DamagedStreamError, match="not encrypted with age"):
        unsealed(data, key.identities)


@pytest.mark.parametrize(
    "lines", [b"-> a b\n\n" * 200_000, b"\x00" * 2_000_000], ids=["stanzas", "zeroes"]
)
def test_a_header_without_an_end_is_not_read_for_ever(key: Key, lines: bytes) -> None:
    """A header is small: what has a larger one is damaged."""
    source = _Counted(b"age-encryption.org/v1\n" + lines)
    with pytest.raises(DamagedStreamError, match="no end"):
        decrypt(source, io.BytesIO(), identities=key.identities, limit=10)
    assert source.total < 1_100_000


@needs_age
def test_an_armored_stream_is_named(key: Key) -> None:
    """What `age --armor` writes is another form, and the error says so."""
    with pytest.raises(DamagedStreamError, match="armored"):
        unsealed(age("-a", "-r", key.public, data=b"x"), key.identities)


def test_there_is_a_limit(key: Key) -> None:
    """No more is written than there may be."""
    data = sealed(_DATA, key.recipients)
    target = io.BytesIO()
    with pytest.raises(TooLongError):
        decrypt(io.BytesIO(data), target, identities=key.identities, limit=100_000)
    assert len(target.getvalue()) <= 100_000


class _Broken:
    """A file whose disk fails at a byte."""

    def __init__(self, data: bytes, good: int) -> None:
        self._data, self._good = io.BytesIO(data), good

    def read(self, size: int, /) -> bytes:
        self._fail_after(size)
        return self._data.read(size)

    def write(self, data: bytes, /) -> None:
        self._fail_after(len(data))

    def _fail_after(self, size: int) -> None:
        self._good -= size
        if self._good < 0:
            raise OSError(28, "No space left on device")


def _into(target: Writer, source: Reader, key: Key) -> None:
    decrypt(source, target, identities=key.identities, limit=10**9)


@pytest.mark.parametrize(
    ("size", "good"), [(100, 0), *((len(_DATA), good) for good in (0, 300, 300_000, 1_000_000))]
)
def test_an_error_of_the_disk_arrives_as_it_is(key: Key, size: int, good: int) -> None:
    """Of the source or the target, at any byte: it is neither lost nor taken for damage."""
    plain = _DATA[:size]
    data = sealed(plain, key.recipients)
    calls: list[Callable[[], None]] = [
        lambda: encrypt(_Broken(plain, good), io.BytesIO(), recipients=key.recipients),
        lambda: encrypt(io.BytesIO(plain), _Broken(b"", good), recipients=key.recipients),
        lambda: _into(io.BytesIO(), _Broken(data, good), key),
        lambda: _into(_Broken(b"", good), io.BytesIO(data), key),
    ]
    for call in calls:
        with pytest.raises(OSError, match="No space left"):
            call()


def test_ctrl_c_arrives(key: Key) -> None:
    """An interrupt while a stream is written ends it as an interrupt."""

    class Interrupted(io.BytesIO):
        def write(self, _data: object) -> int:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encrypt(io.BytesIO(_DATA), Interrupted(), recipients=key.recipients)


def test_compressed_and_sealed_at_once(key: Key) -> None:
    """Steps in a row: what is compressed is sealed, and comes back the other way round."""
    stored, plain = io.BytesIO(), io.BytesIO()
    piped(compress, lambda source, target: encrypt(source, target, recipients=key.recipients))(
        io.BytesIO(_DATA * 3), stored
    )
    piped(
        lambda source, target: decrypt(source, target, identities=key.identities, limit=10**9),
        lambda source, target: decompress(source, target, limit=10**9),
    )(io.BytesIO(stored.getvalue()), plain)
    assert plain.getvalue() == _DATA * 3


@pytest.mark.slow
@pytest.mark.parametrize("way", ["keys", "passphrase"])
def test_memory_stays_flat(tmp_path: Path, way: str) -> None:
    """A gigabyte takes no more than a few MB beside the libraries, and what scrypt asks for."""
    program = Path(__file__).parent.parent / "programs" / "age_peak.py"
    printed = subprocess.run(
        [sys.executable, str(program), way], capture_output=True, text=True, check=True
    ).stdout
    base, peak = map(int, printed.split())
    assert peak - base < (320 if way == "passphrase" else 32), printed
    assert peak < 150 or way == "passphrase", printed
