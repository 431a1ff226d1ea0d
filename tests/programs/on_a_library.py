"""Make backups of ``app.db`` with another SQLite library in the place of Python's own.

    on_a_library.py MODULE CALL ...

Prints what each call returned, or its error, as JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable

library = importlib.import_module(sys.argv[1])
sys.modules["sqlite3"] = library
sys.modules["sqlite3.dbapi2"] = library.dbapi2

import sqlalchemy as sa  # noqa: E402 - now that the library is in its place

from soulsense_db import BackupManager  # noqa: E402

manager = BackupManager(sa.create_engine("sqlite:///app.db", module=library))
calls: dict[str, Callable[[], object]] = {
    "create": lambda: manager.create().filename,
    "verify": lambda: manager.verify("latest").warnings,
    "restore": lambda: [str(path) for path in manager.restore("latest").moved_aside],
    "undo": lambda: [str(path) for path in manager.undo_restore().moved_aside],
    "again": lambda: manager.create().filename,
    "can restore": lambda: [str(p) for p in manager.can_restore("latest").problems],
}
result: dict[str, object] = {}
for name in sys.argv[2:]:
    try:
        result[name] = calls[name]()
    except Exception as error:  # noqa: BLE001 - told of, whatever it is
        result[name] = f"{type(error).__name__}: {error}"
print(json.dumps(result))
