"""Streams that a passphrase opens: written and read here, and by the program age."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pexpect
import pyrage
import pytest
from age_keys import (
    CHUNK,
    PROGRAM,
    SEALED_CHUNK,
    Key,
    needs_age,
    sealed,
    sealed_with,
    text_of,
    unsealed,
)

from soulsense_db.codecs import (
    DamagedStreamError,
    Identities,
    Recipients,
    StreamError,
    TooLongError,
    TruncatedStreamError,
    age_passphrase,
    require_opens,
)
from soulsense_db.errors import IdentityError

_DATA = random.Random(13).randbytes(20 * CHUNK + 1000)
_SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, len(_DATA)]
_PASSPHRASE = "correct horse battery stäple"  # noqa: S105
_KNOWN = Identities(passphrase=text_of(_PASSPHRASE))


def _at_a_terminal(*arguments: str | Path, passphrase: str = _PASSPHRASE) -> int:
    """Run the program age, which asks for a passphrase at a terminal only."""
    age = pexpect.spawn(str(PROGRAM), [str(argument) for argument in arguments], timeout=60)
    while age.expect(["passphrase[^:]*:", pexpect.EOF]) == 0:
        age.sendline(passphrase)
    age.close()
    return int(age.exitstatus)


@pytest.mark.parametrize("size", _SIZES)
def test_what_is_sealed_comes_back(size: int) -> None:
    """Whatever its size, for who knows the passphrase and for nobody else."""
    data = sealed_with(_PASSPHRASE, _DATA[:size])
    assert unsealed(data, _KNOWN, limit=size) == _DATA[:size]
    require_opens(io.BytesIO(data), identities=_KNOWN)
    assert len(data) < size + 16 * (size // CHUNK + 1) + 250


@pytest.mark.parametrize("size", [0, CHUNK, len(_DATA)])
def test_another_library_reads_it_and_is_read(size: int) -> None:
    """The library that keys are opened with agrees about the format."""
    data = _DATA[:size]
    assert pyrage.passphrase.decrypt(sealed_with(_PASSPHRASE, data), _PASSPHRASE) == data


@needs_age
def test_the_program_age_reads_it_and_is_read(tmp_path: Path) -> None:
    """`age -d` opens with the passphrase what is sealed here, and `age -p` seals for us."""
    plain, stored, back = (tmp_path / name for name in ("plain", "stored.age", "back"))
    stored.write_bytes(sealed(_DATA, Recipients.with_passphrase(text_of(_PASSPHRASE))))
    assert _at_a_terminal("-d", "-o", back, stored) == 0
    assert back.read_bytes() == _DATA
    plain.write_bytes(_DATA)
    assert _at_a_terminal("-p", "-o", tmp_path / "theirs.age", plain) == 0
    assert unsealed((tmp_path / "theirs.age").read_bytes(), _KNOWN) == _DATA


def test_guessing_takes_what_is_recommended() -> None:
    """What is sealed for real asks for 2 ** 17 rounds, as OWASP does at least, and 128 MB."""
    data = sealed(b"x", Recipients.with_passphrase(text_of(_PASSPHRASE)))
    assert data.split(b"\n")[1].endswith(b" 17")


def test_a_wrong_passphrase_is_told() -> None:
    """It is neither damage, nor that nothing was given."""
    data = sealed_with(_PASSPHRASE, _DATA)
    wrong = Identities(passphrase=text_of("wrong"))
    match = "passphrase of the function for it does not open it"
    with pytest.raises(IdentityError, match=match):
        require_opens(io.BytesIO(data), identities=wrong)
    with pytest.raises(IdentityError, match=match):
        unsealed(data, wrong)
    with pytest.raises(IdentityError, match="A passphrase opens it, and none is given"):
        unsealed(data, Identities())


def test_keys_are_not_looked_for_where_a_passphrase_opens(tmp_path: Path) -> None:
    """What is of no use is not read: the key may be on a disk that is away."""
    key = Key(tmp_path)
    key.path.unlink()
    both = Identities(*key.identities.sources, passphrase=text_of(_PASSPHRASE))
    assert unsealed(sealed_with(_PASSPHRASE, _DATA), both) == _DATA


def test_every_cut_and_flip_is_found() -> None:
    """At each edge of a piece and in the header; a cut in the header is known to be one."""
    data = sealed_with(_PASSPHRASE, _DATA)
    header = len(data) - len(_DATA) - 21 * 16 - 16
    places = {header + 16 + at for at in range(0, len(_DATA) + 16 * 20, SEALED_CHUNK)}
    places |= {at + off for at in places for off in (-1, 1, CHUNK // 2, CHUNK)} | {len(data) - 1}
    for at in [*range(header + 16), *sorted(places)]:
        if at >= len(data):
            continue
        with pytest.raises(StreamError) as caught:
            unsealed(data[:at], _KNOWN)
        assert at >= header + 32 or type(caught.value) is TruncatedStreamError, at
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises((DamagedStreamError, IdentityError)) as damaged:
            unsealed(bytes(changed), _KNOWN)
        if at >= header:
            assert type(damaged.value) is DamagedStreamError, at
    with pytest.raises(DamagedStreamError):
        unsealed(data + b"x", _KNOWN)


def test_pieces_in_another_order_are_damage() -> None:
    """Each piece opens at its own place only, and the last one at the end only."""
    data = sealed_with(_PASSPHRASE, _DATA[: 3 * CHUNK])
    start = len(data) - 3 * SEALED_CHUNK
    one, two, three = (
        data[start + at * SEALED_CHUNK : start + (at + 1) * SEALED_CHUNK] for at in range(3)
    )
    for pieces in ((two, one, three), (one, three), (one, two), (one, two, three, three)):
        with pytest.raises(StreamError):
            unsealed(data[:start] + b"".join(pieces), _KNOWN)


def test_an_empty_piece_at_the_end_is_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    """No program of age writes one: two streams would be the same data, and age refuses it, too."""
    with monkeypatch.context() as patch:
        pieces = [(_DATA[:CHUNK], False), (b"", True)]
        patch.setattr(age_passphrase, "_chunks", lambda _source, _size: pieces)
        data = sealed_with(_PASSPHRASE, b"")
    with pytest.raises(DamagedStreamError, match="empty piece"):
        unsealed(data, _KNOWN)
    with pytest.raises(pyrage.DecryptError):
        pyrage.passphrase.decrypt(data, _PASSPHRASE)


def test_there_is_a_limit() -> None:
    """No more is written than there may be."""
    with pytest.raises(TooLongError):
        unsealed(sealed_with(_PASSPHRASE, _DATA), _KNOWN, limit=len(_DATA) - 1)


@pytest.mark.parametrize(
    "stanza",
    ["c2FsdHNhbHRzYWx0c2FsdA 30", "c2FsdHNhbHRzYWx0c2FsdA 0", "c2FsdHNhbHRzYWx0c2FsdA", "!! 4"],
)
def test_a_header_that_asks_for_the_impossible_is_damage(stanza: str) -> None:
    """One that would take a terabyte of memory is refused before any is taken."""
    lines = ["age-encryption.org/v1", f"-> scrypt {stanza}", "A" * 43, f"--- {'A' * 43}", ""]
    with pytest.raises(DamagedStreamError):
        unsealed("\n".join(lines).encode() + bytes(100), _KNOWN)


def test_a_passphrase_stands_alone(tmp_path: Path) -> None:
    """A header with a key beside the passphrase is nothing that age writes."""
    data = sealed_with(_PASSPHRASE, _DATA)
    beside = sealed(b"x", Key(tmp_path).recipients).split(b"\n")[1:3]
    lines = data.split(b"\n", 1)
    with pytest.raises(DamagedStreamError, match="passphrase and keys"):
        unsealed(b"\n".join([lines[0], *beside, lines[1]]), _KNOWN)
