"""Measure an SFTP mirror against asyncssh's own put and get: throughput, and peak memory.

On loopback, with OpenSSH's server: ``python benchmarks/sftp.py [MB] [ROUNDS]``.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import asyncssh

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "mirrors"))

from ssh_server import SSHServer, ssh_server

from soulsense_db.mirrors import Mirror, Outgoing, mirror_for
from soulsense_db.mirrors.sftp import SFTPMirror

KEY = "laptop/app.db"


class Unchecked(SFTPMirror):
    """A mirror that does not read back what it has stored, as put does not."""

    def _is_whole(self, path: str, file: Outgoing) -> bool:
        return True


def seconds(work: Callable[[], float | None]) -> float:
    """Return how long ``work`` takes, if it does not know that itself."""
    since = time.perf_counter()
    known = work()
    return time.perf_counter() - since if known is None else known


def peak_mb() -> float:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def library(server: SSHServer, kind: str, source: Path, target: Path) -> float:
    """Return how long the library's own put or get takes, once it is connected."""

    async def work() -> float:
        async with (
            asyncssh.connect("127.0.0.1", server.port, username=server.user) as connection,
            connection.start_sftp_client() as client,
        ):
            since = time.perf_counter()
            await (client.put if kind == "put" else client.get)(str(source), str(target))
            return time.perf_counter() - since

    return asyncio.run(work())


def download(mirror: Mirror, target: Path) -> None:
    """Write an object to a file."""
    with target.open("wb") as stream:
        for piece in mirror.read(KEY):
            stream.write(piece)


def measure(server: SSHServer, folder: Path, size_bytes: int, rounds: int) -> None:
    """Measure, and print medians."""
    local, got = folder / "local", folder / "got"
    checksum = hashlib.sha256()
    with local.open("wb") as stream:
        for _ in range(size_bytes // 2**20):
            checksum.update(block := os.urandom(2**20))
            stream.write(block)
    file = Outgoing(path=local, size_bytes=size_bytes, sha256=checksum.hexdigest())
    remote = server.root / "put"
    times: dict[str, list[float]] = {}
    with mirror_for(server.url(server.root / "place")) as mirror:
        mirror.prepare()
        unchecked = Unchecked(mirror.url)
        print(f"memory before: {peak_mb():.0f} MB")
        mirror.write(KEY, file)
        print(f"memory after a write: {peak_mb():.0f} MB")
        download(mirror, got)
        print(f"memory after a read: {peak_mb():.0f} MB")
        for _ in range(rounds):  # pairs, for the load of the machine changes
            for name, work in {
                "put": lambda: library(server, "put", local, remote),
                "write without reading back": lambda: unchecked.write(KEY, file),
                "write": lambda: mirror.write(KEY, file),
                "get": lambda: library(server, "get", remote, got),
                "read": lambda: download(mirror, got),
            }.items():
                times.setdefault(name, []).append(seconds(work))
        unchecked.close()
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, median in medians.items():
        print(f"{name}: {median:.2f} s, {size_bytes / 1e6 / median:.0f} MB/s")
    for ours, its in (("write without reading back", "put"), ("read", "get")):
        ratios = [b / a for a, b in zip(times[ours], times[its], strict=True)]
        print(f"{ours}: {statistics.median(ratios):.2f} of the throughput of {its} beside it")
    print(f"memory at the end, with put and get: {peak_mb():.0f} MB")


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    size, rounds = (*numbers, *(200, 5)[len(numbers) :])
    with ssh_server() as running, tempfile.TemporaryDirectory() as name:
        os.environ["HOME"] = str(running.home)
        os.environ.pop("SSH_AUTH_SOCK", None)
        measure(running, Path(name), size * 2**20, rounds)
