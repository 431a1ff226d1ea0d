"""The alarm of a database that a migration left half-way."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from soulsense_db import fs
from soulsense_db.errors import BackupError, DatabaseLockedError, InterruptedMigrationError
from soulsense_db.notices import ignoring
from soulsense_db.operations.database_lock import DatabaseLock
from soulsense_db.operations.repository import Repository
from soulsense_db.sidecars import MigrationMarker, is_its_backup, standing


class MigrationAlarm:
    """A migration that is running or died half-way: what ``manager.alarm`` is.

    The alarm ends when the backup from before the migration is restored, when the version table of
    its chain is at its target, or with :meth:`accept`.

    Example:
        >>> manager.alarm.error() is None
        True
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def error(self) -> InterruptedMigrationError | None:
        """Return the error of a migration that has not ended.

        Returns:
            The error, to be shown or raised; None without such a migration.

        Example:
            >>> error = manager.alarm.error()
            >>> print(error.message if error else "No migration died half-way.")
            No migration died half-way.
        """
        marker = self.marker()
        repository = self._repository
        if marker is None:
            return None
        marker = _with_backup_here(repository, marker)
        return marker.error(repository.name, repository.driver.address)

    def marker(self) -> MigrationMarker | None:
        """Return the facts behind :meth:`error`.

        Returns:
            The marker of the first migration that has not ended; None without one.

        Example:
            >>> manager.alarm.marker() is None
            True
        """
        return next(iter(standing(self._repository.driver, self._repository.marker_place)), None)

    def is_running(self) -> bool:
        """Return whether a migration or a restore is running, which may be that of :meth:`marker`.

        Returns:
            True while somebody holds the database's lock.

        Raises:
            DatabaseUnreachableError: The server did not answer.

        Example:
            >>> manager.alarm.is_running()
            False
        """
        try:
            DatabaseLock(self._repository, timeout=0).release()
        except DatabaseLockedError:
            return True
        return False

    def accept(self) -> bool:
        """Keep the database as a migration that died has left it.

        Returns:
            False when there was no such migration.

        Raises:
            DatabaseLockedError: A migration is running.
            DatabaseFileNotFoundError: The database file does not exist.

        Example:
            >>> manager.alarm.accept()
            False
        """
        driver = self._repository.driver
        driver.require_database()
        if not self._repository.markers.are_there():
            return False
        with DatabaseLock(self._repository, timeout=driver.lock_timeout) as lock:
            return lock.markers.clear()


def _with_backup_here(repository: Repository, marker: MigrationMarker) -> MigrationMarker:
    """Return ``marker``, with its backup in this directory where that is not where it was."""
    if marker.backup is not None and not fs.exists(Path(marker.backup)):
        with ignoring(BackupError, what="Whether the backup was brought here is not known"):
            here = (info for info in repository.directory.list() if is_its_backup(marker, info))
            if (info := next(here, None)) is not None:
                marker = replace(marker, backup=info.path)
    return marker
