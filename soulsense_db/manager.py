"""BackupManager: the public face, whose members are those of ``operations``."""

from __future__ import annotations

import builtins
import copy
from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypedDict, Unpack

from soulsense_db import operations
from soulsense_db.backup_info import BackupInfo, BackupKind, check_description, check_note
from soulsense_db.codecs import Compression, Identities
from soulsense_db.drivers import (
    DatabaseDiff,
    DiffReport,
    Progress,
    RowCounts,
    RowSelection,
    RowsPlan,
    Triggers,
    engine_for,
)
from soulsense_db.manager_aliases import OldNames
from soulsense_db.mirroring import DEADLINE_SECONDS, MirrorOperations, Mirrors, MirrorsOption
from soulsense_db.operations import (
    CatalogOperations,
    DatabaseLock,
    DifferentialPolicy,
    DrillCheck,
    Forms,
    IdentitiesOption,
    LiveDatabase,
    MigrationAlarm,
    NewBackup,
    RecipientsOption,
    Reference,
    Repository,
    RestoreCheck,
    RestoreReport,
    RowsReport,
    ScratchCopy,
    VerificationReport,
    VerifyLevel,
)
from soulsense_db.retention import PruneReport, RetentionPolicy

if TYPE_CHECKING:
    from soulsense_db.drivers import EngineSource


class ManagerOptions(TypedDict, total=False):
    """The options of :class:`BackupManager`, for what passes them on."""

    prefix: str
    catalog: bool | str
    retention: RetentionPolicy | None
    compression: Compression | str | None
    differential: DifferentialPolicy | bool
    recipients: RecipientsOption
    identities: IdentitiesOption
    describe_openly: bool
    work_directory: str | Path | None
    mirrors: MirrorsOption
    mirror_retention: RetentionPolicy | None
    mirror_folder: str | None
    mirror_deadline: float
    lock_timeout: float


