"""An SSH server that is far away, slow, full or gone: nothing half-written has a name."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import disk_of
from ssh_server import SSHServer, ssh_server, use_home
from tcp_proxy import TcpProxy

from soulsense_db.errors import MirrorFullError, MirrorUnreachableError
from soulsense_db.mirrors import Mirror, mirror_for
from soulsense_db.testing.mirror_hooks import (
    FOLDER,
    KEY,
    MB,
    contents,
    holds,
    keys,
    outgoing,
    some_bytes,
)

pytestmark = pytest.mark.slow

_TIMEOUT = 2.0


@pytest.fixture(scope="module")
def running() -> Iterator[SSHServer]:
    """Run OpenSSH's server."""
    with ssh_server() as server:
        yield server


@pytest.fixture
def server(running: SSHServer, monkeypatch: pytest.MonkeyPatch) -> SSHServer:
    """Return the server, from the client's home directory."""
    use_home(running, monkeypatch)
    return running


@pytest.fixture(autouse=True)
def no_task_is_lost(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Hold each test to it that asyncio has nothing to complain of: errors that nobody has seen."""
    yield
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


@pytest.fixture
def proxy(server: SSHServer) -> Iterator[TcpProxy]:
    """Return a network that can be made worse, and is known to lead to the server."""
    with TcpProxy("127.0.0.1", server.port) as network:
        server.trust(network.port)
        yield network


@pytest.fixture
def place(server: SSHServer) -> Path:
    """Return a new place, set up."""
    path = server.root / uuid.uuid4().hex
    with mirror_for(server.url(path)) as mirror:
        mirror.prepare()
    return path


@pytest.fixture
def mirror(server: SSHServer, proxy: TcpProxy, place: Path) -> Iterator[Mirror]:
    """Return a mirror at the place, by way of the network."""
    with mirror_for(server.url(place, port=proxy.port), timeout=_TIMEOUT) as made:
        assert keys(made) == []
        yield made


@pytest.mark.parametrize("megabytes", range(8))
def test_an_upload_that_was_cut_off_goes_on(
    mirror: Mirror, proxy: TcpProxy, place: Path, tmp_path: Path, megabytes: int
) -> None:
    """Cut at any megabyte, nothing has a name; the next call completes it."""
    data = some_bytes(8 * MB)
    proxy.cut_after(megabytes * MB + 1000)
    with pytest.raises(MirrorUnreachableError):
        mirror.write(KEY, outgoing(tmp_path, data))
    assert keys(mirror) == []
    done: list[int] = []
    mirror.write(KEY, outgoing(tmp_path, data, told=done.append))
    assert holds(mirror, data)
    assert done[0] > (megabytes - 3) * MB  # a reset discards what lies in buffers
    assert [path.name for path in (place / FOLDER).iterdir()] == ["app.db"]


def test_an_upload_that_is_always_cut_off_comes_to_its_end(
    mirror: Mirror, proxy: TcpProxy, tmp_path: Path
) -> None:
    """Connections that last for a megabyte bring some of it, there and back.

    How much, nobody can say: what sshd has not handed on when its connection ends, it forgets.
    """
    data = some_bytes(8 * MB)
    proxy.cut_after(1 * MB, always=True)
    for _ in range(500):
        try:
            mirror.write(KEY, outgoing(tmp_path, data))
        except MirrorUnreachableError:
            continue
        break
    proxy.pass_on()
    assert holds(mirror, data)


@pytest.mark.parametrize("megabytes", range(8))
def test_a_download_that_was_cut_off_goes_on(
    mirror: Mirror, proxy: TcpProxy, tmp_path: Path, megabytes: int
) -> None:
    """Cut at any megabyte, what had come by then is kept, and the rest is read from there on."""
    data = some_bytes(8 * MB)
    mirror.write(KEY, outgoing(tmp_path, data))
    proxy.cut_after(megabytes * MB + 1000)
    found = bytearray()
    with pytest.raises(MirrorUnreachableError):
        for piece in mirror.read(KEY):
            found += piece
    assert len(found) > (megabytes - 3) * MB  # a reset discards what lies in buffers
    found += contents(mirror, start=len(found))
    is_whole = found == data
    assert is_whole


def test_a_download_that_is_always_cut_off_comes_to_its_end(
    mirror: Mirror, proxy: TcpProxy, tmp_path: Path
) -> None:
    """Each connection that lasts for a megabyte brings some of it."""
    data = some_bytes(8 * MB)
    mirror.write(KEY, outgoing(tmp_path, data))
    proxy.cut_after(1 * MB, always=True)
    found = bytearray()
    for _ in range(50):
        try:
            for piece in mirror.read(KEY, start=len(found)):
                found += piece
        except MirrorUnreachableError:
            continue
        break
    is_whole = found == data
    assert is_whole


@pytest.mark.parametrize("after", [0, 3 * MB])
def test_a_server_that_stalls_is_unreachable(
    mirror: Mirror, proxy: TcpProxy, tmp_path: Path, after: int
) -> None:
    """Nobody waits for longer than the timeout for an answer; later it works again."""
    data = some_bytes(8 * MB)
    proxy.stall_after(after)
    since = time.monotonic()
    with pytest.raises(MirrorUnreachableError, match="did not answer for 2 seconds"):
        mirror.write(KEY, outgoing(tmp_path, data))
    assert time.monotonic() - since < 10 * _TIMEOUT
    proxy.pass_on()
    assert keys(mirror) == []
    mirror.write(KEY, outgoing(tmp_path, data))
    assert holds(mirror, data)


def test_a_download_that_stalls_is_unreachable(
    mirror: Mirror, proxy: TcpProxy, tmp_path: Path
) -> None:
    """Nor for the next bytes of an object."""
    data = some_bytes(8 * MB)
    mirror.write(KEY, outgoing(tmp_path, data))
    proxy.stall_after(3 * MB)
    with pytest.raises(MirrorUnreachableError, match="did not answer for 2 seconds"):
        contents(mirror)
    proxy.pass_on()
    assert holds(mirror, data)


def test_a_server_that_never_says_anything_is_unreachable(server: SSHServer) -> None:
    """A port where somebody accepts and is silent is given up after the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with mirror_for(server.url("/srv", port=port), timeout=1) as mirror:
            since = time.monotonic()
            with pytest.raises(MirrorUnreachableError, match="did not answer for 1 seconds"):
                keys(mirror)
            assert time.monotonic() - since < 10


def test_a_slow_network_is_no_broken_one(mirror: Mirror, proxy: TcpProxy, tmp_path: Path) -> None:
    """What takes several times the timeout is stored and read, as long as some of it comes."""
    data = some_bytes(200_000)
    proxy.throttle(40_000)
    since = time.monotonic()
    mirror.write(KEY, outgoing(tmp_path, data))
    assert holds(mirror, data)
    assert time.monotonic() - since > 3 * _TIMEOUT


def test_a_full_place_is_said_so(server: SSHServer, tmp_path: Path) -> None:
    """A file that has no room is refused before it is sent, or leaves nothing that has a name."""
    point = server.root / "small"
    point.mkdir()
    with disk_of(6 * MB, point), mirror_for(server.url(point)) as mirror:
        mirror.prepare()
        with pytest.raises(MirrorFullError, match="bytes are needed"):
            mirror.write(KEY, outgoing(tmp_path, some_bytes(7 * MB)))

        def fill(done_bytes: int) -> None:
            if not (point / "of-others").exists():
                with pytest.raises(OSError, match="No space"):
                    (point / "of-others").write_bytes(bytes(6 * MB))

        data = some_bytes(5 * MB)
        with pytest.raises(MirrorFullError):
            mirror.write(KEY, outgoing(tmp_path, data, told=fill))
        assert keys(mirror) == []
        (point / "of-others").unlink()
        mirror.write(KEY, outgoing(tmp_path, data))
        assert holds(mirror, data)


_KILLED = """
import os, signal, sys
from hashlib import sha256
from pathlib import Path
from soulsense_db.mirrors import Outgoing, mirror_for

def told(done_bytes):
    if done_bytes >= int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

data = Path(sys.argv[2]).read_bytes()
file = Outgoing(
    path=Path(sys.argv[2]), size_bytes=len(data), sha256=sha256(data).hexdigest(), told=told
)
with mirror_for(sys.argv[1]) as mirror:
    mirror.write("laptop/app.db", file)
"""


def test_what_a_killed_program_sent_is_gone_on_with(
    server: SSHServer, place: Path, tmp_path: Path
) -> None:
    """A program that died in the middle leaves nothing with a name, and its bytes are used."""
    file = outgoing(tmp_path, some_bytes(16 * MB))
    program = [sys.executable, "-c", _KILLED, server.url(place), str(file.path), str(12 * MB)]
    done = subprocess.run(program, env=dict(os.environ), check=False)
    assert done.returncode == -signal.SIGKILL
    told: list[int] = []
    with mirror_for(server.url(place)) as mirror:
        assert keys(mirror) == []
        again = outgoing(tmp_path, file.path.read_bytes(), told=told.append)
        mirror.write(KEY, again)
        assert told[0] > 2 * MB
        assert holds(mirror, file.path.read_bytes())


def test_what_was_damaged_on_the_server_is_sent_anew(
    server: SSHServer, place: Path, tmp_path: Path
) -> None:
    """A beginning that is not what was sent is noticed when it is read back."""
    data = some_bytes(12 * MB)
    file = outgoing(tmp_path, data)
    (place / FOLDER).mkdir(mode=0o777)
    server.own(place / FOLDER)
    partial = place / FOLDER / f".app.db.{file.sha256[:16]}.partial"
    partial.write_bytes(bytes(8 * MB))
    server.own(partial)
    with mirror_for(server.url(place)) as mirror:
        mirror.write(KEY, file)
        assert holds(mirror, data)


def test_what_is_longer_than_the_file_is_not_its_beginning(
    server: SSHServer, place: Path, tmp_path: Path
) -> None:
    """A partial file that is too long is removed."""
    file = outgoing(tmp_path, b"data")
    (place / FOLDER).mkdir(mode=0o777)
    server.own(place / FOLDER)
    partial = place / FOLDER / f".app.db.{file.sha256[:16]}.partial"
    partial.write_bytes(b"more than that")
    server.own(partial)
    with mirror_for(server.url(place)) as mirror:
        mirror.write(KEY, file)
        assert contents(mirror) == b"data"


def test_a_link_on_the_server_is_not_followed(
    server: SSHServer, place: Path, tmp_path: Path
) -> None:
    """A folder that leads elsewhere is neither listed, nor read, nor written to."""
    outside = server.root / uuid.uuid4().hex
    outside.mkdir()
    (outside / "app.db").write_bytes(b"of others")
    server.own(outside)
    (place / FOLDER).symlink_to(outside, target_is_directory=True)
    with mirror_for(server.url(place)) as mirror:
        assert keys(mirror) == keys(mirror, FOLDER) == []
        with pytest.raises(Exception, match="There is no"):
            contents(mirror)
        with pytest.raises(Exception, match="is not a directory"):
            mirror.write(KEY, outgoing(tmp_path, b"data"))
        mirror.delete(KEY)
    assert (outside / "app.db").read_bytes() == b"of others"
    assert [path.name for path in outside.iterdir()] == ["app.db"]
