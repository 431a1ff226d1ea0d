"""Whom --notify tells what, by Apprise to a real server."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from helpers import flip
from shell import Shell

from soulsense_db import errors

pytestmark = pytest.mark.slow

SECRET = "5ecret-0f-mine"  # noqa: S105 - of nobody


class Service:
    """A server to notify: its URL, and what was told."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.answer = 200
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == f"/{SECRET}"
                text = self.rfile.read(int(self.headers["Content-Length"]))
                service.told.append(json.loads(text))
                self.send_response(service.answer)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://user:{SECRET}@127.0.0.1:{self.server.server_port}/{SECRET}"


@pytest.fixture
def service() -> Iterator[Service]:
    """Return a running service."""
    service = Service()
    thread = threading.Thread(target=service.server.serve_forever, args=(0.01,))
    thread.start()
    yield service
    service.server.shutdown()
    service.server.server_close()
    thread.join()


def _shows_no_secret(result: subprocess.CompletedProcess[str]) -> None:
    assert SECRET not in result.stdout + result.stderr


def test_a_failure_is_told_and_success_is_not(shell: Shell, service: Service) -> None:
    """Of auto and status, by a URL of the environment: what was printed, once for each failure."""
    shell.env["SOULSENSE_NOTIFY"] = service.url
    assert shell.run("status").returncode == 2
    (told,) = service.told
    assert told["title"] == "soulsense_db: status"
    assert "there is no backup" in told["message"]
    assert told["type"] == "failure"
    shell.ok("auto")
    shell.ok("status")
    assert len(service.told) == 1
    (shell.folder / "data" / "soulsense.db").write_bytes(b"no database" * 1000)
    result = shell.run("auto")
    assert result.returncode != 0
    assert service.told[1]["title"] == "soulsense_db: auto"
    assert "soulsense.db" in service.told[1]["message"]
    assert len(service.told) == 2
    _shows_no_secret(result)


def test_a_damaged_backup_is_told(shell: Shell, service: Service) -> None:
    """Although another one was made and the exit code is 0: the disk may be failing."""
    shell.ok("auto")
    (backup,) = (shell.folder / "data" / "backups").glob("*.db")
    flip(backup, 5000)
    assert shell.run("auto", "--notify", service.url).returncode == 0
    assert f"{backup.name} is damaged" in service.told[0]["message"]


def test_several_urls_and_a_file(shell: Shell, service: Service) -> None:
    """The option may be repeated; @FILE has one in each line, with comments."""
    (shell.folder / "people").write_text(f"# us\n\n  {service.url}\n{service.url}?a=b\n")
    result = shell.run("status", "--notify", "@people", "--notify", service.url)
    assert result.returncode == 2
    assert len(service.told) == 3
    _shows_no_secret(result)


def test_what_does_not_arrive_is_a_warning(shell: Shell, service: Service) -> None:
    """The exit code is that of the command, and neither URL nor answer is shown."""
    service.answer = 500
    for url in (service.url, f"json://user:{SECRET}@127.0.0.1:1/{SECRET}"):
        result = shell.run("status", "--notify", url)
        assert result.returncode == 2
        assert result.stderr == "Warning: A notification by --notify could not be sent.\n"
        _shows_no_secret(result)


@pytest.mark.parametrize(
    "url",
    [
        f"nosuch://{SECRET}",
        SECRET,
        "",
        "@nowhere",
        "@empty",
        "@binary",
        "@.",
        f"@nosuch://{SECRET}",
    ],
)
def test_a_url_that_cannot_be_used_keeps_nobody_from_a_backup(shell: Shell, url: str) -> None:
    """It is told by every run, else the first failure would be the one that is not; no URL is."""
    (shell.folder / "empty").write_text("# none\n")
    (shell.folder / "binary").write_bytes(b"\xff\xfe")
    for number in (1, 2):
        result = shell.run("auto", "--notify", url)
        assert result.returncode == errors.OptionError.exit_code, number
        assert result.stderr.startswith("Warning: Failures will not be reported. ")
        assert "--notify" in result.stderr
        assert "auto: " in result.stdout
        _shows_no_secret(result)
    assert len(list((shell.folder / "data" / "backups").glob("*.db"))) == 1
    assert shell.run("status", "--notify", url).returncode == errors.OptionError.exit_code


def test_a_failure_has_its_own_exit_code_without_anybody_to_tell(shell: Shell) -> None:
    """What failed matters more than who could not be told, also where both go wrong."""
    (shell.folder / "data" / "soulsense.db").write_bytes(b"no database at all" * 100)
    result = shell.run("auto", "--notify", "@nowhere")
    assert result.returncode == errors.DatabaseDamagedError.exit_code
    assert "Failures will not be reported." in result.stderr
    assert shell.run("status", "--notify", "@nowhere").returncode == 2


def test_without_the_extra_the_error_says_what_to_install(shell: Shell, tmp_path: Path) -> None:
    """Where Apprise is not installed, only those who ask for it learn of that."""
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "apprise.py").write_text("raise ModuleNotFoundError('apprise')\n")
    shell.env["PYTHONPATH"] = str(tmp_path / "without")
    shell.ok("auto")
    result = shell.run("auto", "--notify", f"json://{SECRET}")
    assert result.returncode == errors.OptionError.exit_code
    assert 'pip install "soulsense-db[notify]"' in result.stderr
    _shows_no_secret(result)


def test_a_log_of_the_application_has_no_url(shell: Shell, service: Service) -> None:
    """Also where everything is logged, and whether or not it arrives."""
    (shell.folder / "logs").mkdir()
    (shell.folder / "logs" / "sitecustomize.py").write_text(
        "import logging\nlogging.basicConfig(level=logging.DEBUG)\nlogging.debug('logged')\n"
    )
    shell.env["PYTHONPATH"] = str(shell.folder / "logs")
    for service.answer in (200, 500):
        result = shell.run("status", "--notify", service.url)
        assert "logged" in result.stderr
        _shows_no_secret(result)
    assert len(service.told) == 2
