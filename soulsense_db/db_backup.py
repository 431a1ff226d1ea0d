"""The guide's functions, over a default manager.

A SoulSense checkout keeps its ``app/db_backup.py`` as one line::

    from soulsense_db.db_backup import *

The database is the one of :func:`configure`, else of ``SOULSENSE_DATABASE_URL``, else
``sqlite:///data/soulsense.db``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from soulsense_db.backup_info import BackupInfo
from soulsense_db.drivers import SQLiteDriver
from soulsense_db.errors import DatabaseError
from soulsense_db.manager import BackupManager
from soulsense_db.notices import warn
from soulsense_db.settings import DEFAULT_URL, URL_VARIABLE

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = [
    "BackupInfo",
    "DatabaseError",
    "_validate_sqlite_file",
    "configure",
    "create_backup",
    "delete_backup",
    "list_backups",
    "restore_backup",
]


_configured: BackupManager | None = None


def configure(
    engine: Engine | AsyncEngine | None, directory: str | Path | None = None
) -> BackupManager | None:
    """Make ``engine`` the database of all functions here; None goes back to the default.

    ``directory`` as in :class:`~soulsense_db.BackupManager`; returns the manager.
    """
    global _configured  # noqa: PLW0603 - the guide's functions have no other place for it
    _configured = None if engine is None else BackupManager(engine, directory)
    return _configured


def _manager() -> BackupManager:
    # Not kept: a relative URL follows the current directory and the environment.
    return _configured or BackupManager.from_url(os.environ.get(URL_VARIABLE) or DEFAULT_URL)


def create_backup(description: str = "") -> BackupInfo:
    """Take a backup; raises :class:`DatabaseError` when none could be made."""
    return _manager().create(description)


def restore_backup(backup_path: str | Path) -> bool:
    """Restore the backup at ``backup_path`` and return True.

    What failed when it was restored is a warning in the log ``soulsense_db``. Raises
    :class:`DatabaseError`; the live database is then what it was.
    """
    report = _manager().restore(Path(backup_path))
    for warning in report.warnings:
        warn(f"The database was restored. {warning}")
    return True


def list_backups() -> list[BackupInfo]:
    """Return all backups, newest first."""
    return _manager().list()


def delete_backup(backup_path: str | Path) -> bool:
    """Delete the backup at ``backup_path`` and return True; raises :class:`DatabaseError`."""
    _manager().delete(Path(backup_path))
    return True


def _validate_sqlite_file(path: str | Path) -> bool:
    """Whether ``path`` is a whole SQLite database; False for anything else, never an error."""
    return SQLiteDriver.is_sound(Path(path))
