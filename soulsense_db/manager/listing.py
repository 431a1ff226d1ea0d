"""Which backups there are, and what is known of each."""

from __future__ import annotations

import builtins

from soulsense_db import operations
from soulsense_db.backup_info import BackupInfo
from soulsense_db.manager.bound import Bound
from soulsense_db.operations import Reference


class ManagerListing(Bound):
    """Which backups there are, and what is known of each."""

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
