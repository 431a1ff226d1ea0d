"""Whether the live database is half migrated, and what ends that.

The marker is about the data. An entry of it ends when its backup is put back, when a person accepts
the database as it is, or when the version table of its chain is at the target; by nothing else. One
that only the server has also ends when another backup that is whole is restored.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo
from soulsense_db.drivers import Driver
from soulsense_db.errors import BackupError, PermissionDeniedError, StorageError
from soulsense_db.notices import cleaning_up, log_ignored
from soulsense_db.sidecars.markers import Markers, heads_of
from soulsense_db.sidecars.migration_marker import (
    UNREADABLE,
    MigrationMarker,
    from_text,
    marker_path,
    new_marker,
    read_markers,
    to_text,
)

# Among the facts of a backup of a half-run database: the entries that stood when it was taken.
_FACT = "half_run"


def standing(driver: Driver, place: Path | None) -> tuple[MigrationMarker, ...]:
    """Return the entries of the marker at ``place`` whose migrations have not ended.

    ``place`` is None for a database in memory. Raises :class:`~soulsense_db.errors.StorageError`
    for what is no marker but has its name.
    """
    found = Markers(driver, place).read()
    return tuple(marker for marker in found if not has_ended(driver, marker))


def has_ended(driver: Driver, marker: MigrationMarker) -> bool:
    """Whether the version table of its chain, as others see it, is at the target."""
    chain = marker.chain
    if chain is None or marker.backup is None:
        return False
    if chain.schema not in {None, "main"} and not driver.has_schemas:
        return False
    if set(marker.alembic_heads) == set(marker.target_heads):  # then its heads tell nothing
        return False
    try:
        # Without the table nobody can tell: a step that dropped all tables dropped it as well.
        return heads_of(driver, chain) == marker.target_heads
    except BackupError as error:
        log_ignored("Whether a migration has ended cannot be told", error)
        return False


def standing_for_a_copy(driver: Driver, place: Path | None) -> tuple[MigrationMarker, ...]:
    """Like :func:`standing`, where a file that is no marker must not be in the way."""
    try:
        return standing(driver, place)
    except PermissionDeniedError:
        assert place is not None
        return (UNREADABLE,) if fs.exists(marker_path(place)) else ()
    except StorageError as error:
        log_ignored("The migration marker cannot be read", error)
        return ()


def facts_of(markers: Collection[MigrationMarker]) -> dict[str, str]:
    """Return what a copy of a half-run database has to tell besides its other facts."""
    return {_FACT: to_text(markers)} if markers else {}


def markers_in(info: BackupInfo) -> tuple[MigrationMarker, ...]:
    """Return the entries that stood when ``info`` was taken; some if it is of a half-run one."""
    if not info.half_run:
        return ()
    found = from_text(info.driver_facts.get(_FACT, ""))
    return found or (new_marker(backup=None, alembic_heads=(), target_heads=()),)


def markers_needing(place: Path | None, infos: Iterable[BackupInfo]) -> dict[str, MigrationMarker]:
    """Return which backups may put back a migration that has not ended, with its marker, by name.

    Who knows which one does, with a damaged marker. The file alone is asked: an entry that is only
    on a server is about a backup of another directory.
    """
    markers = read_markers(place) if place else ()
    needing = {}
    for info in infos:
        marker = next((marker for marker in markers if _may_need(marker, info)), None)
        if marker is not None:
            needing[info.filename] = marker
    return needing


def _may_need(marker: MigrationMarker, info: BackupInfo) -> bool:
    if marker.backup is None:
        return info.kind == "pre_migration"
    return info.filename == Path(marker.backup).name


def raise_alarm_of(markers: Markers, source: BackupInfo) -> tuple[MigrationMarker, ...]:
    """Raise the alarm of a backup of a half-run database, before it is restored.

    Returns the entries that were added, for :func:`withdraw_alarm`. The caller holds the
    database's lock.
    """
    if not source.half_run or markers.read():
        return ()
    added = markers_in(source)
    markers.add(added)
    return added


def withdraw_alarm(markers: Markers, added: Collection[MigrationMarker]) -> None:
    """Take back what :func:`raise_alarm_of` added: the database is what it was."""
    if added:
        with cleaning_up("The migration marker could not be removed"):
            markers.remove({marker.id for marker in added})


def end_what_was_put_back(
    driver: Driver,
    markers: Markers,
    before: Collection[MigrationMarker],
    source: BackupInfo,
    *,
    own_tables: Callable[[], Collection[str]],
) -> None:
    """End the entries whose previous database was restored with ``source``.

    ``before``: the entries that stood when it was; ``own_tables``: names of tables that are no part
    of the application's data, asked for where contents must be compared. The caller holds the
    database's lock.
    """
    if not before:
        return
    left = list(before)
    if not source.half_run:
        # What only the server noted was migrated elsewhere; its data is replaced by what is whole.
        here = markers.of_file()
        left = [one for one in left if one.id in here and not is_its_backup(one, source)]
        left = [one for one in left if not has_ended(driver, one)]
        ignore = own_tables() if left else ()
        left = [one for one in left if not _is_as_before(driver, one, ignore)]
    markers.keep(left)


def is_its_backup(marker: MigrationMarker, source: BackupInfo) -> bool:
    """Whether ``source`` is the backup from before the migration."""
    if marker.backup is None:  # what its error says to restore
        return source.kind == "pre_migration"
    if marker.backup_id and marker.backup_id == source.id:
        return True
    if marker.backup_sha256 and marker.backup_sha256 == source.sha256:
        return True
    return os.path.realpath(source.path) == os.path.realpath(marker.backup)


def _is_as_before(driver: Driver, marker: MigrationMarker, ignore: Collection[str]) -> bool:
    """Whether the database has the content of the backup from before the migration."""
    if marker.backup is None:
        return False
    try:
        backup = Path(marker.backup)
        return fs.exists(backup) and driver.compare(backup, ignore=ignore).identical
    except BackupError as error:
        log_ignored("Whether the database is what it was before a migration cannot be told", error)
        return False
