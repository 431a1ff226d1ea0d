"""Keys and streams of age for tests: made anew each time, with the program where it is here."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyrage import x25519

from soulsense_db.codecs import Identities, Recipients, Secret, age_passphrase, decrypt, encrypt

PROGRAM = shutil.which("age")
needs_age = pytest.mark.skipif(PROGRAM is None, reason="the program age is not here")
needs_ssh = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no ssh-keygen")

CHUNK = 64 * 1024
SEALED_CHUNK = CHUNK + 16


class Key:
    """A key pair as age-keygen makes it, and its file."""

    def __init__(self, directory: Path, name: str = "key.txt") -> None:
        pair: Any = x25519.Identity.generate()
        self.secret = str(pair)
        self.public = str(pair.to_public())
        self.path = directory / name
        write_private(self.path, f"# public key: {self.public}\n{self.secret}\n")

    @property
    def recipients(self) -> Recipients:
        """For whom to seal, so that this key opens it."""
        return Recipients.of([self.public])

    @property
    def identities(self) -> Identities:
        """The key in its file."""
        return Identities(Secret.from_file(self.path))


def write_private(path: Path, text: str | bytes) -> Path:
    """Write a file that only its owner can read."""
    path.touch(0o600)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def sealed(data: bytes, recipients: Recipients) -> bytes:
    """Return ``data``, sealed."""
    target = io.BytesIO()
    encrypt(io.BytesIO(data), target, recipients=recipients)
    return target.getvalue()


def sealed_with(passphrase: str, data: bytes, *, work: int = 4) -> bytes:
    """Seal with a passphrase that is guessed in no time: a test tries many."""
    target = io.BytesIO()
    age_passphrase.seal(io.BytesIO(data), target, passphrase, work=work)
    return target.getvalue()


def unsealed(data: bytes, identities: Identities, *, limit: int = 10**9) -> bytes:
    """Return what is in ``data``, opened."""
    target = io.BytesIO()
    decrypt(io.BytesIO(data), target, identities=identities, limit=limit)
    return target.getvalue()


def age(*arguments: str | Path, data: bytes = b"") -> bytes:
    """Run the program age."""
    command = [str(PROGRAM), *map(str, arguments)]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def make_ssh_key(path: Path, kind: str, passphrase: str = "", *options: str) -> Path:
    """Make a key pair at ``path`` and ``path.pub``, as people do."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(path), *options]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def text_of(passphrase: str) -> Secret:
    """Return a secret that is known."""
    return Secret.from_callable(lambda: passphrase)


def bech32(prefix: str, data: bytes) -> str:
    """Return ``data`` in the encoding of age's keys (BIP 173)."""
    letters = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    values = [int(bits[at : at + 5], 2) for at in range(0, len(bits), 5)]
    head = [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]
    check = 1
    for value in [*head, *values, *[0] * 6]:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, word in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= word if top >> bit & 1 else 0
    values += [(check ^ 1) >> 5 * (5 - at) & 31 for at in range(6)]
    return f"{prefix}1{''.join(letters[value] for value in values)}"


def install_plugin(directory: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Put the plugin of ``programs/age_plugin.py`` on the path as ``age-plugin-NAME``."""
    program = directory / f"age-plugin-{name}"
    source = Path(__file__).parent / "programs" / "age_plugin.py"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{source}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
