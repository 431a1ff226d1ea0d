"""BackupManager: the public face, whose members are those of ``operations``."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self, Unpack

from soulsense_db.codecs import Compression, Identities
from soulsense_db.drivers import engine_for
from soulsense_db.errors import OptionError
from soulsense_db.manager.comparison import ManagerComparison
from soulsense_db.manager.creation import ManagerCreation
from soulsense_db.manager.old_names import OldNames
from soulsense_db.manager.options import ManagerOptions
from soulsense_db.manager.restore import ManagerRestore
from soulsense_db.manager.upkeep import ManagerUpkeep
from soulsense_db.mirroring import DEADLINE_SECONDS, MirrorOperations, Mirrors, MirrorsOption
from soulsense_db.operations import (
    CatalogOperations,
    DifferentialPolicy,
    Forms,
    IdentitiesOption,
    LiveDatabase,
    MigrationAlarm,
    RecipientsOption,
    Repository,
)
from soulsense_db.retention import RetentionPolicy

if TYPE_CHECKING:
    from soulsense_db.drivers import EngineSource


class BackupManager(ManagerCreation, ManagerUpkeep, ManagerComparison, ManagerRestore, OldNames):
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
        tools: The directory of the database server's own programs, such as
            ``/usr/lib/postgresql/16/bin``; None to look for them.
        jobs: How many tables of a PostgreSQL server are dumped or restored at once, each through a
            connection of its own; of other databases always one.
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
        OptionError: There is no such compression; there is no job; the work directory is in the
            backup directory; or a mirror is no URL of one, or would be lost with the database.
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
        tools: str | Path | None = None,
        jobs: int = 1,
        mirrors: MirrorsOption = (),
        mirror_retention: RetentionPolicy | None = None,
        mirror_folder: str | None = None,
        mirror_deadline: float = DEADLINE_SECONDS,
        lock_timeout: float = 30.0,
    ) -> None:
        if jobs < 1:
            raise OptionError(f"jobs is {jobs}.", hint="Set it to a whole number from 1 on.")
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
        repository.driver.tools_directory = Path(tools) if tools else None
        repository.driver.jobs = jobs
        self.events = repository.events
        """What to call when something was done: ``created``, ``removed``, ``failed`` and more."""
        self.live = LiveDatabase(repository.driver, repository.marker_place)
        """The database itself: ``size()``, ``alembic_heads()``, ``address``."""
        self._mirrors = Mirrors.of(
            mirrors,
            retention=mirror_retention,
            folder=mirror_folder,
            deadline=mirror_deadline,
            database=repository.known_as,
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
