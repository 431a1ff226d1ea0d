"""The SQLite driver, and all that is of SQLite."""

from __future__ import annotations

from soulsense_db.drivers.sqlite.driver import SQLiteDriver

__all__ = ["SQLiteDriver"]
