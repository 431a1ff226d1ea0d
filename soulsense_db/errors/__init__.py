"""The error tree: everything this package raises on purpose.

    BackupError                       1   (``DatabaseError`` is another name for it)
    ├── DatabaseFileNotFoundError    10   the live database is not there
    ├── DatabaseLockedError          11   somebody holds the live database
    ├── DatabaseDamagedError         12   the live database cannot be read
    ├── UnsupportedDatabaseError     13   no driver for this dialect
    ├── DatabaseChangedError         14   another file than the manager was made for
    ├── DatabaseNotNamedError        15   nothing says which database is meant
    ├── ApplicationCodeError         16   the application's code leads to no engine
    ├── DatabaseUnreachableError     17   the server does not answer, or refuses the login
    ├── MissingRightError            18   the database user lacks a right
    ├── ServerToolError              19   a program of the server is missing, or of another version
    ├── BackupNotFoundError          20   no such backup
    ├── InvalidBackupError           21   a backup that must not be restored
    │   ├── EmptyBackupError         22   0 bytes
    │   ├── NotADatabaseError        23   some other kind of file
    │   ├── TruncatedBackupError     24   shorter than its header says
    │   ├── ChecksumMismatchError    25   bytes changed since it was taken
    │   ├── WrongDatabaseError       26   taken from another database
    │   ├── BaseError                36   the base of a differential is gone or changed
    │   └── DrillError               37   restored somewhere else, it is not what it was
    ├── MetaFileError                27   a ``.meta`` that cannot be trusted
    │   └── NewerFormatError         28   written by a newer soulsense_db
    ├── OutsideDirectoryError        29   not a backup of this directory
    ├── InvalidDescriptionError      30   a description no meta file can hold
    ├── AmbiguousReferenceError      31   more than one backup fits
    ├── ProtectedBackupError         32   a backup that must not be deleted now
    ├── PruneError                   33   old backups could not all be removed
    ├── MissingExtraError            34   an optional library is not installed
    ├── IdentityError                35   no key opens a sealed backup, or none can be read
    ├── StorageError                 40   the file system refused
    │   ├── PermissionDeniedError    41   not allowed to read or write
    │   ├── DirectoryIsAFileError    42   the backup directory is a file
    │   ├── NotEnoughSpaceError      43   the disk is full
    │   ├── DirectoryLockedError     44   another process works in the directory
    │   └── UntrustedDirectoryError  45   other users can replace the backups in it
    ├── CatalogError                 50   the ``backups`` table is somebody else's
    ├── RestoreError                 60   a restore failed; the outcome says what is live now
    │   ├── NothingToUndoError       61   no safety backup to go back to
    │   └── RowsRefusedError         62   chosen rows do not fit into the database as it is
    ├── InterruptedMigrationError    70   a migration died half-way
    ├── OptionError                  71   an option that means nothing
    ├── NotConfirmedError            73   a question was not answered with yes
    ├── DisplayError                 74   there is no screen for a window
    ├── RehearsalFailedError         76   a migration fails on a copy, or breaks what is there
    ├── DataLossError                77   a migration loses data on a copy
    └── MirrorError                  80   a mirror refused something
        ├── MirrorUnreachableError   81   it was not reached, or the connection broke
        ├── MirrorDeniedError        82   credentials or a right are missing, or a host is unknown
        ├── MirrorNotFoundError      83   no such bucket or directory, or a drive is not mounted
        └── MirrorFullError          84   no space is left there

``MigrationRefusedError`` (72), ``MigrationFailedError`` (75), ``RehearsalRefusedError`` (78) and
``DataLossRefusedError`` (79) are Alembic's errors as well: see ``soulsense_db.alembic``.

The number is the exit code of the command line. An error carries facts: ``what`` happened, the
``outcome`` for the data, a ``remedy``, and where they are known the ``path``, the ``reason``, the
``candidates`` and the ``backup`` that it is about. The command line, the window and ``str()`` each
render them. Errors can be pickled. Passwords in URLs are masked in all that is rendered, and
characters that would act on a terminal are spaces.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from soulsense_db.errors.outcome import WAY_BACK as WAY_BACK
from soulsense_db.errors.outcome import Outcome as Outcome
from soulsense_db.errors.passwords import presentable as presentable
from soulsense_db.errors.passwords import without_passwords as without_passwords
from soulsense_db.errors.remedy import NO_REMEDY as NO_REMEDY
from soulsense_db.errors.remedy import Action as Action
from soulsense_db.errors.remedy import Command as Command
from soulsense_db.errors.remedy import Remedy as Remedy
from soulsense_db.errors.remedy import accept_command as accept_command
from soulsense_db.errors.remedy import database_options as database_options
from soulsense_db.errors.remedy import name_in_commands as name_in_commands
from soulsense_db.errors.remedy import restore_command as restore_command

__all__ = [
    "Action",
    "AmbiguousReferenceError",
    "ApplicationCodeError",
    "BackupError",
    "BackupNotFoundError",
    "CatalogError",
    "ChecksumMismatchError",
    "Command",
    "DataLossError",
    "DatabaseChangedError",
    "DatabaseDamagedError",
    "DatabaseError",
    "DatabaseFileNotFoundError",
    "DatabaseLockedError",
    "DatabaseNotNamedError",
    "DatabaseUnreachableError",
    "DirectoryIsAFileError",
    "DirectoryLockedError",
    "DisplayError",
    "DrillError",
    "EmptyBackupError",
    "IdentityError",
    "InterruptedMigrationError",
    "InvalidBackupError",
    "InvalidDescriptionError",
    "MetaFileError",
    "MirrorDeniedError",
    "MirrorError",
    "MirrorFullError",
    "MirrorNotFoundError",
    "MirrorUnreachableError",
    "MissingExtraError",
    "MissingRightError",
    "NewerFormatError",
    "NotADatabaseError",
    "NotConfirmedError",
    "NotEnoughSpaceError",
    "NothingToUndoError",
    "OptionError",
    "Outcome",
    "OutsideDirectoryError",
    "PermissionDeniedError",
    "ProtectedBackupError",
    "PruneError",
    "RehearsalFailedError",
    "Remedy",
    "RestoreError",
    "RowsRefusedError",
    "ServerToolError",
    "StorageError",
    "TruncatedBackupError",
    "UnsupportedDatabaseError",
    "UntrustedDirectoryError",
    "WrongDatabaseError",
]

_ENDS = (".", "!", "?", "…")


class BackupError(Exception):
    """Root of the tree.

    Args:
        what: What happened, a sentence that says nothing of what became of the data.
        outcome: What became of the data.
        remedy: What to do about it.
        hint: A remedy that is a sentence.
        path: The file or directory that it is about.
        reason: What SQLite, the system or a check said.
        candidates: What could be meant.
        backup: A copy of what the live database was before.
        state: What became of the data in other words than the outcome's own, a sentence.

    Example:
        >>> try:
        ...     manager.get("none such")
        ... except BackupError as error:
        ...     print(error.exit_code, error.outcome, error.meaning)
        20 unchanged Nothing was changed.
    """

    exit_code: ClassVar[int] = 1
    """Of the command line, 1 to 127."""

    def __init__(
        self,
        what: str,
        *,
        outcome: Outcome = Outcome.UNCHANGED,
        remedy: Remedy = NO_REMEDY,
        hint: str = "",
        path: Path | None = None,
        reason: str = "",
        candidates: Sequence[str] = (),
        backup: Path | None = None,
        state: str = "",
    ) -> None:
        what = presentable(what)
        super().__init__(what if what.endswith(_ENDS) or not what else f"{what}.")
        self.outcome = outcome
        self.remedy = remedy or Remedy(hint)
        self.path = path
        self.reason = presentable(reason)
        self.candidates = tuple(candidates)
        self.backup = backup
        self.state = presentable(state)

    @property
    def what(self) -> str:
        """What happened, a sentence."""
        return str(self.args[0])

    @property
    def cause(self) -> str:
        """What happened, to be quoted in another sentence: without the full stop."""
        return self.what.removesuffix(".")

    @property
    def meaning(self) -> str:
        """What it means for the data."""
        meaning = self.state or self.outcome.sentence
        return f"{meaning} {self.way_back}" if self.way_back else meaning

    @property
    def way_back(self) -> str:
        """Where the previous database is, if that is known and it may be needed."""
        if self.backup is None or self.outcome.is_certain:
            return ""
        return presentable(WAY_BACK.format(backup=self.backup))

    @property
    def message(self) -> str:
        """What happened and what it means for the data, one line."""
        return f"{self.what} {self.meaning}".strip()

    @property
    def hint(self) -> str:
        """What to do, one line; may be empty."""
        return str(self.remedy)

    @property
    def facts(self) -> dict[str, Any]:
        """All but what happened, as another error of the tree takes it."""
        return {name: value for name, value in vars(self).items() if name in _FACTS}

    def with_outcome(self, outcome: Outcome, *, backup: Path | None = None) -> Self:
        """Set what became of the data, for an operation that knows it better.

        As ``with_traceback``, it changes the error itself.

        Args:
            outcome: What became of the data.
            backup: A copy of what the live database was before; None keeps the one that is known.

        Returns:
            The same error.

        Example:
            >>> BackupError("The disk is gone.").with_outcome(Outcome.UNSURE).message
            'The disk is gone. It is not certain whether the change was saved.'
        """
        self.outcome = outcome
        self.backup = backup or self.backup
        self.state = ""
        return self

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.remedy else self.message


_FACTS = {"outcome", "remedy", "path", "reason", "candidates", "backup", "state"}


DatabaseError = BackupError
"""The name under which the guide's functions raise :class:`BackupError`."""


