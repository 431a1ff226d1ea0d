"""Forges a restic repository: snapshots with times of their own, which ``restic`` can read.

Restic itself would take a second for each snapshot. The format is that of restic's design document:
every file is ``IV || AES-256-CTR(plain) || Poly1305-AES(cipher)``, encrypted with a master key
that lies encrypted by the password in ``keys``. Nothing but snapshots is in it, so ``restic`` can
list and forget, not restore.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

PASSWORD = "secret"  # noqa: S105  # of a repository with nothing in it
# The polynomial of the example in restic's design document: restic refuses one that is reducible.
_POLYNOMIAL = "25b468838dcb75"
_COST = {"N": 1024, "r": 8, "p": 1}  # the least that restic accepts: it is asked many times


class ResticRepository:
    """A repository in ``directory`` to which snapshots are added with any time and tag."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("data", "index", "keys", "locks", "snapshots"):
            (directory / name).mkdir(parents=True)
        self._master = os.urandom(64)
        encryption, mac_k, mac_r = self._master[:32], self._master[32:48], self._master[48:]
        master = {
            "mac": {"k": _base64(mac_k), "r": _base64(mac_r)},
            "encrypt": _base64(encryption),
        }
        salt = os.urandom(64)
        user = hashlib.scrypt(
            PASSWORD.encode(), salt=salt, n=_COST["N"], r=_COST["r"], p=_COST["p"], dklen=64
        )
        key = _COST | {
            "created": "2026-01-01T00:00:00Z",
            "username": "test",
            "hostname": "test",
            "kdf": "scrypt",
            "salt": _base64(salt),
            "data": _base64(_seal(json.dumps(master).encode(), user)),
        }
        _store(directory / "keys", json.dumps(key).encode())
        config = {"version": 1, "id": os.urandom(32).hex(), "chunker_polynomial": _POLYNOMIAL}
        (directory / "config").write_bytes(_seal(json.dumps(config).encode(), self._master))

    def add(self, taken_at: datetime, tag: str) -> str:
        """Add a snapshot with the time of day that the aware ``taken_at`` has; return its id."""
        snapshot = {
            "time": taken_at.isoformat(),
            "tree": "0" * 64,
            "paths": ["/data"],
            "hostname": "test",
            "tags": [tag],
        }
        return _store(
            self.directory / "snapshots", _seal(json.dumps(snapshot).encode(), self._master)
        )

    def forget(self, options: Sequence[str]) -> dict[str, tuple[set[str], set[str]]]:
        """Return by tag the ids of what ``restic forget`` keeps and removes; removes nothing."""
        command = ["restic", "forget", "--dry-run", "--no-lock", "--no-cache", "--json"]
        done = subprocess.run(
            [*command, "--group-by", "tags", *options],
            env=os.environ
            | {"RESTIC_REPOSITORY": str(self.directory), "RESTIC_PASSWORD": PASSWORD},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        groups: list[dict[str, Any]] = json.loads(done.stdout)
        return {group["tags"][0]: (_ids(group["keep"]), _ids(group["remove"])) for group in groups}


def _ids(snapshots: list[dict[str, str]] | None) -> set[str]:
    return {snapshot["id"] for snapshot in snapshots or []}


def _seal(plain: bytes, key: bytes) -> bytes:
    """Encrypt with a key of 64 bytes: 32 to encrypt, then ``k`` and ``r`` of the MAC."""
    encryption, mac_k, mac_r = key[:32], key[32:48], key[48:]
    nonce = os.urandom(16)
    cipher = Cipher(algorithms.AES(encryption), modes.CTR(nonce)).encryptor().update(plain)
    masked = Cipher(algorithms.AES(mac_k), modes.ECB()).encryptor().update(nonce)  # noqa: S305
    return nonce + cipher + Poly1305.generate_tag(mac_r + masked, cipher)


def _store(directory: Path, data: bytes) -> str:
    """Write a file that is named by its own SHA-256, as all of restic's are; return the name."""
    name = hashlib.sha256(data).hexdigest()
    (directory / name).write_bytes(data)
    return name


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
