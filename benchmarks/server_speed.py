"""Compare a backup of a server with the bare tool, and measure how long writers wait for a restore.

    python3 benchmarks/server_speed.py [KIND] [THOUSANDS_OF_ROWS] [ROUNDS]

KIND: as of ``server_kills.py``.

All in one run, medians. The bare tool writes the same format to a file, and a checksum is made of
that, as one would without this package. A writer inserts a row each time the last one is there,
and connects again where its connection was ended: how long it had to wait is the longest time
between two of its rows.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from server_kills import KINDS, MariaDB, PostgreSQL, execute
from speed import timed
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from soulsense_db import BackupManager

# Not ru_maxrss, which begins with what the parent had.
_MEMORY = """
import sys, sqlalchemy as sa
from soulsense_db import BackupManager
manager = BackupManager(sa.create_engine(sys.argv[1]), sys.argv[2])
{call}
print(next(one.split()[1] for one in open("/proc/self/status") if one.startswith("VmHWM")))
"""
_CALLS = ("manager.create()", "manager.restore('latest')", "manager.undo_restore()")


def bare(server: PostgreSQL | MariaDB, target: Path) -> None:
    """Have the tool alone write a dump, and make a checksum of it."""
    subprocess.run(server.dump(target), check=True)
    with target.open("rb") as stream:
        hashlib.file_digest(stream, "sha256")


@contextmanager
def writing(url: str) -> Iterator[Callable[[], float]]:
    """Insert rows meanwhile; the block is given what returns the longest wait so far, in ms."""
    engine = sa.create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    moments: list[float] = []
    ended = threading.Event()

    def write() -> None:
        number = time.time_ns()
        while not ended.is_set():
            try:
                with engine.connect() as connection:
                    while not ended.is_set():
                        number += 1
                        connection.exec_driver_sql(f"INSERT INTO written VALUES ({number})")
                        moments.append(time.perf_counter())
            except DBAPIError:
                continue

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield lambda: 1000 * max(b - a for a, b in itertools.pairwise(moments))
    finally:
        ended.set()
        writer.join()


def measure(server: PostgreSQL | MariaDB, folder: Path, thousands: int, rounds: int) -> None:
    """Print ratio, waits and memory."""
    server.fill(thousands)
    url, kind = server.url(), server.bin_of_kind
    execute(url, "CREATE TABLE written (number BIGINT PRIMARY KEY)")
    manager = BackupManager(sa.create_engine(url, poolclass=NullPool), folder)
    target = folder / "bare"
    ours, theirs = [], []
    for _ in range(rounds):
        theirs.append(timed(lambda: bare(server, target)))
        ours.append(timed(manager.create))
        manager.delete("latest")
    size = target.stat().st_size / 1e6
    target.unlink()
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    print(
        f"{kind}: create of {size:.0f} MB: {statistics.median(ours):.2f} s, the tool and a checksum"
        f" {statistics.median(theirs):.2f} s: {ratio:.2f} times"
    )
    waits: dict[str, list[float]] = {}
    backup = manager.create()
    for _ in range(rounds):
        for name, call in (
            ("restore", lambda: manager.restore(backup)),
            ("undo", manager.undo_restore),
        ):
            with writing(url) as longest:
                call()
                waits.setdefault(name, []).append(longest())
    for name, found in waits.items():
        print(
            f"{kind}: a writer waits {statistics.median(found):.0f} ms for a {name}, "
            f"{min(found):.0f} to {max(found):.0f}"
        )
    for call in _CALLS:
        script = _MEMORY.format(call=call)
        done = subprocess.run(
            [sys.executable, "-c", script, url, str(folder)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        print(f"{kind}: {call} uses {int(done.stdout) // 1024} MB at most")


def main() -> None:
    """Measure one kind, or all."""
    kinds = [one for one in sys.argv[1:] if not one.isdigit()] or list(KINDS)
    given = [int(one) for one in sys.argv[1:] if one.isdigit()]
    thousands, rounds = [*given, *(2000, 5)[len(given) :]]
    for kind in kinds:
        server = KINDS[kind]()
        folder = Path(tempfile.mkdtemp())
        try:
            measure(server, folder, thousands, rounds)
        finally:
            server.remove()
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
