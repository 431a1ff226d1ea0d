"""What import and export refuse, as errors of the tree."""

from __future__ import annotations

from pathlib import Path

from soulsense_db.backup_info import BackupInfo
from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    ChecksumMismatchError,
    NotADatabaseError,
    StorageError,
)
from soulsense_db.shown_text import shell_command


def nothing_to_import(path: object) -> BackupNotFoundError:
    """Return the error for a file that is not there."""
    return BackupNotFoundError(f"File not found: {path}.", hint="Check the path.")


def no_file(path: Path) -> NotADatabaseError:
    """Return the error for a directory or a pipe, say, that is to be imported."""
    return NotADatabaseError(
        f"Invalid backup file: {path} is not a regular file.",
        hint="Name a database file, or a dump that is one file, such as that of pg_dump -Fc.",
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
