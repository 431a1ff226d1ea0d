"""What a person may do with the catalog by itself: it follows by itself in all else."""

from __future__ import annotations

from soulsense_db.operations.repository import Repository


class CatalogOperations:
    """The table of the backups: what ``manager.catalog`` is.

    The table follows the meta files by itself. These methods are for the rest.

    Example:
        >>> manager.catalog.sync()
        True
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def sync(self, *, make_table: bool = True) -> bool:
        """Bring the table in step with the meta files, if that is possible just now.

        Args:
            make_table: False: where there is no table, none is made.

        Returns:
            Whether it was possible.

        Example:
            >>> manager.catalog.sync(make_table=False)
            True
        """
        repository = self._repository
        return (repository if make_table else repository.with_catalog_as_it_is()).sync_catalog()

    def rebuild(self) -> int:
        """Write the table anew from the meta files.

        Returns:
            How many rows it has.

        Raises:
            CatalogError: The table with that name belongs to the application.
            DatabaseFileNotFoundError: The database file does not exist.
            DatabaseDamagedError: The database cannot be read.
            StorageError: The backup directory cannot be read.
            DatabaseLockedError: The database was locked for ``lock_timeout`` seconds.

        Example:
            >>> manager.catalog.rebuild()
            1
        """
        backups = self._repository.finder.list()
        return self._repository.rows.rebuild(
            backups, lock_timeout=self._repository.driver.lock_timeout
        )

    def names(self) -> frozenset[str] | None:
        """Return the file names in the table.

        Returns:
            The names; None without a table, or when it cannot be read now.

        Example:
            >>> manager.catalog.names()
            frozenset({'soulsense_backup_..._Before_the_import.db'})
        """
        return self._repository.rows.names()
