"""How soon Ctrl-C ends a check or a comparison that would take much longer.

    python3 benchmarks/interrupt.py [--rounds 5]

What is told is the median time from the signal to the end of the call, in a process of its own
that has been at it for a second. The promise is half a second.
"""

from __future__ import annotations

import argparse
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from soulsense_db import BackupManager

_CALL = """
import sys
from soulsense_db import BackupManager
manager = BackupManager.from_url(sys.argv[1], catalog=False)
print("begins", flush=True)
try:
    getattr(manager, sys.argv[2])("latest")
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def make_slow(database: Path, call: str) -> None:
    """Make a database that takes minutes to check, or some seconds to compare, and a backup."""
    connection = sqlite3.connect(database)
    if call == "verify":
        quick, slow = "zeroblob(1 + 0 * id)", "zeroblob(9000000 + 0 * id)"
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        connection.execute(f"CREATE INDEX i ON t (0 * length(hex({quick})) + id)")
        connection.executemany("INSERT INTO t VALUES (?)", ((n,) for n in range(20_000)))
        connection.commit()
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, ?, ?)", (quick, slow))
    else:
        connection.execute("CREATE TABLE t (k TEXT PRIMARY KEY COLLATE NOCASE, v) WITHOUT ROWID")
        connection.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 800000) "
            "INSERT INTO t SELECT hex(randomblob(8)), i FROM n"
        )
    connection.commit()
    connection.close()
    BackupManager.from_url(str(database), catalog=False).create()


def measure(database: Path, call: str) -> float:
    """Return how long the end takes after the signal."""
    with subprocess.Popen(
        [sys.executable, "-c", _CALL, str(database), call], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(1)  # well into the work: what is measured is how soon it ends
        began = time.perf_counter()
        process.send_signal(signal.SIGINT)
        if process.stdout.readline() != "interrupted\n":
            raise SystemExit(f"{call} had ended before the signal came")
        return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        for call in ("verify", "compare"):
            place = Path(folder, call).resolve()
            place.mkdir()
            make_slow(place / "app.db", call)
            seconds = [measure(place / "app.db", call) for _ in range(rounds)]
            middle, worst = statistics.median(seconds), max(seconds)
            print(f"{call:8} ends {middle:.3f} s after Ctrl-C (at most {worst:.3f} s)")


if __name__ == "__main__":
    main()
