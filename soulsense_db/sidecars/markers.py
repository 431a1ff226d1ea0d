"""The entries of a migration marker, wherever they are: in its file, and on a server there as well.

The file is beside the database, or with its backups: another machine, or a container without that
directory, does not see it. What the server keeps is seen by all who reach the database.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from soulsense_db import fs
from soulsense_db.drivers import Driver
from soulsense_db.errors import BackupError
from soulsense_db.notices import cleaning_up, log_ignored
from soulsense_db.sidecars.migration_marker import (
    MigrationMarker,
    clear_marker,
    in_text,
    marker_path,
    read_markers,
    text_of,
    write_markers,
)


class Markers:
    """The entries for the live database of ``driver``, whose file is named after ``place``.

    Without a ``place``, as for a database in memory, there are none. Who writes holds the
    database's lock.
    """

    def __init__(self, driver: Driver, place: Path | None) -> None:
        self._driver = driver
        self._place = place

    def read(self) -> tuple[MigrationMarker, ...]:
        """Return all entries, in the order in which they were begun.

        Raises :class:`~soulsense_db.errors.StorageError` for what is no marker but has its name.
        """
        if self._place is None:
            return ()
        here = self.here()
        return (*here, *(marker for marker in self._on_server() if marker not in here))

    def here(self) -> tuple[MigrationMarker, ...]:
        """Return those that the file has; errors as of :meth:`read`."""
        return () if self._place is None else read_markers(self._place)

    def are_there(self) -> bool:
        """Whether there are entries, or something has the name of the file with them.

        Raises what keeps the server from telling.
        """
        if self._place is None:
            return False
        return fs.exists(marker_path(self._place)) or bool(self._driver.migration_note())

    def add(self, added: Iterable[MigrationMarker]) -> None:
        """Add entries. They are on disk at return; on the server, where the user may do that."""
        added = tuple(added)
        if self._place is None or not added:
            return
        write_markers(self._place, (*read_markers(self._place), *added))
        try:
            self._note((*self._on_server(), *added))
        except BackupError as error:  # the file tells those who have this directory
            log_ignored("The server does not note that a migration runs", error)

    def remove(self, ids: Collection[str]) -> None:
        """Remove the entries with these ids, if they are there; the others stay."""
        if ids:
            self._keep(lambda marker: marker.id not in ids)

    def keep(self, left: Collection[MigrationMarker]) -> None:
        """Remove all entries but those of ``left``."""
        self._keep(lambda marker: marker in left)

    def clear(self) -> bool:
        """Remove all entries; False when there were none."""
        if self._place is None:
            return False
        is_noted = bool(self._driver.migration_note())
        if is_noted:
            self._driver.set_migration_note("")
        return clear_marker(self._place) or is_noted

    def _keep(self, stays: Callable[[MigrationMarker], bool]) -> None:
        if self._place is None:
            return
        on_server = self._on_server()
        left = tuple(filter(stays, on_server))
        if left != on_server:
            with cleaning_up("The server still notes a migration that has ended"):
                self._note(left)
        here = read_markers(self._place)
        left = tuple(filter(stays, here))
        if left != here:
            write_markers(self._place, left)

    def _note(self, markers: Collection[MigrationMarker]) -> None:
        chains = [marker.chain for marker in markers if marker.chain is not None]
        tables = {(chain.schema, chain.version_table) for chain in chains}
        self._driver.set_migration_note(text_of(markers), tables=tables)

    def _on_server(self) -> tuple[MigrationMarker, ...]:
        try:
            text = self._driver.migration_note()
        except BackupError as error:  # the file tells those who have this directory
            log_ignored("Whether the server notes a migration cannot be told", error)
            return ()
        return in_text(text, f"The server's note about {self._driver.database}") if text else ()
