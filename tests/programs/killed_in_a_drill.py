"""Drill the newest backup, say so in the middle, and wait there until the end.

killed_in_a_drill.py DATABASE [KEY-FILE]
"""

from __future__ import annotations

import sys

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from soulsense_db import BackupManager

database, *keys = sys.argv[1:]


def wait(engine: Engine) -> None:
    """Stop with the restored rows on the disk."""
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT count(*) FROM child")).one()
    print("restored", flush=True)
    sys.stdin.readline()


manager = BackupManager(sa.create_engine(f"sqlite:///{database}"), identities=keys or None)
manager.verify("latest", level="drill", checks=[wait])