class DatabaseFileNotFoundError(BackupError):
    """The file of the live database does not exist."""

    exit_code = 10


class DatabaseLockedError(BackupError):
    """A lock on the live database did not clear by the deadline."""

    exit_code = 11


class DatabaseDamagedError(BackupError):
    """The live database cannot be read, or fails its integrity check."""

    exit_code = 12


class UnsupportedDatabaseError(BackupError):
    """No driver knows the engine's dialect, or the driver cannot reach or replace this database."""

    exit_code = 13


class DatabaseChangedError(BackupError):
    """The engine leads to another file now than the one that the manager was made for."""

    exit_code = 14


class DatabaseNotNamedError(BackupError):
    """Nothing says which database is meant; ``candidates`` are where it was looked for, and why."""

    exit_code = 15


class ApplicationCodeError(BackupError):
    """The application's own code, which is to lead to the engine, fails or leads to none."""

    exit_code = 16


class DatabaseUnreachableError(BackupError):
    """The server of the live database does not answer, or refuses the login."""

    exit_code = 17


class MissingRightError(BackupError):
    """The user of the live database lacks a right that the operation needs."""

    exit_code = 18


class ServerToolError(BackupError):
    """A program of the database server is missing, or is of another version than the server."""

    exit_code = 19


class BackupNotFoundError(BackupError):
    """The backup named does not exist."""

    exit_code = 20


