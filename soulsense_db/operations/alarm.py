"""The alarm of a database that a migration left half-way."""

from __future__ import annotations

from soulsense_db.errors import DatabaseLockedError, InterruptedMigrationError
from soulsense_db.operations.database_lock import DatabaseLock
from soulsense_db.operations.interrupted import error_of
from soulsense_db.operations.repository import Repository
from soulsense_db.sidecars import MigrationMarker, standing


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
        return error_of(self._repository, marker) if marker else None

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
