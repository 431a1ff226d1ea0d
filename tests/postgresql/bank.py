"""The bank of pgbench: while its clients move money, four sums are the same at each moment."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from postgresql import content
from postgresql.server import Server

NAME = "bank"
_SUMS = (
    "SELECT sum(abalance) FROM pgbench_accounts",
    "SELECT sum(bbalance) FROM pgbench_branches",
    "SELECT sum(tbalance) FROM pgbench_tellers",
    "SELECT coalesce(sum(delta), 0) FROM pgbench_history",
)


class Balance(NamedTuple):
    """What is in all accounts, branches, tellers, and what was ever moved; and how often that."""

    accounts: int
    branches: int
    tellers: int
    moved: int
    moves: int

    @property
    def agrees(self) -> bool:
        """Whether all are of one moment."""
        return len({self.accounts, self.branches, self.tellers, self.moved}) == 1


class Bank:
    """The database ``bank`` of a server; ``scale``: a hundred thousand accounts each."""

    def __init__(self, server: Server, *, scale: int) -> None:
        self._server = server
        self._pgbench("--initialize", "--quiet", f"--scale={scale}", "--foreign-keys")

    def _pgbench(self, *arguments: str) -> None:
        command = [str(self._server.bin / "pgbench"), *arguments]
        login = ("-h", str(self._server.socket), "-U", "postgres", NAME)
        subprocess.run([*command, *login], check=True, capture_output=True)

    @contextmanager
    def in_use(self, *, clients: int = 4) -> Iterator[None]:
        """Have clients move money until the block ends; who is disconnected comes again."""
        stop = threading.Event()
        works = threading.Event()
        before = self.balance().moves
        command = [str(self._server.bin / "pgbench"), "--no-vacuum", f"--client={clients}"]
        login = ("-h", str(self._server.socket), "-U", "postgres", NAME)

        def run() -> None:
            while not stop.is_set():
                process = subprocess.Popen(
                    [*command, "--time=600", *login],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                while process.poll() is None and not stop.is_set():
                    stop.wait(0.05)
                process.terminate()
                process.wait()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            while self.balance().moves < before + 10:
                works.wait(0.02)
            yield
        finally:
            stop.set()
            thread.join()

    def balance(self, database: str = NAME) -> Balance:
        """Return what is in a database at one moment."""
        asked = ", ".join(f"({one})" for one in (*_SUMS, "SELECT count(*) FROM pgbench_history"))
        said = content.psql(self._server, database, f"SELECT {asked}")
        return Balance(*(int(one) for one in said.strip().split("|")))

    def balance_of(self, archive: Path) -> Balance:
        """Return what is in a backup file, by ``pg_restore`` alone."""
        other = "looked_into"
        content.psql(self._server, "postgres", f"CREATE DATABASE {other}")
        try:
            login = ("-h", str(self._server.socket), "-U", "postgres", "-d", other)
            program = str(self._server.bin / "pg_restore")
            subprocess.run([program, "--exit-on-error", *login, str(archive)], check=True)
            return self.balance(other)
        finally:
            content.psql(self._server, "postgres", f"DROP DATABASE {other}")