class InvalidBackupError(BackupError):
    """The backup fails a check; it is never restored. ``reason`` is what the check said, if any."""

    exit_code = 21


class EmptyBackupError(InvalidBackupError):
    """The file has 0 bytes."""

    exit_code = 22


class NotADatabaseError(InvalidBackupError):
    """The file is not of the kind the driver restores."""

    exit_code = 23


class TruncatedBackupError(InvalidBackupError):
    """The file is shorter than its own header says."""

    exit_code = 24


class ChecksumMismatchError(InvalidBackupError):
    """Size or SHA-256 differ from what the meta file recorded."""

    exit_code = 25


class WrongDatabaseError(InvalidBackupError):
    """The backup was taken from another database."""

    exit_code = 26


class BaseError(InvalidBackupError):
    """The base of a differential is missing, or is not what it was."""

    exit_code = 36


class DrillError(InvalidBackupError):
    """Restored to an empty place, the backup is not what it was, or fails a check of the user's.

    ``reason`` says what differs; of a check, ``candidates`` has its name.
    """

    exit_code = 37


class MetaFileError(BackupError):
    """The meta file is there but cannot be trusted."""

    exit_code = 27


class NewerFormatError(MetaFileError):
    """The meta file, or the backup itself, was written by a newer version of this package."""

    exit_code = 28


