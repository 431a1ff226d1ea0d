"""Put a verified backup in the place of the live database, with a way back at every moment.

Beside a live database ``app.db`` stand::

    app.db.safety_backup            the database of before the last restore, with its .meta
    app.db.safety_backup.previous   the one of the restore before, while a restore runs
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from soulsense_db import files
from soulsense_db.backup_info import META_SUFFIX, BackupInfo, to_meta
from soulsense_db.drivers import Driver, Progress
from soulsense_db.errors import (
    BackupError,
    DatabaseDamagedError,
    DatabaseFileNotFoundError,
    DatabaseLockedError,
    InvalidBackupError,
    NothingToUndoError,
    RestoreError,
)
from soulsense_db.storage import read_backup
from soulsense_db.verification import check_new, verify_backup

_MARGIN = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """A restore that was done.

    ``source``: the backup restored; ``safety_backup``: the database of before, None where it could
    not be read; ``moved_aside``: the files of a missing or damaged database, kept under these
    names; ``catalog_rebuilt``: whether the ``backups`` table was brought in step.
    """

    source: BackupInfo
    safety_backup: Path | None
    moved_aside: tuple[Path, ...]
    duration_seconds: float
    catalog_rebuilt: bool = False


class Restorer:
    """Restores into the live database of ``driver``; the caller holds the database's lock.

    ``directory`` holds the safety backup of a database that has no file.
    """

    def __init__(self, driver: Driver, directory: Path) -> None:
        self._driver = driver
        location = driver.location
        beside = location or directory / ".memory"
        self.safety_path = beside.with_name(f"{beside.name}.safety_backup")
        self._previous = beside.with_name(f"{beside.name}.safety_backup.previous")

    def undo(self, *, progress: Progress | None) -> RestoreReport:
        """Restore the safety backup of the last restore."""
        self._recover()
        if not self.safety_path.exists():
            raise NothingToUndoError(
                f"There is no safety backup {self.safety_path}: nothing to undo. "
                "Nothing was changed.",
                hint="A restore of a missing or damaged database has none; restore a backup.",
            )
        return self.restore(read_backup(self.safety_path), progress=progress)

    def restore(self, info: BackupInfo, *, progress: Progress | None) -> RestoreReport:
        """Verify ``info`` in full, keep the live database, replace it, read it back."""
        started = time.monotonic()
        self._recover()
        verified = verify_backup(self._driver, info, level="full").backup
        moved: tuple[Path, ...] = ()
        safety: Path | None = self.safety_path
        try:
            staged = self._take_safety_backup()
        except (DatabaseFileNotFoundError, DatabaseDamagedError):
            moved = self._rebuild(verified)
            safety = None
        else:
            self._replace(verified, staged, progress)
        report = RestoreReport(
            source=verified,
            safety_backup=safety,
            moved_aside=moved,
            duration_seconds=round(time.monotonic() - started, 3),
        )
        if progress is not None:
            progress(info.size_bytes, info.size_bytes)
        return report

    def _take_safety_backup(self) -> BackupInfo:
        """Snapshot the live database to a file that has not the safety backup's name yet."""
        self._driver.require_database()
        files.make_private_directory(self.safety_path.parent)
        files.require_space(self.safety_path.parent, self._driver.size() + _MARGIN)
        path = self.safety_path.with_name(f".{self.safety_path.name}.partial")
        files.remove(path)
        files.create_private_file(path)
        started = time.monotonic()
        created_at = datetime.now(UTC)
        try:
            with files.flushing(path):
                snapshot = self._driver.snapshot(path)
                sha256 = check_new(self._driver, path)
            files.sync_file(path)
        except InvalidBackupError as error:  # a faithful copy of damaged data
            files.remove(path)
            raise DatabaseDamagedError(error.message, hint=error.hint) from error
        except BaseException:
            files.remove(path)
            raise
        return BackupInfo(
            id=secrets.token_hex(6),
            path=str(path),
            created_at=created_at,
            size_bytes=snapshot.size_bytes,
            kind="pre_restore",
            description="The database before a restore",
            sha256=sha256,
            dialect=self._driver.dialect,
            database=self._driver.database,
            alembic_heads=snapshot.alembic_heads,
            duration_seconds=round(time.monotonic() - started, 3),
            driver_facts=snapshot.facts,
        )

    def _replace(self, info: BackupInfo, staged: BackupInfo, progress: Progress | None) -> None:
        source = Path(info.path)
        if self.safety_path.exists():
            _move_pair(self.safety_path, self._previous)
            if source == self.safety_path:  # an undo: what it goes back to has just moved
                source = self._previous
        files.write_durably(Path(f"{self.safety_path}{META_SUFFIX}"), to_meta(staged))
        files.move_durably(Path(staged.path), self.safety_path)
        try:
            self._driver.load(source, progress=progress)
        except BaseException:  # the live database is what it was: so is the way back from it
            self._put_previous_back()
            raise
        self._read_back(source)
        _remove_pair(self._previous)

    def _read_back(self, source: Path) -> None:
        try:
            self._driver.read_back(source)
        except BackupError as error:
            self._driver.load(self.safety_path)
            self._put_previous_back()
            raise RestoreError(
                f"The restored database failed its check ({error.message}). The database of "
                "before was put back.",
                hint="Try another backup, and check the disk.",
            ) from error

    def _rebuild(self, info: BackupInfo) -> tuple[Path, ...]:
        stamp = f"{datetime.now():%Y%m%d_%H%M%S}"
        facts: Mapping[str, str] = info.driver_facts
        source = Path(info.path)
        moved = self._driver.rebuild(source, facts=facts, stamp=f"damaged_{stamp}")
        self._driver.read_back(source)
        # It belongs to an earlier restore: undoing this one must not go back to it.
        if self.safety_path.exists():
            _move_pair(
                self.safety_path, self.safety_path.with_name(f"{self.safety_path.name}.{stamp}")
            )
        return moved

    def _recover(self) -> None:
        """Tidy up after a restore that was killed."""
        if not self._previous.exists():
            return
        if self.safety_path.exists():
            # Nobody can tell any more whether it is still wanted: keep it under another name.
            stamp = f"{datetime.now():%Y%m%d_%H%M%S}"
            kept = self.safety_path.with_name(f"{self.safety_path.name}.{stamp}")
            _move_pair(self._previous, kept)
        else:
            self._put_previous_back()

    def _put_previous_back(self) -> None:
        if self._previous.exists():
            _move_pair(self._previous, self.safety_path)
        else:
            _remove_pair(self.safety_path)


