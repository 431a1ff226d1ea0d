"""Print how much memory this process took at its peak, in MB, after a call of a manager.

server_peak.py URL DIRECTORY CALL...
"""

from __future__ import annotations

import sys
from pathlib import Path

import sqlalchemy as sa

from soulsense_db import BackupManager

manager = BackupManager(sa.create_engine(sys.argv[1]), sys.argv[2])
for call in sys.argv[3:]:
    getattr(manager, call)(*(() if call in ("create", "undo_restore") else ("latest",)))
# Not ru_maxrss, which begins with what the parent had.
lines = Path("/proc/self/status").read_text().splitlines()
print(next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")))
