"""Copy the live database before something is done to it, as what an undo goes back to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import msgspec

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo
from soulsense_db.completion import Completion
from soulsense_db.drivers import Driver
from soulsense_db.errors import BackupError
from soulsense_db.notices import cleaning_up, warn
from soulsense_db.operations.new_backup import NewBackup, Write, blaming_live_database, take
from soulsense_db.operations.repository import Repository
from soulsense_db.operations.restore_errors import replaced_not_copied, replaced_not_removed
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
    created = new_staging_file(safety, size=driver.size(), owner_of=driver.location)
    description = description or _DESCRIPTIONS[safety.name]
    new = NewBackup(kind="pre_restore", markers=markers, description=description)
    with removed_on_error(safety.staging), blaming_live_database(driver):
        staged = _fill(driver, safety, new, lambda at, _: driver.snapshot(at))
    return staged, created


def new_staging_file(
    safety: SafetyFiles, *, size: int, owner_of: Path | None = None
) -> os.stat_result:
    """Make the file that a safety backup is written to: what has no room, or no right, has none.

    ``size``: about the bytes that are written; ``owner_of``: the file whose owner it gets.
    """
    path = safety.staging
    fs.make_private_directory(path.parent)
    fs.require_space(path.parent, size)
    safety.clear_staging()
    return fs.create_private_file(path, owner_of=owner_of)


class Replaced(msgspec.Struct, frozen=True, kw_only=True):
    """What is noted, at an exchange, of the data that it replaces.

    ``base`` and ``name``: of its safety files, on the machine where it was; ``at``: when it was;
    ``markers``: of the migrations that had not ended in it.
    """

    base: str
    name: str
    at: datetime
    markers: tuple[MigrationMarker, ...]

    @classmethod
    def now(cls, base: Path, name: str, markers: tuple[MigrationMarker, ...]) -> Self:
        """Return it for data that is about to be replaced."""
        return cls(base=str(base), name=name, at=datetime.now(UTC), markers=markers)

    def __str__(self) -> str:
        return msgspec.json.encode(self).decode()


def finish_safety_copy(driver: Driver, base: Path) -> None:
    """Make the safety backup that a restore has not made which was killed, or had no room.

    That of a restore on another machine, or with another backup directory, is none that an undo
    here goes back to: it gets a dated name among those of ``base``. Raises
    :class:`~soulsense_db.errors.RestoreError`.
    """
    noted = driver.replaced_without_copy()
    if noted is None:
        return
    replaced = msgspec.json.decode(noted, type=Replaced)
    safety = SafetyFiles(Path(replaced.base), companions=driver.companions, name=replaced.name)
    # It has left the file that the copy was to be written to. The same path may be elsewhere, too:
    # where nothing is there that an undo goes back to, it goes back to this.
    is_from_here = fs.exists(safety.staging) or (
        Path(replaced.base) == base and not fs.exists(safety.path)
    )
    if not is_from_here:
        safety = SafetyFiles(base, companions=driver.companions, name=replaced.name)
    try:
        safety.recover()
        problem = place_copy_of_replaced(driver, safety, replaced, new_staging_file(safety, size=0))
        copy: Path | None = safety.path
        if is_from_here:
            safety.forget_previous()
        elif problem and driver.replaced_without_copy():
            safety.withdraw(placed=True)  # else there would be one more after each attempt
            copy = None
        else:
            copy = safety.give_dated_name(safety.path)
            warn(
                f"What a restore on another machine replaced, which had no copy yet, is in {copy}."
            )
            safety.withdraw(placed=False)
    except BackupError as error:
        raise replaced_not_copied(error, safety.path) from error
    finally:
        if not is_from_here:  # what an attempt leaves says that it is
            safety.remove_staging()
    if problem is not None:
        raise replaced_not_removed(problem, copy) from problem


def place_copy_of_replaced(
    driver: Driver, safety: SafetyFiles, replaced: Replaced, created: os.stat_result
) -> BackupError | None:
    """Make the safety backup of what a restore replaced, in the file that was ``created`` for it.

    Whenever that fails, the replaced data is still there, and so is the earlier safety backup.
    Returns why the driver could not be told of a copy that was made: then the replaced data may
    still be there, and is copied anew by the next one. In both cases an empty file is left: as long
    as it is there, the safety backup may not be what it should be.
    """
    placed = False
    try:
        new = NewBackup(
            kind="pre_restore",
            markers=replaced.markers,
            description=_DESCRIPTIONS[safety.name],
            created_at=replaced.at,
        )
        with driver.holding_replaced():
            staged = _fill(driver, safety, new, lambda at, _: driver.snapshot_replaced(at))
            safety.make_room()
            safety.place(staged, created, owner_of=driver.location)
            placed = True  # from here on it is not removed: it may be noted on the server already
            driver.keep_replaced(safety.path if safety.name == SAFETY_BACKUP else None)
    except BaseException as error:
        if not placed:
            with cleaning_up(f"{safety.path} could not be given its name back"):
                safety.withdraw(placed=False)
        with cleaning_up(f"{safety.staging} could not be emptied"):
            safety.clear_staging()
            fs.create_private_file(safety.staging, owner_of=driver.location)
        if placed and isinstance(error, BackupError):
            return error
        raise
    return None


def warn_if_plain(
    repository: Repository, path: Path, source: BackupInfo, completion: Completion
) -> None:
    """Say of the safety backup ``path``, which is never encrypted, that it is beside ones that are.

    ``source``: what was restored. Beside a database's file it is where the data is plain anyway.
    """
    is_on_server = repository.driver.location is None and bool(repository.driver.address)
    if is_on_server and (repository.forms.encrypts or source.form.is_encrypted):
        completion.warn_of(f"{path} is not encrypted, as backups are")


def _fill(driver: Driver, safety: SafetyFiles, new: NewBackup, write: Write) -> BackupInfo:
    path = safety.staging
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
