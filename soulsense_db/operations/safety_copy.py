"""Copy the live database before something is done to it, as what an undo goes back to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo
from soulsense_db.drivers import Driver
from soulsense_db.errors import BackupError
from soulsense_db.notices import cleaning_up
from soulsense_db.operations.errors import replaced_not_copied
from soulsense_db.operations.new_backup import NewBackup, Write, blaming_live_database, take
from soulsense_db.sidecars import FAILED_MIGRATION, SAFETY_BACKUP, MigrationMarker, SafetyFiles

_DESCRIPTIONS = {
    SAFETY_BACKUP: "The database before a restore",
    FAILED_MIGRATION: "What a failed migration left",
}


def stage_safety_copy(
    driver: Driver,
    safety: SafetyFiles,
    description: str = "",
    *,
    markers: tuple[MigrationMarker, ...],
) -> tuple[BackupInfo, os.stat_result]:
    """Take the live database to a file that has not the safety backup's name yet.

    Returns also what tells that file from any other. ``description``: where it is not the usual
    one; ``markers``: of the migrations that had not ended in it.
    """
    created = new_staging_file(driver, safety)
    with removed_on_error(safety.staging), blaming_live_database(driver):
        staged = _fill(driver, safety, markers, lambda at, _: driver.snapshot(at), description)
    return staged, created


def new_staging_file(driver: Driver, safety: SafetyFiles) -> os.stat_result:
    """Make the file that a safety backup is written to: what has no room, or no right, has none."""
    path = safety.staging
    fs.make_private_directory(path.parent)
    fs.require_space(path.parent, driver.size())
    safety.clear_staging()
    return fs.create_private_file(path, owner_of=driver.location)


def finish_safety_copy(driver: Driver, base: Path, markers: tuple[MigrationMarker, ...]) -> None:
    """Make the safety backup that a restore has not made which was killed, or had no room.

    ``base``: what its files are named after. Raises :class:`~soulsense_db.errors.RestoreError`.
    """
    if name := driver.replaced_without_copy():
        safety = SafetyFiles(base, companions=driver.companions, name=name)
        try:
            place_copy_of_replaced(driver, safety, markers, new_staging_file(driver, safety))
            safety.forget_previous()
        except BackupError as error:
            raise replaced_not_copied(error, safety.path) from error


def place_copy_of_replaced(
    driver: Driver,
    safety: SafetyFiles,
    markers: tuple[MigrationMarker, ...],
    created: os.stat_result,
) -> None:
    """Make the safety backup of what a restore replaced, in the file that was ``created`` for it.

    Whenever that fails, the replaced data is still there, and so is the earlier safety backup. The
    file stays, and is empty: as long as it is there, the safety backup is not what it should be.
    """
    placed = False
    try:
        staged = _fill(driver, safety, markers, lambda at, _: driver.snapshot_replaced(at))
        safety.make_room()
        safety.place(staged, created, owner_of=driver.location)
        placed = True
        driver.keep_replaced(safety.path if safety.name == SAFETY_BACKUP else None)
    except BaseException:
        with cleaning_up(f"{safety.path} could not be given its name back"):
            safety.withdraw(placed=placed)
        with cleaning_up(f"{safety.staging} could not be emptied"), safety.staging.open("wb"):
            pass
        raise


def _fill(
    driver: Driver,
    safety: SafetyFiles,
    markers: tuple[MigrationMarker, ...],
    write: Write,
    description: str = "",
) -> BackupInfo:
    path = safety.staging
    description = description or _DESCRIPTIONS[safety.name]
    new = NewBackup(kind="pre_restore", markers=markers, description=description)
    with fs.flushing(path):  # the markers are given: no place is looked at
        staged = take(driver, None, new, write, path, final=safety.path)
    fs.sync_file(path)
    return replace(staged, path=str(path))


@contextmanager
def removed_on_error(path: Path) -> Iterator[None]:
    """Remove the file ``path`` when the block fails."""
    try:
        yield
    except BaseException:
        with cleaning_up(f"{path} could not be removed"):
            fs.remove(path)
        raise
