"""What is done with backups: one verb in each file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from soulsense_db._lazy import names_from

if TYPE_CHECKING:
    from soulsense_db.operations.keeping import Keeper
    from soulsense_db.operations.references import Doubt, Finder, doubts_about
    from soulsense_db.operations.restore import (
        DatabaseLock,
        RestoreReport,
        require_undo,
        sidecar_base,
    )
    from soulsense_db.operations.restore_check import RestoreCheck, RestoreChecker
    from soulsense_db.operations.transfer import copy_out
    from soulsense_db.operations.verify import VerificationReport, verify_backup

__all__ = [
    "DatabaseLock",
    "Doubt",
    "Finder",
    "Keeper",
    "RestoreCheck",
    "RestoreChecker",
    "RestoreReport",
    "VerificationReport",
    "copy_out",
    "doubts_about",
    "require_undo",
    "sidecar_base",
    "verify_backup",
]

_HOMES = {
    "Doubt": "soulsense_db.operations.references",
    "DatabaseLock": "soulsense_db.operations.restore",
    "Finder": "soulsense_db.operations.references",
    "Keeper": "soulsense_db.operations.keeping",
    "RestoreCheck": "soulsense_db.operations.restore_check",
    "RestoreChecker": "soulsense_db.operations.restore_check",
    "RestoreReport": "soulsense_db.operations.restore",
    "VerificationReport": "soulsense_db.operations.verify",
    "copy_out": "soulsense_db.operations.transfer",
    "doubts_about": "soulsense_db.operations.references",
    "sidecar_base": "soulsense_db.operations.restore",
    "require_undo": "soulsense_db.operations.restore",
    "verify_backup": "soulsense_db.operations.verify",
}


__getattr__ = names_from(_HOMES, __name__)
