"""Stage a backup, half written, and wait for an end: stage_and_wait.py DIRECTORY."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from soulsense_db.directory.directory import BackupDirectory
from soulsense_db.drivers import SQLiteDriver

directory = BackupDirectory(
    Path(sys.argv[1]),
    prefix="soulsense_backup",
    suffix=".db",
    lock_timeout=5,
    companions=SQLiteDriver.companions,
)
with directory.stage(datetime.now(UTC), "theirs") as staging:
    staging.path.write_bytes(b"half")
    Path(f"{staging.path}-journal").touch()
    staging.final.with_name(staging.final.name + ".meta").touch()
    print("staged", flush=True)
    sys.stdin.read()
