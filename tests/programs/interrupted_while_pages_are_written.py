"""Restore, and have a signal come as the first pages are written to the database.

interrupted_while_pages_are_written.py DATABASE
"""

from __future__ import annotations

import signal
import sys
from typing import Any

import sqlalchemy as sa

from soulsense_db import BackupManager
from soulsense_db.drivers.sqlite import driver, pages

manager = BackupManager(sa.create_engine("sqlite:///" + sys.argv[1]))


def interrupted(*arguments: Any, **options: Any) -> None:
    """Copy, with a signal on its way."""
    signal.setitimer(signal.ITIMER_REAL, 0.000001)
    pages.copy_pages(*arguments, **options)


driver.copy_pages = interrupted  # type: ignore[attr-defined]  # of a restore; a snapshot is written elsewhere
signal.signal(signal.SIGALRM, signal.default_int_handler)
try:
    manager.restore("latest")
except KeyboardInterrupt:
    sys.exit(3)
