"""What a verb works on: one live database, its backup directory, its catalog."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from soulsense_db.catalog import CatalogRows
from soulsense_db.directory import BackupDirectory
from soulsense_db.drivers import Driver
from soulsense_db.errors import BackupError
from soulsense_db.fs import require_no_link
from soulsense_db.notices import LastingWarning, log_ignored, reason_of, warn
from soulsense_db.operations.references import Finder


@dataclass(frozen=True, slots=True)
class Repository:
    """The live database of ``driver`` and its backups in ``directory``.

    ``finder`` tells which of them are its own; ``rows`` are theirs in the catalog.
    """

    driver: Driver
    directory: BackupDirectory
    finder: Finder
    rows: CatalogRows
    attached_warning: LastingWarning = field(default_factory=LastingWarning)

    @property
    def sidecar_base(self) -> Path:
        """The live database, or what stands in the directory for one without a file."""
        location = self.driver.location
        if location is None:
            require_no_link(self.directory.directory)
        return location or self.directory.directory / "memory"

    def without_catalog(self) -> Self:
        """Return the same, of which no verb writes a row, or anything else to the database."""
        return replace(self, rows=CatalogRows(self.driver, None))

    def with_catalog_as_it_is(self) -> Self:
        """Return the same, of which no verb makes an absent catalog table."""
        return replace(self, rows=self.rows.without_making_table())

    def sync_catalog(self) -> bool:
        """Bring the catalog in step if that is possible just now, and return whether it was."""
        try:
            return self.rows.sync(self.finder.list())
        except BackupError as error:  # what called for it is done: it must not look like a failure
            log_ignored("The catalog could not be brought in step", error)
            return False
        except Exception as error:  # noqa: BLE001 - code of the application, when it connects
            warn(f"The catalog could not be brought in step ({reason_of(error)}).")
            return False
