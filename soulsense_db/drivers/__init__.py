"""Drivers: one module per database dialect. Importing this package registers them all."""

from __future__ import annotations

from soulsense_db.drivers.base import (
    Comparison,
    Depth,
    Driver,
    Findings,
    Hold,
    OvertakenError,
    Progress,
    Snapshot,
    TableComparison,
    TableRows,
    driver_for,
    engine_for,
    register,
)
from soulsense_db.drivers.sqlite import SQLiteDriver

__all__ = [
    "Comparison",
    "Depth",
    "Driver",
    "Findings",
    "Hold",
    "OvertakenError",
    "Progress",
    "SQLiteDriver",
    "Snapshot",
    "TableComparison",
    "TableRows",
    "driver_for",
    "engine_for",
    "register",
]
