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
from http.client import HTTPResponse
from itertools import count
from pathlib import Path

import pytest

HOST = "127.0.0.1"
ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # noqa: S105 (of Amazon's documentation)

# The server asks who it is, and believes it.
_SOMEBODY = {
    "Authorization": f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20260101/us-east-1/s3/"
    "aws4_request, SignedHeaders=host, Signature=0",
    "Content-Type": "application/octet-stream",
}

_PROGRAM = Path(__file__).parent.parent / "programs" / "serve_s3.py"


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
        with self._ask(method, path, data) as answer:
            body: bytes = answer.read()
        return body

    def checksums(self) -> int:
        """Return with how many requests a checksum came, which was right."""
        return int(self.request("GET", "/_checksums"))

    def _ask(self, method: str, path: str, data: bytes | None = None) -> HTTPResponse:
        asked = urllib.request.Request(  # noqa: S310 (loopback)
            f"{self.url}{path}",
            data=data,
            method=method,
            headers=_SOMEBODY,
        )
        answer: HTTPResponse = urllib.request.urlopen(asked, timeout=60)  # noqa: S310
        return answer

    def behave(self, *names: str) -> None:
        """Misbehave, or well without names: see the program."""
        self.request("PUT", f"/_behave?{','.join(names)}")

    def keys(self, bucket: str) -> list[str]:
        """Return the keys of all objects of a bucket."""
        listing = self.request("GET", f"/{bucket}?list-type=2").decode()
        return [part.partition("</Key>")[0] for part in listing.split("<Key>")[1:]]

    def uploads(self, bucket: str) -> int:
        """Return how many multipart uploads have been begun, and neither completed nor aborted."""
        return self.request("GET", f"/{bucket}?uploads").decode().count("<UploadId>")


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run a server.

    It binds its port before it says which one that is, so that nobody else can take it meanwhile;
    it ends with this end of the pipe: no server survives the tests, even when they are killed.
    """
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    with subprocess.Popen(
        [sys.executable, str(_PROGRAM)],
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
