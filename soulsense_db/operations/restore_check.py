"""Whether a restore would be done here and now: all that it does before its first write."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from soulsense_db import fs
from soulsense_db.backup_info import META_SUFFIX, BackupInfo
from soulsense_db.drivers import DatabaseDiff, Driver, Progress
from soulsense_db.errors import (
    BackupError,
    DatabaseDamagedError,
    DatabaseFileNotFoundError,
    DatabaseLockedError,
)
from soulsense_db.fs import (
    beside,
    name_max,
    require_trusted_directory,
)
from soulsense_db.meta_file import require_no_backup
from soulsense_db.notices import ignoring, log_ignored, renamed
from soulsense_db.operations.compare import compare_data
from soulsense_db.operations.diff import without_numbers
from soulsense_db.operations.repository import Repository
from soulsense_db.operations.restore_errors import denied, in_the_way_of_restore, place_too_long
from soulsense_db.operations.restore_source import room_of_restore
from soulsense_db.operations.servers import made_elsewhere
from soulsense_db.operations.stored_form import opened
from soulsense_db.operations.upgraded_copy import upgraded_copy
from soulsense_db.operations.upgrading import Upgrade, UpgradeReport
from soulsense_db.operations.verify import failed_drill, verify_backup
from soulsense_db.sidecars import SAFETY_NAMES, SafetyFiles, lock_path


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreCheck:
    """What stands in the way of a restore.

    Attributes:
        backup: The backup that was looked at; None where only the database and its place were.
        problems: The errors that a restore would raise, or the Alembic hook when it puts back.
        warnings: Those of the verification.
        upgrade: What migrations did to a copy of its data; None without any, or with problems.
        comparison: What the migrated data would change in the live database; None without
            migrations, or where they cannot be compared, such as where no database exists.

    Example:
        >>> check = manager.can_restore("latest")
        >>> check.ok, check.problems
        (True, ())
    """

    backup: BackupInfo | None
    problems: tuple[BackupError, ...]
    warnings: tuple[str, ...] = ()
    upgrade: UpgradeReport | None = None
    comparison: DatabaseDiff | None = None

    @property
    def remarks(self) -> tuple[str, ...]:
        """The old name of ``warnings``."""
        renamed("RestoreCheck.remarks", "warnings")
        return self.warnings

    @property
    def ok(self) -> bool:
        """Whether nothing stands in the way."""
        return not self.problems


def check_restore(
    repository: Repository,
    info: BackupInfo | None,
    *,
    upgrade: Upgrade | None = None,
    progress: Progress | None,
) -> RestoreCheck:
    """Do all that a restore of ``info`` does before its first write; None: but for the backup."""
    checker = _RestoreChecker(repository)
    if info is None:
        return checker.check_place()
    return checker.check(info, upgrade=upgrade, progress=progress)


class _RestoreChecker:
    """Looks at the live database of ``repository``, and at what a restore puts beside it."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._driver = repository.driver

    def check_place(self) -> RestoreCheck:
        """Look at the database and at the directory that it is in, before there is a backup."""
        asked = (self._driver.require_restorable, self._driver.require_rights)
        problems = (*(one for look in asked for one in _problem(look)), *self._place(None))
        return RestoreCheck(backup=None, problems=problems)

    def check(
        self, info: BackupInfo, *, upgrade: Upgrade | None, progress: Progress | None
    ) -> RestoreCheck:
        """Look at the backup ``info`` as well: read all of it, and bring it into shape."""
        problems: list[BackupError] = []
        warnings: tuple[str, ...] = ()
        try:
            report = verify_backup(self._repository, info, level="full", progress=progress)
            warnings = report.warnings + failed_drill(info)
        except BackupError as error:
            problems.append(error)
        try:
            unusual = self._driver.way_of_restore()
            warnings += ((unusual,) if unusual else ()) + made_elsewhere(self._driver, info)
        except BackupError as error:
            problems += _obstacles(error)
        problems += _problem(
            lambda: require_trusted_directory(
                self._repository.directory.directory, live=self._driver.location
            )
        )
        problems += self._place(info)
        check = RestoreCheck(backup=info, problems=tuple(problems), warnings=warnings)
        if problems:
            return check
        try:
            if upgrade is not None:
                return self._rehearse_upgraded(check, info, upgrade, progress)
            self._rehearse(info)
        except BackupError as error:
            return replace(check, problems=_obstacles(error))
        return check

    def _rehearse(self, info: BackupInfo) -> None:
        with opened(self._repository, info) as source:
            self._driver.rehearse(source.path)

    def _rehearse_upgraded(
        self, check: RestoreCheck, info: BackupInfo, upgrade: Upgrade, progress: Progress | None
    ) -> RestoreCheck:
        with upgraded_copy(
            self._repository, info, upgrade, is_trial=True, progress=progress
        ) as made:
            found = None
            # Whether a restore is possible, the rehearsal of it finds out by itself.
            with ignoring(BackupError, what="The migrated data could not be compared"):
                asked = None if progress is None else without_numbers(progress)
                found = compare_data(self._repository, info, made.source.path, progress=asked)
            warnings = check.warnings + made.report.warnings
            check = replace(check, upgrade=made.report, comparison=found, warnings=warnings)
            try:
                self._driver.rehearse(made.source.path)
            except BackupError as error:
                return replace(check, problems=_obstacles(error))
            return check

    def _place(self, info: BackupInfo | None) -> Iterator[BackupError]:
        """Yield what is wrong with the place of the live database."""
        place = self._repository.sidecar_base
        lock = lock_path(place)
        yield from _problem(lambda: require_no_backup(self._driver.location))
        yield from _names(self._driver, place, lock)
        yield from _rights(place, lock)
        yield from _problem(lambda: _require_nothing_in_the_way(self._driver, place))
        yield from _problem(lambda: self._require_room(place.parent, info))

    def _require_room(self, directory: Path, info: BackupInfo | None) -> None:
        """Ask for room for the safety backup, for the journal or log, and for what is larger."""
        live = self._driver.size_now()
        backup = info.restored_size_bytes if info is not None else live
        fs.require_space(directory, room_of_restore(live, backup))


