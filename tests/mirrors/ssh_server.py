"""OpenSSH's server on loopback, as an unprivileged user, with keys and a home directory of its own.

The user's real ``~/.ssh`` is neither read nor written: a test sets ``HOME`` to :attr:`home`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import pytest

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
_NOBODY = 65534


@dataclass(frozen=True, kw_only=True)
class SSHServer:
    """A server that runs, and the client's side of it.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        user: Who may log in.
        root: A directory that this user may write to.
        home: The client's home directory, with ``.ssh`` in it.
        host_key: The server's key.
        authorized_keys: The server's file of keys that may log in.
    """

    port: int
    user: str
    root: Path
    home: Path
    host_key: asyncssh.SSHKey
    authorized_keys: Path

    @property
    def ssh(self) -> Path:
        """The client's directory of keys and known hosts."""
        return self.home / ".ssh"

    def url(self, path: object, *, port: int | None = None) -> str:
        """Return the URL of ``path`` on the server, by way of another ``port`` if there is one."""
        return f"sftp://{self.user}@127.0.0.1:{port or self.port}{path}"

    def trust(self, port: int | None = None) -> None:
        """Make the server known to the client, as the one at a port."""
        public = self.host_key.export_public_key().decode()
        with (self.ssh / "known_hosts").open("a") as stream:
            stream.write(f"[127.0.0.1]:{port or self.port} {public}")

    def own(self, path: Path) -> None:
        """Give ``path`` to the server's user."""
        if os.getuid() == 0:
            os.chown(path, _NOBODY, _NOBODY)


def require_sshd() -> str:
    """Return the program; without it a test is skipped, but where all of them have to run."""
    if SSHD is None and not os.environ.get("SOULSENSE_TESTS_NEED_ALL"):
        pytest.skip("there is no sshd: install openssh-server")
    assert SSHD is not None, "there is no sshd: install openssh-server"
    return SSHD


@contextmanager
def ssh_server(*, subsystem: str = "internal-sftp") -> Iterator[SSHServer]:
    """Run a server; an empty ``subsystem`` has no SFTP."""
    program = require_sshd()
    # Not below pytest's directory, which nobody else may enter.
    folder = Path(tempfile.mkdtemp(prefix="soulsense-sshd-"))
    folder.chmod(0o755)
    try:
        with _running(program, folder, subsystem) as server:
            yield server
    finally:
        shutil.rmtree(folder)


@contextmanager
def _running(program: str, folder: Path, subsystem: str) -> Iterator[SSHServer]:
    is_root = os.getuid() == 0
    host_key, client_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    server = SSHServer(
        port=free_port(),
        user=pwd.getpwuid(_NOBODY if is_root else os.getuid()).pw_name,
        root=folder / "root",
        home=folder / "home",
        host_key=host_key,
        authorized_keys=folder / "authorized_keys",
    )
    server.root.mkdir()
    server.ssh.mkdir(parents=True, mode=0o700)
    host_key.write_private_key(folder / "host_key")
    (folder / "host_key").chmod(0o600)
    server.authorized_keys.write_bytes(client_key.export_public_key())
    client_key.write_private_key(server.ssh / "id_ed25519")
    server.trust()
    for path in (server.root, folder / "host_key"):
        server.own(path)
    lines = [
        f"Port {server.port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {folder}/host_key",
        "PidFile none",
        "UsePAM yes",  # without it an account that has no password counts as locked
        "StrictModes no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "MaxStartups 100",
        f"AuthorizedKeysFile {server.authorized_keys}",
        *([f"Subsystem sftp {subsystem}"] if subsystem else []),
    ]
    (folder / "sshd_config").write_text("\n".join(lines) + "\n")
    options = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if is_root else {}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-D", "-e", "-f", folder / "sshd_config"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            **options,  # type: ignore[call-overload]
        )
    try:
        wait_for_port(server.port, process, folder / "log")
        yield server
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """Return a port of loopback on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once ``process`` listens."""
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"no server:\n{log.read_text(errors='replace')}")


def use_home(server: SSHServer, patch: pytest.MonkeyPatch) -> None:
    """Let the client have the home directory of ``server``, and no agent."""
    patch.setenv("HOME", str(server.home))
    patch.delenv("SSH_AUTH_SOCK", raising=False)


def commands_in(text: str, beginnings: Sequence[str]) -> list[str]:
    """Return the commands of a hint: what follows ``: `` and begins as one of ``beginnings``."""
    return [part for part in text.split(": ") if part.startswith(tuple(beginnings))]


@contextmanager
def odd_server(folder: Path, *lacks: str) -> Iterator[SSHServer]:
    """Run a server that lacks some extensions of the protocol."""
    host_key, client_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    host_key.write_private_key(folder / "host_key")
    (folder / "authorized_keys").write_bytes(client_key.export_public_key())
    program = Path(__file__).with_name("odd_sftp_server.py")
    process = subprocess.Popen(
        [sys.executable, program, folder / "host_key", folder / "authorized_keys", *lacks],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        server = SSHServer(
            port=int(process.stdout.readline()),
            user="ann",
            root=folder / "root",
            home=folder / "home",
            host_key=host_key,
            authorized_keys=folder / "authorized_keys",
        )
        server.root.mkdir()
        server.ssh.mkdir(parents=True, mode=0o700)
        client_key.write_private_key(server.ssh / "id_ed25519")
        server.trust()
        yield server
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
