"""Certificates of a test's own: an authority, a server of this machine, and a client."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")


@dataclass(frozen=True)
class Signed:
    """A certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """An authority that nobody else knows, in ``folder``."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        if shutil.which("openssl") is None:
            assert not os.environ.get("SOULSENSE_TESTS_NEED_ALL"), "openssl is not installed"
            pytest.skip("openssl is not installed")
        self.folder, self._name = folder, name
        self.certificate, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        files = ("-keyout", str(self._key), "-out", str(self.certificate))
        _openssl("req", "-x509", *_KEY, *files, "-subj", f"/CN={name}")

    def sign(self, name: str, *, hosts: str = "", owner: int | None = None) -> Signed:
        """Make a certificate of ``name``, for ``hosts`` as openssl writes them."""
        made = Signed(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        asked = self.folder / f"{name}.csr"
        _openssl(
            *("req", *_KEY, "-keyout", str(made.key), "-out", str(asked), "-subj", f"/CN={name}")
        )
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={hosts}\n" if hosts else "")
        signed_by = ("-CA", str(self.certificate), "-CAkey", str(self._key), "-CAcreateserial")
        _openssl(
            *("x509", "-req", "-in", str(asked), *signed_by, "-days", "2"),
            *("-extfile", str(extensions), "-out", str(made.certificate)),
        )
        made.key.chmod(0o600)
        if owner is not None:
            os.chown(made.key, owner, owner)
        return made


@contextmanager
def new_folder() -> Iterator[Path]:
    """Yield a folder in which a server's own user may read."""
    with tempfile.TemporaryDirectory(prefix="certificates-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def free_port() -> int:
    """Return a port of this machine that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _openssl(*arguments: str) -> None:
    program = shutil.which("openssl")
    assert program is not None
    subprocess.run([program, *arguments], check=True, capture_output=True)
