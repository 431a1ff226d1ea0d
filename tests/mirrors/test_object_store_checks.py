"""What an object store has is what was sent; what it has not is not said to be there."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_server import S3Server, use_server

from soulsense_db.errors import ChecksumMismatchError, MirrorError
from soulsense_db.mirrors import Mirror, mirror_for
from soulsense_db.testing.mirror_hooks import KEY, MB, contents, holds, keys, outgoing, some_bytes

SIZES = [0, 1, MB, 5 * MB, 5 * MB + 1, 12 * MB]
PROGRAM = Path(__file__).parent.parent / "programs" / "create_at_mirror.py"


@pytest.fixture(autouse=True)
def server(s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Let the environment lead to the server, which behaves well again afterwards."""
    use_server(monkeypatch, s3, tmp_path)
    yield
    s3.behave()


@pytest.fixture
def mirror(s3: S3Server) -> Mirror:
    """Return a mirror in a new bucket."""
    return mirror_for(f"s3://{s3.new_bucket()}", timeout=5)


@pytest.mark.parametrize("size", SIZES)
def test_the_store_compares_a_checksum(
    mirror: Mirror, s3: S3Server, tmp_path: Path, size: int
) -> None:
    """A SHA-256 goes along with each part, and is that of the part."""
    before = s3.checksums()
    mirror.write(KEY, outgoing(tmp_path, some_bytes(size)))
    assert s3.checksums() - before == max(1, -(-size // (5 * MB)))


@pytest.mark.parametrize("size", SIZES)
def test_a_store_that_knows_no_checksums(
    mirror: Mirror, s3: S3Server, tmp_path: Path, size: int
) -> None:
    """It is sent what there is without them, and compared by its entity tag alone."""
    s3.behave("plain")
    data = some_bytes(size)
    if size == 1:
        assert mirror.create("laptop/small", b"data")
    mirror.write(KEY, outgoing(tmp_path, data))
    assert holds(mirror, data)


@pytest.mark.parametrize("size", SIZES)
def test_what_has_no_md5_is_read_back(
    mirror: Mirror,
    s3: S3Server,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    size: int,
) -> None:
    """Where the entity tag is something else, as with a key of one's own, all of it is compared."""
    caplog.set_level(logging.DEBUG, "soulsense_db")
    s3.behave("opaque")
    data = some_bytes(size)
    mirror.write(KEY, outgoing(tmp_path, data))
    assert holds(mirror, data)
    assert "is read back" in caplog.text


def test_what_has_an_md5_is_not_read_back(
    mirror: Mirror, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody pays for a download of what the store itself has compared."""
    caplog.set_level(logging.DEBUG, "soulsense_db")
    for size in SIZES:
        mirror.write(KEY, outgoing(tmp_path, some_bytes(size)))
    assert "is read back" not in caplog.text


@pytest.mark.parametrize("behaviour", ["damage", "damage,opaque"])
@pytest.mark.parametrize("size", [1, 5 * MB, 12 * MB])
def test_damage_in_the_store_is_found(
    mirror: Mirror, s3: S3Server, tmp_path: Path, size: int, behaviour: str
) -> None:
    """An object that is not what was sent is an error, and is not left there."""
    file = outgoing(tmp_path, some_bytes(size))
    s3.behave(behaviour)
    with pytest.raises(ChecksumMismatchError, match="It was removed again"):
        mirror.write(KEY, file)
    assert s3.keys(mirror.url.host) == []
    s3.behave()
    mirror.write(KEY, file)
    assert s3.keys(mirror.url.host) == [KEY]


@pytest.mark.parametrize("size", [5, 12 * MB])
def test_what_another_stored_meanwhile_is_not_removed(
    mirror: Mirror, s3: S3Server, tmp_path: Path, size: int
) -> None:
    """Two that store the same key: the one whose object is gone says so, and removes nothing."""
    s3.behave("replace")
    with pytest.raises(MirrorError, match="replaced by somebody else"):
        mirror.write(KEY, outgoing(tmp_path, some_bytes(size)))
    s3.behave()
    assert contents(mirror) == b"other"


def test_what_another_changed_later_is_seen_by_the_reader(
    mirror: Mirror, s3: S3Server, tmp_path: Path
) -> None:
    """An object that was truncated or changed is read as it is: who reads compares the checksum."""
    data = some_bytes(6 * MB)
    file = outgoing(tmp_path, data)
    mirror.write(KEY, file)
    for changed in (data[:-1], data[:-1] + b"x", b""):
        s3.request("PUT", f"/{mirror.url.host}/{KEY}", changed)
        assert hashlib.sha256(contents(mirror)).hexdigest() != file.sha256
        assert [found.size_bytes for found in mirror.list_objects()] == [len(changed)]
        assert contents(mirror, start=6 * MB) == b""


def test_one_of_two_programs_creates(mirror: Mirror) -> None:
    """Of two programs that create the same key at once, one is told so, and it is its object."""
    programs = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), mirror.address, "laptop/claim", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("first", "second")
    ]
    winners = set()
    try:
        for program in programs:
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
        for number in range(30):
            for program in programs:
                assert program.stdin is not None
                program.stdin.write(f"{number}\n")
                program.stdin.flush()
            told = [program.stdout.readline() for program in programs if program.stdout]
            assert sorted(told) == ["False\n", "True\n"]
            winner = told.index("True\n")
            winners.add(winner)
            assert contents(mirror, f"laptop/claim{number}") == (b"first", b"second")[winner]
    finally:
        for program in programs:
            program.communicate()
    assert [program.returncode for program in programs] == [0, 0]


ODD = ["laptop//x", "laptop/../x", "other//x", "other/./x", "/x", "x//", "laptop/x/"]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("prefix", ["", "/pre/fix"])
def test_odd_keys_of_others(
    s3: S3Server, caplog: pytest.LogCaptureFixture, odd: str, prefix: str
) -> None:
    """A key that the library cannot take hides no backup of another folder, and is said to be."""
    bucket = s3.new_bucket()
    mirror = mirror_for(f"s3://{bucket}{prefix}")
    ours = [f"machine/{number}.db" for number in range(3)] + ["zoo/a.db"]
    for key in ours:
        mirror.replace(key, b"data")
    s3.request("PUT", f"/{bucket}{prefix}/{odd}", b"x")
    if odd == "/x" and prefix:  # it stands beside the folders
        with pytest.raises(MirrorError, match="cannot be listed"):
            keys(mirror)
    else:
        listed = keys(mirror)
        assert set(ours) <= set(listed)
        assert len(set(listed)) == len(listed)
    for folder in ("machine", "zoo"):
        assert keys(mirror, folder) == [key for key in ours if key.startswith(f"{folder}/")]


@pytest.mark.parametrize("odd", ["laptop//x", "laptop/../x"])
def test_an_odd_key_beside_our_own(s3: S3Server, odd: str) -> None:
    """Where the library cannot list a folder, that is an error: nothing is taken for gone."""
    mirror = mirror_for(f"s3://{s3.new_bucket()}")
    mirror.replace(KEY, b"data")
    s3.request("PUT", f"/{mirror.url.host}/{odd}", b"x")
    with pytest.raises(MirrorError, match="Remove or rename"):
        keys(mirror, "laptop")
    assert contents(mirror) == b"data"
