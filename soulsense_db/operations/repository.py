"""What a verb works on: one live database, its backup directory, its catalog."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from soulsense_db.catalog import TABLE_NAME, Catalog, CatalogRows, Owner
from soulsense_db.directory import BackupDirectory
from soulsense_db.drivers import Driver, driver_for
from soulsense_db.errors import BackupError
from soulsense_db.events import Event, Events, Operation, failing, tell
from soulsense_db.fs import require_no_link
from soulsense_db.notices import LastingWarning, log_ignored, reason_of, warn
from soulsense_db.operations.errors import work_directory_of_backups
from soulsense_db.operations.forms import Forms
from soulsense_db.operations.references import Finder
from soulsense_db.sidecars import Markers, remove_abandoned_work, work_file, work_folder

if TYPE_CHECKING:
    from soulsense_db.drivers import EngineSource


_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
_IN_MEMORY = "memory"


def _stand_in(driver: Driver) -> str:
    """Return the name that sidecars of a database without a file begin with.

    Two databases of a server, or of two, may have their backups in one directory.
    """
    if not driver.address:
        return _IN_MEMORY
    readable = _NOT_IN_NAMES.sub("_", driver.database.rpartition("/")[2])[:30]
    return f"{readable}_{hashlib.sha256(driver.database.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True)
class Repository:
    """The live database of ``driver`` and its backups in ``directory``.

    ``finder`` tells which of them are its own; ``rows`` are theirs in the catalog; ``events`` has
    the listeners to what is done; ``database`` is what they are told of: the file as it was found
    when the manager was made, for to ask the driver may fail. ``sidecars``: what stands in the
    directory for a database without a file; sidecars have names that begin with its name.
    ``forms``: how backups are stored.
    """

    driver: Driver
    directory: BackupDirectory
    finder: Finder
    rows: CatalogRows
    database: Path | None
    sidecars: Path
    forms: Forms = field(default_factory=Forms)
    attached_warning: LastingWarning = field(default_factory=LastingWarning)
    unproven_warning: LastingWarning = field(default_factory=LastingWarning)
    unbased_warning: LastingWarning = field(default_factory=LastingWarning)
    events: Events = field(default_factory=Events)

    @classmethod
    def of(
        cls,
        engine: EngineSource,
        directory: str | Path | None,
        *,
        prefix: str,
        catalog: bool | str,
        lock_timeout: float,
        forms: Forms,
    ) -> Self:
        """Return the repository of a manager with these options."""
        driver = driver_for(engine, lock_timeout=lock_timeout)
        location = driver.location
        if directory is None:
            directory = location.parent / "backups" if location else Path("data", "backups")
        backups = BackupDirectory(
            Path(directory),
            prefix=prefix,
            suffix=driver.suffix,
            companions=driver.companions,
            lock_timeout=lock_timeout,
            live=location,
        )
        work = forms.work_directory
        if work and Path(os.path.realpath(work)).is_relative_to(backups.directory):
            raise work_directory_of_backups(work)
        table = TABLE_NAME if catalog is True else catalog
        owner = Owner.of(backups.directory, prefix, database=location)
        rows = CatalogRows(driver, Catalog(table, owner) if table else None)
        sidecars = location or backups.directory / _stand_in(driver)
        return cls(driver, backups, Finder(driver, backups), rows, location, sidecars, forms)

    @property
    def sidecar_base(self) -> Path:
        """The live database, or what stands in the directory for one without a file."""
        location = self.driver.location
        if location is None:
            require_no_link(self.sidecars.parent)
        return location or self.sidecars

    @property
    def marker_place(self) -> Path | None:
        """Where the marker of its migrations is, as :attr:`sidecar_base`; None in memory."""
        return self.sidecar_base if self.driver.address else None

    @property
    def markers(self) -> Markers:
        """The entries of that marker."""
        return Markers(self.driver, self.marker_place)

    @property
    def known_as(self) -> Path | None:
        """What tells it from other databases with backups in the same directory; None in memory."""
        return self.database or (self.sidecars if self.driver.address else None)

    @property
    def name(self) -> Path | str:
        """What errors call the live database: its file, or its name on the server."""
        return self.driver.location or self.driver.database

    def work_file(
        self, size_bytes: int, *, spares: int = 0, is_secret: bool = False
    ) -> AbstractContextManager[Path]:
        """Make a private file for a copy of the data, which is gone at the end.

        ``spares``: what is needed beside it; ``is_secret``: it may be nowhere but beside the
        database, or in the work directory. Raises :class:`~soulsense_db.errors.StorageError`.
        """
        return work_file(
            self.database if self.driver.location is not None else None,
            size_bytes=size_bytes,
            companions=self.driver.companions,
            spares=spares,
            directory=self.forms.work_directory,
            is_secret=is_secret,
        )

    def remove_abandoned_work(self) -> None:
        """Remove what processes that were killed have left of :meth:`work_file` and the like."""
        remove_abandoned_work(
            self.database if self.driver.location is not None else None,
            companions=self.driver.companions,
            directory=self.forms.work_directory,
        )

    def work_folder(
        self, size_bytes: int, *, is_secret: bool = False
    ) -> AbstractContextManager[Path]:
        """Make a private folder for what is worked with, which is gone at the end.

        ``is_secret`` and errors as of :meth:`work_file`.
        """
        return work_folder(
            self.database if self.driver.location is not None else None,
            size_bytes=size_bytes,
            companions=self.driver.companions,
            directory=self.forms.work_directory,
            is_secret=is_secret,
        )

    def tell(self, event: Event) -> None:
        """Log ``event`` and call its listeners."""
        tell(self.events, event)

    def failing(self, operation: Operation) -> AbstractContextManager[None]:
        """Tell of an error that leaves the block, which is the ``operation``."""
        return failing(self.events, operation, database=self.database)

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
            log_ignored("The catalog could not be updated", error)
            return False
        except Exception as error:  # noqa: BLE001 - code of the application, when it connects
            warn(f"The catalog could not be updated ({reason_of(error)}).")
            return False
