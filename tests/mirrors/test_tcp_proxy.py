"""The network of the tests breaks as it is told."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from tcp_proxy import TcpProxy


@pytest.fixture
def proxy() -> Iterator[TcpProxy]:
    """Return a proxy of a server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=_send_back, args=(listener,))
        server.start()
        with TcpProxy(*listener.getsockname()) as proxy:
            yield proxy
        listener.shutdown(socket.SHUT_RDWR)
        server.join()


def _send_back(listener: socket.socket) -> None:
    def serve(client: socket.socket) -> None:
        try:
            while data := client.recv(65536):
                client.sendall(data)
        except OSError:
            pass  # cut
        finally:
            client.close()

    threads = []
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            break  # closed
        threads.append(threading.Thread(target=serve, args=(client,)))
        threads[-1].start()
    for thread in threads:
        thread.join()


def _echoed(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    return _received(client, len(data))


def _received(client: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size and (piece := client.recv(size - len(got))):
        got += piece
    return got


def _connected(proxy: TcpProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def test_everything_passes(proxy: TcpProxy) -> None:
    """Nothing is changed or lost while it is told nothing."""
    with _connected(proxy) as client:
        data = bytes(range(256)) * 1000
        assert _echoed(client, data) == data
    assert proxy.passed_bytes == 2 * len(data)


def test_a_connection_is_cut_once(proxy: TcpProxy) -> None:
    """The bytes before the cut arrive, then the connection is reset; the next one is not."""
    proxy.cut_after(150)
    with _connected(proxy) as client:
        client.sendall(b"a" * 100)
        assert _received(client, 50) == b"a" * 50
        with pytest.raises(ConnectionResetError):
            _received(client, 1)
    with _connected(proxy) as client:
        assert _echoed(client, b"b" * 1000) == b"b" * 1000


def test_each_connection_is_cut(proxy: TcpProxy) -> None:
    """With ``always``, each connection has its own count; what was passed on by then arrives."""
    proxy.cut_after(150, always=True)
    for _ in range(3):
        with _connected(proxy) as client:
            assert _echoed(client, b"a" * 100) == b"a" * 50
    proxy.pass_on()
    with _connected(proxy) as client:
        assert _echoed(client, b"b" * 1000) == b"b" * 1000


def test_a_connection_stalls_and_goes_on(proxy: TcpProxy) -> None:
    """After so many bytes nothing comes any more, until it may again."""
    proxy.stall_after(150)
    with _connected(proxy) as client:
        client.sendall(b"a" * 100)
        assert _received(client, 50) == b"a" * 50
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(10)
        proxy.pass_on()
        assert _received(client, 50) == b"a" * 50


def test_a_slow_line(proxy: TcpProxy) -> None:
    """The bytes of both directions together take as long as told."""
    proxy.throttle(10_000)
    with _connected(proxy) as client:
        began = time.monotonic()
        assert _echoed(client, b"a" * 2_000) == b"a" * 2_000
        assert 0.3 < time.monotonic() - began < 5


def test_connections_are_refused(proxy: TcpProxy) -> None:
    """What is open is reset, what is new is refused, and afterwards the port is the same."""
    with _connected(proxy) as client:
        assert _echoed(client, b"a") == b"a"
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        _connected(proxy)
    proxy.pass_on()
    with _connected(proxy) as client:
        assert _echoed(client, b"a") == b"a"
