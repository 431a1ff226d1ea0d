"""Create, restore or undo, and say at each stage that it is reached; go on when told to.

killed_at_a_stage.py create|restore|upgrade|undo|verify|compare DATABASE [FORM [RECIPIENT KEY-FILE]]

FORM is that of a new backup: none, zstd, differential.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import sqlalchemy as sa
from alembic.config import Config

from soulsense_db import BackupManager
from soulsense_db.alembic import restore_and_upgrade
from soulsense_db.drivers.sqlite import pages
from soulsense_db.operations import DifferentialPolicy

pages._STEP_PAGES = 20
work, database, *options = sys.argv[1:]
form, recipient, key_file, *_ = [*options, *[""] * 3]
manager = BackupManager(
    sa.create_engine(f"sqlite:///{database}"),
    compression=None if form == "differential" else form,
    differential=DifferentialPolicy(share=1) if form == "differential" else False,
    recipients=recipient or None,
    identities=key_file or None,
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
elif work == "upgrade":  # with the migrations beside the database
    config = Config(str(Path(database).with_name("alembic.ini")))
    restore_and_upgrade(config, "latest", manager=manager, progress=progress)
elif work == "verify":
    manager.verify("latest", progress=progress)
elif work == "compare":
    manager.compare("latest", progress=progress)
else:
    manager.undo_restore(progress=progress)
reached("done")
