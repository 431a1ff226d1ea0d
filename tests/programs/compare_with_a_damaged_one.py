"""Damage a backup in its middle, and compare with it: compare_with_a_damaged_one.py DATABASE."""

from __future__ import annotations

import sys
from pathlib import Path

from soulsense_db import BackupManager
from soulsense_db.errors import InvalidBackupError

PAGE = 4096

manager = BackupManager.from_url(f"sqlite:///{sys.argv[1]}")
with Path(manager.create().path).open("r+b") as backup:
    backup.seek(500 * PAGE)
    backup.write(b"\xee" * PAGE * 100)
try:
    manager.compare("latest")
except InvalidBackupError:
    print("damaged")
