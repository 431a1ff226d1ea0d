"""Keep the catalog of a live database in step, as far as that is possible at the moment.

The table is only an index. It may be locked by the application, in this very thread; the database
may be read-only, full or damaged; a trigger or a column of the application may refuse a row. A
backup is good without its row, and the next one that can write brings all rows in step. So what
goes wrong here is a warning in the log ``soulsense_db`` at most, never an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy.engine import Connection

from soulsense_db.backup_info import BackupInfo
from soulsense_db.catalog.table import Catalog, TableState
from soulsense_db.drivers import Driver
from soulsense_db.errors import BackupError, CatalogError
from soulsense_db.meta_file import is_backup, require_no_backup
from soulsense_db.notices import log_ignored, warn

T = TypeVar("T")

_LOCK_TIMEOUT = 1.0


class CatalogRows:
    """The rows of ``catalog`` in the live database of ``driver``; no catalog is None."""

    def __init__(
        self, driver: Driver, catalog: Catalog | None, *, makes_table: bool = True
    ) -> None:
        self._driver = driver
        self._catalog = catalog
        self._makes_table = makes_table

    def without_making_table(self) -> CatalogRows:
        """Return the same rows, for which no table is made where there is none."""
        return CatalogRows(self._driver, self._catalog, makes_table=False)

    def tables(self, *, if_unreadable: bool = False) -> frozenset[str]:
        """Return the name of the catalog's table, if one of ours is in the database.

        ``if_unreadable``: also when the database cannot be read, so that nobody can tell.
        """
        ours = {TableState.CURRENT, TableState.OUTDATED}
        is_ours = self._try(
            lambda catalog, connection: catalog.state(connection) in ours, write=False
        )
        if self._catalog is None or not (if_unreadable if is_ours is None else is_ours):
            return frozenset()
        return frozenset({self._catalog.name})

    def require_free(self) -> None:
        """Raise what keeps a row from being written in any case.

        :class:`~soulsense_db.errors.CatalogError` for a table of somebody else's,
        :class:`~soulsense_db.errors.UnsupportedDatabaseError` for a database that is a backup.
        """
        if self._catalog is not None:
            require_no_backup(self._driver.location)
        # Without the write lock: somebody who has it just now must not hide the table.
        self._try(lambda catalog, connection: catalog.require_free(connection), write=False)

    def record(self, info: BackupInfo) -> frozenset[str] | None:
        """Add a row; return the names of all then, None when it could not be written."""

        def write(catalog: Catalog, connection: Connection) -> frozenset[str] | None:
            self._prepare(catalog, connection)
            return catalog.record(connection, info)

        return self._try(write)

    def forget(self, filename: str) -> None:
        """Remove a row."""
        self._try(lambda catalog, connection: catalog.forget(connection, filename))

    def _prepare(self, catalog: Catalog, connection: Connection) -> None:
        if self._makes_table:
            catalog.prepare(connection, self._driver.share_table)

    def sync(self, infos: Sequence[BackupInfo]) -> bool:
        """Make the rows those of ``infos``; return whether that was possible."""

        def write(catalog: Catalog, connection: Connection, *, delete: bool) -> int | None:
            self._prepare(catalog, connection)
            return catalog.rebuild(connection, infos, delete=delete)

        try:
            done = self._if_possible(lambda *room: write(*room, delete=True))
        except BackupError as error:  # found at the commit: the application needs a row
            log_ignored("Rows of backups that are gone could not be removed", error)
            done = self._try(lambda *room: write(*room, delete=False))
        except Exception as error:  # noqa: BLE001 - see _try
            _warn_of(error)
            return False
        return done is not None

    def names(self) -> frozenset[str] | None:
        """Return the file names of all rows; None when there is no table, or it cannot be read."""
        return self._try(lambda catalog, connection: catalog.names(connection), write=False)

    def rebuild(self, infos: Sequence[BackupInfo], *, lock_timeout: float) -> int:
        """Do as :meth:`sync` and return how many rows there are; raise why that is impossible."""
        catalog = self._catalog
        if catalog is None:
            return 0
        require_no_backup(self._driver.location)

        def work(connection: Connection) -> int:
            catalog.require_free(connection)
            catalog.prepare(connection, self._driver.share_table)
            return catalog.rebuild(connection, infos) or 0

        return self._driver.transaction(work, lock_timeout=lock_timeout)

    def _try(self, work: Callable[[Catalog, Connection], T], *, write: bool = True) -> T | None:
        """Do ``work``; None where that was impossible, for whatever reason."""
        try:
            return self._if_possible(work, write=write)
        except CatalogError:
            raise
        except Exception as error:  # noqa: BLE001 - of the application's events, of any kind
            _warn_of(error)
            return None

    def _if_possible(
        self, work: Callable[[Catalog, Connection], T], *, write: bool = True
    ) -> T | None:
        """Do ``work``; None while the database is locked, read-only, full, damaged, or a backup.

        Raises what else goes wrong, as a row that the application's own constraints refuse.
        """
        catalog = self._catalog
        if catalog is None or (write and is_backup(self._driver.location)):
            return None
        try:
            return self._driver.transaction(
                lambda connection: work(catalog, connection),
                lock_timeout=min(_LOCK_TIMEOUT, self._driver.lock_timeout),
                write=write,
            )
        except CatalogError:
            raise
        except BackupError as error:
            if type(error) is BackupError:
                raise
            log_ignored("The catalog cannot be used now", error)
            return None


def _warn_of(error: Exception) -> None:
    warn(f"The table of backups could not be updated; the backups themselves are safe: {error}")
