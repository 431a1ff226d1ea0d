"""A MariaDB server of the tests' own: a real one, in a folder and on a socket of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

_NOBODY = 65534  # a server does not run as root
_SETTINGS = {
    "innodb-flush-log-at-trx-commit": "2",  # no test cuts the power of the machine
    "innodb-buffer-pool-size": "32M",
    "innodb-log-file-size": "16M",
    "max-connections": "60",
    "max-allowed-packet": "64M",
    "event-scheduler": "ON",
    "performance-schema": "OFF",
    "skip-name-resolve": "ON",
}
_START_SECONDS = 30
# Not on every user's PATH.
os.environ["PATH"] += f"{os.pathsep}/usr/sbin"


def is_installed() -> bool:
    """Whether the server and its programs are there."""
    return all(shutil.which(name) for name in ("mariadbd", "mariadb-install-db", "mariadb-dump"))


class Server:
    """A running server, whose user ``root`` has no password."""

    def __init__(self, *options: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="maria-"))
        self.folder.chmod(0o755)
        self.data, self.socket = self.folder / "data", self.folder / "socket"
        # Of its own: servers that start at the same time give their temporary files equal names.
        self._temporary = self.folder / "tmp"
        for folder in (self.data, self._temporary):
            folder.mkdir(mode=0o700)
        if os.geteuid() == 0:
            for folder in (self.folder, self.data, self._temporary):
                os.chown(folder, _NOBODY, _NOBODY)
        fresh = ("--auth-root-authentication-method=normal", "--skip-test-db")
        program = self._start("mariadb-install-db", f"--datadir={self.data}", *fresh)
        assert program.wait() == 0
        self.start(*options)

    def start(self, *options: str) -> None:
        """Start it, and wait until it answers."""
        self._process = self._start(
            "mariadbd",
            f"--datadir={self.data}",
            f"--socket={self.socket}",
            f"--pid-file={self.folder / 'pid'}",
            "--skip-networking",
            *(f"--{name}={value}" for name, value in _SETTINGS.items()),
            *options,
        )
        deadline = time.monotonic() + _START_SECONDS
        while not self._listens():
            assert self._process.poll() is None, "mariadbd ended"
            assert time.monotonic() < deadline, "mariadbd does not answer"
            time.sleep(0.05)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self.socket)) == 0

    def stop(self, *, kill: bool = False) -> None:
        """Stop it; ``kill``: as a crash does."""
        if kill:
            self._process.kill()
        else:
            self._process.terminate()
        self._process.wait()

    def remove(self) -> None:
        """Stop it and remove all that is of it."""
        self.stop(kill=True)
        shutil.rmtree(self.folder)

    def url(
        self,
        database: str,
        *,
        dialect: str = "mariadb",
        driver: str = "pymysql",
        user: str = "root",
        password: str | None = None,
    ) -> str:
        """Return the URL of a database."""
        login = user if password is None else f"{user}:{quote(password, safe='')}"
        name = quote(database, safe="")
        return f"{dialect}+{driver}://{login}@/{name}?unix_socket={self.socket}"

    def _start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        as_root = os.geteuid() == 0
        found = shutil.which(program)
        assert found is not None
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [found, "--no-defaults", f"--tmpdir={self._temporary}", *arguments],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=_NOBODY if as_root else None,
                group=_NOBODY if as_root else None,
                extra_groups=[] if as_root else None,
            )
