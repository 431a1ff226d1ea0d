"""What this driver refuses by itself, before or instead of SQLite, as errors of the tree."""

from __future__ import annotations

from pathlib import Path

from soulsense_db.errors import (
    DatabaseChangedError,
    DatabaseFileNotFoundError,
    DatabaseLockedError,
    EmptyBackupError,
    InvalidBackupError,
    Outcome,
    PermissionDeniedError,
    RestoreError,
    StorageError,
    TruncatedBackupError,
    UnsupportedDatabaseError,
)

_MOST_NAMES = 20

# The live database's file


def file_not_found(path: Path) -> DatabaseFileNotFoundError:
    """Return the error for a live database that is not there."""
    return DatabaseFileNotFoundError(
        f"Database file not found: {path}.",
        hint="Check the URL and the current directory. To get the data back, restore a backup.",
        path=path,
    )


def no_file(path: Path) -> DatabaseFileNotFoundError:
    """Return the error for a directory, say, in the place of the live database."""
    return DatabaseFileNotFoundError(
        f"Database file not found: {path} is not a file.", hint="Check the URL.", path=path
    )


def replaced_file(path: Path, inode: int, expected: int) -> DatabaseChangedError:
    """Return the error for a live database that is another file than the ``expected`` inode."""
    return DatabaseChangedError(
        f"{path} was replaced with another file (inode {inode}) after this manager was created "
        f"for it (inode {expected}).",
        hint="To work with the new file, restart the program or create a new BackupManager.",
        path=path,
    )


def leads_elsewhere(path: Path, expected: Path | None) -> DatabaseChangedError:
    """Return the error for an engine whose path means another file than before."""
    return DatabaseChangedError(
        f"The engine now opens {path}, but this manager was created for {expected}.",
        hint="A link or the current directory has changed. To work with the other database, "
        "restart the program or create a new BackupManager.",
        path=path,
    )


def name_too_long(location: Path) -> StorageError:
    """Return the error for a live database that can have no journal."""
    return StorageError(
        f"The name of {location} is too long: SQLite cannot append '-journal' to it, and without "
        "a journal an interrupted restore could not be rolled back.",
        hint="Rename the database file.",
        path=location,
    )


# What the engine does not offer


def read_only(path: Path | None) -> PermissionDeniedError:
    """Return the error for a restore through an engine that only reads, by its URL."""
    return PermissionDeniedError(
        f"Permission denied: the engine opens {path} read-only.",
        hint="To restore, use an engine without mode=ro or immutable=1.",
        path=path,
    )


def no_file_told(path: Path) -> UnsupportedDatabaseError:
    """Return the error for connections that tell of no file, where the URL names one."""
    return UnsupportedDatabaseError(
        f"The engine's URL names {path}, but its connections report no file.",
        hint="For backups, use an engine with plain sqlite3 connections and cursors: no factory in "
        "connect_args that changes the shape of rows.",
        path=path,
    )


def impossible_path(reason: str) -> UnsupportedDatabaseError:
    """Return the error for a URL whose path no file can have."""
    return UnsupportedDatabaseError(
        f"The database URL names an impossible path ({reason}).",
        hint="Correct the path in the URL, and check the current directory and links in the path.",
        reason=reason,
    )


def no_option(reason: str) -> UnsupportedDatabaseError:
    """Return the error for a URL with an option that is none of SQLite's."""
    return UnsupportedDatabaseError(
        f"The database URL has an option that SQLite does not accept ({reason}).",
        hint="Correct the part of the URL after '?', or what the engine does when it connects.",
        reason=reason,
    )


def without_locks(option: str) -> UnsupportedDatabaseError:
    """Return the error for a database on which SQLite takes no locks."""
    return UnsupportedDatabaseError(
        f"The engine opens the database without locks ({option}): a backup could contain half of a "
        "change, and a restore could damage the database.",
        hint="For backups, use an engine without that option, or remove it from the URL.",
        reason=option,
    )


def shared_cache() -> UnsupportedDatabaseError:
    """Return the error for connections that keep each other from reading."""
    return UnsupportedDatabaseError(
        "The engine's connections share a cache (cache=shared), and its creator makes no others: "
        "while one of them holds the write lock, none can read.",
        hint="For backups, use an engine with a private cache.",
    )


