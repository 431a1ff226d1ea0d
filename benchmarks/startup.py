"""How long commands take to start, beside `import sqlalchemy`, in one run: medians.

python3 benchmarks/startup.py [ROUNDS]

Every command has to start within 1.5 times the time of the import plus 150 ms.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import sqlalchemy as sa
from speed import numbers, timed

from soulsense_db import BackupManager

COMMANDS: dict[str, list[str]] = {
    "--help": ["--help"],
    "create": ["create"],
    "list": ["list"],
    "show": ["show", "latest"],
    "verify": ["verify", "latest"],
    "pin": ["pin", "latest"],
    "unpin": ["unpin", "latest"],
    "prune": ["prune", "--keep-last", "3", "--yes"],
    "export": ["export", "latest", "out"],
    "import": ["import", "other.db"],
    "auto": ["auto"],
    "status": ["status"],
    "restore": ["restore", "latest", "--yes"],
    "undo": ["undo", "--yes"],
    "delete": ["delete", "latest", "--yes"],
    "completion": ["completion", "bash"],
}


def main() -> None:
    """Measure and print."""
    (rounds,) = numbers(7)
    folder = Path(tempfile.mkdtemp())
    out = folder / "out"
    engine = sa.create_engine(f"sqlite:///{folder / 'app.db'}")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE entry (id INTEGER PRIMARY KEY, body TEXT)"))
    manager = BackupManager(engine)
    for _ in range(2 * rounds):
        manager.create()
    engine.dispose()
    shutil.copy(folder / "app.db", folder / "other.db")
    environment = {**os.environ, "SOULSENSE_DATABASE_URL": "sqlite:///app.db"}

    def run(*command: str) -> None:
        subprocess.run(
            [sys.executable, *command],
            cwd=folder,
            env=environment,
            check=True,
            capture_output=True,
        )

    seconds: dict[str, list[float]] = {"sqlalchemy": [], **{name: [] for name in COMMANDS}}
    for _ in range(rounds):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        for name, arguments in COMMANDS.items():
            seconds["sqlalchemy"].append(timed(lambda: run("-c", "import sqlalchemy")))
            seconds[name].append(timed(lambda a=arguments: run("-m", "soulsense_db", *a)))
    base = statistics.median(seconds.pop("sqlalchemy"))
    limit = 1.5 * base + 0.15
    print(f"import sqlalchemy {base * 1000:.0f} ms, limit {limit * 1000:.0f} ms, {rounds} rounds")
    for name, values in seconds.items():
        median = statistics.median(values)
        verdict = "" if median <= limit else "  OVER THE LIMIT"
        print(f"  {name:10} {median * 1000:5.0f} ms  {median / base:4.2f} x{verdict}")


if __name__ == "__main__":
    main()
