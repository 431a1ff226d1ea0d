"""pgbouncer between an application and a server of the tests' own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import psycopg
import pytest

from postgresql.server import NOBODY, Server

_PORT = 6432
_SECONDS = 20.0


def program() -> str:
    """Return the path of pgbouncer; skips the test where it is not installed."""
    found = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if found is None:
        assert not os.environ.get("SOULSENSE_TESTS_NEED_ALL"), "pgbouncer is not installed"
        pytest.skip("pgbouncer is not installed")
    return found


class Pooler:
    """A running pgbouncer in front of ``server``, which lends connections by ``mode``."""

    def __init__(self, server: Server, mode: str, *, size: int = 8) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pooler-"))
        self.folder.chmod(0o755)
        users = self.folder / "users.txt"
        users.write_text('"postgres" ""\n')
        settings = self.folder / "pgbouncer.ini"
        settings.write_text(
            f"""[databases]
            * = host={server.socket} port=5432
            [pgbouncer]
            listen_addr =
            listen_port = {_PORT}
            unix_socket_dir = {self.folder}
            auth_type = trust
            auth_file = {users}
            admin_users = postgres
            pool_mode = {mode}
            default_pool_size = {size}
            logfile = {self.folder}/log
            """.replace("            ", "")
        )
        as_root = os.geteuid() == 0
        if as_root:
            os.chown(self.folder, NOBODY, NOBODY)
        self._process = subprocess.Popen(
            [program(), "--quiet", str(settings)],
            cwd="/",
            user=NOBODY if as_root else None,
            group=NOBODY if as_root else None,
            extra_groups=[] if as_root else None,
        )

    def __enter__(self) -> Self:
        """Wait until it answers."""
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                self.command("SHOW VERSION")
                return self
            except psycopg.OperationalError:
                assert self._process.poll() is None, self.log()
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def __exit__(self, *exception: object) -> None:
        """Stop it, and remove its folder."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.folder)

    def command(self, words: str) -> None:
        """Say something to its console."""
        where = f"host={self.folder} port={_PORT} dbname=pgbouncer user=postgres"
        with psycopg.connect(where, autocommit=True) as console:
            console.execute(words.encode())

    def log(self) -> str:
        """Return what it has logged so far."""
        return (self.folder / "log").read_text()

    def url(self, database: str, *, driver: str = "psycopg") -> str:
        """Return the URL of a database."""
        return f"postgresql+{driver}://postgres@/{database}?host={self.folder}&port={_PORT}"
