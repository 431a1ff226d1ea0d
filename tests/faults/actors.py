"""A process that does one thing, and is held in the middle of it until it is told to go on.

Run with the name of the thing, the folder of ``app.db`` and options of JSON. It writes ``ready``
and waits for a line; ``held`` where it is held, and waits for another; in the end a line of JSON:
``error``, the class of its error or nothing, ``outcome``, if it is of the tree, and ``text``.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from faults.operations import upgrade
from soulsense_db import BackupManager
from soulsense_db.drivers import Progress
from soulsense_db.drivers.sqlite import pages
from soulsense_db.errors import BackupError

# A revision that is held between two statements which only together keep the invariant.
HELD_REVISION = """
    from alembic import op
    from faults.actors import hold

    revision = "held"
    down_revision = "r2"

    def upgrade():
        op.execute("UPDATE parent SET mood = 'calm', total = total + 1 WHERE id = 4")
        hold()
        op.execute("INSERT INTO child (parent_id, amount, body) VALUES (4, 1, 'by held')")
"""


def hold() -> None:
    """Wait until the test says that it goes on."""
    print("held", flush=True)  # noqa: T201 - the protocol
    sys.stdin.readline()


def create(folder: Path, options: dict[str, Any]) -> None:
    """Make a backup ``made``; held when a part of the pages is copied."""
    _manager(folder, options).create("made", progress=_holding(options))


def restore(folder: Path, options: dict[str, Any]) -> None:
    """Restore the oldest backup; held when a part of the pages is written."""
    manager = _manager(folder, options)
    manager.restore(manager.list()[-1], progress=_holding(options))


def run_upgrade(folder: Path, options: dict[str, Any]) -> None:
    """Upgrade; held in the middle of the revision ``held``; ``waiting`` tells of another one."""
    logging.getLogger("alembic.soulsense_db").addFilter(_tell_of_waiting)
    upgrade(folder, options["revision"], timeout=options.get("timeout", 5))


def _tell_of_waiting(record: logging.LogRecord) -> bool:
    if "Waiting for it to finish" in record.getMessage():
        print("waiting", flush=True)  # noqa: T201 - the protocol
    return True


def _manager(folder: Path, options: dict[str, Any]) -> BackupManager:
    engine = sa.create_engine(f"sqlite:///{folder / 'app.db'}", poolclass=sa.NullPool)
    return BackupManager(engine, lock_timeout=options.get("timeout", 30))


def _holding(options: dict[str, Any]) -> Progress:
    """Return a callback that holds once, if that is asked for."""
    held = not options.get("hold")

    def progress(done: int, total: int) -> None:
        nonlocal held
        if not held and done < total:
            held = True
            hold()

    return progress


def main(name: str, folder: str, options: str) -> None:
    """Do it."""
    pages._STEP_PAGES = 30  # of so small a database several steps, to be held between two
    print("ready", flush=True)  # noqa: T201 - the protocol
    sys.stdin.readline()
    told = {"error": "", "outcome": "", "text": ""}
    try:
        {"create": create, "restore": restore, "upgrade": run_upgrade}[name](
            Path(folder), json.loads(options)
        )
    except Exception as error:  # noqa: BLE001 - judged by the test
        outcome = error.outcome if isinstance(error, BackupError) else ""
        told = {"error": type(error).__name__, "outcome": outcome, "text": str(error)}
    print(json.dumps(told))  # noqa: T201 - the protocol


if __name__ == "__main__":
    main(*sys.argv[1:])
