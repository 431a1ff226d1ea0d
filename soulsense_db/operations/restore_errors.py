"""What a restore refuses, and how it can fail, as errors of the tree."""

from __future__ import annotations

from pathlib import Path

from soulsense_db.backup_info import BackupInfo
from soulsense_db.errors import (
    Action,
    BackupError,
    Command,
    DatabaseDamagedError,
    DatabaseLockedError,
    NothingToUndoError,
    Outcome,
    PermissionDeniedError,
    Remedy,
    RestoreError,
    StorageError,
    database_options,
)


def too_many_writers(database: object) -> DatabaseLockedError:
    """Return the error for a database that never stands still."""
    return DatabaseLockedError(
        f"Database locked: other programs keep writing to {database}.",
        hint="Stop the programs that write to it, and try again.",
    )


def place_too_long(place: Path) -> StorageError:
    """Return the error for a live database whose sidecars would have impossible names."""
    return StorageError(
        f"The path {place} is too long: a restore creates files beside it, and their names "
        "would be longer than the file system or SQLite allows.",
        hint="Move the database to a directory with a shorter path.",
        path=place,
    )


def denied(path: Path, why: str) -> PermissionDeniedError:
    """Return the error for what a restore could not write to; ``why`` it has to: a clause."""
    return PermissionDeniedError(
        f"Permission denied: {path} is not writable, and {why}.",
        hint="Check its owner and permissions, or run the command as its owner.",
        path=path,
    )


def in_the_way_of_restore(path: Path) -> StorageError:
    """Return the error for what a restore can neither pass by nor set aside."""
    return StorageError(
        f"{path} is a directory or a link, where a restore has to create a file.",
        hint="Find out what created it, and move it away.",
        path=path,
    )


def disk_failed(info: BackupInfo, error: StorageError, safety: Path) -> RestoreError:
    """Return the error for a disk that failed while SQLite wrote."""
    return RestoreError(
        f"The disk failed during the restore of {info.filename} ({error.cause}).",
        outcome=Outcome.UNSURE,
        hint="Check the disk, then restore again.",
        reason=error.cause,
        backup=safety,
    )


def replaced_not_copied(error: BackupError, safety: Path) -> RestoreError:
    """Return the error for replaced data on a server of which no file can be made."""
    return RestoreError(
        f"What the last restore replaced is still on the server only: it could not be copied to "
        f"{safety} ({error.cause}).",
        hint="Mend that, and run the command again. Where that data is not needed, drop what "
        "soulsense_db has kept of it on the server.",
        reason=error.cause,
    )


def replaced_not_removed(error: BackupError, copy: Path | None) -> RestoreError:
    """Return the error for replaced data that stays as it is on a server, which has a ``copy``.

    None: that was removed again.
    """
    where = f"{copy} has what was replaced" if copy else "What was replaced is whole there"
    return RestoreError(
        f"What the last restore left to do on the server could not be done ({error.cause}). "
        f"{where}: nothing is lost.",
        hint="Mend that, and run the command again.",
        reason=error.cause,
    )


def restored_is_damaged(why: DatabaseDamagedError, outcome: Outcome) -> RestoreError:
    """Return the error for what was restored and fails its check."""
    aside = " The previous files were moved aside, in the same directory."
    return RestoreError(
        f"The restored database fails its check ({why.cause})."
        f"{aside if outcome is Outcome.BROKEN else ''}",
        outcome=outcome,
        hint="Try another backup, and check the disk.",
        reason=why.cause,
    )


def not_put_back(
    why: DatabaseDamagedError, error: BackupError, safety: Path, undo: Command | None
) -> RestoreError:
    """Return the error where neither the restored database nor the previous one is good."""
    then = "" if undo else " Then restore the backup again."
    return RestoreError(
        f"The restored database fails its check ({why.cause}), and the previous one could not be "
        f"put back ({error.cause}).",
        outcome=Outcome.BROKEN,
        remedy=Remedy(
            f"Fix the problem that the second error names.{then}", (undo,) if undo else ()
        ),
        reason=error.cause,
        backup=safety,
    )


def changed_since(why: DatabaseDamagedError, safety: Path, undo: Command | None) -> RestoreError:
    """Return the error for what was restored, is in use, and is not what the backup has."""
    return RestoreError(
        f"{why.what} Perhaps somebody has changed it since.",
        outcome=Outcome.DONE,
        state=f"The restore was completed, and the previous database is in {safety}.",
        remedy=Remedy("If nobody has, check the server's disk.", (undo,) if undo else ()),
        reason=why.cause,
        backup=safety,
    )


def undo_command(address: str, directory: Path | None) -> Command:
    """Return the command that goes back to the safety backup of the database at ``address``.

    ``directory``: that of its backups, where its safety backup is there.
    """
    return Command(Action.UNDO, "Then undo the restore", database_options(address, directory))


def nothing_to_undo(path: Path) -> NothingToUndoError:
    """Return the error for a safety backup that is not there."""
    return NothingToUndoError(
        f"There is nothing to undo: no safety backup {path}.",
        hint="Only a restore can be undone. To go back to an earlier state, restore a backup.",
        path=path,
    )
