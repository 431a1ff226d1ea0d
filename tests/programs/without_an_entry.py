"""Become a user without an entry in the system's list, and use a database of PostgreSQL.

    without_an_entry.py USER URL ROOTS HIS

Prints the reason for which there is no drill.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from soulsense_db import BackupManager
from soulsense_db.errors import ServerToolError


def use(folder: Path) -> None:
    """Do what needs no server of our own."""
    manager = BackupManager(sa.create_engine(sys.argv[2], poolclass=NullPool), folder)
    manager.create()
    manager.verify("latest", level="full")
    check = manager.can_restore("latest")
    assert check.ok, check.problems
    manager.restore("latest")
    try:
        manager.verify("latest", level="drill")
    except ServerToolError as error:
        print(error)


user, roots, his = int(sys.argv[1]), Path(sys.argv[3]), Path(sys.argv[4])
use(roots)  # from here on nothing more needs to be imported, which he might not read
os.setgroups([])
os.setgid(user)
os.setuid(user)
use(his)
