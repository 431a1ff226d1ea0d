"""What --ping tells a monitor: to a real server, to one that hangs, redirects, never ends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from helpers import flip
from shell import Shell

pytestmark = pytest.mark.slow

SECRET = "5ecret-0f-mine"  # noqa: S105 - of nobody
Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Monitor:
    """A server, and the paths that were asked of it."""

    url: str
    asked: list[str] = field(default_factory=list)


def _ok(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    request.wfile.write(b"OK")


@contextmanager
def _serving(answer: Answer = _ok) -> Iterator[Monitor]:
    monitor = Monitor("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            monitor.asked.append(self.path)
            with suppress(OSError):  # who asked has gone
                answer(self)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    monitor.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield monitor
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _damage(shell: Shell) -> None:
    (shell.folder / "data" / "soulsense.db").write_bytes(b"no database" * 1000)


def test_a_run_tells_its_start_and_its_success(shell: Shell) -> None:
    """As healthchecks.io expects, also where the URL has a query of its own."""
    with _serving() as monitor:
        shell.ok("auto", "--ping", f"{monitor.url}/{SECRET}")
        shell.ok("status", "--ping", f"{monitor.url}/key/slug?create=1")
    assert monitor.asked == [
        f"/{SECRET}/start",
        f"/{SECRET}",
        "/key/slug/start?create=1",
        "/key/slug?create=1",
    ]


def test_a_run_tells_its_failure(shell: Shell) -> None:
    """An error of auto, and a warning or worse of status, is a failure."""
    with _serving() as monitor:
        shell.env["SOULSENSE_PING"] = f"{monitor.url}/{SECRET}"
        assert shell.run("status").returncode == 2  # there is no backup
        _damage(shell)
        assert shell.run("auto").returncode != 0
    assert monitor.asked == [f"/{SECRET}/start", f"/{SECRET}/fail"] * 2


def test_uptime_kuma_is_told_in_its_query(shell: Shell) -> None:
    """Its push URL as its page shows it: state, message and milliseconds are set, no start."""
    with _serving() as monitor:
        shell.ok("auto", "--ping", f"{monitor.url}/api/push/{SECRET}?status=up&msg=OK&ping=")
        _damage(shell)
        shell.run("auto", "--ping", f"{monitor.url}/api/push/{SECRET}")
    asked = [(urlsplit(path).path, parse_qs(urlsplit(path).query)) for path in monitor.asked]
    assert [path for path, _ in asked] == [f"/api/push/{SECRET}"] * 2
    assert [query["status"] for _, query in asked] == [["up"], ["down"]]
    assert [query["msg"] for _, query in asked] == [["OK"], ["failed"]]
    assert all(int(query["ping"][0]) >= 0 for _, query in asked)


def _redirect(request: BaseHTTPRequestHandler) -> None:
    if request.path.startswith("/moved"):
        _ok(request)
        return
    request.send_response(302)
    request.send_header("Location", f"/moved{request.path}")
    request.end_headers()


def test_a_redirect_is_followed(shell: Shell) -> None:
    """A monitor that has moved is told at its new place."""
    with _serving(_redirect) as monitor:
        shell.ok("auto", "--ping", f"{monitor.url}/{SECRET}")
    assert monitor.asked[-1] == f"/moved/{SECRET}"


def _to_a_file(request: BaseHTTPRequestHandler) -> None:
    request.send_response(302)
    request.send_header("Location", "file:///etc/passwd")
    request.end_headers()


def _refuse(request: BaseHTTPRequestHandler) -> None:
    request.send_error(404, f"no {request.path}")


def _loop(request: BaseHTTPRequestHandler) -> None:
    request.send_response(302)
    request.send_header("Location", request.path)
    request.end_headers()


def _never_end_the_body(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(b"x" * 65536)


_never = threading.Event()


def _never_end_the_headers(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.0 200 OK\r\nX-Long: ")
    while True:
        request.wfile.write(b"x")
        _never.wait(0.01)


def _babble(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(SECRET.encode() + b" is not HTTP\r\n" * 10)


def _told(shell: Shell, url: str) -> tuple[str, float]:
    """Return the warning of a run that went well, and how much longer than another it took."""
    shell.env.pop("SOULSENSE_PING", None)
    began = time.monotonic()
    shell.ok("auto")
    usual = time.monotonic() - began
    shell.env["SOULSENSE_PING"] = url
    began = time.monotonic()
    result = shell.run("auto")
    longer = time.monotonic() - began - usual
    assert result.returncode == 0
    assert "verified" in result.stdout
    assert SECRET not in result.stdout + result.stderr
    return result.stderr, longer


@pytest.mark.parametrize("answer", [_to_a_file, _refuse, _loop, _babble])
def test_a_ping_that_fails_is_one_line_of_warning(shell: Shell, answer: Answer) -> None:
    """The backup is made all the same, and the URL is in no text."""
    with _serving(answer) as monitor:
        told, _ = _told(shell, f"{monitor.url}/{SECRET}")
    (line,) = told.splitlines()
    assert line.startswith("Warning: The monitor could not be told by --ping (")


def test_an_answer_without_end_is_not_read(shell: Shell) -> None:
    """A monitor that sends for ever has been told when it has begun to answer."""
    with _serving(_never_end_the_body) as monitor:
        told, _ = _told(shell, f"{monitor.url}/{SECRET}")
    assert told == ""
    assert monitor.asked == [f"/{SECRET}/start", f"/{SECRET}"]


@pytest.mark.slow
def test_a_monitor_that_hangs_costs_two_seconds(shell: Shell) -> None:
    """One that never answers, and one whose answer comes in drops, for each of the two pings."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        told, longer = _told(shell, f"http://127.0.0.1:{silent.getsockname()[1]}/{SECRET}")
    assert len(told.splitlines()) == 1
    assert "no answer within 2 s" in told
    assert longer < 15
    with _serving(_never_end_the_headers) as monitor:
        told, longer = _told(shell, f"{monitor.url}/{SECRET}")
    assert "no answer within 2 s" in told
    assert longer < 15


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://127.0.0.1/{SECRET}",
        f"file:///{SECRET}",
        SECRET,
        f"http:///{SECRET}",
        f"http://[{SECRET}/",
        f"http://127.0.0.1:{SECRET}/",
        f"http://127.0.0.1:1/{SECRET} with\ta space",
        f"http://127.0.0.1:1/{SECRET}",
        f"http://{SECRET}.invalid/",
    ],
)
def test_a_url_that_leads_nowhere_is_a_warning(shell: Shell, url: str) -> None:
    """Whatever is wrong with it: it is not shown, and a backup does not depend on it."""
    told, _ = _told(shell, url)
    assert len(told.splitlines()) == 1
    assert told.startswith("Warning: The monitor could not be told by --ping (")


def test_an_empty_variable_is_no_ping(shell: Shell) -> None:
    """Where the environment has it without a value, nothing is sent and nothing said."""
    assert _told(shell, "")[0] == ""


def test_a_run_that_finds_damage_is_still_a_success(shell: Shell, tmp_path: Path) -> None:
    """A damaged backup that auto has replaced needs no alarm: what is there is sound."""
    shell.ok("auto")
    (backup,) = (tmp_path / "data" / "backups").glob("*.db")
    flip(backup, 5000)
    with _serving() as monitor:
        shell.env["SOULSENSE_PING"] = f"{monitor.url}/{SECRET}"
        assert shell.run("auto").returncode == 0
    assert monitor.asked[-1] == f"/{SECRET}"
