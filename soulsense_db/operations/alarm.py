"""The alarm of a database that a migration left half-way."""

from __future__ import annotations

from soulsense_db import fs
from soulsense_db.errors import InterruptedMigrationError
from soulsense_db.operations.database_lock import DatabaseLock
from soulsense_db.operations.repository import Repository
from soulsense_db.sidecars import MigrationMarker, clear_marker, marker_path, standing


class MigrationAlarm:
    """The migration that is running or died half-way, of ``manager.alarm``.

    It ends when the backup from before it is restored, when the version table of its chain is at
    its target, or with :meth:`accept`.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def error(self) -> InterruptedMigrationError | None:
        """Return the error of a migration that has not ended, None without one."""
        marker = self.marker()
        driver = self._repository.driver
        return marker.error(driver.location, driver.address) if marker and driver.location else None

    def marker(self) -> MigrationMarker | None:
        """Return what :meth:`error` is made of: the first that has not ended."""
        return next(iter(standing(self._repository.driver)), None)

    def accept(self) -> bool:
        """Leave the database as a dead migration left it; False when there was none.

        Raises :class:`~soulsense_db.errors.DatabaseLockedError` while one is running.
        """
        driver = self._repository.driver
        driver.require_database()
        database = driver.location
        if database is None or not fs.exists(marker_path(database)):
            return False
        with DatabaseLock(self._repository, timeout=driver.lock_timeout):
            return clear_marker(database)
