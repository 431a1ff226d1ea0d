"""The entries of a migration marker, wherever they are: in its file, and on a server there as well.

The file is beside the database, or with its backups: another machine, or a container without that
directory, does not see it. What the server keeps is seen by all who reach the database.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from msgspec.structs import replace

from soulsense_db import fs
from soulsense_db.drivers import Driver
from soulsense_db.errors import BackupError
from soulsense_db.notices import cleaning_up, log_ignored
from soulsense_db.sidecars.migration_marker import (
    UNREADABLE,
    Chain,
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
        """Return all entries, in the order in which they were begun; not those settled elsewhere.

        Raises :class:`~soulsense_db.errors.StorageError` for what is no marker but has its name.
        """
        here, there = self._here(), self._on_server()
        ids = {marker.id for marker in here}
        return (*here, *(marker for marker in there or () if marker.id not in ids))

    def of_file(self) -> frozenset[str]:
        """Return the ids of those that the file has; errors as of :meth:`read`."""
        found = () if self._place is None else read_markers(self._place)
        return frozenset(marker.id for marker in found)

    def are_there(self) -> bool:
        """Whether there are entries, or something has the name of the file with them."""
        if self._place is None:
            return False
        return fs.exists(marker_path(self._place)) or bool(self._on_server())

    def add(self, added: Iterable[MigrationMarker]) -> None:
        """Add entries. They are on disk at return; on the server, where the user may do that."""
        added = tuple(added)
        if self._place is None or not added:
            return
        here = self._here()
        write_markers(self._place, (*here, *added))
        try:
            self._note((*(self._on_server() or ()), *added))
        except BackupError as error:  # the file tells those who have this directory
            log_ignored("The server does not note that a migration runs", error)
        noted = {marker.id for marker in self._on_server() or ()}
        now = tuple(replace(one, noted=True) if one.id in noted else one for one in added)
        if now != added:
            write_markers(self._place, (*here, *now))

    def remove(self, ids: Collection[str]) -> None:
        """Remove the entries with these ids, if they are there; the others stay."""
        if ids:
            self._keep(lambda marker: marker.id not in ids)

    def keep(self, left: Collection[MigrationMarker]) -> None:
        """Remove all entries but those of ``left``, and note these on the server once more.

        With the data, a restore may have replaced the note.
        """
        if self._place is None:
            return
        ids = {marker.id for marker in left}
        if ids != {marker.id for marker in self._on_server() or ()}:
            with cleaning_up("The server's note of a migration that died could not be updated"):
                self._note(left)
        found = read_markers(self._place)
        here = [marker for marker in found if marker.id in ids]
        if len(here) != len(found):
            write_markers(self._place, here)

    def clear(self) -> bool:
        """Remove all entries; False when there were none."""
        if self._place is None:
            return False
        is_noted = bool(self._on_server())
        if is_noted:
            self._driver.set_migration_note("")
        return clear_marker(self._place) or is_noted

    def _keep(self, stays: Callable[[MigrationMarker], bool]) -> None:
        if self._place is None:
            return
        there = self._on_server() or ()
        left = tuple(filter(stays, there))
        if left != there:
            with cleaning_up("The server still notes a migration that has ended"):
                self._note(left)
        left = tuple(filter(stays, self._here()))
        if left != read_markers(self._place):
            write_markers(self._place, left)

    def _here(self) -> tuple[MigrationMarker, ...]:
        """Return those of the file that were not settled from another directory."""
        if self._place is None:
            return ()
        found = read_markers(self._place)
        if not any(marker.noted for marker in found):
            return found
        there = self._on_server()
        if there is None or UNREADABLE in there:
            return found
        ids = {marker.id for marker in there}
        return tuple(
            one for one in found if not one.noted or one.id in ids or not self._has_heads(one)
        )

    def _has_heads(self, marker: MigrationMarker) -> bool:
        """Whether its version table is there: a step that drops all may have dropped the note."""
        try:
            return marker.chain is not None and heads_of(self._driver, marker.chain) is not None
        except BackupError as error:
            log_ignored("Whether a version table is there cannot be told", error)
            return False

    def _note(self, markers: Collection[MigrationMarker]) -> None:
        chains = [marker.chain for marker in markers if marker.chain is not None]
        tables = {(chain.schema, chain.version_table) for chain in chains}
        self._driver.set_migration_note(text_of(markers), tables=tables)

    def _on_server(self) -> tuple[MigrationMarker, ...] | None:
        """Return those of the server's note; None where it cannot be asked."""
        try:
            text = self._driver.migration_note()
        except BackupError as error:  # the file tells those who have this directory
            log_ignored("Whether the server notes a migration cannot be told", error)
            return None
        return in_text(text, f"The server's note about {self._driver.database}") if text else ()


def heads_of(driver: Driver, chain: Chain) -> tuple[str, ...] | None:
    """Return what the version table of ``chain`` says, as others see it, None without a table."""
    if chain.schema is not None and driver.has_schemas:
        return driver.alembic_heads(chain.version_table, chain.schema)
    return driver.alembic_heads(chain.version_table)
