"""Restore, and have a signal come as the first pages are written to the database.

interrupted_while_pages_are_written.py DATABASE
"""

from __future__ import annotations

import signal
import sys
from typing import Any

import sqlalchemy as sa

from soulsense_db import BackupManager
from soulsense_db.drivers import SQLiteDriver

manager = BackupManager(sa.create_engine("sqlite:///" + sys.argv[1]))
pages = SQLiteDriver._copy_pages
copies: list[int] = []


def interrupted(self: SQLiteDriver, *arguments: Any) -> None:
    """Copy, with a signal on its way."""
    if len(copies) == 1:  # the safety backup is the first copy, the restore the second
        signal.setitimer(signal.ITIMER_REAL, 0.000001)
    copies.append(1)
    pages(self, *arguments)


SQLiteDriver._copy_pages = interrupted  # type: ignore[assignment,method-assign]
signal.signal(signal.SIGALRM, signal.default_int_handler)
try:
    manager.restore("latest")
except KeyboardInterrupt:
    sys.exit(3)
