"""Bring chosen rows of a backup back into the live database, and leave all else as it is."""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo
from soulsense_db.completion import Completion
from soulsense_db.drivers import FoundRows, Progress, RowSelection, RowsPlan
from soulsense_db.errors import BackupError, Outcome, StorageError
from soulsense_db.events import RowsRestored
from soulsense_db.fs import require_trusted_directory
from soulsense_db.meta_file import not_found_if_deleted, require_no_backup, trusted_meta
from soulsense_db.notices import cleaning_up
from soulsense_db.operations.alarm import MigrationAlarm
from soulsense_db.operations.database_lock import DatabaseLock
from soulsense_db.operations.diff import MOST_ROWS
from soulsense_db.operations.errors import no_such_limit
from soulsense_db.operations.references import Reference
from soulsense_db.operations.repository import Repository
from soulsense_db.operations.restore_errors import disk_failed
from soulsense_db.operations.restore_source import opened_to_restore
from soulsense_db.operations.safety_copy import (
    finish_safety_copy,
    stage_safety_copy,
    warn_if_plain,
)
from soulsense_db.operations.stored_form import OpenedBackup, opened
from soulsense_db.operations.verify import verify_opened
from soulsense_db.sidecars import SafetyFiles, standing_for_a_copy

_OF_BACKUPS = "it is the table of the backups, which follows the files in the backup directory"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsReport:
    """Rows of a backup that were brought back.

    Attributes:
        source: The backup that they are from.
        plan: What was done, table by table.
        safety_backup: The copy of the previous database; None where nothing was to be written.
        duration_seconds: How long it took.
        warnings: What failed once the rows were written, a sentence each.

    Example:
        >>> report = manager.restore_rows("latest", "entries", "id = 1")
        >>> report.inserted, report.replaced, report.safety_backup
        (0, 0, None)
    """

    source: BackupInfo
    plan: RowsPlan
    safety_backup: Path | None
    duration_seconds: float
    warnings: tuple[str, ...] = ()

    @property
    def inserted(self) -> int:
        """How many rows were inserted, in all tables."""
        return self.plan.inserted

    @property
    def replaced(self) -> int:
        """How many rows were overwritten, in all tables."""
        return self.plan.replaced


def preview_rows(
    repository: Repository,
    ref: Reference,
    selection: RowSelection,
    *,
    samples: int,
    progress: Progress | None,
) -> RowsPlan:
    """Do what ``BackupManager.preview_rows`` does."""
    info = repository.finder.get_own(ref)
    driver = repository.driver
    driver.require_database()
    selection = _protecting(repository, selection)
    with opened(repository, info) as source, not_found_if_deleted(source.path):
        driver.check(source.path, level="quick")  # SQLite takes an empty file for a database
        return driver.plan_rows(source.path, selection, samples=samples, progress=progress)


def find_rows(
    repository: Repository,
    ref: Reference,
    table: str,
    *,
    text: str,
    differing: bool,
    limit: int,
    progress: Progress | None,
) -> FoundRows:
    """Do what ``BackupManager.find_rows`` does."""
    if not 1 <= limit <= MOST_ROWS:
        raise no_such_limit(limit, MOST_ROWS)
    info = repository.finder.get_own(ref)
    driver = repository.driver
    driver.require_database()
    selection = _protecting(repository, RowSelection(table=table))
    with opened(repository, info) as source, not_found_if_deleted(source.path):
        driver.check(source.path, level="quick")  # as for a preview
        return driver.find_rows(
            source.path, selection, text=text, differing=differing, limit=limit, progress=progress
        )


def restore_rows(
    repository: Repository,
    ref: Reference,
    selection: RowSelection,
    *,
    expected: RowsPlan | None,
    progress: Progress | None,
    trust_directory: bool,
) -> RowsReport:
    """Do what ``BackupManager.restore_rows`` does."""
    driver, directory = repository.driver, repository.directory
    with repository.failing("restore_rows"):
        require_no_backup(driver.location)
        if not trust_directory:
            require_trusted_directory(directory.directory, live=driver.location)
        directory.warn_once()
        driver.require_database()
        # Before the lock is made: what is refused leaves nothing behind.
        info = trusted_meta(repository.finder.get_own(ref))
        with not_found_if_deleted(Path(info.path), info):
            version = fs.version_of(Path(info.path))
        with opened_to_restore(repository, info) as source:
            with not_found_if_deleted(Path(info.path), info):
                info = verify_opened(driver, source, level="full", version=version).backup
            with DatabaseLock(repository, timeout=driver.lock_timeout):
                report = _RowRestorer(repository, info).restore(
                    source, _protecting(repository, selection), expected, progress
                )
    if report.plan.writes:
        repository.tell(
            RowsRestored(
                database=repository.database,
                backup=report.source,
                table=report.plan.tables[0].table,
                inserted=report.inserted,
                replaced=report.replaced,
                safety_backup=report.safety_backup,
                warnings=report.warnings,
            )
        )
    return report


