"""What SQLite's own errors mean, as errors of the tree."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.other_files import refuse
from soulsense_db.errors import (
    BackupError,
    DatabaseDamagedError,
    DatabaseLockedError,
    InvalidBackupError,
    NotEnoughSpaceError,
    PermissionDeniedError,
    StorageError,
    UnsupportedDatabaseError,
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
# A journal, or a log, that has to be brought into the database before anybody can read it:
# SQLITE_READONLY_ROLLBACK and _RECOVERY, https://www.sqlite.org/rescode.html.
READONLY_ROLLBACK = sqlite3.SQLITE_READONLY | (3 << 8)
_LEFT_BY_A_WRITER = {READONLY_ROLLBACK, sqlite3.SQLITE_READONLY | (1 << 8)}
_CORRUPT_VTAB = 267  # the extended code; not every module of SQLite's names it
# Damage without a code of its own: a schema format that no SQLite has.
_TELLS_OF_DAMAGE = "unsupported file format"
# Longer than any value may be: in a file that is smaller than that, no length that was written.
_LONGEST = 1_000_000_000  # https://www.sqlite.org/limits.html#max_length
# Python's own message, which has no code of SQLite's.
UNDECODABLE = "Could not decode to UTF-8"
# The message of SQLITE_CORRUPT for SQL in the schema that it cannot parse: no page is damaged.
_UNREADABLE_SCHEMA = "malformed database schema"


@contextmanager
def live_errors(path: Path | None) -> Iterator[None]:
    """Turn SQLite errors of the block into errors of the tree about the live database."""
    name = str(path) if path else "the in-memory database"
    try:
        yield
    except (sqlite3.Error, DBAPIError, UnicodeDecodeError) as error:
        code = primary_code(error)
        reason = reason_of(error)
        if code in _LOCKED:
            raise locked(name, reason) from error
        if is_unreadable_schema(error):
            raise not_understood(name, reason) from error
        if is_damage(error):
            raise damaged(name, reason) from error
        if code == sqlite3.SQLITE_READONLY:
            raise _read_only(_code(error), name, reason) from error
        raise (_undecodable(error, name) or _common(code, name, reason)) from error


@contextmanager
def backup_errors(path: Path, name: str | None = None) -> Iterator[None]:
    """Turn SQLite errors of the block into errors of the tree about the backup ``path``."""
    name = name or path.name
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        code = primary_code(error)
        reason = reason_of(error)
        if code == sqlite3.SQLITE_NOTADB:
            refuse("an SQLite database", path, name=name, cause=error)
        if is_unreadable_schema(error):
            raise backup_not_understood(name, reason) from error
        if is_damage(error) or (code == sqlite3.SQLITE_TOOBIG and _is_smaller(path)):
            raise invalid(name, reason) from error
        if code in _LOCKED:
            raise locked(str(path), reason) from error
        raise (_undecodable(error, str(path)) or _common(code, str(path), reason)) from error


@contextmanager
def target_errors(target: Path) -> Iterator[None]:
    """Name the disk of ``target`` where it is that one, not the source's, which is full."""
    try:
        yield
    except sqlite3.Error as error:
        if primary_code(error) == sqlite3.SQLITE_FULL:
            raise _common(sqlite3.SQLITE_FULL, str(target.parent), reason_of(error)) from error
        raise


def primary_code(error: BaseException) -> int:
    """Return the primary result code of an error of sqlite3, also one wrapped by SQLAlchemy."""
    return _code(error) & 0xFF


def is_damage(error: BaseException) -> bool:
    """Whether SQLite could not read pages: not its schema's SQL, nor an index of a virtual table.

    Text that Python cannot decode is no damage either: SQLite stores what it is given.
    """
    if is_unreadable_schema(error) or _code(error) == _CORRUPT_VTAB:
        return False
    return primary_code(error) in _DAMAGED or _TELLS_OF_DAMAGE in reason_of(error)


def _is_smaller(path: Path) -> bool:
    """Whether the file is smaller than the longest value: what it says of a longer one is wrong."""
    try:
        return path.stat().st_size < _LONGEST
    except OSError:
        return False


def is_unreadable_schema(error: BaseException) -> bool:
    """Whether SQLite cannot parse what the schema says."""
    # It may quote bytes that are no text: then Python raises an error of its own, without a code.
    return reason_of(error).startswith(_UNREADABLE_SCHEMA)


