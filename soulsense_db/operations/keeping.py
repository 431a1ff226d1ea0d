"""Change what is in the backup directory, and keep the catalog in step with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo, BackupKind
from soulsense_db.catalog import CatalogRows, row_name
from soulsense_db.directory import BackupDirectory
from soulsense_db.drivers import CheckLevel, DatabaseDiff, Driver, Progress, SnapshotInfo
from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    InvalidBackupError,
    MetaFileError,
    StorageError,
)
from soulsense_db.notices import reason_of, warn
from soulsense_db.operations.adopt import adopt, require_no_log
from soulsense_db.operations.completion import Completion
from soulsense_db.operations.errors import is_way_back
from soulsense_db.operations.prune import Pruning
from soulsense_db.operations.references import Finder
from soulsense_db.operations.taking import blaming_live_database, take
from soulsense_db.operations.transfer import importable
from soulsense_db.operations.verify import VerificationReport, verify_backup
from soulsense_db.retention import PruneReport, RetentionPolicy
from soulsense_db.sidecars import MigrationMarker, markers_in, read_markers

_ASK_SECONDS = 0.2


class _SameContentError(Exception):
    """A snapshot has what the newest backup has: there is nothing to keep."""


class Keeper:
    """Adds, checks and removes backups of one database in one directory."""

    def __init__(
        self, driver: Driver, storage: BackupDirectory, finder: Finder, rows: CatalogRows
    ) -> None:
        self._driver = driver
        self._backup_directory = storage
        self._finder = finder
        self._rows = rows
        self._named = ""

    def create(
        self,
        *,
        kind: BackupKind,
        description: str,
        progress: Progress | None,
        alembic_heads: Sequence[str] | None,
        target_revision: str | None,
        record: bool,
        unless_same_as: BackupInfo | None = None,
    ) -> BackupInfo | None:
        """Take a backup of the live database; None when its content is that of another one."""
        self.require_ready(record=record)
        self._driver.return_idle_connections()
        fs.require_space(self._backup_directory.directory, self._driver.size())

        def write(target: Path) -> SnapshotInfo:
            snapshot = self._driver.snapshot(target, progress=progress)
            if unless_same_as is not None and self._is_same(target, unless_same_as):
                raise _SameContentError
            return snapshot

        try:
            with blaming_live_database(self._driver):
                return self._add(
                    write,
                    progress=progress,
                    level="pages",
                    kind=kind,
                    description=description,
                    alembic_heads=alembic_heads,
                    target_revision=target_revision,
                    record=record,
                )
        except _SameContentError:
            return None

    def compare(self, path: Path, *, progress: Progress | None) -> DatabaseDiff:
        """Compare a backup file with a fresh snapshot of the live database."""
        self._driver.require_database()
        with self._backup_directory.scratch(self._driver.size()) as copy:
            snapshot_progress = None if progress is None else _without_numbers(progress)
            self._driver.snapshot(copy, progress=snapshot_progress)
            ignore = self._rows.tables()
            return self._driver.compare_copy(copy, path, ignore=ignore, progress=progress)

    def _name_attached(self, info: BackupInfo) -> None:
        """Say once of databases that the application attaches that no backup contains them."""
        attached = info.driver_facts.get("attached", "")
        if attached and attached != self._named:
            self._named = attached
            warn(f"Not in this backup: attached database {attached}. It needs a backup of its own.")

    def _is_same(self, copy: Path, info: BackupInfo) -> bool:
        """Whether a snapshot has the content of a backup; not, if that cannot be found out."""
        try:
            ignore = self._rows.tables()
            found = self._driver.compare_copy(copy, Path(info.path), ignore=ignore)
        except BackupError as error:
            _tell_of_incomparable(info, error.cause)
            return False
        unknown = [one.table for one in found.tables if one.is_unknown]
        if found.same_schema and len(unknown) == len(found.tables) > 0:
            _tell_of_incomparable(info, f"table {unknown[0]} cannot be read by its name")
        return found.identical

    def require_ready(self, *, record: bool) -> None:
        """Raise what keeps a backup from being begun; nothing is made."""
        self._driver.require_database()
        self._driver.require_restorable()
        if record:
            self._rows.require_free()

    def bring_in(
        self, path: str | Path, description: str, *, progress: Progress | None
    ) -> BackupInfo:
        """Make a database file from anywhere a backup."""
        told = importable(self._driver, path)
        source = Path(told.path)
        self._driver.require_readable(source)  # before anything is made for it
        fs.require_space(self._backup_directory.directory, told.size_bytes)
        return self._add(
            lambda target: self._driver.copy_file(source, target, progress=progress),
            progress=progress,
            level="quick",  # copy_file has checked it
            kind="imported",
            created_at=told.created_at if told.sha256 is not None else None,
            description=description or told.description,
            alembic_heads=None,
            target_revision=told.target_revision,
            markers=markers_in(told) or self._markers_of_known(told, source),
            record=True,
        )

    def _markers_of_known(self, told: BackupInfo, source: Path) -> tuple[MigrationMarker, ...]:
        """Return the alarm of a backup that is here already, where ``source`` is a copy of it."""
        known = [i for i in self._backup_directory.list() if i.half_run and i.sha256]
        if told.sha256 is not None or not known:
            return ()
        checksum = fs.sha256_of(source)
        return next((markers_in(info) for info in known if info.sha256 == checksum), ())

    def _add(
        self,
        write: Callable[[Path], SnapshotInfo],
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
            ordered_at = self._backup_directory.order_of_new(created_at)
        completion = Completion()
        with completion, self._backup_directory.stage(created_at, description) as staging:
            info = take(
                self._driver,
                write,
                staging.path,
                final=staging.final,
                description=description,
                created_at=created_at,
                progress=progress,
                **facts,
            )
            info = replace(info, ordered_at=ordered_at)
            if progress is not None:  # here still nothing is left of it when that raises
                progress(info.size_bytes, info.size_bytes)
            self._backup_directory.publish(staging, info)
            completion.reached(f"The backup {info.filename} was made.")
        self._name_attached(info)
        if record:
            with completion.then("Its row could not be written to the catalog"):
                rows = self._rows.record(info)
                if rows is not None and rows != set(map(row_name, self._backup_directory.names())):
                    self.sync_catalog(make_table=True)  # an earlier row could not be written
        completion.log()
        return info

    def adopt(self, info: BackupInfo, *, progress: Progress | None) -> BackupInfo:
        """Make a backup of unknown origin one of this database."""
        adopted = adopt(self._driver, self._backup_directory, self._finder, info, progress=progress)
        self._rows.record(adopted)
        return adopted

    def delete(self, info: BackupInfo) -> None:
        """Delete a backup that nothing protects, and its row."""
        marker = next((m for m in self._markers() if _may_be_needed(info, m)), None)
        if marker is not None:
            raise is_way_back(
                info,
                self._driver.location,
                self._driver.address,
                is_sure=marker.backup is not None,
            )
        if info.of_unknown_origin:  # perhaps it is somebody's database, and no backup at all
            require_no_log(info)
        self._backup_directory.delete(info)
        completion = Completion(f"The backup {info.filename} was deleted.")
        with completion.then("Its row could not be removed from the catalog"):
            self._rows.forget(info.filename)
        completion.log()

    def verify(
        self, info: BackupInfo, *, level: CheckLevel, progress: Progress | None = None
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
        protected: Mapping[str, str] = MappingProxyType({}),
        record: bool = True,
        dry_run: bool = False,
    ) -> PruneReport:
        """Remove what ``policy`` does not keep; ``protected``: reasons to keep, by file name."""
        backups, markers = self._finder.list(), self._markers()
        needed = [i for i in backups if any(_may_be_needed(i, marker) for marker in markers)]
        why = dict.fromkeys((i.filename for i in needed), "a migration that has not ended needs it")
        pruning = Pruning(backups, policy, kinds=kinds, protected={**protected, **why})
        if dry_run:
            return pruning.report()
        try:
            return pruning.run(
                check=lambda info: self.verify(info, level="quick"),
                delete=self._backup_directory.delete,
            )
        finally:
            if record and pruning.deleted:
                with Completion("Old backups were removed.").then("The catalog is out of step"):
                    self.sync_catalog(make_table=False)

    def prune_after(self, info: BackupInfo, policy: RetentionPolicy, *, record: bool) -> None:
        """Remove old backups after ``info``, which stays, was made; what fails is a warning."""
        completion = Completion(f"The backup {info.filename} was made.")
        with completion.then("Old ones could not be removed"):
            self.prune(policy, protected={info.filename: "just taken"}, record=record)
        completion.log()

    def sync_catalog(self, *, make_table: bool) -> bool:
        """Bring the catalog in step if that is possible just now, and return whether it was."""
        try:
            return self._rows.sync(self._finder.list(), make_table=make_table)
        except BackupError:  # what called for it is done: that must not look like a failure
            return False
        except Exception as error:  # noqa: BLE001 - code of the application, when it connects
            warn(f"The catalog could not be brought in step ({reason_of(error)}).")
            return False

    def _record_check(self, info: BackupInfo, *, passed: bool) -> bool:
        """Note the outcome in the meta file; return whether that was possible."""
        if info.sha256 is None:  # no meta file, or one of an older program: it stays as it is
            return False
        try:
            self._backup_directory.amend(info, verified_at=datetime.now(UTC) if passed else None)
        except (StorageError, MetaFileError, BackupNotFoundError):  # read-only, deleted meanwhile
            return False
        return True

    def _markers(self) -> tuple[MigrationMarker, ...]:
        return read_markers(self._driver.location) if self._driver.location else ()


def _tell_of_incomparable(info: BackupInfo, why: str) -> None:
    """Log why a schedule fills the disk with backups of a database that does not change."""
    warn(
        f"The database could not be compared with the newest backup, {info.filename} ({why}): "
        "until it can be, a backup is made on every run."
    )


def _without_numbers(progress: Progress) -> Progress:
    """Return a progress for what comes before the rows: asked is only whether to go on."""
    asked = time.monotonic()

    def ask(_done: int, _total: int) -> None:
        nonlocal asked
        if time.monotonic() - asked >= _ASK_SECONDS:
            asked = time.monotonic()
            progress(0, 0)

    return ask


def _may_be_needed(info: BackupInfo, marker: MigrationMarker) -> bool:
    """Whether ``info`` puts a half-run migration back; who knows, with a damaged marker."""
    if marker.backup is None:
        return info.kind == "pre_migration"
    return info.filename == Path(marker.backup).name
