"""Drivers: what knows a database dialect, each in a folder of its own."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    )
    from soulsense_db.drivers.registry import driver_for, engine_for
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
]

_HOMES = {
    "Comparison": "soulsense_db.drivers.base",
    "Depth": "soulsense_db.drivers.base",
    "Driver": "soulsense_db.drivers.base",
    "Findings": "soulsense_db.drivers.base",
    "Hold": "soulsense_db.drivers.base",
    "OvertakenError": "soulsense_db.drivers.base",
    "Progress": "soulsense_db.drivers.base",
    "SQLiteDriver": "soulsense_db.drivers.sqlite",
    "Snapshot": "soulsense_db.drivers.base",
    "TableComparison": "soulsense_db.drivers.base",
    "TableRows": "soulsense_db.drivers.base",
    "driver_for": "soulsense_db.drivers.registry",
    "engine_for": "soulsense_db.drivers.registry",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
