"""A real S3 server over HTTP: moto's, in a process of its own, on a free port of loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

HOST = "127.0.0.1"
ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # noqa: S105 (of Amazon's documentation)

# The server asks who it is, and believes it.
_SOMEBODY = {
    "Authorization": f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20260101/us-east-1/s3/"
    "aws4_request, SignedHeaders=host, Signature=0"
}

# It binds its port before it says which one that is, so that nobody else can take it meanwhile; its
# thread ends with this end of the pipe: no server survives the tests, even when they are killed.
_PROGRAM = """
import logging, os, sys, threading
from werkzeug.serving import make_server
from moto.server import DomainDispatcherApplication, create_backend_app
logging.getLogger("werkzeug").setLevel(logging.ERROR)
app = DomainDispatcherApplication(create_backend_app)
server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
os._exit(0)
"""


@dataclass
class S3Server:
    """A running server.

    Attributes:
        port: Its port on loopback.
        pid: Its process.
    """

    port: int
    pid: int

    def __post_init__(self) -> None:
        self._numbers = count()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{HOST}:{self.port}"

    def new_bucket(self) -> str:
        """Make a bucket; return its name, which nothing else has."""
        name = f"bucket-{next(self._numbers)}"
        self.request("PUT", f"/{name}")
        return name

    def request(self, method: str, path: str, data: bytes | None = None) -> bytes:
        """Ask it directly, as somebody else would; return the body of the answer."""
        asked = urllib.request.Request(  # noqa: S310 (loopback)
            f"{self.url}{path}", data=data, method=method, headers=_SOMEBODY
        )
        with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310
            body: bytes = answer.read()
        return body

    def keys(self, bucket: str) -> list[str]:
        """Return the keys of all objects of a bucket."""
        listing = self.request("GET", f"/{bucket}?list-type=2").decode()
        return [part.partition("</Key>")[0] for part in listing.split("<Key>")[1:]]

    def uploads(self, bucket: str) -> int:
        """Return how many multipart uploads have been begun, and neither completed nor aborted."""
        return self.request("GET", f"/{bucket}?uploads").decode().count("<UploadId>")


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run a server."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "MOTO_S3_CUSTOM_ENDPOINTS": ""}
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd=Path("/"),
        text=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            port = int(process.stdout.readline())
            with socket.create_connection((HOST, port), timeout=60):
                yield S3Server(port, process.pid)
        finally:
            process.stdin.close()
            process.wait(timeout=60)


def use_server(
    monkeypatch: pytest.MonkeyPatch, server: S3Server, home: Path, *, port: int | None = None
) -> None:
    """Let the environment lead to the server, and to nothing of who runs the tests.

    Args:
        monkeypatch: Sets variables.
        server: The server.
        home: The home directory.
        port: Where the server is reached, if not at its own.
    """
    use_nothing(monkeypatch, home)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{HOST}:{port or server.port}")


def use_nothing(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Take all that may be in an environment out of it."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "GOOGLE_", "AZURE_", "CLOUDSDK_", "GCE_", "IDENTITY_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NO_PROXY", f"{HOST},localhost")
