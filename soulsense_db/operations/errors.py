"""What the operations refuse, as errors of the tree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from soulsense_db.backup_info import BackupInfo
from soulsense_db.errors import (
    AmbiguousReferenceError,
    BackupError,
    BackupNotFoundError,
    ChecksumMismatchError,
    DatabaseDamagedError,
    InvalidBackupError,
    OptionError,
    Outcome,
    ProtectedBackupError,
    PruneError,
    Remedy,
    StorageError,
    WrongDatabaseError,
    accept_command,
    restore_command,
)
from soulsense_db.meta_file import shown_reference

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