def _problem(look: Callable[[], object]) -> list[BackupError]:
    try:
        look()
    except BackupError as error:
        return list(_obstacles(error))
    return []


def _obstacles(error: BackupError) -> tuple[BackupError, ...]:
    """Return the error, unless a restore would go on in spite of it."""
    if isinstance(error, DatabaseFileNotFoundError | DatabaseDamagedError):
        log_ignored("Such a database is replaced by a restore", error)
        return ()
    if isinstance(error, DatabaseLockedError):
        log_ignored("A lock passes", error)
        return ()
    return (error,)


def _names(driver: Driver, place: Path, lock: Path) -> Iterator[BackupError]:
    for path in (*_opened_by(driver, place), lock):
        size, most = len(os.fsencode(path.name)), name_max(path.parent)
        if size + len(META_SUFFIX) > most or not driver.can_open(path):
            yield place_too_long(place)
            return


def _rights(place: Path, lock: Path) -> Iterator[BackupError]:
    directory = fs.nearest_existing(place.parent)
    if not os.access(directory, os.W_OK | os.X_OK):
        yield denied(directory, "a restore creates files in it")
    # By name and not by opening it: SQLite may have the file open in this process.
    if fs.exists(place) and not os.access(place, os.R_OK | os.W_OK):
        yield denied(place, "a restore writes to it")
    if fs.exists(lock) and not os.access(lock, os.R_OK | os.W_OK):
        yield denied(lock, "a restore locks it")


def _require_nothing_in_the_way(driver: Driver, place: Path) -> None:
    """Raise for what a restore can neither pass by, as another file for its lock, nor set aside."""
    for path in _in_the_way(driver, place):
        if path.is_symlink() or path.is_dir():
            raise in_the_way_of_restore(path)


def _in_the_way(driver: Driver, place: Path) -> Iterator[Path]:
    """Yield where nothing but a file of ours may be; all else a restore passes by or sets aside."""
    safety = SafetyFiles(place, companions=driver.companions)
    yield Path(f"{safety.previous}{META_SUFFIX}")
    yield from (Path(f"{safety.staging}{log}") for log in driver.companions.logs)


def _opened_by(driver: Driver, place: Path) -> tuple[Path, ...]:
    safety, failed = (
        SafetyFiles(place, companions=driver.companions, name=name) for name in SAFETY_NAMES
    )
    working = (beside(place, ending, hidden=True) for ending in driver.working_copies)
    return (safety.staging, safety.path, safety.previous, failed.staging, failed.path, *working)
