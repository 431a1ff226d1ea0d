"""Whether the sums of pgbench agree: in backups made while it writes, and after restores.

    python3 benchmarks/bank.py [SCALE]

A hundred thousand accounts a unit of scale. Told are the seconds of each operation, the moves that
were in its database, and whether the four sums were those of one moment.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from soulsense_db import BackupManager

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

T = TypeVar("T")


def timed(what: str, call: Callable[[], T]) -> T:
    """Return what ``call`` returns, and tell how long it took."""
    begun = time.perf_counter()
    result = call()
    print(f"{what}: {time.perf_counter() - begun:.2f} s", flush=True)
    return result


def main() -> None:
    """Create twice, restore, create again, undo; look into everything."""
    from postgresql import content
    from postgresql.bank import NAME, Bank
    from postgresql.server import Server, versions

    scale = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    server = Server(max(versions()))
    os.environ["PATH"] = f"{server.bin}{os.pathsep}{os.environ['PATH']}"
    folder = Path(tempfile.mkdtemp())
    content.psql(server, "postgres", f"CREATE DATABASE {NAME}")
    bank = Bank(server, scale=scale)
    manager = BackupManager(content.engine_on(server, NAME), folder)
    try:
        with bank.in_use():
            first = timed("create", lambda: manager.create("first"))
            second = timed("create", lambda: manager.create("second"))
            report = timed("restore", lambda: manager.restore(first))
            third = timed("create", lambda: manager.create("third"))
            looked = [("live, while it writes", bank.balance())]
        assert report.safety_backup is not None
        looked += [
            (what, bank.balance_of(path))
            for what, path in (
                ("first", Path(first.path)),
                ("second", Path(second.path)),
                ("safety backup", report.safety_backup),
                ("third", Path(third.path)),
            )
        ]
        looked.append(("live", bank.balance()))
        timed("restore, nobody writes", lambda: manager.restore(second))
        looked.append(("restored from second", bank.balance()))
        timed("undo", manager.undo_restore)
        looked.append(("live, after the undo", bank.balance()))
        for what, balance in looked:
            print(f"{what}: {balance} {'agree' if balance.agrees else 'DO NOT AGREE'}")
    finally:
        server.remove()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