def acquire_database_lock(driver: Driver, directory: Path, *, timeout: float) -> FileLock:
    """Return the lock of the live database, held: for one restore or migration at a time.

    It is beside the database, so that it counts whatever the backup directory is. Raises
    :class:`~soulsense_db.errors.DatabaseLockedError` after ``timeout`` seconds.
    """
    beside = driver.location or directory / "memory"
    files.make_private_directory(beside.parent)
    path = beside.with_name(f".{beside.name}.lock")
    # Not thread-local: a migration may end in another thread than it began in.
    lock = FileLock(path, mode=files.PRIVATE_FILE, thread_local=False)
    with files.storage_errors("lock", path):
        try:
            lock.acquire(timeout=timeout)
        except Timeout:
            raise DatabaseLockedError(
                f"Database locked: another restore or migration of {driver.database} is running. "
                "Nothing was changed.",
                hint="Wait until it is done and try again.",
            ) from None
    return lock


def _move_pair(source: Path, target: Path) -> None:
    files.move_durably(source, target)
    meta = Path(f"{source}{META_SUFFIX}")
    if meta.exists():
        files.move_durably(meta, Path(f"{target}{META_SUFFIX}"))


def _remove_pair(path: Path) -> None:
    files.remove(path)
    files.remove(Path(f"{path}{META_SUFFIX}"))
