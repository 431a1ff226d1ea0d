"""How backups come to be: made, taken in, copied elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from soulsense_db import operations
from soulsense_db.backup_info import BackupInfo, BackupKind, check_description
from soulsense_db.drivers import Progress
from soulsense_db.manager.bound import Bound
from soulsense_db.operations import NewBackup, Reference


class ManagerCreation(Bound):
    """How backups come to be: made, taken in, copied elsewhere."""

    def require_ready(self) -> None:
        """Raise what would keep :meth:`create` from beginning; nothing is made or changed.

        Raises:
            BackupError: As for :meth:`create`.

        Example:
            >>> manager.require_ready()
        """
        operations.require_ready(self._repository)
        self._repository.driver.size()

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

    def import_file(
        self, path: str | Path, description: str = "", *, progress: Progress | None = None
    ) -> BackupInfo:
        """Copy a database file from anywhere into the directory, verified, as a backup.

        With a meta file beside it, its checksum is compared, and its time and description are kept.
        Without one, it has the date that the data itself tells (a dump does), that in the file's
        name, or that of its last change, but none in the future: ``latest`` means the newest data.
        The file is only read.

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
