"""Backups for SQLAlchemy and Alembic applications that make losing data hard.

from soulsense_db import BackupManager
info = BackupManager(engine).create("Before import")
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soulsense_db.async_manager import AsyncBackupManager
    from soulsense_db.backup_info import BackupInfo, BackupKind
    from soulsense_db.codecs import Compression
    from soulsense_db.errors import BackupError, DatabaseError
    from soulsense_db.manager import BackupManager
    from soulsense_db.mirroring import MirrorTarget
    from soulsense_db.operations import RestoreReport, RowsReport, VerificationReport
    from soulsense_db.retention import Period, PruneReport, RetentionPolicy

__all__ = [
    "AsyncBackupManager",
    "BackupError",
    "BackupInfo",
    "BackupKind",
    "BackupManager",
    "Compression",
    "DatabaseError",
    "MirrorTarget",
    "Period",
    "PruneReport",
    "RestoreReport",
    "RetentionPolicy",
    "RowsReport",
    "VerificationReport",
]

# Where an application has no logging, nothing is printed.
logging.getLogger(__name__).addHandler(logging.NullHandler())

# Loaded when first asked for: Alembic's plugin is in this package, and is imported by every Alembic
# project in the environment, also by those that never use us.
_HOMES = {
    "AsyncBackupManager": "soulsense_db.async_manager",
    "BackupError": "soulsense_db.errors",
    "BackupInfo": "soulsense_db.backup_info",
    "BackupKind": "soulsense_db.backup_info",
    "BackupManager": "soulsense_db.manager",
    "Compression": "soulsense_db.codecs",
    "DatabaseError": "soulsense_db.errors",
    "MirrorTarget": "soulsense_db.mirroring",
    "Period": "soulsense_db.retention",
    "PruneReport": "soulsense_db.retention",
    "RestoreReport": "soulsense_db.operations.restore_report",
    "RetentionPolicy": "soulsense_db.retention",
    "RowsReport": "soulsense_db.operations.row_restore",
    "VerificationReport": "soulsense_db.operations.verify",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
