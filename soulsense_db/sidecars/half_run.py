"""Whether the live database is half migrated, and what ends that.

The marker is about the data. An entry of it ends when its backup is put back, when a person accepts
the database as it is, or when the version table of its chain is at the target; by nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo
from soulsense_db.drivers import Driver
from soulsense_db.errors import BackupError, PermissionDeniedError, StorageError
from soulsense_db.notices import cleaning_up
from soulsense_db.sidecars.migration_marker import (
    UNREADABLE,
    MigrationMarker,
    add_markers,
    from_text,
    marker_path,
    new_marker,
    read_markers,
    remove_markers,
    to_text,
    write_markers,
)

# Among the facts of a backup of a half-run database: the entries that stood when it was taken.
_FACT = "half_run"


def standing(driver: Driver) -> tuple[MigrationMarker, ...]:
    """Return the entries of the marker whose migrations have not ended.

    Raises :class:`~soulsense_db.errors.StorageError` for what is no marker but has its name.
    """
    if driver.location is None:
        return ()
    return tuple(
        marker for marker in read_markers(driver.location) if not has_ended(driver, marker)
    )


def has_ended(driver: Driver, marker: MigrationMarker) -> bool:
    """Whether the version table of its chain, as others see it, is at the target."""
    chain = marker.chain
    if chain is None or marker.backup is None or chain.schema not in {None, "main"}:
        return False
    if set(marker.alembic_heads) == set(marker.target_heads):  # then its heads tell nothing
        return False
    try:
        # Without the table nobody can tell: a step that dropped all tables dropped it as well.
        return driver.alembic_heads(chain.version_table) == marker.target_heads
    except BackupError:
        return False


def standing_for_a_copy(driver: Driver) -> tuple[MigrationMarker, ...]:
    """Like :func:`standing`, where a file that is no marker must not be in the way."""
    try:
        return standing(driver)
    except PermissionDeniedError:
        assert driver.location is not None
        return (UNREADABLE,) if fs.exists(marker_path(driver.location)) else ()
    except StorageError:
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


@contextmanager
def restoring(
    driver: Driver,
    source: BackupInfo,
    ignore: Callable[[], Collection[str]],
    *,
    is_unchanged: Callable[[], bool],
) -> Iterator[Callable[[], None]]:
    """Keep the marker true while ``source`` is restored in the block.

    The alarm of a backup of a half-run database is raised before it is there. Yields what to call
    once it is: it ends the entries whose previous database that was. ``ignore``: names of tables
    that are no part of the application's data; ``is_unchanged``: asked after an error, whether the
    database is for sure what it was. The caller holds the database's lock.
    """
    location = driver.location
    raised: tuple[MigrationMarker, ...] = ()
    if location is not None and source.half_run and not read_markers(location):
        raised = markers_in(source)
        add_markers(location, raised)

    def settle() -> None:
        if location is not None and not source.half_run:
            _end_what_was_put_back(driver, location, source, ignore)

    try:
        yield settle
    except BaseException:
        if raised and location is not None and is_unchanged():
            with cleaning_up("The migration marker could not be removed"):
                remove_markers(location, {marker.id for marker in raised})
        raise


def _end_what_was_put_back(
    driver: Driver, location: Path, source: BackupInfo, ignore: Callable[[], Collection[str]]
) -> None:
    markers = read_markers(location)
    left = [
        marker
        for marker in markers
        if not _is_its_backup(driver, marker, source, ignore) and not has_ended(driver, marker)
    ]
    if len(left) != len(markers):
        write_markers(location, left)


def _is_its_backup(
    driver: Driver,
    marker: MigrationMarker,
    source: BackupInfo,
    ignore: Callable[[], Collection[str]],
) -> bool:
    """Whether what was restored from ``source`` is the database from before the migration."""
    if marker.backup is None:  # what its error says to restore
        return source.kind == "pre_migration"
    if marker.backup_id and marker.backup_id == source.id:
        return True
    if marker.backup_sha256 and marker.backup_sha256 == source.sha256:
        return True
    if os.path.realpath(source.path) == os.path.realpath(marker.backup):
        return True
    try:
        there = fs.exists(Path(marker.backup))
        return there and driver.compare(Path(marker.backup), ignore=ignore()).identical
    except BackupError:
        return False
