"""The live database's own lock, and what may be done only by who holds it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

from sqlalchemy.engine import Connection

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo
from soulsense_db.completion import Completion
from soulsense_db.drivers import Progress
from soulsense_db.errors import (
    BackupError,
    DatabaseFileNotFoundError,
    StorageError,
)
from soulsense_db.events import Event, MigrationPutBack, Restored, call_listeners, log
from soulsense_db.fs import require_trusted_directory
from soulsense_db.meta_file import not_found_if_deleted, require_no_backup, trusted_meta
from soulsense_db.notices import cleaning_up, ignoring
from soulsense_db.operations.compare import has_schema_of
from soulsense_db.operations.delete import deleted
from soulsense_db.operations.references import Reference
from soulsense_db.operations.repository import Repository
from soulsense_db.operations.restore import (
    Restorer,
    done_sentence,
)
from soulsense_db.operations.restore_errors import nothing_to_undo
from soulsense_db.operations.restore_report import RestoreReport
from soulsense_db.operations.restore_source import opened_to_restore
from soulsense_db.operations.safety_copy import finish_safety_copy
from soulsense_db.operations.servers import require_server_of
from soulsense_db.operations.stored_form import OpenedBackup
from soulsense_db.operations.upgraded_copy import upgraded_copy
from soulsense_db.operations.upgrading import Upgrade, UpgradeReport
from soulsense_db.operations.verify import VerificationReport, verify_opened
from soulsense_db.sidecars import (
    SAFETY_BACKUP,
    SAFETY_NAMES,
    LiveLock,
    Markers,
    MigrationMarker,
    SafetyFiles,
    end_what_was_put_back,
    lock_path,
    newest_safety_backup,
    raise_alarm_of,
    withdraw_alarm,
)


def restore_backup(
    repository: Repository,
    ref: Reference,
    *,
    upgrade: Upgrade | None = None,
    progress: Progress | None,
    trust_directory: bool,
) -> RestoreReport:
    """Do what ``BackupManager.restore`` does.

    With an ``upgrade``, all migrations have run, and what they made is checked, before the lock.
    """
    driver, directory = repository.driver, repository.directory
    with repository.failing("restore"):
        require_no_backup(driver.location)
        if not trust_directory:
            require_trusted_directory(directory.directory, live=driver.location)
        with ignoring(DatabaseFileNotFoundError, what="A database that is missing is made anew"):
            driver.require_rights()
        directory.warn_once()
        # Before the lock is made: what is refused leaves nothing behind.
        info = trusted_meta(repository.finder.get_own(ref))
        with ExitStack() as stack:
            upgraded: UpgradeReport | None = None
            if upgrade is None:
                source, verified = stack.enter_context(_verified(repository, info))
            else:
                made = stack.enter_context(
                    upgraded_copy(repository, info, upgrade, is_trial=False, progress=progress)
                )
                source, verified, upgraded = made.source, made.verified, made.report
            with DatabaseLock(repository, timeout=driver.lock_timeout) as lock:
                report = lock._restore(
                    verified.backup, verified=verified, source=source, progress=progress
                )
                if upgraded is None:
                    return report
                warnings = report.warnings + upgraded.warnings
                return replace(report, upgrade=upgraded, warnings=warnings)


@contextmanager
def _verified(
    repository: Repository, info: BackupInfo
) -> Iterator[tuple[OpenedBackup, VerificationReport]]:
    with not_found_if_deleted(Path(info.path), info):
        version = fs.version_of(Path(info.path))
    with opened_to_restore(repository, info) as source:
        with not_found_if_deleted(Path(info.path), info):
            verified = verify_opened(repository.driver, source, level="full", version=version)
        yield source, verified


def undo_restore(repository: Repository, *, progress: Progress | None) -> RestoreReport:
    """Do what ``BackupManager.undo_restore`` does."""
    with repository.failing("undo"):
        _require_undo(repository)
        with DatabaseLock(repository, timeout=repository.driver.lock_timeout) as lock:
            return lock._undo(progress)


def _require_undo(repository: Repository) -> None:
    """Raise :class:`NothingToUndoError` where no restore can have left a safety backup.

    With the lock of one there, it is looked for under that lock.
    """
    base = repository.sidecar_base
    has_none = not fs.exists(lock_path(base)) and newest_safety_backup(base) is None
    if has_none and repository.driver.replaced_without_copy() is None:
        raise nothing_to_undo(fs.beside(base, f".{SAFETY_BACKUP}"))


def safety_backup(repository: Repository) -> BackupInfo | None:
    """Return what :func:`undo_restore` goes back to, None when there is nothing."""
    safety = SafetyFiles(repository.sidecar_base, companions=repository.driver.companions)
    if repository.driver.keeps_replaced and fs.exists(safety.staging):
        # A restore is running, or was cut off before it had made one: then that is made now.
        with ignoring(BackupError, what="The safety backup is not that of the last restore"):
            DatabaseLock(repository, timeout=0).release()
    return newest_safety_backup(repository.sidecar_base)


class DatabaseLock:
    """The live database's own lock, held from construction to :meth:`release`, and what needs it.

    Restores and migrations of one database exclude each other with it, whatever their backup
    directory is. :meth:`~soulsense_db.manager.BackupManager.exclusive` makes one.

    Listeners to what was restored are called when it is released; a failure is told at once.

    Raises:
        DatabaseLockedError: Somebody else held it for ``timeout`` seconds.
        UnsupportedDatabaseError: The database is a backup.

    Example:
        >>> with manager.exclusive() as lock:
        ...     report = lock.restore("latest")
    """

    def __init__(self, repository: Repository, *, timeout: float) -> None:
        self._repository = repository
        self._untold: list[Event] = []
        self._standing: tuple[MigrationMarker, ...] = ()
        self._driver = repository.driver
        require_no_backup(self._driver.location)
        base = repository.sidecar_base
        self._lock = LiveLock(
            base, name=self._driver.database, owner_of=self._driver.location, timeout=timeout
        )
        self._stack = ExitStack()
        try:
            self._stack.enter_context(self._driver.exclusive(timeout=timeout))
        except BaseException:
            self._lock.release()
            raise
        try:
            with cleaning_up("What the last restore left to do could not be done"):
                finish_safety_copy(self._driver, base)
                for name in SAFETY_NAMES:
                    safety = SafetyFiles(base, companions=self._driver.companions, name=name)
                    safety.remove_staging()
        except BaseException:
            self.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    def release(self) -> None:
        """Let others in.

        A second call does nothing, nor does one in the child of a fork.

        Example:
            >>> lock = manager.exclusive()
            >>> lock.release()
        """
        if self._lock.is_of_this_process:
            with cleaning_up("The lock on the server could not be released"):
                self._stack.close()
        self._lock.release()
        while self._untold and self._lock.is_of_this_process:
            call_listeners(self._repository.events, self._untold.pop(0))

    def restore(
        self,
        ref: Reference,
        *,
        progress: Progress | None = None,
        verified: VerificationReport | None = None,
    ) -> RestoreReport:
        """Restore a backup under this lock.

        Args:
            ref: The backup, as for :meth:`~soulsense_db.manager.BackupManager.get`.
            progress: As for :meth:`~soulsense_db.manager.BackupManager.restore`.
            verified: The report of a full check a moment ago, before the lock. It counts while the
                file has not changed since; else the backup is verified now.

        Returns:
            What was done.

        Raises:
            BackupError: As for :meth:`~soulsense_db.manager.BackupManager.restore`.

        Example:
            >>> report = manager.verify("latest")
            >>> with manager.exclusive() as lock:
            ...     lock.restore("latest", verified=report).verified
            True
        """
        with self._repository.failing("restore"):
            return self._restore(ref, verified=verified, progress=progress)

    def _restore(
        self,
        ref: Reference,
        *,
        verified: VerificationReport | None,
        source: OpenedBackup | None = None,
        progress: Progress | None,
    ) -> RestoreReport:
        restorer = Restorer(self._repository)
        info = self._repository.finder.get_own(ref)
        with self._restoring(info, restorer):
            report = restorer.restore(
                info, verified=verified, opened_before=source, progress=progress
            )
            report = self._finish(report, progress)
        self._note_restored(report, is_undo=False)
        return report

    def put_back(self, ref: Reference) -> RestoreReport:
        """Restore after a failed migration: what :meth:`undo` goes back to stays as it is."""
        restorer = Restorer(self._repository, after_failure=True)
        info = self._repository.finder.get_own(ref)
        with self._restoring(info, restorer):
            report = restorer.restore(info, accepts_source_errors=True, progress=None)
            report = self._finish(report, None)
        self._note(
            MigrationPutBack(
                database=self._repository.database,
                backup=report.source,
                failed_database=report.safety_backup,
                warnings=report.warnings,
            )
        )
        return report

    def undo(self, *, progress: Progress | None = None) -> RestoreReport:
        """Go back to the database from before the last restore.

        Args:
            progress: As for :meth:`~soulsense_db.manager.BackupManager.restore`.

        Returns:
            What was done.

        Raises:
            BackupError: As for :meth:`~soulsense_db.manager.BackupManager.undo_restore`.

        Example:
            >>> with manager.exclusive() as lock:
            ...     report = lock.restore("latest")
            ...     lock.undo().verified
            True
        """
        with self._repository.failing("undo"):
            return self._undo(progress)

    def _undo(self, progress: Progress | None) -> RestoreReport:
        restorer = Restorer(self._repository)
        info = restorer.undoes_to()
        require_server_of(self._driver, info)
        with self._restoring(info, restorer):
            report = restorer.restore(info, accepts_source_errors=True, progress=progress)
            report = self._finish(report, progress)
        self._note_restored(report, is_undo=True)
        return report

    def _note_restored(self, report: RestoreReport, *, is_undo: bool) -> None:
        self._note(
            Restored(
                database=self._repository.database,
                backup=report.source,
                is_undo=is_undo,
                safety_backup=report.safety_backup,
                warnings=report.warnings,
            )
        )

    def _note(self, event: Event) -> None:
        """Log ``event`` now, and tell it when others may use the database again."""
        log(event)
        self._untold.append(event)

    def delete(self, ref: Reference, *, reason: str) -> None:
        """Delete as ``BackupManager.delete`` does; ``reason`` is what log and event say."""
        self._note(deleted(self._repository, ref, reason=reason))

    @contextmanager
    def _restoring(self, info: BackupInfo, restorer: Restorer) -> Iterator[None]:
        """Keep the migration marker true while ``info`` is restored in the block."""
        with self._driver.connected():
            added = raise_alarm_of(self.markers, info)
            with ignoring(StorageError, what="The migration marker cannot be read"):
                self._standing = self.markers.read()
            try:
                yield
            except BaseException:
                if restorer.is_unchanged:
                    withdraw_alarm(self.markers, added)
                raise

    @property
    def markers(self) -> Markers:
        """The entries of its migration marker."""
        return self._repository.markers

    def close_idle_connections(self) -> None:
        """Close the engine's idle pooled connections, never an in-memory database's."""
        self._driver.return_idle_connections()

    def require_way_back(self) -> None:
        """Raise what would keep a :meth:`put_back` from writing, found out by taking its locks.

        With the engine's own options and connect events, on as many connections as it needs.
        """
        self._driver.require_way_back()

    def require_loadable(self, backup: BackupInfo) -> None:
        """Raise what would keep a :meth:`put_back` of ``backup`` from loading it."""
        self._driver.require_loadable(backup.driver_facts)

    def mark_transaction(self, connection: Connection) -> str:
        """Return what tells the transaction that has begun on ``connection``; empty if nothing."""
        return self._repository.driver.mark_transaction(connection)

    def has_committed(self, marks: Sequence[str]) -> bool:
        """Whether one of the transactions with these ``marks`` was committed."""
        return self._repository.driver.has_committed(marks)

    def has_schema_of(self, backup: BackupInfo) -> bool:
        """Whether the database has the tables of a backup, and all else but its rows."""
        return has_schema_of(self._repository, backup)

    def end_migration(self, markers: Collection[str]) -> None:
        """Remove the marker's entries of a migration that is done, once it is all on disk.

        Else a power cut could take its last step back, and nobody would know. ``markers``: their
        ids. Raises :class:`~soulsense_db.errors.BackupError`; then they are still there.
        """
        self._driver.flush()
        self.markers.remove(markers)

    def _finish(self, report: RestoreReport, progress: Progress | None) -> RestoreReport:
        completion = Completion(done_sentence(report.source))
        with completion.then("The migration marker could not be updated"):
            tables = self._repository.rows.tables
            end_what_was_put_back(
                self._driver, self.markers, self._standing, report.source, own_tables=tables
            )
        rebuilt = False
        with completion.then("The catalog could not be rebuilt"):
            rebuilt = self._repository.sync_catalog()
        with completion.then("Idle connections could not be closed"):
            self._driver.return_idle_connections()
        if progress is not None:
            with completion.then("The progress callback failed at the end"):
                progress(report.source.restored_size_bytes, report.source.restored_size_bytes)
        warnings = report.warnings + completion.warnings
        return replace(report, catalog_rebuilt=rebuilt, warnings=warnings)
