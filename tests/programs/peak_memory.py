"""Print how much memory each call takes at its peak, in MB beyond that of a small database.

peak_memory.py URL URL_OF_A_SMALL_ONE
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from soulsense_db import BackupManager
from soulsense_db.scheduled import run_auto

manager = BackupManager.from_url(sys.argv[1])
warm = BackupManager.from_url(sys.argv[2])
warm.create()
warm.compare("latest")
warm.restore("latest")
run_auto(warm)


def peak() -> int:
    """Return the peak so far; not ru_maxrss, which begins with what the parent had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


before = peak()
calls: dict[str, Callable[[], object]] = {
    "create": manager.create,
    "verify": lambda: manager.verify("latest"),
    "compare": lambda: manager.compare("latest"),
    "auto": lambda: run_auto(manager),
    "restore": lambda: manager.restore("latest"),
}
for name, call in calls.items():
    call()
    print(name, peak() - before)
