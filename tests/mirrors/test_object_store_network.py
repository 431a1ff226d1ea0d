"""An object store over a network that breaks: a retry, or a clear error, and nothing by halves."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from s3_server import HOST, S3Server, use_server
from tcp_proxy import TcpProxy

from soulsense_db.errors import MirrorUnreachableError
from soulsense_db.mirrors import Mirror, mirror_for
from soulsense_db.testing.mirror_hooks import KEY, MB, contents, holds, outgoing, some_bytes

DATA = some_bytes(12 * MB)
TIMEOUT = 1.0


@dataclass(frozen=True)
class Bucket:
    """A bucket, as one sees it who is not behind that network."""

    server: S3Server
    name: str

    def keys(self) -> list[str]:
        """Return the keys of what is there."""
        return self.server.keys(self.name)

    def uploads(self) -> int:
        """Return how many uploads are neither completed nor aborted."""
        return self.server.uploads(self.name)


@pytest.fixture
def proxy(s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[TcpProxy]:
    """Return the network between the mirror and the server."""
    with TcpProxy(HOST, s3.port) as proxy:
        use_server(monkeypatch, s3, tmp_path, port=proxy.port)
        yield proxy


@pytest.fixture
def bucket(s3: S3Server) -> Bucket:
    """Return a new bucket."""
    return Bucket(s3, s3.new_bucket())


@pytest.fixture
def mirror(proxy: TcpProxy, bucket: Bucket) -> Mirror:
    """Return a mirror in ``bucket``, behind the network."""
    return mirror_for(f"s3://{bucket.name}", timeout=TIMEOUT)


def _resumed(mirror: Mirror) -> bytes:
    """Return what is stored, read again from where it broke off."""
    got = b""
    for _ in range(100):
        try:
            for piece in mirror.read(KEY, start=len(got)):
                got += piece
        except MirrorUnreachableError:
            continue
        return got
    raise AssertionError("it never ended")


@pytest.mark.parametrize("after", range(1, 13))
def test_an_upload_is_cut_off(
    mirror: Mirror, proxy: TcpProxy, bucket: Bucket, tmp_path: Path, after: int
) -> None:
    """A connection cut at any megabyte: what is listed is whole, and the next try completes."""
    file = outgoing(tmp_path, DATA)
    proxy.cut_after(after * MB)
    try:
        mirror.write(KEY, file)
    except MirrorUnreachableError:
        if bucket.keys():  # it was the answer to the end of it that was cut off
            assert holds(mirror, DATA)
        mirror.write(KEY, file)
    assert bucket.keys() == [KEY]
    assert holds(mirror, DATA)
    assert bucket.uploads() == 0


@pytest.mark.parametrize("after", [1, MB, 4 * MB])
def test_each_try_of_an_upload_is_cut_off(
    mirror: Mirror, proxy: TcpProxy, bucket: Bucket, tmp_path: Path, after: int
) -> None:
    """A line on which no part gets through: nothing is listed, and later it completes."""
    file = outgoing(tmp_path, DATA)
    proxy.cut_after(after, always=True)
    with pytest.raises(MirrorUnreachableError):
        mirror.write(KEY, file)
    proxy.pass_on()
    assert bucket.keys() == []
    mirror.write(KEY, file)
    assert holds(mirror, DATA)


@pytest.mark.parametrize("after", range(1, 13))
def test_a_download_is_cut_off(mirror: Mirror, proxy: TcpProxy, tmp_path: Path, after: int) -> None:
    """A connection cut at any megabyte: what was read is right, and the rest is read from there."""
    mirror.write(KEY, outgoing(tmp_path, DATA))
    proxy.cut_after(after * MB)
    assert _resumed(mirror) == DATA


def test_each_download_is_cut_off(mirror: Mirror, proxy: TcpProxy, tmp_path: Path) -> None:
    """A line that is cut after every two megabytes gets the whole in the end."""
    mirror.write(KEY, outgoing(tmp_path, DATA))
    proxy.cut_after(2 * MB, always=True)
    assert _resumed(mirror) == DATA


@pytest.mark.slow
@pytest.mark.parametrize("size", [1 * MB, 12 * MB])
def test_an_upload_stalls(
    mirror: Mirror, proxy: TcpProxy, bucket: Bucket, tmp_path: Path, size: int
) -> None:
    """Where nothing passes any more, an upload ends soon, and nothing is listed."""
    file = outgoing(tmp_path, DATA[:size])
    proxy.stall_after(MB // 2)
    began = time.monotonic()
    with pytest.raises(MirrorUnreachableError, match="did not answer"):
        mirror.write(KEY, file)
    assert time.monotonic() - began < 8 * TIMEOUT
    assert bucket.keys() == []


@pytest.mark.slow
def test_a_slow_upload_stalls(
    mirror: Mirror, proxy: TcpProxy, bucket: Bucket, tmp_path: Path
) -> None:
    """Nor does a line hang for hours that was slow before, and dies then."""
    proxy.throttle(2_000_000)
    mirror.write("laptop/first.db", outgoing(tmp_path, DATA[: 5 * MB]))
    proxy.stall_after(MB // 2)
    began = time.monotonic()
    with pytest.raises(MirrorUnreachableError, match="did not answer"):
        mirror.write(KEY, outgoing(tmp_path, DATA))
    assert time.monotonic() - began < 8 * TIMEOUT
    assert bucket.keys() == ["laptop/first.db"]


def test_a_download_stalls(mirror: Mirror, proxy: TcpProxy, tmp_path: Path) -> None:
    """Where nothing comes any more, a download ends soon, and goes on from there later."""
    mirror.write(KEY, outgoing(tmp_path, DATA))
    proxy.stall_after(3 * MB)
    began = time.monotonic()
    got = b""
    with pytest.raises(MirrorUnreachableError, match="did not answer"):
        for piece in mirror.read(KEY):
            got += piece
    assert time.monotonic() - began < 4 * TIMEOUT
    assert got
    proxy.pass_on()
    is_the_rest = got + contents(mirror, start=len(got)) == DATA
    assert is_the_rest


@pytest.mark.slow
def test_a_server_never_answers(mirror: Mirror, proxy: TcpProxy) -> None:
    """A server that takes the connection and says nothing is given up soon, whatever is asked."""
    proxy.stall_after(0)
    for ask in (
        lambda: list(mirror.list_objects()),
        lambda: list(mirror.read(KEY)),
        lambda: mirror.create(KEY, b"data"),
        lambda: mirror.replace(KEY, b"data"),
        lambda: mirror.delete(KEY),
    ):
        began = time.monotonic()
        with pytest.raises(MirrorUnreachableError, match="did not answer"):
            ask()
        assert time.monotonic() - began < 4 * TIMEOUT


def test_connections_are_refused(mirror: Mirror, proxy: TcpProxy, tmp_path: Path) -> None:
    """Where nobody listens, that is what is said."""
    file = outgoing(tmp_path, DATA)
    proxy.refuse()
    for ask in (lambda: list(mirror.list_objects()), lambda: mirror.write(KEY, file)):
        with pytest.raises(MirrorUnreachableError, match="connection refused"):
            ask()


def test_the_host_is_not_known(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that does not resolve is said to be that."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://no-such-host.invalid")
    with pytest.raises(MirrorUnreachableError, match="does not resolve"):
        list(mirror.list_objects())


@pytest.mark.slow
@pytest.mark.parametrize("size", [3 * MB, 6 * MB])
def test_a_slow_line(mirror: Mirror, proxy: TcpProxy, tmp_path: Path, size: int) -> None:
    """A line on which a part takes longer than the timeout, and goes on, is no broken one."""
    file = outgoing(tmp_path, DATA[:size])
    proxy.throttle(2_000_000)
    began = time.monotonic()
    mirror.write(KEY, file)
    assert time.monotonic() - began > TIMEOUT
    proxy.throttle(3_000_000)
    assert holds(mirror, DATA[:size])


def test_a_listing_over_a_slow_line(mirror: Mirror, proxy: TcpProxy) -> None:
    """A kilobyte in a second is enough for a listing."""
    mirror.replace(KEY, b"data")
    proxy.throttle(1000)
    assert [found.key for found in mirror.list_objects()] == [KEY]


def test_a_caller_is_not_held_up_by_ctrl_c(
    mirror: Mirror, proxy: TcpProxy, bucket: Bucket, tmp_path: Path
) -> None:
    """What interrupts an upload comes out as it is, soon, and nothing is listed."""

    def interrupt(_done_bytes: int) -> None:
        raise KeyboardInterrupt

    whole = outgoing(tmp_path, DATA)
    with pytest.raises(KeyboardInterrupt):
        mirror.write(KEY, dataclasses.replace(whole, told=interrupt))
    assert bucket.keys() == []
    assert bucket.uploads() == 0
    assert proxy.passed_bytes < len(DATA)
