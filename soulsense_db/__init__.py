"""Backups for SQLAlchemy and Alembic applications that make losing data hard.

from soulsense_db import BackupManager
info = BackupManager(engine).create("Before import")
"""

from __future__ import annotations

from soulsense_db.backup_info import BackupInfo, BackupKind
from soulsense_db.errors import BackupError, DatabaseError
from soulsense_db.manager import BackupManager
from soulsense_db.restoring import RestoreReport
from soulsense_db.verification import VerificationReport

__all__ = [
    "BackupError",
    "BackupInfo",
    "BackupKind",
    "BackupManager",
    "DatabaseError",
    "RestoreReport",
    "VerificationReport",
]
