"""Take backups while another process writes to the database, and check an invariant in each copy.

python3 benchmarks/writers.py [MEGABYTES] [WRITES_PER_SECOND] [ROUNDS]
"""

from __future__ import annotations

import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa
from speed import make_database, numbers, timed

from soulsense_db import BackupManager

# Each transaction moves an amount from one table to the other: their sum stays.
WRITER = """
import signal, sqlite3, sys, time
signal.signal(signal.SIGTERM, signal.default_int_handler)
connection = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
pause = 1 / float(sys.argv[2])
slowest, count, next_at = 0.0, 0, time.perf_counter()
try:
    while True:
        start = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE a SET amount = amount - 1")
        connection.execute("INSERT INTO b (amount) VALUES (1)")
        connection.execute("COMMIT")
        count += 1
        slowest = max(slowest, time.perf_counter() - start)
        if count == 1:
            print("writing", flush=True)
        next_at += pause
        time.sleep(max(0, next_at - time.perf_counter()))
except KeyboardInterrupt:
    print(f"{count} {slowest}", flush=True)
"""


def main() -> None:
    """Write, back up, check."""
    megabytes, rate, rounds = numbers(500, 200, 5)
    folder = Path(tempfile.mkdtemp())
    database = folder / "app.db"
    make_database(database, megabytes)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE a (amount INTEGER)")
        connection.execute("CREATE TABLE b (id INTEGER PRIMARY KEY, amount INTEGER)")
        connection.execute("INSERT INTO a VALUES (0)")
        connection.commit()
    engine = sa.create_engine(f"sqlite:///{database}")
    manager = BackupManager(engine)
    alone = statistics.median(timed(manager.create) for _ in range(rounds))
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(database), str(rate)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        start = time.perf_counter()
        beside = statistics.median(timed(manager.create) for _ in range(rounds))
        seconds = time.perf_counter() - start
        writer.terminate()
        count, slowest = writer.stdout.readline().split()
    moved = []
    for info in manager.list()[:rounds]:
        manager.verify(info)
        with closing(sqlite3.connect(info.path)) as connection:
            (total,) = connection.execute(
                "SELECT (SELECT amount FROM a) + (SELECT coalesce(sum(amount), 0) FROM b)"
            ).fetchone()
            assert total == 0, info
            moved.append(connection.execute("SELECT count(*) FROM b").fetchone()[0])
    print(f"{database.stat().st_size / 1e6:.0f} MB, {rounds} backups each, medians")
    print(f"  alone           {alone:6.2f} s")
    print(f"  beside a writer {beside:6.2f} s  {beside / alone:.2f} x")
    print(f"  {int(count) / seconds:.0f} writes/s, the slowest {float(slowest) * 1000:.0f} ms")
    print(f"  the invariant holds in every copy; rows moved in each: {sorted(moved)}")
    engine.dispose()
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
