"""BackupManager: the public face, whose members are those of ``operations``."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from sqlalchemy.engine import Engine

from soulsense_db import operations
from soulsense_db.backup_info import BackupInfo, BackupKind, check_description, check_note
from soulsense_db.drivers import CheckLevel, DatabaseDiff, Progress, RowCounts, engine_for
from soulsense_db.manager_aliases import OldNames
from soulsense_db.operations import (
    CatalogOperations,
    DatabaseLock,
    LiveDatabase,
    MigrationAlarm,
    NewBackup,
    Reference,
    Repository,
    RestoreCheck,
    RestoreReport,
    VerificationReport,
)
from soulsense_db.retention import PruneReport, RetentionPolicy

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


class BackupManager(OldNames):
    """Backups of the database behind ``engine``.

    ``engine``: an ``Engine`` or ``AsyncEngine``. ``directory``: of the backups, by default
    ``backups`` beside the database file, ``data/backups`` for one without a file. ``prefix`` begins
    their file names. ``catalog``: the name of the table with a row per backup, ``True`` for
    ``backups``, ``False`` for none. ``retention``: a policy by which every :meth:`create` removes
    old backups of its own kind once the new one is safe. ``lock_timeout``: seconds to wait for a
    lock, of the database or the directory, before
    :class:`~soulsense_db.errors.DatabaseLockedError` or
    :class:`~soulsense_db.errors.DirectoryLockedError`.

    Safe to use from several threads and processes at once. A directory that others may write to is
    a warning in the log ``soulsense_db``, once, when a backup is created or restored. Raises
    :class:`~soulsense_db.errors.UnsupportedDatabaseError` for a dialect without a driver, and
    :class:`~soulsense_db.errors.PermissionDeniedError` for a directory that is another user's link.
    Where the database is itself a backup, with its meta file beside it, what would write to it
    raises :class:`~soulsense_db.errors.UnsupportedDatabaseError`.
    """

    def __init__(
        self,
        engine: Engine | AsyncEngine,
        directory: str | Path | None = None,
        *,
        prefix: str = "soulsense_backup",
        catalog: bool | str = True,
        retention: RetentionPolicy | None = None,
        lock_timeout: float = 30.0,
    ) -> None:
        self._retention = retention
        self._repository = Repository.of(
            engine, directory, prefix=prefix, catalog=catalog, lock_timeout=lock_timeout
        )
        self._finder = self._repository.finder
        self.catalog = CatalogOperations(self._repository)
        """The table of the backups: ``sync()``, ``rebuild()``, ``names()``."""
        self.alarm = MigrationAlarm(self._repository)
        """The migration that has not ended: ``error()``, ``marker()``, ``accept()``."""
        self.live = LiveDatabase(self._repository.driver)
        """The database itself: ``size()``, ``alembic_heads()``, ``address``."""

    @classmethod
    def from_url(
        cls,
        url: str,
        directory: str | Path | None = None,
        *,
        prefix: str = "soulsense_backup",
        catalog: bool | str = True,
        retention: RetentionPolicy | None = None,
        lock_timeout: float = 30.0,
    ) -> Self:
        """Return a manager over a new engine for ``url``: a database URL, or an SQLite file's path.

        Raises :class:`~soulsense_db.errors.UnsupportedDatabaseError`, also for what is no URL.
        """
        return cls(
            engine_for(url),
            directory,
            prefix=prefix,
            catalog=catalog,
            retention=retention,
            lock_timeout=lock_timeout,
        )

    @property
    def directory(self) -> Path:
        """The backup directory, absolute; it is made by the first backup."""
        return self._repository.directory.directory

    @property
    def database(self) -> Path | None:
        """The live database's file, absolute; None when it has none."""
        return self._repository.driver.location

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
        comes with the next backup or ``catalog.sync()``. ``progress`` is called for the last time
        when the copy is checked: what it raises until then cancels, and leaves nothing.

        Raises :class:`~soulsense_db.errors.DatabaseFileNotFoundError`,
        :class:`~soulsense_db.errors.DatabaseLockedError`,
        :class:`~soulsense_db.errors.DatabaseDamagedError`,
        :class:`~soulsense_db.errors.StorageError`,
        :class:`~soulsense_db.errors.CatalogError`; then no backup was made. What fails when it was
        made (its row, the removal of old backups) is a warning in the log ``soulsense_db``.
        """
        check_description(description)
        repository = self._repository if record else self._repository.without_catalog()
        new = NewBackup(
            kind=kind,
            description=description,
            alembic_heads=None if alembic_heads is None else tuple(alembic_heads),
            target_revision=target_revision,
        )
        return operations.create_backup(
            repository, new, retention=self._retention, progress=progress
        )

    def require_ready(self) -> None:
        """Raise what would keep :meth:`create` from beginning; nothing is made or changed."""
        operations.require_ready(self._repository)
        self._repository.driver.size()

    def create_unless_same(
        self,
        ref: Reference,
        description: str = "",
        *,
        kind: BackupKind = "automatic",
        progress: Progress | None = None,
    ) -> BackupInfo | None:
        """Take a backup as :meth:`create` does, unless its content is that of ``ref``: then None.

        What is compared is the new copy, before it has a name: the live database is locked no
        longer than a copy takes.
        """
        check_description(description)
        new = NewBackup(kind=kind, description=description)
        earlier = self._finder.get_own(ref)
        return operations.create_unless_same(
            self._repository, new, earlier, retention=self._retention, progress=progress
        )

    # One by one

    def list(self) -> builtins.list[BackupInfo]:
        """Return the backups of this database, newest first: by creation, whatever the clock did.

        A directory may hold those of several databases: others' are left out. One of unknown origin
        (:attr:`BackupInfo.of_unknown_origin`) is included.
        """
        return self._finder.list()

    def candidates(self) -> builtins.list[BackupInfo]:
        """Return the backups that may be meant without being named, newest first.

        The first one is ``latest``. Left out are those of unknown origin, those that were taken
        while the database was half migrated, and those that are dated in the future.
        """
        return self._finder.candidates()

    def others(self) -> builtins.list[BackupInfo]:
        """Return the backups in the directory that are of other databases, newest first."""
        return self._finder.others()

    def get(self, ref: Reference) -> BackupInfo:
        """Return the backup that ``ref`` names.

        ``ref``: a :class:`BackupInfo`, an id or its unique beginning, a file name, a path,
        ``latest``, ``latest~1`` for the one before, or ``revision:abc123`` for the newest whose
        database was at that Alembic revision. The last three mean :meth:`candidates` only. Raises
        :class:`~soulsense_db.errors.BackupNotFoundError`,
        :class:`~soulsense_db.errors.AmbiguousReferenceError` or
        :class:`~soulsense_db.errors.OutsideDirectoryError`.
        """
        return self._finder.get(ref)

    def adopt(self, ref: Reference, *, progress: Progress | None = None) -> BackupInfo:
        """Make a backup of unknown origin one of this database, and return it.

        Verifies it in full and writes a meta file, with a new id and its checksum of now, in place
        of one that is missing, damaged, or an older program's description. From then on ``latest``
        can mean it, unless it is dated in the future. ``progress``: as for :meth:`verify`.
        Raises :class:`~soulsense_db.errors.WrongDatabaseError` for a backup of another database,
        :class:`~soulsense_db.errors.BackupError` for one that is of this database already, and
        errors as :meth:`verify`.
        """
        return operations.adopt_backup(self._repository, self.get(ref), progress=progress)

    def delete(self, ref: Reference) -> None:
        """Delete a backup, its meta file and its row.

        Raises :class:`~soulsense_db.errors.ProtectedBackupError` for one that is pinned, or that a
        migration needs which has not ended; :class:`~soulsense_db.errors.BackupError` for one of
        unknown origin with a log beside it; and errors as :meth:`get`.
        """
        operations.delete_backup(self._repository, self.get(ref))

    def verify(
        self, ref: Reference, *, level: CheckLevel = "full", progress: Progress | None = None
    ) -> VerificationReport:
        """Check a backup by reading it; its data file is never written to.

        ``quick``: size, SHA-256, header. ``full``: also SQLite's ``integrity_check`` and
        ``foreign_key_check``; broken references are warnings, for a faithful backup may have them.
        The meta file records that it passed, or did not, where there is a checksum.

        Raises :class:`~soulsense_db.errors.InvalidBackupError`,
        :class:`~soulsense_db.errors.MetaFileError`, and errors as :meth:`get`.
        """
        return operations.verify_and_record(
            self._repository, self.get(ref), level=level, progress=progress
        )

    def orphans(self) -> set[str]:
        """Return the file names of backups that are gone and left a meta file."""
        return self._repository.directory.orphans()

    def pin(self, ref: Reference, note: str = "") -> BackupInfo:
        """Keep a backup whatever a policy says and whoever deletes; ``note`` says why.

        Raises :class:`~soulsense_db.errors.MetaFileError`,
        :class:`~soulsense_db.errors.StorageError`, and errors as :meth:`get`.
        """
        check_note(note)
        return self._repository.directory.amend(self.get(ref), pinned=True, pin_note=note)

    def unpin(self, ref: Reference) -> BackupInfo:
        """Let a backup go again when its time comes; errors as :meth:`pin`."""
        return self._repository.directory.amend(self.get(ref), pinned=False, pin_note="")

    def prune(
        self,
        policy: RetentionPolicy | None = None,
        *,
        kinds: Collection[str] = (),
        dry_run: bool = False,
    ) -> PruneReport:
        """Remove the backups that ``policy`` (by default the manager's own) does not keep.

        ``kinds``: only these, all by default. Before anything is removed of a kind, its newest
        backup is checked once more (``quick``); when it fails, the newest one that passes stays as
        well, and when none does, nothing is removed. A backup stays whose meta file is missing or
        damaged, or that a migration needs which has not ended. ``dry_run`` removes and checks
        nothing.

        Raises :class:`~soulsense_db.errors.StorageError`; what was not removed yet is still there.
        """
        policy = policy or self._retention or RetentionPolicy()
        return operations.prune_backups(self._repository, policy, kinds=kinds, dry_run=dry_run)

    def import_file(
        self, path: str | Path, description: str = "", *, progress: Progress | None = None
    ) -> BackupInfo:
        """Copy a database file from anywhere into the directory, verified, as a backup.

        With a meta file beside it, the checksum is compared, and time and description are kept;
        else the backup is dated now. It is listed by that date. ``progress``: as for
        :meth:`create`. Raises errors as :meth:`verify`,
        :class:`~soulsense_db.errors.StorageError`; the file itself is only read.
        """
        check_description(description)
        return operations.import_file(self._repository, path, description, progress=progress)

    def export(
        self, ref: Reference, destination: str | Path, *, progress: Progress | None = None
    ) -> Path:
        """Copy a backup, verified, to ``destination`` (a directory, or a file that is not there).

        Its meta file goes with it, so that :meth:`import_file` can compare the checksum. Returns
        the path of the copy. ``progress`` goes over the file twice, while it is verified and while
        it is copied; what it raises in either leaves nothing. Raises errors as :meth:`verify`,
        :class:`~soulsense_db.errors.StorageError`.
        """
        return operations.export_backup(
            self._repository, self.get(ref), destination, progress=progress
        )

    # Restore

    def restore(
        self,
        ref: Reference,
        *,
        progress: Progress | None = None,
        trust_directory: bool = False,
    ) -> RestoreReport:
        """Replace the live database by a backup; all or nothing.

        Verifies the backup in full, copies the live database to ``<its name>.safety_backup``
        beside it (for :meth:`undo_restore`), writes the backup in one transaction with other
        processes connected, reads it back, and rebuilds the catalog. A live database that is
        damaged or missing is restored too; its files are moved aside.

        ``trust_directory``: also from a directory that another user owns or could replace, else
        :class:`~soulsense_db.errors.UntrustedDirectoryError`.

        On any error the live database is what it was and no backup is gone; what fails when it is
        restored is a warning in the report. Raises errors as
        :meth:`verify`, :class:`~soulsense_db.errors.WrongDatabaseError`,
        :class:`~soulsense_db.errors.DatabaseLockedError`,
        :class:`~soulsense_db.errors.RestoreError`.
        """
        return operations.restore_backup(
            self._repository, ref, progress=progress, trust_directory=trust_directory
        )

    def can_restore(
        self, ref: Reference | None = None, *, progress: Progress | None = None
    ) -> RestoreCheck:
        """Return what would keep :meth:`restore` from restoring a backup here and now.

        Everything is done that a restore does before its first write: names, rights and room beside
        the database, the full verification, the encoding, a working copy in the live database's
        page size where it takes one. Nothing is left of it. A lock that somebody has just now is no
        problem; it is waited for a second at most. Without ``ref`` only the database and its place
        are looked at, as the Alembic hook does before it needs a backup.

        ``problems`` are errors as :meth:`restore` raises; raises errors as :meth:`get` and
        :class:`~soulsense_db.errors.WrongDatabaseError`.
        """
        info = None if ref is None else self._finder.get_own(ref)
        return operations.check_restore(self._repository, info, progress=progress)

    def undo_restore(self, *, progress: Progress | None = None) -> RestoreReport:
        """Go back to the database from before the last restore; a second undo goes forth again.

        What came after that restore, however long ago it was, is replaced as well, and kept as the
        new safety backup: :meth:`safety_backup` tells the date, :meth:`compare` the rows. A
        migration that failed and was put back is no restore here. Raises
        :class:`~soulsense_db.errors.NothingToUndoError`, and errors as :meth:`restore`.
        """
        return operations.undo_restore(self._repository, progress=progress)

    def exclusive(self, *, timeout: float | None = None, make_table: bool = True) -> DatabaseLock:
        """Hold the database's own lock: restores and migrations exclude each other with it.

        ``timeout`` in seconds, ``lock_timeout`` by default; raises
        :class:`~soulsense_db.errors.DatabaseLockedError` after it. Creating is not excluded.
        ``make_table=False``: its restores leave an absent catalog table absent. Raises
        :class:`~soulsense_db.errors.UnsupportedDatabaseError` for a database that is a backup.
        """
        repository = self._repository
        return DatabaseLock(
            repository if make_table else repository.with_catalog_as_it_is(),
            timeout=self._repository.driver.lock_timeout if timeout is None else timeout,
        )

    def safety_backup(self) -> BackupInfo | None:
        """Return what :meth:`undo_restore` goes back to, None when there is nothing."""
        return operations.safety_backup(self._repository)

    def compare(self, ref: Reference, *, progress: Progress | None = None) -> DatabaseDiff:
        """Return what restoring a backup would change in the live database, table by table.

        ``ref``: as for :meth:`get`, or what :meth:`safety_backup` returned. The catalog is left
        out. What is compared is a copy, which is removed afterwards: the live database is locked no
        longer than that takes. ``progress``: here its numbers are rows, not bytes, those of both
        databases, and (0, 0) while they are not known; what it raises cancels. Raises errors as
        :meth:`get` and :meth:`create`, and :class:`~soulsense_db.errors.InvalidBackupError`.
        """
        return operations.compare_with_live(self._repository, ref, progress=progress)

    def row_counts(self, ref: Reference) -> tuple[RowCounts, ...]:
        """Return how many rows each table has in a backup and in the live database, by its name.

        Rows are only counted, none is compared. ``ref`` and the catalog: as for :meth:`compare`. A
        live database that is missing or cannot be read is no error: of that all numbers are None.
        Raises errors as :meth:`get`, :class:`~soulsense_db.errors.InvalidBackupError`.
        """
        return operations.row_counts(self._repository, ref)
