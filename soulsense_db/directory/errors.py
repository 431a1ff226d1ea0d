"""What the backup directory refuses, as errors of the tree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from soulsense_db.backup_info import BackupInfo
from soulsense_db.errors import (
    BaseError,
    DirectoryLockedError,
    NotADatabaseError,
    Outcome,
    OutsideDirectoryError,
    ProtectedBackupError,
    StorageError,
)

_MOST_NAMES = 5


def outside(path: Path, directory: Path) -> OutsideDirectoryError:
    """Return the error for a path that is none of a file in ``directory``."""
    return OutsideDirectoryError(
        f"{path} is outside backup directory {directory}.",
        hint="To use a file from elsewhere, import it first.",
        path=path,
    )


def not_a_name_of_backups(path: Path, pattern: str) -> OutsideDirectoryError:
    """Return the error for a file in the directory that is named otherwise than backups are."""
    return OutsideDirectoryError(
        f"{path} is in the backup directory but is not named like a backup ({pattern}).",
        hint="To use it, import it first.",
        path=path,
    )


def is_live(path: Path) -> OutsideDirectoryError:
    """Return the error for the live database in the place of a backup."""
    return OutsideDirectoryError(
        f"{path} is the live database, not a backup.",
        hint="Name a backup: 'soulsense-db list' shows them.",
        path=path,
    )


def no_file(path: Path) -> NotADatabaseError:
    """Return the error for a directory or a pipe, say, in the place of a backup."""
    return NotADatabaseError(
        f"Invalid backup file: {path} is not a regular file.",
        hint="Remove it from the backup directory.",
        path=path,
    )


def replaced_meanwhile(info: BackupInfo) -> StorageError:
    """Return the error for a backup that somebody replaced after it was looked at."""
    return StorageError(
        f"{info.filename} was replaced by another program a moment ago.",
        hint="Check that backup, then try again.",
        path=Path(info.path),
    )


def locked(directory: Path, seconds: float) -> DirectoryLockedError:
    """Return the error for a directory whose lock was not free for ``seconds``."""
    return DirectoryLockedError(
        f"The backup directory {directory} was locked by another process for {seconds:g} s.",
        hint="Wait until the other command has finished and try again.",
        path=directory,
    )


def pinned(info: BackupInfo) -> ProtectedBackupError:
    """Return the error for a backup that must not be deleted because it is pinned."""
    note = f" ({info.pin_note})" if info.pin_note else ""
    return ProtectedBackupError(
        f"{info.filename} is pinned{note}.",
        hint="To delete it, unpin it first.",
        path=Path(info.path),
        reason="it was pinned a moment ago",
    )


def needed_as_base(
    info: BackupInfo, needing: Sequence[BackupInfo], *, command: str = ""
) -> ProtectedBackupError:
    """Return the error for a base that must not be deleted: differentials need it.

    ``command``: the one that deletes all of them.
    """
    together = f": {command}" if command else " with --cascade (cascade=True)."
    names = ", ".join(other.filename for other in needing[:_MOST_NAMES])
    more = f" and {len(needing) - _MOST_NAMES} more" if needing[_MOST_NAMES:] else ""
    return ProtectedBackupError(
        f"{info.filename} is the base of {len(needing)} differential backup(s), which cannot be "
        f"restored without it: {names}{more}.",
        hint=f"Delete those first, or all of them together{together}",
        path=Path(info.path),
        reason="a differential needs it",
    )


def base_gone(info: BackupInfo, base: BackupInfo) -> BaseError:
    """Return the error for a base that was deleted while a differential on it was made."""
    return BaseError(
        f"{base.filename}, the base of the new backup, is not there any more.",
        hint="Try again.",
        path=Path(info.path),
        reason="it was deleted a moment ago",
    )


def not_all_removed(path: Path, reason: str) -> StorageError:
    """Return the error for a backup of whose deletion something is left."""
    return StorageError(
        f"Not all files of {path.name} could be removed ({reason}).",
        outcome=Outcome.DONE,
        state="The backup was deleted.",
        hint="Check the disk. The next backup removes what is left.",
        path=path,
        reason=reason,
    )
