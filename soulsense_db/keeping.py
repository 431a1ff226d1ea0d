"""Change what is in the backup directory, and keep the catalog in step with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from soulsense_db import files
from soulsense_db.backup_info import BackupInfo, BackupKind
from soulsense_db.carrying import require_importable
from soulsense_db.catalog import row_name
from soulsense_db.catalog_rows import CatalogRows
from soulsense_db.drivers import Driver, Progress, Snapshot
from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    InvalidBackupError,
    MetaFileError,
    ProtectedBackupError,
    PruneError,
    StorageError,
)
from soulsense_db.finding import Finder
from soulsense_db.marker import MigrationMarker, read_marker
from soulsense_db.pruning import Pruning
from soulsense_db.retention import PruneReport, RetentionPolicy
from soulsense_db.storage import Storage
from soulsense_db.taking import of_live, take
from soulsense_db.verification import Level, VerificationReport, verify_backup


class Keeper:
    """Adds, checks and removes backups of one database in one directory."""

    def __init__(self, driver: Driver, storage: Storage, finder: Finder, rows: CatalogRows) -> None:
        self._driver = driver
        self._storage = storage
        self._finder = finder
        self._rows = rows

    def create(
        self,
        *,
        kind: BackupKind,
        description: str,
        progress: Progress | None,
        alembic_heads: Sequence[str] | None,
        target_revision: str | None,
        record: bool,
    ) -> BackupInfo:
        """Take a backup of the live database."""
        self._driver.require_database()
        self._driver.require_restorable()
        if record:
            self._rows.require_free()
        self._driver.return_idle_connections()
        files.require_space(self._storage.directory, self._driver.size())
        with of_live(self._driver):
            return self._add(
                lambda target: self._driver.snapshot(target, progress=progress),
                progress=progress,
                depth="pages",
                kind=kind,
                description=description,
                alembic_heads=alembic_heads,
                target_revision=target_revision,
                record=record,
            )

    def bring_in(
        self, path: str | Path, description: str, *, progress: Progress | None
    ) -> BackupInfo:
        """Make a database file from anywhere a backup."""
        told = require_importable(self._driver, path)
        source = Path(told.path)
        files.require_space(self._storage.directory, told.size_bytes)
        return self._add(
            lambda target: self._driver.copy_file(source, target, progress=progress),
            progress=progress,
            depth="header",  # copy_file has checked it
            kind="imported",
            created_at=told.created_at if told.sha256 is not None else None,
            description=description or told.description,
            alembic_heads=None,
            target_revision=told.target_revision,
            record=True,
        )

    def _add(
        self,
        write: Callable[[Path], Snapshot],
        *,
        progress: Progress | None,
        description: str,
        record: bool,
        created_at: datetime | None = None,
        **facts: Any,
    ) -> BackupInfo:
        """Stage what ``write`` writes, check it, publish it, record it; ``facts`` as for `take`.

        ``created_at``: of one from elsewhere. One made now is the newest of all from here on.
        """
        ordered_at: datetime | None = None
        if created_at is None:
            created_at = datetime.now(UTC)
            ordered_at = self._storage.order_of_new(created_at)
        with self._storage.stage(created_at, description) as staging:
            info = take(
                self._driver,
                write,
                staging.path,
                final=staging.final,
                description=description,
                created_at=created_at,
                **facts,
            )
            info = replace(info, ordered_at=ordered_at)
            if progress is not None:  # here still nothing is left of it when that raises
                progress(info.size_bytes, info.size_bytes)
            self._storage.publish(staging, info)
        if record:
            with suppress(BackupError):  # the backup is made, whatever becomes of its row
                rows = self._rows.record(info)
                if rows is not None and rows != set(map(row_name, self._storage.names())):
                    self.sync_catalog(make_table=True)  # an earlier row could not be written
        return info

    def delete(self, info: BackupInfo) -> None:
        """Delete a backup that nothing protects, and its row."""
        marker = self._marker()
        if marker and _may_be_needed(info, marker):
            raise ProtectedBackupError(
                f"{info.filename} {'is' if marker.backup else 'may be'} the way back from a "
                f"migration of {self._driver.location} that has not ended. It was not deleted.",
                hint="Restore it, or keep the database as it is: soulsense-db restore --accept",
            )
        self._storage.delete(info)
        self._rows.forget(info.filename)

    def verify(
        self, info: BackupInfo, *, level: Level, progress: Progress | None = None
    ) -> VerificationReport:
        """Verify a backup and note in its meta file whether it passed."""
        try:
            report = verify_backup(self._driver, info, level=level, progress=progress)
        except InvalidBackupError:
            self._record_check(info, passed=False)
            raise
        return replace(report, recorded=self._record_check(info, passed=True))

    def prune(
        self,
        policy: RetentionPolicy,
        *,
        kinds: Collection[str] = (),
        spare: Mapping[str, str] = MappingProxyType({}),
        record: bool = True,
        dry_run: bool = False,
    ) -> PruneReport:
        """Remove what ``policy`` does not keep; ``spare``: reasons to keep, by file name."""
        backups, marker = self._finder.list(), self._marker()
        needed = [info for info in backups if marker and _may_be_needed(info, marker)]
        why = dict.fromkeys((i.filename for i in needed), "a migration that has not ended needs it")
        pruning = Pruning(backups, policy, kinds=kinds, spare={**spare, **why})
        if dry_run:
            return pruning.report()
        try:
            return pruning.run(
                check=lambda info: self.verify(info, level="quick"), delete=self._storage.delete
            )
        finally:
            if record and pruning.deleted:
                self.sync_catalog(make_table=False)

    def prune_after(self, info: BackupInfo, policy: RetentionPolicy, *, record: bool) -> None:
        """Remove old backups after ``info``, which stays, was made; raises :class:`PruneError`."""
        try:
            self.prune(policy, spare={info.filename: "just taken"}, record=record)
        except BackupError as error:
            failure = PruneError(
                f"The backup {info.filename} was made, but old ones could not be removed: "
                f"{error.message}",
                hint=error.hint,
            )
            failure.backup = info.filename
            raise failure from error

    def sync_catalog(self, *, make_table: bool) -> bool:
        """Bring the catalog in step if that is possible just now, and return whether it was."""
        try:
            return self._rows.sync(self._finder.list(), make_table=make_table)
        except BackupError:  # what called for it is done: that must not look like a failure
            return False

    def _record_check(self, info: BackupInfo, *, passed: bool) -> bool:
        """Note the outcome in the meta file; return whether that was possible."""
        if info.sha256 is None:  # no meta file, or one of an older program: it stays as it is
            return False
        try:
            self._storage.amend(info, verified_at=datetime.now(UTC) if passed else None)
        except (StorageError, MetaFileError, BackupNotFoundError):  # read-only, deleted meanwhile
            return False
        return True

    def _marker(self) -> MigrationMarker | None:
        return read_marker(self._driver.location) if self._driver.location else None


def _may_be_needed(info: BackupInfo, marker: MigrationMarker) -> bool:
    """Whether ``info`` puts a half-run migration back; who knows, with a damaged marker."""
    if marker.backup is None:
        return info.kind == "pre_migration"
    return info.filename == Path(marker.backup).name
