"""Put a verified backup in the place of the live database, with a way back at every moment.

Beside a live database ``app.db`` stand::

    app.db.safety_backup            the database of before the last restore, with its .meta
    app.db.safety_backup.previous   the one of the restore before, while a restore runs
    app.db.failed_migration         what the last failed migration left, with its .meta
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from soulsense_db import files
from soulsense_db.backup_info import META_SUFFIX, BackupInfo, to_meta
from soulsense_db.drivers import Driver, Hold, OvertakenError, Progress
from soulsense_db.errors import (
    BackupError,
    DatabaseDamagedError,
    DatabaseFileNotFoundError,
    DatabaseLockedError,
    NothingToUndoError,
    RestoreError,
)
from soulsense_db.marker import clear_marker
from soulsense_db.meta_file import read_backup
from soulsense_db.taking import of_live, take
from soulsense_db.verification import verify_backup


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """A restore that was done.

    ``source``: the backup restored; ``safety_backup``: the database of before, None where it could
    not be read; ``moved_aside``: the files of a missing or damaged database, and the safety backup
    of an earlier restore, kept under these names; ``read_back``: whether the result was checked
    through a new connection, False when that could not be done, as for a lock of somebody else or
    an error of the application's functions; ``catalog_rebuilt``: whether the ``backups`` table was
    brought in step.
    """

    source: BackupInfo
    safety_backup: Path | None
    moved_aside: tuple[Path, ...]
    read_back: bool
    duration_seconds: float
    catalog_rebuilt: bool = False


class ExclusiveAccess:
    """The live database's own lock, held from construction to :meth:`release`, and what needs it.

    Restores and migrations of one database exclude each other with it, whatever their backup
    directory is. ``find`` returns the backup that a reference names; ``sync_catalog`` brings the
    catalog in step and returns whether it could. Raises
    :class:`~soulsense_db.errors.DatabaseLockedError` after ``timeout`` seconds.
    """

    def __init__(
        self,
        driver: Driver,
        directory: Path,
        *,
        timeout: float,
        find: Callable[[BackupInfo | str | Path], BackupInfo],
        sync_catalog: Callable[[], bool],
    ) -> None:
        self._driver = driver
        self._find = find
        self._sync_catalog = sync_catalog
        self._directory = directory
        self._lock = _acquire_lock(driver, directory, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def release(self) -> None:
        """Let others in; a second call does nothing."""
        self._lock.release()

    def restore(
        self, ref: BackupInfo | str | Path, *, progress: Progress | None = None
    ) -> RestoreReport:
        """Do what ``BackupManager.restore`` does."""
        restorer = Restorer(self._driver, self._directory)
        return self._finish(restorer.restore(self._find(ref), progress=progress), progress)

    def put_back(self, ref: BackupInfo | str | Path) -> RestoreReport:
        """Restore after a failed migration: what :meth:`undo` goes back to stays as it is."""
        restorer = Restorer(self._driver, self._directory, after_failure=True)
        return self._finish(restorer.restore(self._find(ref), progress=None), None)

    def undo(self, *, progress: Progress | None = None) -> RestoreReport:
        """Do what ``BackupManager.undo_restore`` does."""
        restorer = Restorer(self._driver, self._directory)
        return self._finish(restorer.undo(progress=progress), progress)

    def _finish(self, report: RestoreReport, progress: Progress | None) -> RestoreReport:
        if self._driver.location is not None:
            clear_marker(self._driver.location)
        rebuilt = self._sync_catalog()
        self._driver.return_idle_connections()
        if progress is not None:  # last: what it raises finds everything done
            progress(report.source.size_bytes, report.source.size_bytes)
        return replace(report, catalog_rebuilt=rebuilt)


class Restorer:
    """Restores into the live database of ``driver``; the caller holds the database's lock.

    ``directory`` holds the safety backup of a database that has no file. ``after_failure``: the
    live database is what a failed migration left, kept under a name of its own, not for an undo.
    """

    def __init__(self, driver: Driver, directory: Path, *, after_failure: bool = False) -> None:
        self._driver = driver
        self._after_failure = after_failure
        name = "failed_migration" if after_failure else "safety_backup"
        self.safety_path, self._previous = safety_paths(driver, directory, name=name)

    def undo(self, *, progress: Progress | None) -> RestoreReport:
        """Restore the safety backup of the last restore."""
        self._recover()
        if not files.exists(self.safety_path):
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
        contents = self._driver.contents(Path(info.path))
        moved: tuple[Path, ...] = ()
        safety: Path | None = self.safety_path
        try:
            self._driver.require_database()
            self._keep_and_replace(verified, progress)
        except (DatabaseFileNotFoundError, DatabaseDamagedError):
            moved = self._rebuild(verified)
            safety = None
        read_back = self._read_back(contents, safety)
        _remove_pair(self._previous)  # not before: it was part of the way back
        return RestoreReport(
            source=verified,
            safety_backup=safety,
            moved_aside=moved,
            read_back=read_back,
            duration_seconds=round(time.monotonic() - started, 3),
        )

    def _keep_and_replace(self, info: BackupInfo, progress: Progress | None) -> None:
        deadline = time.monotonic() + self._driver.lock_timeout
        while True:
            try:
                with self._driver.holding() as hold:
                    # What is committed while it is taken would be in neither of both.
                    staged = self._take_safety_backup()
                    self._replace(info, staged, hold, progress)
                return
            except OvertakenError:
                if time.monotonic() > deadline:
                    raise DatabaseLockedError(
                        f"Database locked: others write to {self._driver.database} all the time. "
                        "Nothing was changed.",
                        hint="Stop the programs that write to it, and try again.",
                    ) from None

    def _take_safety_backup(self) -> BackupInfo:
        """Take the live database to a file that has not the safety backup's name yet."""
        path = self.safety_path.with_name(f".{self.safety_path.name}.partial")
        files.make_private_directory(path.parent)
        files.require_space(path.parent, self._driver.size())
        files.remove(path)
        files.create_private_file(path, like=self._driver.location)
        try:
            with of_live(self._driver):
                staged = take(
                    self._driver,
                    self._driver.snapshot,
                    path,
                    final=self.safety_path,
                    depth="pages",
                    kind="pre_restore",
                    description="What a failed migration left"
                    if self._after_failure
                    else "The database before a restore",
                )
            files.sync_file(path)
        except BaseException:
            files.remove(path)
            raise
        return replace(staged, path=str(path))

    def _replace(
        self, info: BackupInfo, staged: BackupInfo, hold: Hold, progress: Progress | None
    ) -> None:
        source = Path(info.path)
        placed = False
        try:
            if files.exists(self.safety_path):
                _move_pair(self.safety_path, self._previous)
                if source == self.safety_path:  # an undo: what it goes back to has just moved
                    source = self._previous
            files.write_durably(
                Path(f"{self.safety_path}{META_SUFFIX}"),
                to_meta(staged),
                like=self._driver.location,
            )
            files.move_durably(Path(staged.path), self.safety_path)
            placed = True
            self._driver.load(source, hold=hold, progress=progress)
        except BaseException as error:
            files.remove(Path(staged.path))
            # An interrupt may come after the last step: then the new safety backup is the only
            # copy of what was there.
            if placed and not isinstance(error, OvertakenError) and hold.changed():
                self._keep_previous()
            else:
                self._withdraw(placed=placed)
            raise

    def _read_back(self, contents: object, safety: Path | None) -> bool:
        """Check what was written; False when something else than damage kept it from that."""
        try:
            self._driver.read_back(contents)
        except DatabaseDamagedError as error:
            if safety is None:
                raise
            raise self._take_back(error, safety) from error
        except BackupError:  # "nothing was changed", it would say
            return False
        return True

    def _take_back(self, why: DatabaseDamagedError, safety: Path) -> RestoreError:
        try:
            self._driver.load(safety)
        except BackupError as error:
            return RestoreError(
                f"The restored database fails its check ({why.message}), and the one of before "
                f"could not be put back ({error.message}). It is safe in {safety}.",
                hint="Mend what the second error names, then restore the backup again."
                if self._after_failure
                else "Mend what the second error names, then go back: soulsense-db undo",
            )
        self._withdraw(placed=True)
        return RestoreError(
            f"The restored database failed its check ({why.message}). The database of before was "
            "put back.",
            hint="Try another backup, and check the disk.",
        )

    def _rebuild(self, info: BackupInfo) -> tuple[Path, ...]:
        stamp = self._stamp()
        source = Path(info.path)
        if source == self.safety_path:
            source = self._previous
            _move_pair(self.safety_path, self._previous)
        moved = self._driver.rebuild(source, facts=info.driver_facts, stamp=f"damaged_{stamp}")
        # They belong to an earlier restore: undoing this one must not go back to it.
        earlier = (self.safety_path, self._previous)
        return moved + tuple(self._keep(old) for old in earlier if files.exists(old))

    def _stamp(self) -> str:
        """Return a date for names of what is kept, one that no file beside the database has."""
        now = f"{datetime.now():%Y%m%d_%H%M%S}"
        directory = self.safety_path.parent
        files.make_private_directory(directory)
        with files.storage_errors("list", directory):
            names = " ".join(os.listdir(directory))
        stamps = chain([now], (f"{now}_{number}" for number in count(2)))
        return next(stamp for stamp in stamps if stamp not in names)

    def _recover(self) -> None:
        """Tidy up after a restore that was killed."""
        orphan = Path(f"{self._previous}{META_SUFFIX}")
        if files.exists(self._previous):
            # With a newer one in its place nobody can tell whether it is still wanted.
            if files.exists(self.safety_path):
                self._keep_previous()
            else:
                self._withdraw(placed=False)
        elif files.exists(orphan):
            # Its data had been moved back, or to where it is kept, and it not yet.
            if self._is_of_safety_backup(orphan):
                files.move_durably(orphan, Path(f"{self.safety_path}{META_SUFFIX}"))
            else:
                files.remove(orphan)

    def _is_of_safety_backup(self, meta: Path) -> bool:
        if not files.exists(self.safety_path):
            return False
        told = read_backup(self.safety_path, meta=meta)
        with files.storage_errors("read", self.safety_path):
            size = self.safety_path.stat().st_size
        return told.size_bytes == size and told.sha256 == files.sha256_of(self.safety_path)

    def _keep_previous(self) -> None:
        if files.exists(self._previous):
            self._keep(self._previous)

    def _keep(self, path: Path) -> Path:
        kept = self.safety_path.with_name(f"{self.safety_path.name}.{self._stamp()}")
        _move_pair(path, kept)
        return kept

    def _withdraw(self, *, placed: bool) -> None:
        """Give the safety backup of before its name back; ``placed``: a new one has taken it."""
        if files.exists(self._previous):
            _move_pair(self._previous, self.safety_path)
        elif placed:
            _remove_pair(self.safety_path)
        elif not files.exists(self.safety_path):
            files.remove(Path(f"{self.safety_path}{META_SUFFIX}"))


def safety_paths(
    driver: Driver, directory: Path, *, name: str = "safety_backup"
) -> tuple[Path, Path]:
    """Return where the safety backup of the last restore is or would be, and the one of before."""
    beside = _beside(driver, directory)
    path = beside.with_name(f"{beside.name}.{name}")
    return path, path.with_name(f"{path.name}.previous")


def _beside(driver: Driver, directory: Path) -> Path:
    """Return the live database, or what stands for one without a file."""
    return driver.location or directory / "memory"


def _acquire_lock(driver: Driver, directory: Path, *, timeout: float) -> FileLock:
    """Return the lock of the live database, held: it is beside it, whatever the directory is."""
    beside = _beside(driver, directory)
    files.make_private_directory(beside.parent)
    path = beside.with_name(f".{beside.name}.lock")
    files.make_lock_file(path, like=driver.location)
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
    if files.exists(meta):
        files.move_durably(meta, Path(f"{target}{META_SUFFIX}"))


def _remove_pair(path: Path) -> None:
    """Remove a data file and before it its meta file, which alone could be taken for another's."""
    files.remove(Path(f"{path}{META_SUFFIX}"))
    files.remove(path)
