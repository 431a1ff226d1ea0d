"""BackupManager: the one place where the parts meet."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from sqlalchemy.engine import Engine

from soulsense_db import files
from soulsense_db.backup_info import (
    KINDS,
    BackupInfo,
    BackupKind,
    check_description,
    to_meta,
)
from soulsense_db.catalog import TABLE_NAME, Catalog
from soulsense_db.catalog_rows import CatalogRows
from soulsense_db.drivers import Depth, Progress, Snapshot, driver_for, engine_for
from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    ChecksumMismatchError,
    NotADatabaseError,
    StorageError,
    WrongDatabaseError,
)
from soulsense_db.marker import clear_marker
from soulsense_db.restoring import ExclusiveAccess, RestoreReport
from soulsense_db.storage import Storage, not_found, read_backup, require_trusted_meta
from soulsense_db.taking import of_live, take
from soulsense_db.verification import Level, VerificationReport, verify_backup

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

URL_VARIABLE = "SOULSENSE_DATABASE_URL"
"""The environment variable in which the command line and the guide's functions find the URL."""
DEFAULT_URL = "sqlite:///data/soulsense.db"
"""The URL they use otherwise: SoulSense's own database."""


class BackupManager:
    """Backups of the database behind ``engine``.

    ``engine``: an ``Engine`` or ``AsyncEngine``. ``directory``: of the backups, by default
    ``backups`` beside the database file, ``data/backups`` for one without a file. ``prefix`` begins
    their file names. ``catalog``: the name of the table with a row per backup, ``True`` for
    ``backups``, ``False`` for none. ``lock_timeout``: seconds to wait for a lock, of the database
    or the directory, before :class:`~soulsense_db.errors.DatabaseLockedError` or
    :class:`~soulsense_db.errors.DirectoryLockedError`.

    Safe to use from several threads and processes at once. Raises
    :class:`~soulsense_db.errors.UnsupportedDatabaseError` for a dialect without a driver.
    """

    def __init__(
        self,
        engine: Engine | AsyncEngine,
        directory: str | Path | None = None,
        *,
        prefix: str = "soulsense_backup",
        catalog: bool | str = True,
        lock_timeout: float = 30.0,
    ) -> None:
        self._driver = driver_for(engine, lock_timeout=lock_timeout)
        self._lock_timeout = lock_timeout
        location = self._driver.location
        if directory is None:
            directory = location.parent / "backups" if location else Path("data", "backups")
        self._storage = Storage(
            Path(directory),
            prefix=prefix,
            suffix=self._driver.suffix,
            lock_timeout=lock_timeout,
            live=location,
        )
        name = TABLE_NAME if catalog is True else catalog
        self._rows = CatalogRows(self._driver, Catalog(name) if name else None)

    @classmethod
    def from_url(
        cls,
        url: str,
        directory: str | Path | None = None,
        *,
        prefix: str = "soulsense_backup",
        catalog: bool | str = True,
        lock_timeout: float = 30.0,
    ) -> Self:
        """Return a manager over a new engine for ``url``: a database URL, or an SQLite file's path.

        Raises :class:`~soulsense_db.errors.UnsupportedDatabaseError`, also for what is no URL.
        """
        return cls(
            engine_for(url), directory, prefix=prefix, catalog=catalog, lock_timeout=lock_timeout
        )

    @property
    def directory(self) -> Path:
        """The backup directory, absolute; it is made by the first backup."""
        return self._storage.directory

    @property
    def database(self) -> Path | None:
        """The live database's file, absolute; None when it has none."""
        return self._driver.location

    # Create

    def create(
        self,
        description: str = "",
        *,
        kind: BackupKind = "manual",
        progress: Progress | None = None,
        alembic_heads: Sequence[str] | None = None,
        target_revision: str | None = None,
        record: bool = True,
    ) -> BackupInfo:
        """Take a backup of all committed data and return its facts.

        The application may go on reading and writing. ``alembic_heads`` are read from the backup's
        ``alembic_version`` unless given; ``record=False`` writes nothing to the database, its row
        comes with the next backup or :meth:`sync_catalog`.

        Raises :class:`~soulsense_db.errors.DatabaseFileNotFoundError`,
        :class:`~soulsense_db.errors.DatabaseLockedError`,
        :class:`~soulsense_db.errors.DatabaseDamagedError`,
        :class:`~soulsense_db.errors.StorageError`,
        :class:`~soulsense_db.errors.CatalogError`; then no backup was made.
        """
        check_description(description)
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
        self._driver.require_database()
        if record:
            self._rows.require_free()
        self._driver.return_idle_connections()
        files.require_space(self.directory, self._driver.size())
        with of_live(self._driver):
            return self._store(
                lambda target: self._driver.snapshot(target, progress=progress),
                depth="pages",
                kind=kind,
                created_at=datetime.now(UTC),
                description=description,
                alembic_heads=alembic_heads,
                target_revision=target_revision,
                record=record,
            )

    def _store(
        self,
        write: Callable[[Path], Snapshot],
        *,
        depth: Depth,
        kind: BackupKind,
        created_at: datetime,
        description: str,
        alembic_heads: Sequence[str] | None,
        target_revision: str | None,
        record: bool,
    ) -> BackupInfo:
        """Stage what ``write`` writes, check it, publish it, record it."""
        with self._storage.stage(created_at, description) as staging:
            info = take(
                self._driver,
                write,
                staging.path,
                final=staging.final,
                depth=depth,
                kind=kind,
                description=description,
                created_at=created_at,
                alembic_heads=alembic_heads,
                target_revision=target_revision,
            )
            self._storage.publish(staging, info)
        rows = self._rows.record(info) if record else None
        if rows is not None and rows != len(self._storage.names()):
            self.sync_catalog()  # an earlier row could not be written
        return info

    # List, get, delete, verify

    def list(self) -> builtins.list[BackupInfo]:
        """Return the backups of this database, newest first.

        A directory may hold those of several databases: others' are left out. One whose origin is
        unknown (it has no meta file) is included.
        """
        return [info for info in self._storage.list() if self._is_own(info)]

    def get(self, ref: BackupInfo | str | Path) -> BackupInfo:
        """Return the backup that ``ref`` names.

        ``ref``: a :class:`BackupInfo`, an id, a file name, a path, or ``latest``. Raises
        :class:`~soulsense_db.errors.BackupNotFoundError` or
        :class:`~soulsense_db.errors.OutsideDirectoryError`.
        """
        if isinstance(ref, BackupInfo):
            return self._storage.find(Path(ref.path))
        if ref == "latest":
            return self._latest()
        if isinstance(ref, Path) or "/" in ref or "\\" in ref:
            path = files.user_path(ref)
            if path is None:
                raise not_found(ref)
            return self._storage.find(path)
        try:
            return self._storage.find(self.directory / ref)
        except BackupNotFoundError:
            for info in self._storage.list():
                if info.id == ref:
                    return info
            raise

    def _latest(self) -> BackupInfo:
        everything = self._storage.list()
        for info in everything:
            if self._is_own(info):
                return info
        raise BackupNotFoundError(
            f"Backup file not found: {self.directory} has no backup of {self._driver.database}"
            f"{f' ({len(everything)} of other databases)' if everything else ''}. "
            "Nothing was changed.",
            hint="Create one, or bring one in with import_file(path).",
        )

    def delete(self, ref: BackupInfo | str | Path) -> None:
        """Delete a backup, its meta file and its row; errors as :meth:`get`."""
        info = self.get(ref)
        self._storage.delete(info)
        self._rows.forget(info.filename)

    def verify(self, ref: BackupInfo | str | Path, *, level: Level = "full") -> VerificationReport:
        """Check a backup by reading it; it is never written to.

        ``quick``: size, SHA-256, header. ``full``: also SQLite's ``integrity_check`` and
        ``foreign_key_check``; broken references are remarks, for a faithful backup may have them.
        Raises :class:`~soulsense_db.errors.InvalidBackupError`,
        :class:`~soulsense_db.errors.MetaFileError`, and errors as :meth:`get`.
        """
        return verify_backup(self._driver, self.get(ref), level=level)

    # Bring in and copy out

    def import_file(self, path: str | Path, description: str = "") -> BackupInfo:
        """Copy a database file from anywhere into the directory, verified, as a backup.

        With a meta file beside it, the checksum is compared, and time and description are kept;
        else the backup is dated now. Raises errors as :meth:`verify`,
        :class:`~soulsense_db.errors.StorageError`; the file itself is only read.
        """
        check_description(description)
        source = files.user_path(path)
        if source is None or not files.exists(source):
            raise not_found(path)
        with files.storage_errors("read", source):
            if not source.is_file():
                raise NotADatabaseError(
                    f"Invalid backup file: {source} is not a regular file. Nothing was changed.",
                    hint="Name a database file.",
                )
            size = source.stat().st_size
        if source.resolve() == self.database:
            raise BackupError(
                f"{source} is the live database itself. Nothing was changed.",
                hint="Use create() to back it up.",
            )
        told = require_trusted_meta(read_backup(source))
        if told.sha256 is not None:
            verify_backup(self._driver, told, level="quick")
        files.require_space(self.directory, size)
        return self._store(
            lambda target: self._driver.copy_file(source, target),
            depth="header",  # copy_file has checked it
            kind="imported",
            created_at=told.created_at if told.sha256 is not None else datetime.now(UTC),
            description=description or told.description,
            alembic_heads=None,
            target_revision=told.target_revision,
            record=True,
        )

    def export(self, ref: BackupInfo | str | Path, destination: str | Path) -> Path:
        """Copy a backup, verified, to ``destination`` (a directory, or a file that is not there).

        Its meta file goes with it, so that :meth:`import_file` can compare the checksum. Returns
        the path of the copy. Raises errors as :meth:`verify`,
        :class:`~soulsense_db.errors.StorageError`.
        """
        info = self.verify(ref).backup
        target = files.user_path(destination)
        if target is None:
            raise StorageError(
                f"{destination!s} is no path. Nothing was written.",
                hint="Name a file or directory.",
            )
        if files.exists(target) and target.is_dir():
            target /= info.filename
        files.copy_durably(Path(info.path), target)
        exported = replace(info, path=str(target), sha256=files.sha256_of(target))
        if info.sha256 not in (None, exported.sha256):
            files.remove(target)
            raise ChecksumMismatchError(
                f"The copy {target} differs from {info.filename} and was removed.",
                hint="Check the disk it was copied to, and try again.",
            )
        files.write_durably(Path(exported.meta_path), to_meta(exported))
        return target

    def _get_own(self, ref: BackupInfo | str | Path) -> BackupInfo:
        info = self.get(ref)
        if not self._is_own(info):
            raise WrongDatabaseError(
                f"{info.filename} is a backup of {info.database_path or info.database}, not of "
                f"{self._driver.location or self._driver.database}. Nothing was changed.",
                hint="If that is what you want, bring it in with import_file(path) first.",
            )
        return info

    def _is_own(self, info: BackupInfo) -> bool:
        """Whether ``info`` may be a backup of this database, also after both were moved."""
        if info.database is None:
            return True
        location = self._driver.location
        if info.database != self._driver.database or location is None or not info.database_path:
            return info.database == self._driver.database
        if info.database_path == str(location):
            return True
        if info.database_relative == files.relative_path(location, self.directory):
            return True
        # Another database of that name, if it is still there; else this one, moved.
        return not files.exists(Path(info.database_path))

    # Restore

    def restore(
        self, ref: BackupInfo | str | Path, *, progress: Progress | None = None
    ) -> RestoreReport:
        """Replace the live database by a backup; all or nothing.

        Verifies the backup in full, keeps the live database as ``<its name>.safety_backup`` beside
        it (for :meth:`undo_restore`), writes the backup in one transaction with other processes
        connected, reads it back, and rebuilds the catalog. A live database that is damaged or
        missing is restored too; its files are moved aside.

        On any error the live database is what it was and no backup is gone. Raises errors as
        :meth:`verify`, :class:`~soulsense_db.errors.WrongDatabaseError`,
        :class:`~soulsense_db.errors.DatabaseLockedError`,
        :class:`~soulsense_db.errors.RestoreError`.
        """
        with self.exclusive() as access:
            return access.restore(ref, progress=progress)

    def undo_restore(self, *, progress: Progress | None = None) -> RestoreReport:
        """Go back to the database of before the last restore; a second undo goes forth again.

        Raises :class:`~soulsense_db.errors.NothingToUndoError`, and errors as :meth:`restore`.
        """
        with self.exclusive() as access:
            return access.undo(progress=progress)

    def accept_half_run_migration(self) -> bool:
        """Keep the database as a dead migration left it; False when there was none."""
        self._driver.require_database()
        with self.exclusive():
            return self.database is not None and clear_marker(self.database)

    def exclusive(
        self, *, timeout: float | None = None, make_table: bool = True
    ) -> ExclusiveAccess:
        """Hold the database's own lock: restores and migrations exclude each other with it.

        ``timeout`` in seconds, ``lock_timeout`` by default; raises
        :class:`~soulsense_db.errors.DatabaseLockedError` after it. Creating is not excluded.
        ``make_table=False``: its restores leave an absent catalog table absent.
        """
        return ExclusiveAccess(
            self._driver,
            self.directory,
            timeout=self._lock_timeout if timeout is None else timeout,
            find=self._get_own,
            sync_catalog=lambda: self.sync_catalog(make_table=make_table),
        )

    def alembic_heads(self, version_table: str = "alembic_version") -> tuple[str, ...]:
        """Return the sorted revisions that the live database is at, as another process sees it."""
        return self._driver.alembic_heads(version_table)

    # Catalog

    def rebuild_catalog(self) -> int:
        """Write the catalog table anew from the meta files; return how many rows it has.

        Raises :class:`~soulsense_db.errors.CatalogError` when the table is somebody else's,
        :class:`~soulsense_db.errors.DatabaseLockedError`.
        """
        return self._rows.rebuild(self.list(), lock_timeout=self._lock_timeout)

    def sync_catalog(self, *, make_table: bool = True) -> bool:
        """Bring the catalog in step if that is possible just now, and return whether it was."""
        return self._rows.sync(self.list(), make_table=make_table)
