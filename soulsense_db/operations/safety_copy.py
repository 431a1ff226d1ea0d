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
from soulsense_db.notices import cleaning_up
from soulsense_db.operations.new_backup import NewBackup, blaming_live_database, take
from soulsense_db.sidecars import MigrationMarker, SafetyFiles


def stage_safety_copy(
    driver: Driver,
    safety: SafetyFiles,
    description: str,
    *,
    markers: tuple[MigrationMarker, ...],
) -> tuple[BackupInfo, os.stat_result]:
    """Take the live database to a file that has not the safety backup's name yet.

    Returns also what tells that file from any other. ``markers``: of the migrations that had not
    ended in it.
    """
    path = safety.staging
    fs.make_private_directory(path.parent)
    fs.require_space(path.parent, driver.size())
    safety.clear_staging()
    created = fs.create_private_file(path, owner_of=driver.location)
    new = NewBackup(kind="pre_restore", markers=markers, description=description)
    with removed_on_error(path):
        with blaming_live_database(driver), fs.flushing(path):
            staged = take(  # the markers are given: no place is looked at
                driver,
                None,
                new,
                lambda target, _: driver.snapshot(target),
                path,
                final=safety.path,
            )
        fs.sync_file(path)
    return replace(staged, path=str(path)), created


@contextmanager
def removed_on_error(path: Path) -> Iterator[None]:
    """Remove the file ``path`` when the block fails."""
    try:
        yield
    except BaseException:
        with cleaning_up(f"{path} could not be removed"):
            fs.remove(path)
        raise