def for_one_connection(cause: str) -> UnsupportedDatabaseError:
    """Return the error for a database of which only one connection can be open."""
    return UnsupportedDatabaseError(
        f"The engine allows a single connection to the database ({cause}), and a restore needs "
        "two.",
        hint="For backups, use an engine without PRAGMA locking_mode = EXCLUSIVE, and with a VFS "
        "whose locks can be shared.",
        reason=cause,
    )


def other_library(module: str) -> UnsupportedDatabaseError:
    """Return the error for connections of another SQLite library, from ``module``."""
    return UnsupportedDatabaseError(
        f"A database opened through {module} cannot be backed up: it is another SQLite library "
        "than Python's sqlite3, and two libraries that open one file in one process break each "
        "other's locks.",
        hint="For backups, use an engine with Python's own sqlite3 (pysqlite or aiosqlite), in a "
        "process that does not open the file through another library.",
    )


# Who else is at work


def in_transaction(name: str) -> DatabaseLockedError:
    """Return the error for the only connection there is, which somebody has begun to use."""
    return DatabaseLockedError(
        f"Database locked: {name} is in the middle of a transaction.",
        hint="Commit or roll back first: the engine has no other connection.",
    )


def has_journal(path: Path) -> DatabaseLockedError:
    """Return the error for a database that somebody writes to, or died while writing."""
    return DatabaseLockedError(
        f"Database locked: a program is writing to {path}, or died while writing "
        f"({path.name}-journal exists).",
        hint="Wait until the writer has finished. If there is none, open the database once with "
        "its application.",
        path=path,
    )


def log_passed_over(path: Path, ending: str) -> UnsupportedDatabaseError:
    """Return the error for an engine that does not look at the log or journal of ``path``."""
    return UnsupportedDatabaseError(
        f"The engine opens {path} with immutable=1, but a program writes to it "
        f"({path.name}{ending} exists): the backup would be incomplete.",
        hint="For backups, use an engine without immutable=1.",
        path=path,
    )


def log_of_another(path: Path) -> PermissionDeniedError:
    """Return the error for a database whose owner would be kept out by a log of ours."""
    return PermissionDeniedError(
        f"Permission denied: {path} belongs to another user and is in WAL mode. To read it, "
        "SQLite would create files beside it that stop its owner from writing.",
        hint="Run this command as the user who owns the database.",
        path=path,
    )


# Backups


def truncated(name: str, size: int, wanted: int) -> TruncatedBackupError:
    """Return the error for a backup with less than the ``wanted`` bytes."""
    return TruncatedBackupError(
        f"Invalid backup file: {name} is truncated: it has {size:,} bytes instead of {wanted:,}.",
        hint="Use another backup.",
    )


def empty(name: str) -> EmptyBackupError:
    """Return the error for a backup without a byte."""
    return EmptyBackupError(
        f"Invalid backup file: {name} is empty (0 bytes).", hint="Use another backup."
    )


def other_encoding(name: str, encoding: str, live: str) -> InvalidBackupError:
    """Return the error for a backup whose text the connections of the live database misread."""
    return InvalidBackupError(
        f"{name} does not fit the live database: its text is {encoding}, but the live database's "
        f"is {live}.",
        hint="Move the live database away and restore again. Without a live database, the encoding "
        "does not matter.",
    )


# A restore


def not_flushed(location: Path, aside: Path | None, reason: str) -> RestoreError:
    """Return the error for a database that was put in place, perhaps not for good."""
    return RestoreError(
        f"{location} was put in place, but the disk did not confirm it ({reason}).",
        outcome=Outcome.UNSURE,
        hint="Check the disk, then restore again.",
        path=location,
        reason=reason,
        backup=aside,
    )


def not_moved_back(location: Path, aside: Path, reason: str) -> StorageError:
    """Return the error for files that could not have their names back after a failed restore."""
    return StorageError(
        f"Files of {location} could not be given their names back ({reason}).",
        outcome=Outcome.BROKEN,
        hint="Stop every program that uses the database, and rename the files by hand before any "
        "program opens it.",
        path=location,
        reason=reason,
        backup=aside,
    )


# A diff
