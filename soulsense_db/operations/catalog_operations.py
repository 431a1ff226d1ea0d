"""What a person may do with the catalog by itself: it follows by itself in all else."""

from __future__ import annotations

from soulsense_db.operations.repository import Repository


class CatalogOperations:
    """The table of the backups, of ``manager.catalog``."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def sync(self, *, make_table: bool = True) -> bool:
        """Bring the catalog in step if that is possible just now, and return whether it was.

        ``make_table=False``: an absent table stays absent.
        """
        repository = self._repository
        return (repository if make_table else repository.with_catalog_as_it_is()).sync_catalog()

    def rebuild(self) -> int:
        """Write the catalog table anew from the meta files; return how many rows it has.

        Raises :class:`~soulsense_db.errors.CatalogError` when the table is somebody else's,
        :class:`~soulsense_db.errors.DatabaseLockedError`.
        """
        backups = self._repository.finder.list()
        return self._repository.rows.rebuild(
            backups, lock_timeout=self._repository.driver.lock_timeout
        )

    def names(self) -> frozenset[str] | None:
        """Return the file names in the catalog; None without one, or when it cannot be read now."""
        return self._repository.rows.names()
