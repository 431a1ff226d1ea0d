"""The driver of another package, and something that is none."""

from __future__ import annotations

from soulsense_db.drivers import SQLiteDriver


class ToyDriver(SQLiteDriver):
    """Knows a dialect of its own."""

    dialect = "toy"


NoDriver = object
