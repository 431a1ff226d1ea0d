"""The public face of backups: ``BackupManager``, whose members are in a module per subject."""

from __future__ import annotations

from soulsense_db.manager.backup_manager import BackupManager
from soulsense_db.manager.options import ManagerOptions

__all__ = ["BackupManager", "ManagerOptions"]
