"""What the operations refuse, and how a restore can fail, as errors of the tree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from soulsense_db.backup_info import BackupInfo
from soulsense_db.errors import (
    Action,
    AmbiguousReferenceError,
    BackupError,
    BackupNotFoundError,
    ChecksumMismatchError,
    Command,
    DatabaseDamagedError,
    DatabaseLockedError,
    InvalidBackupError,
    NotADatabaseError,
    NothingToUndoError,
    OptionError,
    Outcome,
    PermissionDeniedError,
    ProtectedBackupError,
    PruneError,
    Remedy,
    RestoreError,
    StorageError,
    WrongDatabaseError,
    accept_command,
    database_options,
    restore_command,
)
from soulsense_db.meta_file import shown_reference
from soulsense_db.shown_text import shell_command

_MOST_CANDIDATES = 10
_USE_ANOTHER = "Use another backup."

# Which options there are


def work_directory_of_backups(directory: Path) -> OptionError:
    """Return the error for a work directory that is the backup directory, or in it."""
    return OptionError(
        f"The work directory {directory} is in the backup directory, which has nothing decrypted "
        "in it.",
        hint="Give a private directory elsewhere.",
        path=directory,
    )


def no_such_number_of_rows(rows: int, most: int) -> OptionError:
    """Return the error for a number of sample rows that cannot be shown."""
    return OptionError(
        f"{rows:,} sample rows of each kind cannot be shown.",
        hint=f"Give a number from 0 to {most:,}.",
    )


def no_such_limit(rows: int, most: int) -> OptionError:
    """Return the error for a number of rows that cannot be found at a time."""
    return OptionError(
        f"{rows:,} rows cannot be found at a time.", hint=f"Give a number from 1 to {most:,}."
    )


# Which backup is meant


def of_another(info: BackupInfo, database: object) -> WrongDatabaseError:
    """Return the error for a backup of another database than ``database``."""
    return WrongDatabaseError(
        f"{info.filename} is a backup of {_database_of(info)}, not of {database}.",
        hint="To use it for this database anyway, import it first.",
        path=Path(info.path),
    )


def _database_of(info: BackupInfo) -> str:
    """Return the database of a backup: its file, its name on a server, or that nobody knows it."""
    return info.database_path or info.database or "another database"


def of_another_server(info: BackupInfo, database: str) -> WrongDatabaseError:
    """Return the error for a backup of another server, which had the address of ``database``."""
    return WrongDatabaseError(
        f"{info.filename} was made on another server than the one that answers for {database} now.",
        hint="Check where the address leads. If the data belongs on this server, import the file, "
        "and restore that backup.",
        path=Path(info.path),
    )


def too_few(
    ref: str, directory: Path, database: object, count: int, left_out: str, *, has_any: bool
) -> BackupNotFoundError:
    """Return the error where ``ref``, a form of ``latest``, means a backup that there is not.

    ``count``: of candidates; ``left_out``: how many others there are and why they are none.
    """
    counted = f"only {count} backup(s)" if count else "no backup"
    others = f" ({left_out})" if left_out else ""
    return BackupNotFoundError(
        f"Backup file not found: {ref}. {directory} has {counted} of {database}{others}.",
        hint="List the backups, and name one by its id."
        if has_any
        else "Create one, or import one from elsewhere.",
        path=directory,
    )


def no_name() -> BackupNotFoundError:
    """Return the error for a reference without a character."""
    return BackupNotFoundError(
        "No backup is named: the reference is empty.",
        hint="List the backups, and name one by its id.",
    )


def nothing_named(
    ref: str,
    similar: Sequence[BackupInfo],
    *,
    of_others: Sequence[BackupInfo],
    is_like_latest: bool = False,
) -> BackupNotFoundError:
    """Return the error for a reference that fits no backup; ``similar``: what may be meant.

    ``is_like_latest``: ``latest`` may be. ``of_others``: what it fits among the backups of other
    databases.
    """
    meant = " or ".join(f"{info.id} ({info.filename})" for info in similar)
    if is_like_latest:
        meant = "latest"
    ref = shown_reference(ref)
    if of_others:
        return BackupNotFoundError(
            f"Backup file not found: {ref}.",
            hint=f"{of_others[0].filename} is a backup of {_database_of(of_others[0])}. To use "
            "it for this database anyway, import it first.",
        )
    return BackupNotFoundError(
        f"Backup file not found: {ref}.",
        hint=f"Did you mean {meant}?" if meant else "List the backups to see which there are.",
        candidates=[info.id for info in similar],
    )


def none_at(directory: Path, revision: str, hint: str) -> BackupNotFoundError:
    """Return the error for an Alembic revision that no backup is at."""
    return BackupNotFoundError(
        f"Backup file not found: no backup in {directory} was at revision '{revision}'.",
        hint=hint,
        path=directory,
    )


def ambiguous(ref: str, candidates: Sequence[str], things: str) -> AmbiguousReferenceError:
    """Return the error for a reference that fits several ``candidates``, which are ``things``."""
    more = len(candidates) - _MOST_CANDIDATES
    listed = ", ".join(candidates[:_MOST_CANDIDATES]) + (f" and {more} more" if more > 0 else "")
    return AmbiguousReferenceError(
        f"'{ref}' matches {len(candidates)} {things}: {listed}.",
        hint="Type more characters, so that only one matches.",
        candidates=candidates,
    )


# Create, verify, delete, adopt


def live_damaged(database: object, reason: str) -> DatabaseDamagedError:
    """Return the error for a live database of which no sound copy can be made."""
    because = f" ({reason})" if reason else ""
    return DatabaseDamagedError(
        f"The live database {database} is damaged{because}, so it cannot be backed up.",
        hint="Restore an earlier backup. The damaged files are moved aside, not deleted.",
        reason=reason,
    )


def path_too_long(target: Path, most: int | None) -> StorageError:
    """Return the error for a backup that could not be opened by its path; ``most``: its bytes."""
    return StorageError(
        f"The path {target} is too long: SQLite cannot open a file whose path has more than "
        f"{most} bytes.",
        hint="Name a backup directory with a shorter path.",
        path=target,
    )


def checksum_differs(path: Path) -> ChecksumMismatchError:
    """Return the error for a backup that is not what its meta file says."""
    return ChecksumMismatchError(
        f"Invalid backup file: {path.name} has changed since it was taken (checksum mismatch).",
        hint="Use another backup; this one was damaged or edited on disk.",
        path=path,
    )


def faulty_rows(path: Path, reason: str) -> InvalidBackupError:
    """Return the error for faults that a checksum could tell were in the source already."""
    return InvalidBackupError(
        f"Invalid backup file: {path.name} is damaged ({reason}), or the database was when the "
        "backup was taken. Without a checksum, there is no way to tell.",
        hint=_USE_ANOTHER,
        path=path,
        reason=reason,
    )


def is_way_back(
    info: BackupInfo, database: Path | str, address: str, *, is_sure: bool
) -> ProtectedBackupError:
    """Return the error for a backup that a migration which has not ended may need."""
    path = Path(info.path)
    directory = None if isinstance(database, Path) else path.parent
    return ProtectedBackupError(
        f"{info.filename} {'is' if is_sure else 'may be'} needed to undo a migration of "
        f"{database} that has not finished.",
        remedy=Remedy(
            commands=(
                restore_command("Restore it", address, path),
                accept_command("Or leave the database as it is", address, directory),
            )
        ),
        path=path,
    )


def not_all_pruned(count: int, first: StorageError, removed: Sequence[str]) -> PruneError:
    """Return the error for old backups of which ``count`` could not be ``removed`` as others."""
    return PruneError(
        f"{count} old backup(s) could not be removed: {first.cause}.",
        outcome=Outcome.PARTLY,
        state=f"Others were removed: {', '.join(removed)}.",
        remedy=first.remedy,
        path=first.path,
        reason=first.cause,
    )


def known_already(info: BackupInfo) -> BackupError:
    """Return the error for a backup that need not be adopted."""
    return BackupError(
        f"{info.filename} already belongs to this database, and its meta file says so.",
        hint="There is nothing to do.",
        path=Path(info.path),
    )


def log_beside(info: BackupInfo, log: str) -> BackupError:
    """Return the error for a backup of unknown origin with a ``log`` of SQLite's beside it."""
    return BackupError(
        f"{info.filename}{log} exists beside it. It holds a part of the data, and a program may "
        "have the backup open.",
        hint="Once no program has it open, move both files to another directory and import the "
        "backup from there.",
        path=Path(f"{info.path}{log}"),
    )


