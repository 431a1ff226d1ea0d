"""A backup's data, migrated on a private copy and checked: what is put in place, or thrown away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo
from soulsense_db.errors import InvalidBackupError
from soulsense_db.meta_file import not_found_if_deleted
from soulsense_db.operations.live_database import LiveDatabase
from soulsense_db.operations.repository import Repository
from soulsense_db.operations.restore_source import room_of_restore
from soulsense_db.operations.scratch import ScratchCopy, scratch_copy
from soulsense_db.operations.stored_form import OpenedBackup
from soulsense_db.operations.stored_form_errors import of_the_backup
from soulsense_db.operations.upgrade_errors import (
    damaged_by_upgrade,
    not_upgraded,
    taken_half_way,
    writes_elsewhere,
)
from soulsense_db.operations.upgrading import Upgrade, UpgradeReport, fewer_rows
from soulsense_db.operations.verify import VerificationReport, verify_opened
from soulsense_db.progress import Progress


@dataclass(frozen=True, slots=True)
class UpgradedCopy:
    """The migrated data of a backup, in a file that is gone at the end of its block."""

    source: OpenedBackup
    verified: VerificationReport
    report: UpgradeReport


@contextmanager
def upgraded_copy(
    repository: Repository,
    info: BackupInfo,
    upgrade: Upgrade,
    *,
    is_trial: bool,
    progress: Progress | None,
) -> Iterator[UpgradedCopy]:
    """Yield the data of ``info`` as ``upgrade`` makes it.

    Raises as :func:`~soulsense_db.operations.verify.verify_backup`, and
    :class:`~soulsense_db.errors.RehearsalFailedError` where the data does not migrate.
    """
    if info.half_run:
        raise taken_half_way(info)
    driver, size = repository.driver, info.restored_size_bytes
    with not_found_if_deleted(Path(info.path), info):
        version = fs.version_of(Path(info.path))
    # Beside the copy: what it grows by, and its journal.
    spares = room_of_restore(driver.size_now(), size) + 2 * size
    with scratch_copy(repository, info, spares=spares, progress=progress) as copy:
        with _said_of(info, copy):
            before = OpenedBackup(info, copy.path, is_private=True)
            verify_opened(driver, before, level="quick", version=version)
            poll = _polling(info, progress)
            counts = driver.count_rows(copy.path, poll=poll)
            report = upgrade(copy, LiveDatabase(driver), is_trial=is_trial, poll=poll)
        if report.problem:
            raise not_upgraded(info, report)
        if report.others:
            raise writes_elsewhere(info, report.others)
        source = replace(before, is_changed=True)
        checked = fs.version_of(copy.path)
        try:
            verified = verify_opened(driver, source, level="full", version=version)
            now = driver.count_rows(copy.path, poll=poll)
        except InvalidBackupError as error:
            raise damaged_by_upgrade(info, report, error.reason or error.cause) from error
        if fs.version_of(copy.path) != checked:  # a process that the migrations left behind
            raise damaged_by_upgrade(info, report, "something still writes to the copy")
        report = replace(report, fewer_rows=fewer_rows(counts, now))
        yield UpgradedCopy(source, verified, report)


@contextmanager
def _said_of(info: BackupInfo, copy: ScratchCopy) -> Iterator[None]:
    """Say of the backup what is found of its copy while that is still the same."""
    try:
        yield
    except InvalidBackupError as error:
        raise of_the_backup(error, copy.path, Path(info.path)) from error


def _polling(info: BackupInfo, progress: Progress | None) -> Callable[[], object] | None:
    if progress is None:
        return None
    size = info.restored_size_bytes
    return lambda: progress(size, size)
