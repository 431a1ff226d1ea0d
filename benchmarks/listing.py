"""How long a long list of backups takes, in this tree and in an older one side by side.

    python3 benchmarks/listing.py [--backups 10000] [--rounds 7] [--before CHECKOUT]

What is told is the median time of ``BackupManager.list()``, each in a process of its own that has
listed once before, so that the files are in the cache. With ``--before`` the two take turns.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from soulsense_db import BackupManager

HERE = Path(__file__).resolve().parent.parent

_CHILD = """
import sys, time
from soulsense_db import BackupManager
manager = BackupManager.from_url(sys.argv[1])
manager.list()
started = time.perf_counter()
found = manager.list()
print(time.perf_counter() - started, len(found), sum(1 for info in found if info.sha256))
"""


def make_backups(database: Path, count: int) -> None:
    """Make a database, one backup of it, and ``count`` copies of that one's files."""
    live = sqlite3.connect(database)
    live.execute("CREATE TABLE journal (id INTEGER PRIMARY KEY, body TEXT)")
    live.commit()
    live.close()
    info = BackupManager.from_url(str(database)).create("Before the upgrade")
    meta = Path(info.meta_path).read_bytes()
    directory = Path(info.path).parent
    for number in range(count - 1):
        name = f"soulsense_backup_20260115_103000_before_the_upgrade_{number + 2}.db"
        (directory / name).touch()
        (directory / f"{name}.meta").write_bytes(meta)


def measure(tree: Path, database: Path, expected: int) -> float:
    """Return how long the list took in a process that has ``tree`` first on its path."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    told = subprocess.run(
        [sys.executable, "-c", _CHILD, str(database)],
        env=environment,
        cwd=database.parent,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    if int(told[1]) != expected or int(told[2]) != expected:
        raise SystemExit(f"{tree} lists {told[1]} backups, {told[2]} of them with their facts")
    return float(told[0])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backups", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--before", type=Path)
    options = parser.parse_args()
    trees = {"now": HERE} | ({"before": options.before.resolve()} if options.before else {})
    times: dict[str, list[float]] = {name: [] for name in trees}
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder, "app.db").resolve()
        make_backups(database, options.backups)
        for _ in range(options.rounds):
            for name, tree in trees.items():
                times[name].append(measure(tree, database, options.backups))
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        print(
            f"{name:8} list of {options.backups:,}: {middle:.3f} s "
            f"({min(seconds):.3f} to {max(seconds):.3f})"
        )


if __name__ == "__main__":
    main()
