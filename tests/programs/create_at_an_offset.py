"""Make a backup for each line, by a clock that is off: create_at_an_offset.py URL SECONDS."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import time_machine

from soulsense_db import BackupManager

manager = BackupManager.from_url(sys.argv[1])
offset = timedelta(seconds=float(sys.argv[2]))
with time_machine.travel(datetime.now(UTC) + offset):
    for _ in sys.stdin:
        print(manager.create().id, flush=True)
