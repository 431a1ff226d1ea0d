"""Kill create and restore at random moments, and look whether anything was lost.

    python3 benchmarks/kill.py [MEGABYTES] [TIMES]

After each SIGKILL: every listed backup verifies in full, the live database is exactly the old or
the new one, and the next call works and leaves nothing half-done behind.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa
from speed import make_database, numbers

from soulsense_db import BackupManager

CHILD = """
import sys, sqlalchemy as sa
from soulsense_db import BackupManager
manager = BackupManager(sa.create_engine("sqlite:///" + sys.argv[1]))
print("ready", flush=True)
manager.create("killed") if sys.argv[2] == "create" else manager.restore(sys.argv[3])
"""


def digest(path: Path) -> str:
    """Return a digest of all rows."""
    total = hashlib.sha256()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
        for row in connection.execute("SELECT id, body FROM entry ORDER BY id"):
            total.update(b"%d" % row[0] + row[1])
    return total.hexdigest()


def run(database: Path, *arguments: str, kill_after: float | None) -> tuple[float, bool]:
    """Run an operation in a child; return its seconds, and whether it was killed."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(database), *arguments], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        start = time.perf_counter()
        try:
            child.wait(timeout=kill_after)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.wait()
        return time.perf_counter() - start, child.returncode == -signal.SIGKILL


def leftovers(folder: Path) -> list[str]:
    """Return the names of unfinished work."""
    ends = (".staging", ".staging.lock", ".partial", ".restoring", ".previous")
    return [name for _, _, names in os.walk(folder) for name in names if name.endswith(ends)]


def main() -> None:
    """Kill, look, count."""
    megabytes, times = numbers(500, 20)
    folder = Path(tempfile.mkdtemp())
    database = folder / "app.db"
    make_database(database, megabytes)
    engine = sa.create_engine(f"sqlite:///{database}")
    manager = BackupManager(engine)
    good = manager.create("good")
    new = digest(database)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE entry SET body = x'00' WHERE id % 3 = 0")
        connection.commit()
    old = digest(database)
    changed = manager.create("changed")
    random.seed()
    for operation in ("create", "restore"):
        whole, _ = run(database, operation, good.filename, kill_after=None)
        seen: Counter[str] = Counter()
        done = 0
        while done < times:  # one that ends before its moment comes does not count
            manager.restore(changed)
            for info in manager.list():
                if info.filename not in (good.filename, changed.filename):
                    manager.delete(info)
            moment = random.uniform(0, whole)
            _, killed = run(database, operation, good.filename, kill_after=moment)
            state = {old: "old", new: "new"}.get(digest(database), "NEITHER")
            listed = manager.list()
            for info in listed:
                manager.verify(info)
            done += killed
            if killed:
                seen[f"killed, live {state}, {len(listed)} backups listed, all good"] += 1
            assert state != "NEITHER"
            assert {good.filename, changed.filename} <= {info.filename for info in listed}
            manager.create("next")
            manager.restore(good)
            assert digest(database) == new
            assert leftovers(folder) == [], leftovers(folder)
            print(f"{operation} {done}/{times}: at {moment:.2f} of {whole:.2f} s", flush=True)
        for what, count in sorted(seen.items()):
            print(f"{operation}: {count:3} x {what}")
    engine.dispose()
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
