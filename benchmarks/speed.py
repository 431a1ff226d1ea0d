"""How long create, verify and restore take beside cp, in one run: medians and ratios.

python3 benchmarks/speed.py [MEGABYTES] [ROUNDS]
"""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from soulsense_db import BackupManager


def make_database(path: Path, megabytes: int) -> None:
    """Make a WAL database of about that size, of rows that do not compress."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, body BLOB)")
        for _ in range(megabytes):
            rows = ((os.urandom(1000),) for _ in range(1000))
            connection.executemany("INSERT INTO entry (body) VALUES (?)", rows)
            connection.commit()


def cp(source: Path, target: Path) -> None:
    """Copy with the system's cp, and wait until it is on disk."""
    subprocess.run(["/bin/cp", source, target], check=True)
    descriptor = os.open(target, os.O_RDWR)
    os.fsync(descriptor)
    os.close(descriptor)


def numbers(*defaults: int) -> list[int]:
    """Return the numbers of the command line, with defaults for those not given."""
    given = [int(text) for text in sys.argv[1:]]
    return [*given, *defaults[len(given) :]]


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds ``work`` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    megabytes, rounds = numbers(500, 5)
    folder = Path(tempfile.mkdtemp())
    database = folder / "app.db"
    make_database(database, megabytes)
    engine = sa.create_engine(f"sqlite:///{database}")
    manager = BackupManager(engine)
    copied: list[float] = []

    def first_full(done: int, total: int) -> None:
        if done == total and len(copied) < len(seconds["cp"]):
            copied.append(time.perf_counter() - started)

    seconds: dict[str, list[float]] = {"cp": [], "create": [], "verify": [], "restore": []}
    copy = folder / "copy"
    for _ in range(rounds):
        seconds["cp"].append(timed(lambda: cp(database, copy)))
        copy.unlink()
        started = time.perf_counter()
        seconds["create"].append(timed(lambda: manager.create(progress=first_full)))
        seconds["verify"].append(timed(lambda: manager.verify("latest")))
        seconds["restore"].append(timed(lambda: manager.restore("latest")))
        manager.delete("latest")
    engine.dispose()
    size = database.stat().st_size / 1e6
    base = statistics.median(seconds["cp"])
    print(f"{size:.0f} MB, {rounds} rounds, medians")
    print(
        f"  copying part of create  {statistics.median(copied):6.2f} s"
        f"  {statistics.median(copied) / base:5.2f} x cp + fsync"
    )
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"  {name:22}  {median:6.2f} s  {median / base:5.2f} x cp + fsync")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  largest RSS {peak:.0f} MB")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
