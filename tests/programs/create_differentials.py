"""Create differential backups until standard input says to stop; print how many.

create_differentials.py DATABASE
"""

from __future__ import annotations

import sys
import threading

import sqlalchemy as sa

from soulsense_db import BackupManager
from soulsense_db.operations import DifferentialPolicy

manager = BackupManager(
    sa.create_engine(f"sqlite:///{sys.argv[1]}"), differential=DifferentialPolicy(share=1)
)
stopped = threading.Event()


def stop_when_told() -> None:
    """Wait for a line."""
    sys.stdin.readline()
    stopped.set()


threading.Thread(target=stop_when_told, daemon=True).start()
print("ready", flush=True)
made = 0
while not stopped.is_set():
    manager.create(f"number {made}")
    made += 1
print(made, flush=True)