def _protecting(repository: Repository, selection: RowSelection) -> RowSelection:
    return replace(selection, protected=dict.fromkeys(repository.rows.tables(), _OF_BACKUPS))


class _RowRestorer:
    """Writes rows of the backup ``info``; the caller holds the database's lock.

    To the driver it is what keeps the database as it was: a safety backup, as a restore takes one.
    """

    def __init__(self, repository: Repository, info: BackupInfo) -> None:
        self._repository = repository
        self._driver = repository.driver
        self._info = info
        self._safety = SafetyFiles(repository.sidecar_base, companions=repository.driver.companions)
        self._markers = standing_for_a_copy(repository.driver, repository.marker_place)
        self._completion = Completion()
        self._staged: tuple[BackupInfo, os.stat_result] | None = None
        self._is_moving = self._is_placed = False
        self._done: RowsPlan | None = None

    def restore(
        self,
        source: OpenedBackup,
        selection: RowSelection,
        expected: RowsPlan | None,
        progress: Progress | None,
    ) -> RowsReport:
        """Write the rows, and return what was done."""
        started = time.monotonic()
        if alarm := MigrationAlarm(self._repository).error():
            raise alarm  # the way back from that migration would lose the rows again
        self._safety.recover()
        finish_safety_copy(self._driver, self._repository.sidecar_base)
        plan = self._load(source, selection, expected, progress)
        if self._is_placed:
            with self._completion.then(f"{self._safety.previous} could not be removed"):
                self._safety.forget_previous()
            warn_if_plain(self._repository, self._safety.path, self._info, self._completion)
        return RowsReport(
            source=self._info,
            plan=plan,
            safety_backup=self._safety.path if self._is_placed else None,
            duration_seconds=round(time.monotonic() - started, 3),
            warnings=self._completion.warnings,
        )

    def _load(
        self,
        source: OpenedBackup,
        selection: RowSelection,
        expected: RowsPlan | None,
        progress: Progress | None,
    ) -> RowsPlan:
        try:
            with not_found_if_deleted(source.path), self._driver.connected():
                return self._driver.load_rows(
                    source.path, selection, safety=self, expected=expected, progress=progress
                )
        except BaseException as error:
            self._clean_up(error)
            if self._done is None or not isinstance(error, Exception):
                raise
            self._completion.warn_of("Something failed when they were written", error)
            return self._done

    # What the driver tells

    def take(self) -> None:
        """Copy the live database, in the place of an earlier copy."""
        self._staged = stage_safety_copy(
            self._driver,
            self._safety,
            "The database before rows were brought back",
            markers=self._markers,
        )

    def place(self) -> None:
        """Give the copy its name: what is there may be needed from here on."""
        assert self._staged is not None
        self._is_moving = True
        self._safety.make_room()
        self._safety.place(*self._staged, owner_of=self._driver.location)
        self._is_placed = True

    def committed(self, plan: RowsPlan) -> None:
        """Note that it is done, whatever comes after it."""
        self._done = plan
        self._completion.reached(f"Rows of {self._info.filename} were brought back.")

    # What is left of one that failed

    def _clean_up(self, error: BaseException) -> None:
        if self._staged is not None:
            with cleaning_up(f"{self._safety.staging} could not be removed"):
                self._safety.remove_staging()
        if self._done is not None:
            error.add_note(f"Rows of {self._info.filename} were brought back.")
            return
        if self._is_placed and isinstance(error, BackupError) and error.outcome is Outcome.UNSURE:
            with self._tidying():
                self._safety.set_previous_aside()
            error.with_outcome(Outcome.UNSURE, backup=self._safety.path)
            return
        if self._is_placed and type(error) is StorageError:
            with self._tidying():
                self._safety.set_previous_aside()
            # In WAL mode the commit may be in the log, for those to find who come later.
            raise disk_failed(self._info, error, self._safety.path) from error
        if self._is_moving:
            with self._tidying():
                self._safety.withdraw(placed=self._is_placed)
        if isinstance(error, BackupError):
            error.with_outcome(Outcome.UNCHANGED)

    def _tidying(self) -> AbstractContextManager[None]:
        return cleaning_up(f"{self._safety.path} could not be given its name back")
