"""Do what a schedule does, and stop at the first bytes until told to go on: auto_held.py URL."""

from __future__ import annotations

import sys

import sqlalchemy as sa

from soulsense_db import BackupManager
from soulsense_db.scheduled import run_auto

waited: list[int] = []


def wait(_done: int, _total: int) -> None:
    """Stop, once."""
    if not waited:
        waited.append(1)
        print("at work", flush=True)
        sys.stdin.readline()


report = run_auto(BackupManager(sa.create_engine(sys.argv[1])), progress=wait)
print(report is not None and report.created is not None)