def _code(error: BaseException) -> int:
    original = error.orig if isinstance(error, DBAPIError) else error
    return int(getattr(original, "sqlite_errorcode", sqlite3.SQLITE_ERROR))


def locked(name: str, reason: str) -> DatabaseLockedError:
    """Return the error for a lock that did not clear by the deadline."""
    return DatabaseLockedError(
        f"Database locked: {name} ({reason}).",
        hint="Close the other programs that use it, or wait until they finish, and try again.",
        reason=reason,
    )


def damaged(name: str, reason: str) -> DatabaseDamagedError:
    """Return the error for a live database that cannot be read."""
    return DatabaseDamagedError(
        f"The live database {name} is damaged ({reason}).",
        hint="Restore a backup. The damaged files are moved aside, not deleted.",
        reason=reason,
    )


def invalid(name: str, reason: str) -> InvalidBackupError:
    """Return the error for a backup that fails a check."""
    return InvalidBackupError(
        f"Invalid backup file: {name} is damaged ({reason}).",
        hint="Use another backup.",
        reason=reason,
    )


def not_understood(name: str, reason: str) -> UnsupportedDatabaseError:
    """Return the error for a live database with a schema that this SQLite cannot parse."""
    return UnsupportedDatabaseError(
        f"SQLite {sqlite3.sqlite_version} does not understand the schema of {name} ({reason}). "
        "Its pages are not damaged.",
        hint="Use the SQLite version that wrote the schema, or a newer one; or correct what was "
        "edited in the schema. A backup can be restored over it.",
        reason=reason,
    )


def backup_not_understood(name: str, reason: str) -> InvalidBackupError:
    """Return the error for a backup with a schema that this SQLite cannot parse."""
    return InvalidBackupError(
        f"SQLite {sqlite3.sqlite_version} does not understand the schema of the backup {name} "
        f"({reason}). Its pages are not damaged.",
        hint="Restore it with the SQLite version that wrote it, or a newer one; or use another "
        "backup.",
        reason=reason,
    )


def _undecodable(error: BaseException, name: str) -> BackupError | None:
    reason = reason_of(error)
    original = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(original, UnicodeDecodeError) and UNDECODABLE not in reason:
        return None
    return BackupError(
        f"A text value in {name} is not valid in the database's encoding, so Python cannot read "
        f"it ({reason}). The file is not damaged.",
        hint="Read the value with CAST(column AS BLOB), or set text_factory = bytes on the "
        "connection.",
        reason=reason,
    )


def _read_only(code: int, name: str, reason: str) -> PermissionDeniedError:
    hint = (
        "Check the owner and permissions of the file and its directory, the URL (mode=ro), and "
        "whether the engine sets PRAGMA query_only when it connects. If it is none of these, the "
        "file's header forbids writing: copy all rows to a new file with VACUUM INTO."
    )
    if code in _LEFT_BY_A_WRITER:
        hint = (
            "A program died while writing to it, and only a connection with write access can clean "
            "up: use an engine without mode=ro, or open it once with the application."
        )
    return PermissionDeniedError(f"Permission denied: {name} ({reason}).", hint=hint, reason=reason)


def _common(code: int, name: str, reason: str) -> BackupError:
    if code == sqlite3.SQLITE_FULL:
        return NotEnoughSpaceError(
            f"Not enough space for {name} ({reason}).",
            hint="Free some space on that disk and try again.",
            reason=reason,
        )
    if code in _DENIED:
        return PermissionDeniedError(
            f"Permission denied: {name} ({reason}).",
            hint="Check the owner and permissions of the file and its directory.",
            reason=reason,
        )
    if code == sqlite3.SQLITE_IOERR:
        return StorageError(
            f"Storage error: {name} ({reason}).",
            hint="Check that the disk is connected, not full, and healthy.",
            reason=reason,
        )
    if code == sqlite3.SQLITE_CORRUPT:
        return BackupError(
            f"A virtual table (such as a full-text index) in {name} is inconsistent ({reason}). "
            "The rows of all other tables can be read.",
            hint="Rebuild its index: for FTS, INSERT INTO name(name) VALUES('rebuild').",
            reason=reason,
        )
    return BackupError(
        f"SQLite refused an operation on {name} ({reason}).",
        hint="If the reason does not say what to do, check the file with PRAGMA integrity_check.",
        reason=reason,
    )


def reason_of(error: BaseException) -> str:
    """Return SQLite's message, also one that Python cannot decode."""
    original = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(original, UnicodeDecodeError):
        return original.object.decode(errors="replace")
    return str(original)