class BackupManager(OldNames):
    """Backs up one database, and restores it.

    It is safe to use from several threads and processes at once. When other users may write to the
    backup directory, a warning goes to the log ``soulsense_db``, once, when a backup is created or
    restored. Where the database is itself a backup, with its meta file beside it, what would write
    to it raises :class:`~soulsense_db.errors.UnsupportedDatabaseError`.

    Args:
        engine: The engine of the database, for blocking or for async code; or a ``Session``,
            ``sessionmaker`` or ``scoped_session`` that is bound to it.
        directory: Where the backups are: by default ``backups`` beside the database file, or
            ``data/backups`` for a database without a file.
        prefix: What the file names of the backups begin with.
        catalog: The name of the table that has a row for each backup; ``True`` for ``backups``,
            ``False`` for no table.
        retention: The policy by which every :meth:`create` removes old backups of its own
            kind once the new one is safe; None keeps all.
        compression: ``zstd``, or ``zstd:LEVEL`` with a level from 1 to 19, or a
            :class:`~soulsense_db.codecs.Compression`: new backups are compressed. It needs the
            extra ``zstd``. None makes plain database files. Backups of all forms can be in one
            directory.
        differential: True, or a :class:`~soulsense_db.operations.DifferentialPolicy`: a new backup
            holds what differs from an earlier full one, its base; a full one is taken when there is
            no base, or it is time for another. All are compressed.
        recipients: New backups are encrypted for them: public keys of ``age`` or SSH, or the word
            ``passphrase``, or :class:`~soulsense_db.codecs.Recipients`. It needs the extra ``age``.
            None encrypts nothing.
        identities: What opens encrypted backups: the name of a file as ``age-keygen`` writes it, a
            function that returns the private key, or :class:`~soulsense_db.codecs.Identities`. To
            create backups needs none.
        describe_openly: Whether the name and the meta file of an encrypted backup show its
            description. It is encrypted otherwise.
        work_directory: Where the data of a backup that is not plain is while it is created or
            restored, in a private file; None for beside the database. It must not be in the backup
            directory.
        mirrors: Where copies of the backups go: URLs such as ``s3://bucket/prefix``,
            ``sftp://user@host/path``, ``file:///mnt/usb/soulsense``, or
            :class:`~soulsense_db.mirroring.MirrorTarget`. They are uploaded by
            ``mirrors.sync()``, by a scheduled run, or by a :meth:`create` that waits for them.
        mirror_retention: What each mirror keeps that has no policy of its own; None keeps all.
        mirror_folder: The name of the folder for this database at each mirror; None for one made
            of the names of machine and database.
        mirror_deadline: Seconds that :meth:`create` waits for mirrors at most, if it waits.
        lock_timeout: Seconds to wait for a lock: of the database, then
            :class:`~soulsense_db.errors.DatabaseLockedError` is raised; of the directory, then
            :class:`~soulsense_db.errors.DirectoryLockedError`.

    Raises:
        TypeError: ``engine`` is none and is bound to none; the message says what to pass.
        OptionError: There is no such compression; the work directory is in the backup directory; or
            a mirror is no URL of one, or would be lost with the database.
        IdentityError: A secret key is given in the place of a file's name.
        UnsupportedDatabaseError: There is no driver for the engine's dialect.
        PermissionDeniedError: The directory is a link that belongs to another user.

    Example:
        >>> manager = BackupManager(engine, retention=RetentionPolicy(keep_last=10))
        >>> manager.create("Before the import").description
        'Before the import'
    """

    def __init__(
        self,
        engine: EngineSource,
        directory: str | Path | None = None,
        *,
        prefix: str = "soulsense_backup",
        catalog: bool | str = True,
        retention: RetentionPolicy | None = None,
        compression: Compression | str | None = None,
        differential: DifferentialPolicy | bool = False,
        recipients: RecipientsOption = None,
        identities: IdentitiesOption = None,
        describe_openly: bool = False,
        work_directory: str | Path | None = None,
        mirrors: MirrorsOption = (),
        mirror_retention: RetentionPolicy | None = None,
        mirror_folder: str | None = None,
        mirror_deadline: float = DEADLINE_SECONDS,
        lock_timeout: float = 30.0,
    ) -> None:
        self._retention = retention
        forms = Forms.of(
            compression=compression,
            differential=differential,
            recipients=recipients,
            identities=identities,
            describe_openly=describe_openly,
            work_directory=work_directory,
        )
        repository = Repository.of(
            engine,
            directory,
            prefix=prefix,
            catalog=catalog,
            forms=forms,
            lock_timeout=lock_timeout,
        )
        self.events = repository.events
        """What to call when something was done: ``created``, ``removed``, ``failed`` and more."""
        self.live = LiveDatabase(repository.driver)
        """The database itself: ``size()``, ``alembic_heads()``, ``address``."""
        self._mirrors = Mirrors.of(
            mirrors,
            retention=mirror_retention,
            folder=mirror_folder,
            deadline=mirror_deadline,
            database=repository.driver.location,
            directory=repository.directory.directory,
        )
        self._use(repository)

    def _use(self, repository: Repository) -> None:
        self._repository = repository
        self._finder = repository.finder
        self.catalog = CatalogOperations(repository)
        """The table of the backups: ``sync()``, ``rebuild()``, ``names()``."""
        self.mirrors = MirrorOperations(repository, self._mirrors)
        """Copies elsewhere: ``sync()``, ``status()``, ``list()``, ``verify()``, ``fetch()``."""
        self.alarm = MigrationAlarm(repository)
        """The migration that has not ended: ``error()``, ``marker()``, ``accept()``."""

    @classmethod
    def from_url(
        cls, url: str, directory: str | Path | None = None, **options: Unpack[ManagerOptions]
    ) -> Self:
        """Return a manager with a new engine.

        Args:
            url: A database URL, or the path of an SQLite file.
            directory: As for :class:`BackupManager`.
            options: The others, as for :class:`BackupManager`.

        Returns:
            The manager of that database.

        Raises:
            UnsupportedDatabaseError: It is no URL, or there is no driver for its dialect.
            PermissionDeniedError: The directory is a link that belongs to another user.

        Example:
            >>> BackupManager.from_url("sqlite:///app.db").database.name
            'app.db'
        """
        return cls(engine_for(url), directory, **options)

    @property
    def directory(self) -> Path:
        """The backup directory, absolute; it is made by the first backup."""
        return self._repository.directory.directory

    @property
    def database(self) -> Path | None:
        """The live database's file, absolute; None when it has none."""
        return self._repository.driver.location

    @property
    def identities(self) -> Identities:
        """What opens encrypted backups, as it was given: where keys are, and no key."""
        return self._repository.forms.identities

    def with_identities(self, identities: IdentitiesOption) -> Self:
        """Return a manager that opens encrypted backups with other keys, and is the same else.

        For keys that a person gives while the program runs. The new manager has the listeners and
        the settings of this one, which is not changed.

        Args:
            identities: As for :class:`BackupManager`. They take the place of those of this manager,
                apart from the passphrase that it encrypts with.

        Returns:
            The manager with them.

        Raises:
            TypeError: They are no identities.
            IdentityError: A secret key is given in the place of a file's name.

        Example:
            >>> manager.with_identities("/etc/app/key.txt").identities
            Identities(the file /etc/app/key.txt)
        """
        other = copy.copy(self)
        forms = self._repository.forms.with_identities(identities)
        other._use(replace(self._repository, forms=forms))
        return other

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
        wait_for_mirrors: bool = False,
    ) -> BackupInfo:
        """Take a backup of all committed data.

        The application may go on reading and writing. After an error no backup was made. What fails
        once it is made (its row, the removal of old backups) is a warning in the log
        ``soulsense_db``.

        Args:
            description: A few words for people; the file name has their beginning.
            kind: Why it was taken. Retention rules count each kind by itself.
            progress: Told how many bytes of how many are done; see
                :data:`~soulsense_db.progress.Progress`. It is called for the last time when the
                copy is checked. What it raises until then cancels, and leaves nothing.
            alembic_heads: The revisions of the database, by default those in the backup's
                ``alembic_version``.
            target_revision: Where the migration that follows is going.
            record: False writes nothing to the database: the row comes with the next backup or
                ``catalog.sync()``.
            wait_for_mirrors: True uploads it, and what else is owed, before it returns, for
                ``mirror_deadline`` at most; what fails is a warning in the log ``soulsense_db``.
                False leaves that to the next scheduled run or ``mirrors.sync()``.

        Returns:
            The facts of the new backup.

        Raises:
            MissingExtraError: The library for the compression is not installed.
            DatabaseFileNotFoundError: The database file does not exist.
            DatabaseLockedError: The database was locked for ``lock_timeout`` seconds.
            DatabaseDamagedError: The database cannot be read, or fails its check.
            StorageError: The file system refused something, or the directory was locked.
            CatalogError: The catalog's table belongs to the application.
            InvalidDescriptionError: The description is too long, or no text.
            ValueError: There is no such kind.

        Example:
            >>> info = manager.create("After the import")
            >>> info.filename, info.kind, info.pinned
            ('soulsense_backup_..._After_the_import.db', 'manual', False)
        """
        check_description(description)
        repository = self._repository if record else self._repository.without_catalog()
        new = NewBackup(
            kind=kind,
            description=description,
            alembic_heads=None if alembic_heads is None else tuple(alembic_heads),
            target_revision=target_revision,
        )
        info = operations.create_backup(
            repository, new, retention=self._retention, progress=progress
        )
        if wait_for_mirrors:
            self.mirrors.upload_after(info)
        return info

    def require_ready(self) -> None:
        """Raise what would keep :meth:`create` from beginning; nothing is made or changed.

        Raises:
            BackupError: As for :meth:`create`.

        Example:
            >>> manager.require_ready()
        """
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
        """Take a backup as :meth:`create` does, unless an earlier one has the same content.

        The new copy is compared before it has a name: the live database is locked no longer than a
        copy takes.

        Args:
            ref: The earlier backup, as for :meth:`get`.
            description: As for :meth:`create`.
            kind: As for :meth:`create`.
            progress: As for :meth:`create`.

        Returns:
            The new backup; None when the earlier one has its content.

        Raises:
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.
            WrongDatabaseError: The earlier backup is of another database.
            BackupError: As for :meth:`create`.

        Example:
            >>> manager.create_unless_same("latest", "Nightly").kind
            'automatic'
            >>> manager.create_unless_same("latest", "Nightly") is None
            True
        """
        check_description(description)
        new = NewBackup(kind=kind, description=description)
        return operations.create_unless_same(
            self._repository, new, ref, retention=self._retention, progress=progress
        )

    # One by one

    def list(self) -> builtins.list[BackupInfo]:
        """Return the backups of this database, those of unknown origin too.

        A directory may hold the backups of several databases: those of others are left out.
        :attr:`BackupInfo.of_unknown_origin` tells the ones that nobody knows.

        Returns:
            The newest first, by creation, whatever the clock did.

        Raises:
            StorageError: The directory cannot be read.

        Example:
            >>> [info.description for info in manager.list()]
            ['Before the import']
        """
        return self._finder.list()

    def candidates(self) -> builtins.list[BackupInfo]:
        """Return the backups that ``latest`` and the like can mean.

        Left out are those of unknown origin, those that were taken while the database was half
        migrated, and those that are dated in the future.

        Returns:
            The newest first, which is ``latest``.

        Raises:
            StorageError: The directory cannot be read.

        Example:
            >>> manager.candidates()[0] == manager.get("latest")
            True
        """
        return self._finder.candidates()

    def others(self) -> builtins.list[BackupInfo]:
        """Return the backups in the directory that are of other databases.

        Returns:
            The newest first.

        Raises:
            StorageError: The directory cannot be read.

        Example:
            >>> manager.others()
            []
        """
        return self._finder.others()

    def get(self, ref: Reference) -> BackupInfo:
        """Return one backup.

        Args:
            ref: A :class:`BackupInfo`, an id or its unique beginning, a file name, a path,
                ``latest``, ``latest~1`` for the one before, or ``revision:abc123`` for the newest
                whose database was at that Alembic revision. The last three mean :meth:`candidates`
                only.

        Returns:
            Its facts.

        Raises:
            BackupNotFoundError: There is no such backup.
            AmbiguousReferenceError: Several backups fit.
            OutsideDirectoryError: The path is not directly in the backup directory.

        Example:
            >>> manager.get("latest").description
            'Before the import'
        """
        return self._finder.get(ref)

    def adopt(self, ref: Reference, *, progress: Progress | None = None) -> BackupInfo:
        """Make a backup of unknown origin one of this database.

        It is verified in full, and keeps its time and description. A meta file, with a new id and
        its checksum of now, takes the place of one that is missing, damaged, or an older program's
        description. From then on ``latest`` can mean it, unless it is dated in the future.

        Args:
            ref: The backup, as for :meth:`get`.
            progress: As for :meth:`verify`.

        Returns:
            Its new facts.

        Raises:
            WrongDatabaseError: It is a backup of another database.
            BackupError: It is of this database already, or there is a log beside it.
            InvalidBackupError: It fails a check.
            MetaFileError: A newer version of this package wrote its meta file.
            StorageError: The file system refused something.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> import shutil
            >>> found = shutil.copy("app.db", "backups/soulsense_backup_20240129_143052.db")
            >>> manager.get(found).of_unknown_origin
            True
            >>> manager.adopt(found).of_unknown_origin
            False
        """
        return operations.adopt_backup(self._repository, ref, progress=progress)

    def delete(self, ref: Reference, *, cascade: bool = False) -> None:
        """Delete a backup, its meta file and its row.

        Args:
            ref: The backup, as for :meth:`get`.
            cascade: Whether to delete with it the differentials that need it, see
                :meth:`dependents`.

        Raises:
            ProtectedBackupError: It is pinned, or a migration that has not ended needs it, or a
                differential does.
            BackupError: It is of unknown origin, and there is a log beside it.
            StorageError: The file system refused it.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> manager.delete("latest")
            >>> manager.list()
            []
        """
        operations.delete_backup(self._repository, ref, cascade=cascade)

    def dependents(self, ref: Reference) -> builtins.list[BackupInfo]:
        """Return the differentials that cannot be restored without a backup.

        Args:
            ref: The backup, as for :meth:`get`.

        Returns:
            The newest first; none where another backup has the same content.

        Raises:
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> manager.dependents("latest")
            []
        """
        return operations.dependents_of(self._repository, ref)

    def description_of(self, ref: Reference) -> str:
        """Return the description of a backup, decrypted where it is encrypted.

        Args:
            ref: The backup, as for :meth:`get`.

        Returns:
            The description, empty where it has none.

        Raises:
            IdentityError: It is encrypted, and none of the identities opens it.
            InvalidBackupError: It is encrypted, and damaged.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> manager.description_of("latest")
            'Before the import'
        """
        info = self._finder.get(ref)
        return operations.with_opened_description(self._repository, info).description

    def require_key(self, ref: Reference) -> None:
        """Raise unless a backup can be decrypted here and now; one that is not encrypted can.

        Only the beginning of its file is read.

        Args:
            ref: The backup, as for :meth:`get`.

        Raises:
            IdentityError: It is encrypted, and none of the identities opens it.
            BaseError: It is a differential, and its base is not there.
            InvalidBackupError: It is not encrypted as its name says, or damaged.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> manager.require_key("latest")
        """
        operations.require_key(self._repository, self._finder.get(ref))

    def verify(
        self,
        ref: Reference,
        *,
        level: VerifyLevel = "full",
        checks: Iterable[DrillCheck] = (),
        progress: Progress | None = None,
    ) -> VerificationReport:
        """Check a backup by reading it, or by restoring it; its data file is never written to.

        Where there is a checksum, the meta file records whether the backup passed. A drill restores
        it to a private folder that is gone at the end; the live database is not touched.

        Args:
            ref: The backup, as for :meth:`get`.
            level: ``quick`` checks size, SHA-256 and header (of a compressed backup, size and
                SHA-256); ``full`` decompresses it, and also does SQLite's
                ``integrity_check`` and ``foreign_key_check``. ``drill`` restores it as a new
                machine would, then does these checks with what was restored, and compares the rows
                of each table, the Alembic revisions and the number of broken references with what
                was recorded.
            checks: Of a drill, what you require yourself of the restored database: a ``SELECT``
                that must be true; a mapping with ``sql`` and one of ``is``, ``at-least`` and
                ``at-most``; or a function that is called with an engine, and raises or returns
                False if something is wrong. No time limit ends a function.
            progress: Told how many bytes of how many were read; what it raises cancels.

        Returns:
            What was checked. Broken references are among its warnings, for a faithful backup may
            have them.

        Raises:
            InvalidBackupError: The backup fails a check; each check has a class of its own.
            DrillError: What was restored is not what was backed up, or fails one of ``checks``.
            IdentityError: Nothing at hand decrypts it.
            NotEnoughSpaceError: There is no room to restore it to.
            OptionError: One of ``checks`` says nothing.
            MetaFileError: Its meta file cannot be trusted.
            StorageError: It cannot be read.
            ValueError: There is no such level; or there are ``checks``, and it is no drill.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> report = manager.verify("latest")
            >>> report.checksum, report.warnings
            (True, ())
            >>> enough = {"sql": "SELECT count(*) FROM entries", "at-least": 1}
            >>> manager.verify("latest", level="drill", checks=[enough]).drill.checks
            ('SELECT count(*) FROM entries',)
        """
        if level == "drill":
            return operations.drill_and_record(
                self._repository, ref, checks=checks, progress=progress
            )
        if checks:
            raise ValueError("checks are for level='drill'")
        return operations.verify_and_record(self._repository, ref, level=level, progress=progress)

    def drills_due(self) -> builtins.list[BackupInfo]:
        """Return the backups whose turn it is to be drilled, so that all are within 30 days.

        First those that waited longest; a new one waits as one that was drilled when it was taken.
        What was drilled since yesterday counts, so that several runs a day do no more than one.

        Returns:
            They, and none where today's share is done.

        Raises:
            StorageError: The directory cannot be read.

        Example:
            >>> [info.description for info in manager.drills_due()]
            ['Before the import']
            >>> report = manager.verify("latest", level="drill")
            >>> manager.drills_due()
            []
        """
        # Those that can be told from another one's, and whose facts say what they were.
        own = [info for info in self.list() if info.sha256 and not info.of_unknown_origin]
        drilled = {info.filename: info.drilled_at for info in own if info.drilled_at is not None}
        return operations.drill_turn(own, drilled, now=datetime.now(UTC))

    def last_drill(self) -> datetime | None:
        """Return when a drill of any backup of this database last passed, here or at a mirror.

        Returns:
            The moment, aware, UTC; None when none ever has.

        Raises:
            StorageError: The directory cannot be read.

        Example:
            >>> report = manager.verify("latest", level="drill")
            >>> manager.last_drill() == manager.get("latest").drilled_at
            True
        """
        moments = [info.drilled_at for info in self.list() if info.drill_result == "passed"]
        moments.append(operations.DrillRecordFile.of(self._repository).passed_at())
        return max(filter(None, moments), default=None)

    def orphans(self) -> set[str]:
        """Return the names of backups that are gone but left a meta file.

        Returns:
            The file names of the backups, not of their meta files.

        Raises:
            StorageError: The directory cannot be read.

        Example:
            >>> from pathlib import Path
            >>> Path(manager.get("latest").path).unlink()
            >>> manager.orphans()
            {'soulsense_backup_..._Before_the_import.db'}
        """
        return self._repository.directory.orphans()

    def pin(self, ref: Reference, note: str = "") -> BackupInfo:
        """Keep a backup: no policy removes it, and :meth:`delete` refuses to.

        Args:
            ref: The backup, as for :meth:`get`.
            note: Why it is kept.

        Returns:
            Its new facts.

        Raises:
            InvalidDescriptionError: The note is too long, or no text.
            MetaFileError: Its meta file cannot be trusted.
            StorageError: The file system refused it.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> manager.pin("latest", "for the auditors").pin_note
            'for the auditors'
        """
        check_note(note)
        return self._repository.directory.amend(self.get(ref), pinned=True, pin_note=note)

    def unpin(self, ref: Reference) -> BackupInfo:
        """Undo :meth:`pin`: the backup is kept as long as any other.

        Args:
            ref: The backup, as for :meth:`get`.

        Returns:
            Its new facts.

        Raises:
            MetaFileError: Its meta file cannot be trusted.
            StorageError: The file system refused it.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> manager.unpin("latest").pinned
            False
        """
        return self._repository.directory.amend(self.get(ref), pinned=False, pin_note="")

    def prune(
        self,
        policy: RetentionPolicy | None = None,
        *,
        kinds: Collection[str] = (),
        dry_run: bool = False,
    ) -> PruneReport:
        """Remove the backups that a policy does not keep.

        Before any backup of a kind is removed, the newest one of that kind is checked again
        (``quick``). When it fails, the newest one that passes stays as well; when none passes, none
        is removed. A backup also stays when its meta file is missing or damaged, or when a
        migration that has not ended needs it.

        Args:
            policy: What to keep, by default the manager's own policy. Without either, nothing is
                removed.
            kinds: Only backups of these kinds; by default of all.
            dry_run: True removes and checks nothing.

        Returns:
            What stays and what goes, and why.

        Raises:
            StorageError: The file system refused something. What was not removed yet is still
                there.

        Example:
            >>> report = manager.prune(RetentionPolicy(keep_last=7, keep_daily=14), dry_run=True)
            >>> len(report.kept), len(report.removed)
            (1, 0)
        """
        policy = policy or self._retention or RetentionPolicy()
        return operations.prune_backups(self._repository, policy, kinds=kinds, dry_run=dry_run)

    def import_file(
        self, path: str | Path, description: str = "", *, progress: Progress | None = None
    ) -> BackupInfo:
        """Copy a database file from anywhere into the directory, verified, as a backup.

        With a meta file beside it, its checksum is compared, and its time and description are kept;
        without one, the backup is dated now. It is listed at that date. The file is only read.

        Args:
            path: The file.
            description: As for :meth:`create`; by default that of the meta file.
            progress: As for :meth:`create`.

        Returns:
            The facts of the new backup.

        Raises:
            InvalidBackupError: The file fails a check.
            MetaFileError: Its meta file cannot be trusted.
            BackupNotFoundError: There is no such file.
            BackupError: The file is the live database.
            StorageError: The file system refused something.
            InvalidDescriptionError: The description is too long, or no text.

        Example:
            >>> path = manager.export("latest", "copy.db")
            >>> manager.import_file(path, "From the old laptop").kind
            'imported'
        """
        check_description(description)
        return operations.import_file(self._repository, path, description, progress=progress)

    def export(
        self,
        ref: Reference,
        destination: str | Path,
        *,
        plain: bool = False,
        progress: Progress | None = None,
    ) -> Path:
        """Copy a backup, verified, to another place.

        Its meta file goes with it: :meth:`import_file` can then compare the checksum.

        Args:
            ref: The backup, as for :meth:`get`.
            destination: A directory, or a file that does not exist yet. A compressed backup stays
                compressed in a directory, and in a file whose name ends in ``.zst``.
            plain: True makes a plain database file of a compressed backup in a directory, too.
            progress: Told how many bytes of how many are done, twice: while the backup is verified,
                and while it is copied. What it raises cancels, and leaves nothing.

        Returns:
            The path of the copy.

        Raises:
            InvalidBackupError: The backup fails a check.
            MetaFileError: Its meta file cannot be trusted.
            StorageError: The file system refused something, or the file exists.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> manager.export("latest", "copy.db").name
            'copy.db'
        """
        return operations.export_backup(
            self._repository, ref, destination, plain=plain, progress=progress
        )

    # Restore

    def restore(
        self,
        ref: Reference,
        *,
        progress: Progress | None = None,
        trust_directory: bool = False,
    ) -> RestoreReport:
        """Replace the live database with a backup; all or nothing.

        The backup is verified in full. The live database is copied to ``<its name>.safety_backup``
        beside it, for :meth:`undo_restore`. Then the backup is written in one transaction while
        other processes stay connected, and read back, and the catalog is rebuilt. A live database
        that is damaged or missing is restored too; its files are moved aside.

        After an error no backup is gone, and the live database is what the ``outcome`` of the error
        says: what it was, unless the disk failed in the middle. What fails once it is restored is a
        warning in the report.

        Args:
            ref: The backup, as for :meth:`get`.
            progress: Told how many bytes of how many are done; what it raises cancels, but for the
                last call, which finds the restore done.
            trust_directory: True also restores from a directory that another user owns or could
                replace.

        Returns:
            What was done.

        Raises:
            InvalidBackupError: The backup fails a check.
            WrongDatabaseError: It is a backup of another database.
            MetaFileError: Its meta file cannot be trusted.
            UntrustedDirectoryError: Another user owns the directory or could replace it.
            DatabaseLockedError: The database was locked for ``lock_timeout`` seconds.
            RestoreError: It failed in the middle; its ``outcome`` says what the database is now.
            StorageError: The file system refused something.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> report = manager.restore("latest")
            >>> report.verified, report.safety_backup.name
            (True, 'app.db.safety_backup')
        """
        return operations.restore_backup(
            self._repository, ref, progress=progress, trust_directory=trust_directory
        )

    def can_restore(
        self, ref: Reference | None = None, *, progress: Progress | None = None
    ) -> RestoreCheck:
        """Return what would keep :meth:`restore` from restoring a backup here and now.

        It does all that a restore does before its first write: names, rights and room beside the
        database, the full verification, the encoding, and a working copy in the live database's
        page size where that is possible. Nothing is left of it. A lock that somebody has just now
        is no problem; it is waited for a second at most.

        Args:
            ref: The backup, as for :meth:`get`. None looks only at the database and its place, as
                the Alembic hook does before it needs a backup.
            progress: As for :meth:`verify`.

        Returns:
            The problems, which are errors that :meth:`restore` would raise.

        Raises:
            WrongDatabaseError: It is a backup of another database.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> manager.can_restore("latest").ok
            True
        """
        info = None if ref is None else self._finder.get_own(ref)
        return operations.check_restore(self._repository, info, progress=progress)

    def undo_restore(self, *, progress: Progress | None = None) -> RestoreReport:
        """Go back to the database from before the last restore; a second undo undoes the first.

        All that was written since that restore, however long ago it was, is replaced as well. It is
        kept as the new safety backup. :meth:`safety_backup` tells its date first, and
        :meth:`compare` the rows. A migration that failed and was put back does not count as a
        restore.

        Args:
            progress: As for :meth:`restore`.

        Returns:
            What was done.

        Raises:
            NothingToUndoError: There is no safety backup.
            InvalidBackupError: The safety backup fails a check.
            MetaFileError: Its meta file cannot be trusted.
            DatabaseLockedError: The database was locked for ``lock_timeout`` seconds.
            RestoreError: It failed in the middle; its ``outcome`` says what the database is now.
            StorageError: The file system refused something.

        Example:
            >>> report = manager.restore("latest")
            >>> manager.undo_restore().verified
            True
        """
        return operations.undo_restore(self._repository, progress=progress)

    def preview_rows(
        self,
        ref: Reference,
        table: str,
        where: str | None = None,
        *,
        replace: bool = False,
        with_parents: bool = False,
        with_children: bool = False,
        without_columns: Sequence[str] = (),
        triggers: Triggers = "skip",
        samples: int = 5,
        progress: Progress | None = None,
    ) -> RowsPlan:
        """Return what :meth:`restore_rows` would do; nothing is written or locked.

        The backup is not verified for it.

        Args:
            ref: As for :meth:`restore_rows`; and so are the other options.
            table: As for :meth:`restore_rows`.
            where: As for :meth:`restore_rows`.
            replace: As for :meth:`restore_rows`.
            with_parents: As for :meth:`restore_rows`.
            with_children: As for :meth:`restore_rows`.
            without_columns: As for :meth:`restore_rows`.
            triggers: As for :meth:`restore_rows`.
            samples: How many of the rows that would be written are shown.
            progress: Called with (0, 0) now and then; what it raises cancels.

        Returns:
            The plan. Its ``problem`` is what :meth:`restore_rows` would raise for
            ``missing_parents``.

        Raises:
            RowsRefusedError: The rows cannot come back, whatever the options are.
            OptionError: ``where`` is not one SQL expression that reads, or a column is none.
            InvalidBackupError: The backup cannot be read.
            WrongDatabaseError: It is a backup of another database.
            DatabaseFileNotFoundError: The database file does not exist.
            DatabaseLockedError: The database was locked for ``lock_timeout`` seconds.
            StorageError: The file system refused something.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> plan = manager.preview_rows("latest", "entries", "id = 1")
            >>> [(one.table, one.inserted, one.same) for one in plan.tables]
            [('entries', 0, 1)]
        """
        selection = RowSelection(
            table=table,
            where=where,
            replace=replace,
            with_parents=with_parents,
            with_children=with_children,
            without_columns=tuple(without_columns),
            triggers=triggers,
        )
        return operations.preview_rows(
            self._repository, ref, selection, samples=samples, progress=progress
        )

    def restore_rows(
        self,
        ref: Reference,
        table: str,
        where: str | None = None,
        *,
        replace: bool = False,
        with_parents: bool = False,
        with_children: bool = False,
        without_columns: Sequence[str] = (),
        triggers: Triggers = "skip",
        expected: RowsPlan | None = None,
        progress: Progress | None = None,
        trust_directory: bool = False,
    ) -> RowsReport:
        """Bring chosen rows of a backup back, and leave all else as it is; all or nothing.

        Rows that the live database does not have are inserted. Rows are the same that have the same
        primary key; in a table without one, and where a NULL is in it, those that have the same
        values. The backup is verified in full first. All is written in one transaction, after a
        copy of the live database was made as for :meth:`restore`: :meth:`undo_restore` goes back to
        it. Where there is nothing to write, no copy is made.

        Args:
            ref: The backup, as for :meth:`get`.
            table: The name of the table, in the backup.
            where: An SQL expression over the columns of the table in the backup, as ``id = 17``:
                which rows. It can only read the backup. None for all rows.
            replace: True also overwrites rows that have other values now.
            with_parents: True also brings back the rows that these refer to by a foreign key, and
                that are gone, and those that they refer to. Otherwise they are refused.
            with_children: True also brings back the rows that refer to these by a foreign key, such
                as those that were deleted with them, and those that refer to them.
            without_columns: Columns of the table that are not written, such as those that it does
                not have any more.
            triggers: ``skip``: the rows become what they were in the backup, and the triggers of
                the tables do not run. ``run``: they run.
            expected: What :meth:`preview_rows` returned for the same options. Where something else
                would be done by now, nothing is.
            progress: Told how many rows of how many are written; (0, 0) while they are looked for.
                What it raises cancels; the last call comes before they are saved.
            trust_directory: As for :meth:`restore`.

        Returns:
            What was done.

        Raises:
            RowsRefusedError: The rows do not fit into the database as it is.
            OptionError: ``where`` is not one SQL expression that reads, or a column is none.
            InvalidBackupError: The backup fails a check.
            WrongDatabaseError: It is a backup of another database.
            MetaFileError: Its meta file cannot be trusted.
            UntrustedDirectoryError: Another user owns the directory or could replace it.
            InterruptedMigrationError: A migration died half-way.
            DatabaseFileNotFoundError: The database file does not exist.
            DatabaseLockedError: The database was locked for ``lock_timeout`` seconds.
            RestoreError: The disk failed in the middle; its ``outcome`` says what the database is.
            StorageError: The file system refused something.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> report = manager.restore_rows("latest", "entries", "id = 1", with_parents=True)
            >>> report.inserted, report.safety_backup
            (0, None)
        """
        selection = RowSelection(
            table=table,
            where=where,
            replace=replace,
            with_parents=with_parents,
            with_children=with_children,
            without_columns=tuple(without_columns),
            triggers=triggers,
        )
        return operations.restore_rows(
            self._repository,
            ref,
            selection,
            expected=expected,
            progress=progress,
            trust_directory=trust_directory,
        )

    def exclusive(self, *, timeout: float | None = None, make_table: bool = True) -> DatabaseLock:
        """Hold the database's own lock: restores and migrations exclude each other with it.

        Backups can still be created.

        Args:
            timeout: Seconds to wait for it, by default ``lock_timeout``.
            make_table: False: where there is no catalog table, restores under this lock make none.

        Returns:
            The lock, held until its ``release()`` or the end of its ``with`` block. Its
            ``restore()`` and ``undo()`` do what those of the manager do.

        Raises:
            DatabaseLockedError: Somebody else held it for ``timeout`` seconds.
            UnsupportedDatabaseError: The database is a backup.

        Example:
            >>> with manager.exclusive() as lock:
            ...     report = lock.restore("latest")
        """
        repository = self._repository
        return DatabaseLock(
            repository if make_table else repository.with_catalog_as_it_is(),
            timeout=self._repository.driver.lock_timeout if timeout is None else timeout,
        )

    def safety_backup(self) -> BackupInfo | None:
        """Return what :meth:`undo_restore` goes back to.

        Returns:
            Its facts; None when there is nothing to go back to.

        Example:
            >>> manager.safety_backup() is None
            True
        """
        return operations.safety_backup(self._repository)

    def compare(self, ref: Reference, *, progress: Progress | None = None) -> DatabaseDiff:
        """Return what restoring a backup would change in the live database, table by table.

        The catalog is left out. A copy of the live database is compared, and then removed: the
        database is locked no longer than the copy takes.

        Args:
            ref: A backup as for :meth:`get`, or what :meth:`safety_backup` returned.
            progress: Told how many rows of how many were compared, those of both databases; (0, 0)
                while the numbers are not known. What it raises cancels.

        Returns:
            The tables that differ.

        Raises:
            InvalidBackupError: The backup cannot be read.
            WrongDatabaseError: It is a backup of another database.
            DatabaseFileNotFoundError: The database file does not exist.
            DatabaseLockedError: The database was locked for ``lock_timeout`` seconds.
            DatabaseDamagedError: The database cannot be read.
            StorageError: The file system refused something.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> for table in manager.compare("latest").tables:
            ...     print(table.table, "would lose", table.lost, "row(s)")
            entries would lose 1 row(s)
        """
        return operations.compare_with_live(self._repository, ref, progress=progress)

    def diff(
        self,
        ref: Reference,
        other: Reference | None = None,
        *,
        tables: Collection[str] = (),
        rows: int = 0,
        progress: Progress | None = None,
    ) -> DiffReport:
        """Return what differs from a backup to the live database, or from one backup to another.

        The direction is that of time: "added" is what only the second one has, which is the live
        database unless ``other`` is given. The catalog is left out. Of the live database a copy is
        compared, and then removed: it is locked no longer than the copy takes. Backups of other
        databases may be named; a warning says so.

        Args:
            ref: A backup as for :meth:`get`, or what :meth:`safety_backup` returned.
            other: Another one; None for the live database.
            tables: The tables to compare; none for all.
            rows: How many rows of each kind and table the report keeps, 1,000 at most. Values of
                more than 4 KB are a :class:`~soulsense_db.drivers.LongValue` there.
            progress: Told how many rows of how many were read, those of both; (0, 0) while the
                numbers are not known. What it raises cancels.

        Returns:
            What differs, in the schema and in each table.

        Raises:
            OptionError: Neither has a table of that name; or ``rows`` is not from 0 to 1,000.
            InvalidBackupError: A backup cannot be read.
            IdentityError: Nothing at hand opens an encrypted one.
            DatabaseFileNotFoundError: The database file does not exist.
            DatabaseLockedError: The database was locked for ``lock_timeout`` seconds.
            DatabaseDamagedError: The database cannot be read.
            StorageError: The file system refused something.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> for table in manager.diff("latest").changed_tables:
            ...     print(table.table, table.added, "added", table.removed, "removed")
            entries 1 added 0 removed
        """
        return operations.diff_backups(
            self._repository, ref, other, tables=tables, rows=rows, progress=progress
        )

    def scratch_copy(
        self, ref: Reference | None = None, *, progress: Progress | None = None
    ) -> AbstractContextManager[ScratchCopy]:
        """Copy the database, or what is in a backup, to try something on the copy.

        Args:
            ref: A backup, as for :meth:`get`; None for the live database.
            progress: Told how many bytes of how many are done; what it raises cancels.

        Returns:
            A context manager. The copy is there in its block, and is gone at the end, with what
            was put beside it. It is a private file beside the database or in ``work_directory``.

        Raises:
            BackupError: As for :meth:`create`, or for :meth:`verify`, when the block begins.

        Example:
            >>> with manager.scratch_copy("latest") as copy:
            ...     print(copy.backup.description)
            Before the import
        """
        return operations.scratch_copy(self._repository, ref, progress=progress)

    def row_counts(self, ref: Reference) -> tuple[RowCounts, ...]:
        """Count the rows of each table in a backup and in the live database.

        Rows are only counted, not compared. The catalog is left out. A live database that is
        missing or cannot be read is no error: then all its numbers are None.

        Args:
            ref: As for :meth:`compare`.

        Returns:
            The numbers of each table, by its name.

        Raises:
            InvalidBackupError: The backup cannot be read.
            WrongDatabaseError: It is a backup of another database.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> {table.table: (table.backup, table.live) for table in manager.row_counts("latest")}
            {'alembic_version': (1, 1), 'entries': (2, 3)}
        """
        return operations.row_counts(self._repository, ref)