# Import and export


def nothing_to_import(path: object) -> BackupNotFoundError:
    """Return the error for a file that is not there."""
    return BackupNotFoundError(f"File not found: {path}.", hint="Check the path.")


def no_file(path: Path) -> NotADatabaseError:
    """Return the error for a directory or a pipe, say, that is to be imported."""
    return NotADatabaseError(
        f"Invalid backup file: {path} is not a regular file.",
        hint="Name a database file.",
        path=path,
    )


def is_live(path: Path) -> BackupError:
    """Return the error for the live database that is to be imported into its own backups."""
    return BackupError(
        f"{path} is the live database itself.",
        hint="Create a backup of it instead.",
        path=path,
    )


def in_the_backup_directory(target: Path) -> StorageError:
    """Return the error for a copy that would be a second backup with the same id."""
    return StorageError(
        f"{target.parent} is the backup directory: the copy would be a second backup with the same "
        "id.",
        hint="Name another directory.",
        path=target,
    )


def no_directory(path: Path) -> StorageError:
    """Return the error for a destination that is a directory which is not there."""
    return StorageError(
        f"There is no directory {path}.",
        hint="Create it first, or remove the slash at the end to write a file with that name.",
        path=path,
    )


def no_such_directory(path: Path, filename: str) -> StorageError:
    """Return the error for a destination that is not there, and has no name of a file."""
    return StorageError(
        f"There is no directory {path}.",
        hint=f"Create it first: {shell_command('mkdir', path)}   To write a file instead, give "
        f"its name an ending, as that of {filename} has.",
        path=path,
    )


def no_path(destination: object) -> StorageError:
    """Return the error for a destination that no file system has."""
    return StorageError(f"{destination!s} is not a valid path.", hint="Name a file or directory.")


def other_export(target: Path) -> StorageError:
    """Return the error for a destination that another process writes to."""
    return StorageError(
        f"Another export to {target} is running.",
        hint="Wait until it has finished, or name another file.",
        path=target,
    )


def in_the_way_of_copy(path: Path) -> StorageError:
    """Return the error for a file that would be taken for a part of an exported backup."""
    return StorageError(
        f"{path} already exists and would be taken for a part of the copy.",
        hint="Name another file, or move the existing one away.",
        path=path,
    )


def copy_differs(target: Path, info: BackupInfo) -> ChecksumMismatchError:
    """Return the error for an exported backup that is not what was read."""
    return ChecksumMismatchError(
        f"The copy {target} differs from {info.filename} and was removed.",
        hint="Check the disk it was copied to, and try again.",
        path=target,
    )


# Restore


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