class OutsideDirectoryError(BackupError):
    """The path is not a backup directly inside the backup directory."""

    exit_code = 29


class InvalidDescriptionError(BackupError):
    """The description is too long, or no text that a meta file can hold."""

    exit_code = 30


class AmbiguousReferenceError(BackupError):
    """Several backups fit the reference; ``candidates`` are names for each, the newest first."""

    exit_code = 31


class ProtectedBackupError(BackupError):
    """The backup is pinned, or a migration that has not ended needs it."""

    exit_code = 32


class PruneError(BackupError):
    """Old backups could not all be removed; others were."""

    exit_code = 33


class MissingExtraError(BackupError):
    """An optional library that this needs is not installed."""

    exit_code = 34


class IdentityError(BackupError):
    """No identity (private key or passphrase) opens what is sealed, or none can be read."""

    exit_code = 35


class StorageError(BackupError):
    """The file system refused an operation."""

    exit_code = 40


class PermissionDeniedError(StorageError):
    """Not allowed to read or write a file or directory."""

    exit_code = 41


class DirectoryIsAFileError(StorageError):
    """A file stands where the backup directory should be."""

    exit_code = 42


class NotEnoughSpaceError(StorageError):
    """The disk is full, or has less room than the operation needs."""

    exit_code = 43


class DirectoryLockedError(StorageError):
    """Another process holds the lock of the backup directory."""

    exit_code = 44


class UntrustedDirectoryError(StorageError):
    """Another user owns the backup directory, or could replace it; nothing is restored from it."""

    exit_code = 45


class CatalogError(BackupError):
    """A table with the catalog's name exists and belongs to the application."""

    exit_code = 50


class RestoreError(BackupError):
    """A restore failed in the middle; ``outcome`` says what the database is now."""

    exit_code = 60


class NothingToUndoError(RestoreError):
    """There is no safety backup to go back to."""

    exit_code = 61


class RowsRefusedError(RestoreError):
    """Chosen rows of a backup cannot come back into the live database as it is; none was written.

    ``candidates`` are the tables that may be meant, or the rows that are in the way or missing.
    """

    exit_code = 62


class InterruptedMigrationError(BackupError):
    """An earlier migration died before its end; the database may be half migrated."""

    exit_code = 70


class OptionError(BackupError):
    """An option in a configuration file or the environment has a value that means nothing."""

    exit_code = 71


class NotConfirmedError(BackupError):
    """A confirmation was declined, or there was no terminal to ask on."""

    exit_code = 73


class DisplayError(BackupError):
    """There is no screen to show a window on, or this Python cannot make one."""

    exit_code = 74


class RehearsalFailedError(BackupError):
    """A migration fails on a copy of the data, or leaves something broken there."""

    exit_code = 76


class DataLossError(BackupError):
    """A migration ends well on a copy of the data, and rows or values are gone there."""

    exit_code = 77


class MirrorError(BackupError):
    """A mirror refused something; local backups and the database are what they were."""

    exit_code = 80


class MirrorUnreachableError(MirrorError):
    """The mirror was not reached, or the connection broke or was too slow: a later try may work."""

    exit_code = 81


class MirrorDeniedError(MirrorError):
    """The credentials are missing, wrong or expired, or lack a right; or the host is unknown."""

    exit_code = 82


class MirrorNotFoundError(MirrorError):
    """There is no such bucket or directory; or the drive is not mounted."""

    exit_code = 83


class MirrorFullError(MirrorError):
    """There is no space left at the mirror, or its quota is used up."""

    exit_code = 84


_OLD_NAMES = {"HalfRunMigrationError": "InterruptedMigrationError"}

if not TYPE_CHECKING:  # else a misspelt name would pass the type checker

    def __getattr__(name: str) -> object:
        """Return what has another name since, with a warning, for a release."""
        if name not in _OLD_NAMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        new = _OLD_NAMES[name]
        warnings.warn(f"{name} is called {new} now.", DeprecationWarning, stacklevel=2)
        return globals()[new]
