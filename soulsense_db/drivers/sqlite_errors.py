"""What SQLite's own errors mean, as errors of the tree."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from soulsense_db.errors import (
    BackupError,
    DatabaseDamagedError,
    DatabaseLockedError,
    InvalidBackupError,
    NotADatabaseError,
    NotEnoughSpaceError,
    PermissionDeniedError,
    StorageError,
)

# Primary result codes, https://www.sqlite.org/rescode.html
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_DENIED = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_AUTH,
}
# Damage without a code of its own: Python's own error; a schema format that no SQLite has.
_TELLS_OF_DAMAGE = ("Could not decode to UTF-8", "unsupported file format")


@contextmanager
def live_errors(path: Path | None) -> Iterator[None]:
    """Turn SQLite errors of the block into errors of the tree about the live database."""
    name = str(path) if path else "the in-memory database"
    try:
        yield
    except (sqlite3.Error, DBAPIError, UnicodeDecodeError) as error:
        code = primary_code(error)
        reason = _reason(error)
        if code in _LOCKED:
            raise locked(name, reason) from error
        if code in _DAMAGED:
            raise damaged(name, reason) from error
        if code == sqlite3.SQLITE_READONLY:
            raise _read_only(name, reason) from error
        raise _common(code, name, reason) from error


@contextmanager
def backup_errors(path: Path, name: str | None = None) -> Iterator[None]:
    """Turn SQLite errors of the block into errors of the tree about the backup ``path``."""
    name = name or path.name
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        code = primary_code(error)
        reason = _reason(error)
        if code == sqlite3.SQLITE_NOTADB:
            raise not_a_database(name) from error
        if code == sqlite3.SQLITE_CORRUPT:
            raise invalid(name, reason) from error
        if code in _LOCKED:
            raise locked(str(path), reason) from error
        raise _common(code, str(path), reason) from error


@contextmanager
def target_errors(target: Path) -> Iterator[None]:
    """Name the disk of ``target`` where it is that one, not the source's, which is full."""
    try:
        yield
    except sqlite3.Error as error:
        if primary_code(error) == sqlite3.SQLITE_FULL:
            raise _common(sqlite3.SQLITE_FULL, str(target.parent), _reason(error)) from error
        raise


def primary_code(error: BaseException) -> int:
    """Return the primary result code of an error of sqlite3, also one wrapped by SQLAlchemy."""
    original = error.orig if isinstance(error, DBAPIError) else error
    # Python gives up on SQLite's message, or on a value that it reads, for bytes that are no text.
    if isinstance(original, UnicodeDecodeError):
        return sqlite3.SQLITE_CORRUPT
    if any(phrase in str(original) for phrase in _TELLS_OF_DAMAGE):
        return sqlite3.SQLITE_CORRUPT
    return int(getattr(original, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF


def locked(name: str, reason: str) -> DatabaseLockedError:
    """Return the error for a lock that did not clear by the deadline."""
    return DatabaseLockedError(
        f"Database locked: {name} ({reason}). Nothing was changed.",
        hint="Close the other programs that use it, or wait until they are done, and try again.",
    )


def damaged(name: str, reason: str) -> DatabaseDamagedError:
    """Return the error for a live database that cannot be read."""
    return DatabaseDamagedError(
        f"The live database {name} is damaged ({reason}). It was left as it is.",
        hint="Restore a backup: the damaged files are moved aside and kept.",
    )


def invalid(name: str, reason: str) -> InvalidBackupError:
    """Return the error for a backup that fails a check."""
    error = InvalidBackupError(
        f"Invalid backup file: {name} is damaged ({reason}). Nothing was changed.",
        hint="Use another backup.",
    )
    error.reason = reason
    return error


def not_a_database(name: str) -> NotADatabaseError:
    """Return the error for a file that is not SQLite's."""
    return NotADatabaseError(
        f"Invalid backup file: {name} is not an SQLite database. Nothing was changed.",
        hint="Use another backup.",
    )


def _read_only(name: str, reason: str) -> PermissionDeniedError:
    return PermissionDeniedError(
        f"Permission denied: {name} ({reason}). Nothing was changed.",
        hint="Check who owns the file and its directory, their permissions, and the URL. If all is "
        "right, its header is damaged: move the file away, and restore a backup.",
    )


def _common(code: int, name: str, reason: str) -> BackupError:
    if code == sqlite3.SQLITE_FULL:
        return NotEnoughSpaceError(
            f"Not enough space for {name} ({reason}). Nothing was changed.",
            hint="Free some space on that disk and try again.",
        )
    if code in _DENIED:
        return PermissionDeniedError(
            f"Permission denied: {name} ({reason}). Nothing was changed.",
            hint="Check who owns the file and its directory, and their permissions.",
        )
    if code == sqlite3.SQLITE_IOERR:
        return StorageError(
            f"Storage error: {name} ({reason}). Nothing was changed.",
            hint="Check that the disk is there, not full, and healthy.",
        )
    return BackupError(
        f"SQLite refused an operation on {name} ({reason}). Nothing was changed.",
        hint="If the reason does not say what to do, check that file: PRAGMA integrity_check.",
    )


def _reason(error: BaseException) -> str:
    if isinstance(error, UnicodeDecodeError):
        return error.object.decode(errors="replace")
    return str(error.orig if isinstance(error, DBAPIError) else error)
