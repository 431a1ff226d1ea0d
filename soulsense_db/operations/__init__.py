"""What is done with backups: one verb in each file."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soulsense_db.operations.keeping import Keeper
    from soulsense_db.operations.references import Doubt, Finder, doubts_about
    from soulsense_db.operations.restore import (
        ExclusiveAccess,
        RestoreReport,
        place_of,
        require_undo,
    )
    from soulsense_db.operations.restore_check import RestoreCheck, RestoreChecker
    from soulsense_db.operations.transfer import copy_out
    from soulsense_db.operations.verify import Level, VerificationReport, verify_backup

__all__ = [
    "Doubt",
    "ExclusiveAccess",
    "Finder",
    "Keeper",
    "Level",
    "RestoreCheck",
    "RestoreChecker",
    "RestoreReport",
    "VerificationReport",
    "copy_out",
    "doubts_about",
    "place_of",
    "require_undo",
    "verify_backup",
]

_HOMES = {
    "Doubt": "soulsense_db.operations.references",
    "ExclusiveAccess": "soulsense_db.operations.restore",
    "Finder": "soulsense_db.operations.references",
    "Keeper": "soulsense_db.operations.keeping",
    "Level": "soulsense_db.operations.verify",
    "RestoreCheck": "soulsense_db.operations.restore_check",
    "RestoreChecker": "soulsense_db.operations.restore_check",
    "RestoreReport": "soulsense_db.operations.restore",
    "VerificationReport": "soulsense_db.operations.verify",
    "copy_out": "soulsense_db.operations.transfer",
    "doubts_about": "soulsense_db.operations.references",
    "place_of": "soulsense_db.operations.restore",
    "require_undo": "soulsense_db.operations.restore",
    "verify_backup": "soulsense_db.operations.verify",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
