"""How long the window ever kept the user waiting, and how fast it opens with many backups.

    xvfb-run python3 benchmarks/window.py [--megabytes 500] [--backups 5000] [FOLDER]

A timer of the main loop fires every 5 ms; what is told is the longest time between two of them
while a backup of a large database is created, verified, compared and restored in the window, and
the time from the call until all rows of a long list are in it.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import statistics
import tempfile
import time
import tkinter as tk
from collections.abc import Callable
from pathlib import Path

from soulsense_db import BackupManager
from soulsense_db.dialog import BackupWindow, open_backup_dialog

_TICK_MS = 5


class Ticker:
    """Notes the longest time in which the main loop did not come round."""

    def __init__(self, root: tk.Tk) -> None:
        self._root = root
        self.reset()
        self._tick()

    def reset(self) -> None:
        """Begin anew."""
        self.longest = 0.0
        self._last = time.perf_counter()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.longest = max(self.longest, now - self._last)
        self._last = now
        self._root.after(_TICK_MS, self._tick)


def wait(root: tk.Tk, condition: Callable[[], bool]) -> None:
    """Run the main loop until ``condition``."""
    while not condition():
        waited = tk.IntVar(root)
        root.after(20, waited.set, 1)
        root.wait_variable(waited)


def make_large(path: Path, megabytes: int) -> None:
    """Make a database of that size with a row per kilobyte."""
    live = sqlite3.connect(path)
    live.execute("PRAGMA journal_mode = WAL")
    live.execute("CREATE TABLE journal (id INTEGER PRIMARY KEY, body BLOB)")
    count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
    live.execute(
        f"{count} INSERT INTO journal SELECT i, randomblob(1000) FROM n", (megabytes * 1000,)
    )
    live.commit()
    live.close()


def measure_work(root: tk.Tk, ticker: Ticker, folder: Path, megabytes: int) -> None:
    """Press the buttons, one after the other, with a large database."""
    make_large(folder / "large.db", megabytes)
    window = open_backup_dialog(root, BackupManager.from_url(str(folder / "large.db")))
    wait(root, lambda: window.winfo_viewable() and not window.is_busy)
    ticker.reset()
    window.actions.create("Large")
    tell_when_done(root, ticker, window, "create")
    wait(root, lambda: window.table.selection is not None)
    window.actions.verify()
    tell_when_done(root, ticker, window, "verify")
    ticker.reset()
    window.actions.restore()
    question = next(c for c in window.winfo_children() if isinstance(c, tk.Toplevel))
    wait(root, lambda: question.yes.instate(["!disabled"]))
    print(f"{'compare':10} longest wait {ticker.longest * 1000:6.1f} ms")
    ticker.reset()
    question.yes.invoke()
    tell_when_done(root, ticker, window, "restore")
    window.destroy()


def tell_when_done(root: tk.Tk, ticker: Ticker, window: BackupWindow, name: str) -> None:
    """Wait for the end of the work and print the longest time without the main loop."""
    started = time.perf_counter()
    wait(root, lambda: not window.is_busy)
    seconds = time.perf_counter() - started
    print(f"{name:10} longest wait {ticker.longest * 1000:6.1f} ms, in {seconds:.1f} s")
    ticker.reset()


def measure_list(root: tk.Tk, ticker: Ticker, folder: Path, backups: int) -> None:
    """Open the window over many backups, five times."""
    live = folder / "many.db"
    sqlite3.connect(live).executescript("CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    manager = BackupManager.from_url(str(live), folder / "many")
    one = manager.create("One of many")
    for number in range(backups - 1):
        name = f"soulsense_backup_20260101_{number % 86400:06d}_{number}.db"
        shutil.copy(one.path, manager.directory / name)
        shutil.copy(one.meta_path, manager.directory / f"{name}.meta")
    times = []
    ticker.reset()
    for _ in range(5):
        started = time.perf_counter()
        window = open_backup_dialog(root, manager)
        wait(root, lambda w=window: len(w.table.tree.get_children()) == backups)
        times.append(time.perf_counter() - started)
        window.destroy()
    print(
        f"{backups} backups: open and filled in {statistics.median(times):.2f} s (median of 5), "
        f"longest wait {ticker.longest * 1000:.1f} ms"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--backups", type=int, default=5000)
    parser.add_argument("folder", nargs="?", type=Path)
    chosen = parser.parse_args()
    root = tk.Tk()
    root.withdraw()
    ticker = Ticker(root)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        measure_work(root, ticker, Path(name), chosen.megabytes)
        measure_list(root, ticker, Path(name), chosen.backups)
    root.destroy()


if __name__ == "__main__":
    main()
