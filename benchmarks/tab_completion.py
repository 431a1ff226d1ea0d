"""How long a shell waits for the ids, kinds and revisions of many backups.

    python benchmarks/tab_completion.py [BACKUPS]

measures whole processes, the best and the median of twenty, in a directory of 10,000 backups.
"""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from sqlalchemy import create_engine

from soulsense_db import BackupManager

RUNS = 20
LINES = {
    "ids": "soulsense-db restore ",
    "the beginning of an id": "soulsense-db show 13",
    "kinds": "soulsense-db list --kind ",
    "revisions": "soulsense-db list --revision ",
    "file names": "soulsense-db verify soulsense_backup_20",
}


def main() -> None:
    """Make the backups, complete each line, print a table."""
    count = int(sys.argv[1]) if sys.argv[1:] else 10_000
    with tempfile.TemporaryDirectory() as folder:
        make_backups(Path(folder), count)
        print(f"{count:,} backups: best and median of {RUNS}, in ms")
        for what, line in LINES.items():
            seconds = [complete(line, Path(folder)) for _ in range(RUNS)]
            best, median = min(seconds) * 1000, statistics.median(seconds) * 1000
            print(f"{what:<24}{best:6.0f}{median:6.0f}")


def make_backups(folder: Path, count: int) -> None:
    """Put ``count`` meta files of one backup into ``folder``, with ids and times of their own."""
    database = folder / "app.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY)")
    first = BackupManager(create_engine(f"sqlite:///{database}")).create("Hourly")
    facts = json.loads(Path(first.meta_path).read_text(encoding="utf-8"))
    for number in range(count - 1):
        taken = first.created_at - timedelta(hours=number + 1)
        name = f"soulsense_backup_{taken:%Y%m%d_%H%M%S}.db"
        facts |= {
            "filename": name,
            "id": f"{number:04x}{number:08x}",
            "created_at": taken.isoformat(),
        }
        facts["alembic_heads"] = [f"{number // 500:04}_step"]
        text = json.dumps(facts, indent=2)
        (folder / "backups" / f"{name}.meta").write_text(text, encoding="utf-8")


def complete(line: str, folder: Path) -> float:
    """Return how many seconds it takes to complete ``line``, as bash asks for it."""
    words = line.split(" ")
    asked = {
        "_SOULSENSE_DB_COMPLETE": "complete_bash",
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
        "SOULSENSE_DATABASE_URL": f"sqlite:///{folder}/app.db",
    }
    program = Path(sys.executable).with_name("soulsense-db")
    start = time.perf_counter()
    done = subprocess.run(
        [program], env=os.environ | asked, cwd=folder, capture_output=True, check=True
    )
    seconds = time.perf_counter() - start
    assert done.stdout, f"nothing is offered for {line}"
    return seconds


if __name__ == "__main__":
    main()
