"""Put a link in the place of the file that SQLite is about to open.

swap_at_connect.py FOLDER create|import|restore|rebuild ENDING
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from soulsense_db import BackupError, BackupManager

folder, call, ending = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
manager = BackupManager(sa.create_engine(f"sqlite:///{folder}/app.db"), lock_timeout=1)
info = manager.create()
swapped: list[str] = []


def race(event: str, arguments: tuple[Any, ...]) -> None:
    """Be quicker than SQLite, once."""
    if event == "sqlite3.connect" and str(arguments[0]).endswith(ending) and not swapped:
        swapped.append(arguments[0])
        os.rename(arguments[0], f"{folder}/stolen")  # noqa: PTH104 - as in a race: no more calls
        os.symlink(f"{folder}/victim.db", arguments[0])  # noqa: PTH211


if call == "rebuild":
    (folder / "app.db").write_bytes(b"damaged " * 1000)
sys.addaudithook(race)
calls: dict[str, Callable[[], object]] = {
    "create": manager.create,
    "import": lambda: manager.import_file(folder / "outside.db"),
    "restore": lambda: manager.restore(info),
    "rebuild": lambda: manager.restore(info),
}
try:
    calls[call]()
except BackupError as error:
    print(type(error).__name__, len(swapped), error.message)
