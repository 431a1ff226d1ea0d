"""Make five backups when told to, and print their ids: create_five.py DATABASE."""

from __future__ import annotations

import sys

import sqlalchemy as sa

from soulsense_db import BackupManager

engine = sa.create_engine(f"sqlite:///{sys.argv[1]}")
manager = BackupManager(engine)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(5):
    print(manager.create("same").id)
engine.dispose()
