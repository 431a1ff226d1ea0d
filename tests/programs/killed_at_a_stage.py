"""Create, restore or undo, and say at each stage that it is reached; go on when told to.

killed_at_a_stage.py create|restore|undo DATABASE [COMPRESSION]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import sqlalchemy as sa

from soulsense_db import BackupManager
from soulsense_db.drivers.sqlite import pages

pages._STEP_PAGES = 20
work, database, *compression = sys.argv[1:]
manager = BackupManager(
    sa.create_engine(f"sqlite:///{database}"), compression=next(iter(compression), None)
)
replace = os.replace
unlink = Path.unlink


def reached(stage: str) -> None:
    """Say it, and wait."""
    print(stage, flush=True)
    sys.stdin.readline()


def progress(_done: int, _total: int) -> None:
    """Stop after some pages."""
    reached("copied")


def announced_replace(source: str | Path, target: str | Path) -> None:
    """Stop before and after each rename."""
    reached("before rename")
    replace(source, target)
    reached("after rename")


def announced_unlink(path: Path, missing_ok: bool = False) -> None:
    """Stop after each removal."""
    unlink(path, missing_ok=missing_ok)
    reached("deleted " + path.name)


os.replace = announced_replace  # type: ignore[assignment]
Path.unlink = announced_unlink  # type: ignore[assignment,method-assign]
if work == "create":
    manager.create("killed", progress=progress)
elif work == "restore":
    manager.restore("latest", progress=progress)
else:
    manager.undo_restore(progress=progress)
reached("done")
