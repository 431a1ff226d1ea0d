"""Put a verified backup in the place of the live database, with a way back at every moment."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo
from soulsense_db.drivers import ConcurrentCommitError, Driver, Progress, WriteLock
from soulsense_db.errors import (
    BackupError,
    DatabaseDamagedError,
    DatabaseFileNotFoundError,
    Outcome,
    RestoreError,
    StorageError,
)
from soulsense_db.fs import require_no_link
from soulsense_db.meta_file import not_found_if_deleted, read_backup
from soulsense_db.notices import cleaning_up
from soulsense_db.operations.completion import Completion
from soulsense_db.operations.errors import (
    disk_failed,
    not_put_back,
    nothing_to_undo,
    restored_is_damaged,
    too_many_writers,
    undo_command,
)
from soulsense_db.operations.taking import blaming_live_database, take
from soulsense_db.operations.verify import VerificationReport, verify_backup
from soulsense_db.sidecars import (
    SAFETY_NAMES,
    LiveLock,
    MigrationMarker,
    SafetyFiles,
    has_ended,
    lock_path,
    remove_markers,
    restoring,
    standing_for_a_copy,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """A restore that was done.

    ``source``: the backup restored; ``safety_backup``: the previous database, None where it could
    not be read; ``moved_aside``: the files of a missing or damaged database, and the safety backup
    of an earlier restore, kept under these names; ``read_back``: whether the result was checked
    through a new connection, False when that could not be done, as for a lock of somebody else or
    an error of the application's functions; ``catalog_rebuilt``: whether the ``backups`` table was
    brought in step; ``remarks``: what failed when the database was restored already, a sentence
    each.
    """

    source: BackupInfo
    safety_backup: Path | None
    moved_aside: tuple[Path, ...]
    read_back: bool
    duration_seconds: float
    catalog_rebuilt: bool = False
    remarks: tuple[str, ...] = ()


class DatabaseLock:
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
        own_tables: Callable[[], Collection[str]],
    ) -> None:
        self._driver = driver
        self._find = find
        self._sync_catalog = sync_catalog
        self._own_tables = own_tables
        self._directory = directory
        self._lock = LiveLock(
            sidecar_base(driver, directory),
            name=driver.database,
            like=driver.location,
            timeout=timeout,
        )
        for name in SAFETY_NAMES:  # of a restore, or a way back, that was killed
            safety = SafetyFiles(sidecar_base(driver, directory), name=name)
            with cleaning_up(f"{safety.staging} is left over"):
                safety.remove_staging()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def release(self) -> None:
        """Let others in; a second call does nothing, nor does one in the child of a fork."""
        self._lock.release()

    def restore(
        self,
        ref: BackupInfo | str | Path,
        *,
        progress: Progress | None = None,
        verified: VerificationReport | None = None,
    ) -> RestoreReport:
        """Do what ``BackupManager.restore`` does.

        ``verified``: in full, a moment ago, before the lock; it counts while the file has not
        changed since.
        """
        restorer = Restorer(self._driver, self._directory)
        info = self._find(ref)
        with self._restoring(info, restorer) as settle:
            report = restorer.restore(info, verified=verified, progress=progress)
            return self._finish(report, progress, settle)

    def put_back(self, ref: BackupInfo | str | Path) -> RestoreReport:
        """Restore after a failed migration: what :meth:`undo` goes back to stays as it is."""
        restorer = Restorer(self._driver, self._directory, after_failure=True)
        info = self._find(ref)
        with self._restoring(info, restorer) as settle:
            report = restorer.restore(info, accepts_source_errors=True, progress=None)
            return self._finish(report, None, settle)

    def undo(self, *, progress: Progress | None = None) -> RestoreReport:
        """Do what ``BackupManager.undo_restore`` does."""
        restorer = Restorer(self._driver, self._directory)
        info = restorer.undoes_to()
        with self._restoring(info, restorer) as settle:
            report = restorer.restore(info, accepts_source_errors=True, progress=progress)
            return self._finish(report, progress, settle)

    @contextmanager
    def _restoring(self, info: BackupInfo, restorer: Restorer) -> Iterator[Callable[[], None]]:
        with (
            self._driver.connected(),
            restoring(
                self._driver, info, self._own_tables, is_unchanged=lambda: restorer.is_unchanged
            ) as settle,
        ):
            yield settle

    def close_idle_connections(self) -> None:
        """Close the engine's idle pooled connections, never an in-memory database's."""
        self._driver.return_idle_connections()

    def require_way_back(self) -> None:
        """Raise what would keep a :meth:`put_back` from writing, found out by taking its locks.

        With the engine's own options and connect events, on as many connections as it needs.
        """
        with self._driver.connected(), self._driver.write_locked():
            pass

    def is_migration_done(self, marker: MigrationMarker) -> bool:
        """Whether the chain of ``marker`` is at its target, as its own version table says."""
        return has_ended(self._driver, marker)

    def end_migration(self, markers: Collection[str]) -> None:
        """Remove the marker's entries of a migration that is done, once it is all on disk.

        Else a power cut could take its last step back, and nobody would know. ``markers``: their
        ids. Raises :class:`~soulsense_db.errors.BackupError`; then they are still there.
        """
        if self._driver.location is not None:
            self._driver.flush()
            remove_markers(self._driver.location, markers)

    def _finish(
        self, report: RestoreReport, progress: Progress | None, settle: Callable[[], None]
    ) -> RestoreReport:
        completion = Completion(_restored(report.source))
        with completion.then("The migration marker could not be brought in step"):
            settle()
        rebuilt = False
        with completion.then("The catalog could not be rebuilt"):
            rebuilt = self._sync_catalog()
        with completion.then("Idle connections could not be closed"):
            self._driver.return_idle_connections()
        if progress is not None:
            with completion.then("The progress callback failed at the end"):
                progress(report.source.size_bytes, report.source.size_bytes)
        remarks = report.remarks + completion.remarks
        return replace(report, catalog_rebuilt=rebuilt, remarks=remarks)


class Restorer:
    """Restores into the live database of ``driver``; the caller holds the database's lock.

    ``directory`` holds the safety backup of a database that has no file. ``after_failure``: the
    live database is what a failed migration left, kept under a name of its own, not for an undo.
    """

    def __init__(self, driver: Driver, directory: Path, *, after_failure: bool = False) -> None:
        self._driver = driver
        self._after_failure = after_failure
        name = "failed_migration" if after_failure else "safety_backup"
        self._safety = SafetyFiles(sidecar_base(driver, directory), name=name)
        # Now: what is restored may bring an alarm of its own, which is not about what is kept.
        self._markers = standing_for_a_copy(driver)
        self.is_unchanged = True
        """Whether the live database is for sure what it was."""

    def undoes_to(self) -> BackupInfo:
        """Return the safety backup of the last restore, to :meth:`restore` as it was taken."""
        self._safety.recover()
        if not self._safety.is_there():
            raise nothing_to_undo(self._safety.path)
        return read_backup(self._safety.path)

    def restore(
        self,
        info: BackupInfo,
        *,
        verified: VerificationReport | None = None,
        accepts_source_errors: bool = False,
        progress: Progress | None,
    ) -> RestoreReport:
        """Verify ``info`` in full, keep the live database, replace it, read it back.

        ``verified`` counts if it is of this very file and its facts. ``accepts_source_errors``: it
        is the way back, to the faults that the database had then as well.
        """
        started = time.monotonic()
        self._safety.recover()
        if verified is None or not verified.is_of(info):
            verified = verify_backup(
                self._driver, info, level="full", accepts_source_errors=accepts_source_errors
            )
        info = verified.backup

        def verify_again() -> None:
            if not verified.is_of(info):  # minutes may have passed
                verify_backup(
                    self._driver, info, level="full", accepts_source_errors=accepts_source_errors
                )

        with not_found_if_deleted(Path(info.path)):
            contents = self._driver.contents(Path(info.path))
        completion = Completion()
        moved: tuple[Path, ...] = ()
        safety: Path | None = self._safety.path
        try:
            self._driver.require_database()
            self._keep_and_replace(info, verify_again, progress, completion)
        except (DatabaseFileNotFoundError, DatabaseDamagedError):
            verify_again()
            moved = self._rebuild(info, completion)
            safety = None
        read_back = self._read_back(contents, safety, completion)
        with completion.then(f"{self._safety.previous} could not be removed"):
            self._safety.forget_previous()  # not before: it was part of the way back
        return RestoreReport(
            source=info,
            safety_backup=safety,
            moved_aside=(*moved, *self._safety.set_aside_as),
            read_back=read_back,
            duration_seconds=round(time.monotonic() - started, 3),
            remarks=completion.remarks,
        )

    def _keep_and_replace(
        self,
        info: BackupInfo,
        verify_again: Callable[[], None],
        progress: Progress | None,
        completion: Completion,
    ) -> None:
        deadline = time.monotonic() + self._driver.lock_timeout
        while True:
            try:
                with completion, self._driver.write_locked() as write_lock:
                    # What is committed while it is taken would be in neither of both.
                    staged, made = self._take_safety_backup()
                    with _removed_on_error(Path(staged.path)):
                        verify_again()
                    self._replace(
                        info,
                        staged,
                        made,
                        write_lock=write_lock,
                        progress=progress,
                        completion=completion,
                    )
                return
            except ConcurrentCommitError:
                if time.monotonic() > deadline:
                    raise too_many_writers(self._driver.database) from None

    def _take_safety_backup(self) -> tuple[BackupInfo, os.stat_result]:
        """Take the live database to a file that has not the safety backup's name yet.

        Returns also what tells that file from any other.
        """
        path = self._safety.staging
        fs.make_private_directory(path.parent)
        fs.require_space(path.parent, self._driver.size())
        self._safety.clear_staging()
        made = fs.create_private_file(path, like=self._driver.location)
        with _removed_on_error(path):
            with blaming_live_database(self._driver):
                staged = take(
                    self._driver,
                    self._driver.snapshot,
                    path,
                    final=self._safety.path,
                    level="pages",
                    kind="pre_restore",
                    markers=self._markers,
                    description="What a failed migration left"
                    if self._after_failure
                    else "The database before a restore",
                )
            fs.sync_file(path)
        return replace(staged, path=str(path)), made

    def _replace(
        self,
        info: BackupInfo,
        staged: BackupInfo,
        made: os.stat_result,
        *,
        write_lock: WriteLock,
        progress: Progress | None,
        completion: Completion,
    ) -> None:
        source = Path(info.path)
        placed = False
        try:
            self._safety.make_room()
            if source == self._safety.path:  # an undo: what it goes back to has just moved
                source = self._safety.previous
            self._safety.place(staged, made, like=self._driver.location)
            placed = True
            self._load(source, write_lock, progress, completion)
            completion.reached(_restored(info))
        except BaseException as error:
            with cleaning_up(f"{staged.path} could not be removed"):  # the next restore does that
                fs.remove(Path(staged.path))
            # An interrupt may come after the last step: then the new safety backup is the only
            # copy of what was there.
            if placed and not isinstance(error, ConcurrentCommitError) and write_lock.changed():
                if not isinstance(error, Exception) and self._is_in_place(source):
                    completion.reached(_restored(info))
                self.is_unchanged = False
                with self._cleaning_up():
                    self._safety.keep_previous()
                if isinstance(error, BackupError):
                    error.with_outcome(Outcome.UNSURE, backup=self._safety.path)
                raise
            if placed and write_lock.is_released and type(error) is StorageError:
                self.is_unchanged = False
                with self._cleaning_up():
                    self._safety.keep_previous()
                raise self._unsure(info, error) from error
            with self._cleaning_up():
                self._safety.withdraw(placed=placed)
            if isinstance(error, BackupError):  # what may not be kept is only the safety backup
                error.with_outcome(Outcome.UNCHANGED)
            raise
        self.is_unchanged = False

    def _cleaning_up(self) -> AbstractContextManager[None]:
        return cleaning_up(f"{self._safety.path} could not be given its name back")

    def _load(
        self, source: Path, write_lock: WriteLock, progress: Progress | None, completion: Completion
    ) -> None:
        try:
            with not_found_if_deleted(source):
                self._driver.load(source, write_lock=write_lock, progress=progress)
        except ConcurrentCommitError:
            raise
        except Exception as error:
            # It may come after the commit, as when the file can then not be made shorter.
            if not (write_lock.changed() and self._is_in_place(source)):
                raise
            completion.remark("Something failed when it was written", error)

    def _unsure(self, info: BackupInfo, error: StorageError) -> RestoreError:
        """Return the error for a disk that failed while SQLite wrote.

        In WAL mode the commit may be in the log when its flush fails: nobody sees it until all have
        closed the database, and then everybody does.
        """
        return disk_failed(info, error, self._safety.path)

    def _is_in_place(self, source: Path) -> bool:
        try:
            return self._driver.compare(source, ignore=()).identical
        except BackupError:
            return False

    def _read_back(self, contents: object, safety: Path | None, completion: Completion) -> bool:
        """Check what was written; False when something else than damage kept it from that."""
        try:
            self._driver.read_back(contents)
        except DatabaseDamagedError as error:
            if safety is None:
                raise restored_is_damaged(error, Outcome.BROKEN) from error
            raise self._take_back(error, safety) from error
        except Exception as error:  # noqa: BLE001 - of the application too, when it connects
            completion.remark("It could not be read back", error)
            return False
        except BaseException as error:
            error.add_note("The database was restored, and not read back.")
            raise
        return True

    def _take_back(self, why: DatabaseDamagedError, safety: Path) -> RestoreError:
        try:
            self._driver.load(safety)
        except BackupError as error:
            undo = None if self._after_failure else undo_command(self._driver.address)
            return not_put_back(why, error, safety, undo)
        self.is_unchanged = True
        with self._cleaning_up():
            self._safety.withdraw(placed=True)
        return restored_is_damaged(why, Outcome.PUT_BACK)

    def _rebuild(self, info: BackupInfo, completion: Completion) -> tuple[Path, ...]:
        stamp = self._safety.stamp()
        source = Path(info.path)
        if source == self._safety.path:
            source = self._safety.previous
            self._safety.make_room()
        self.is_unchanged = False
        try:
            with not_found_if_deleted(source):
                stamp = f"damaged_{stamp}"
                moved = self._driver.rebuild(source, facts=info.driver_facts, stamp=stamp)
        except BackupError as error:  # it may be in place, and perhaps not for good
            self.is_unchanged = error.outcome is Outcome.UNCHANGED
            raise
        completion.reached(_restored(info))
        # They belong to an earlier restore: undoing this one must not go back to it.
        kept = []
        for old in (self._safety.path, self._safety.previous):
            with completion.then(f"{old} is of an earlier restore and could not be moved aside"):
                if fs.exists(old):
                    kept.append(self._safety.keep(old))
        return (*moved, *kept)


@contextmanager
def _removed_on_error(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with cleaning_up(f"{path} could not be removed"):
            fs.remove(path)
        raise


def _restored(info: BackupInfo) -> str:
    return f"The database was restored from {info.filename}."


def require_undo(database: Path) -> None:
    """Raise :class:`NothingToUndoError` where no restore can have left a safety backup.

    With the lock of one there, it is looked for under that lock.
    """
    safety = SafetyFiles(database)
    if not fs.exists(lock_path(database)) and safety.newest() is None:
        raise nothing_to_undo(safety.path)


def sidecar_base(driver: Driver, directory: Path) -> Path:
    """Return the live database, or what stands in ``directory`` for one without a file."""
    if driver.location is None:
        require_no_link(directory)
    return driver.location or directory / "memory"
