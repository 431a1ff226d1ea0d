"""What can be wrong with a backup that is not stored as a plain file, as errors of the tree."""

from __future__ import annotations

from pathlib import Path

from soulsense_db.backup_info import BackupInfo, Form
from soulsense_db.codecs import (
    NewerStreamError,
    StreamError,
    TooLongError,
    TruncatedStreamError,
)
from soulsense_db.errors import (
    BackupError,
    BaseError,
    IdentityError,
    InvalidBackupError,
    NewerFormatError,
    StorageError,
    TruncatedBackupError,
)

_USE_ANOTHER = "Use another backup."


def stored_truncated(path: Path, size: int, expected: int) -> TruncatedBackupError:
    """Return the error for a stored file that is shorter than its meta file says."""
    return TruncatedBackupError(
        f"Invalid backup file: {path.name} is truncated: it has {size:,} bytes instead of "
        f"{expected:,}.",
        hint=_USE_ANOTHER,
        path=path,
    )


def cannot_be_decoded(
    path: Path, error: StreamError, *, form: Form, is_limit: bool = False
) -> BackupError:
    """Return the error for a file that is not of the ``form`` that its name says, or damaged.

    ``error`` says what is wrong with it; ``is_limit``: the most that may be in it is no fact of its
    meta file.
    """
    reason = str(error)
    if isinstance(error, NewerStreamError):  # and no damage
        return NewerFormatError(
            f"{path.name} cannot be read ({reason}).",
            hint="Upgrade soulsense_db and try again.",
            path=path,
            reason=reason,
        )
    kind = TruncatedBackupError if isinstance(error, TruncatedStreamError) else InvalidBackupError
    is_limit = is_limit and isinstance(error, TooLongError)
    verb, program = ("decrypted", "age") if form.is_encrypted else ("decompressed", "zstd")
    hint = f"Open it with the program {program}, and import the result." if is_limit else ""
    return kind(
        f"Invalid backup file: {path.name} cannot be {verb} ({reason}).",
        hint=hint or _USE_ANOTHER,
        path=path,
        reason=reason,
    )


def cannot_be_opened(
    path: Path, error: IdentityError, *, base: Path | None = None
) -> IdentityError:
    """Return ``error``, of what opens encrypted files, as one about the backup ``path``.

    ``base``: of a differential, which may be what cannot be opened.
    """
    if base is not None and error.path == base:
        return IdentityError(f"{path.name} needs its base. {error.what}", **error.facts)
    if error.path is not None:  # it says already which file it is about
        return error
    what = f"{path.name} cannot be opened. {error.what}"
    return IdentityError(what, **error.facts | {"path": path})


def sealed_fact_damaged(path: Path, what: str, reason: str) -> InvalidBackupError:
    """Return the error for ``what`` is encrypted in a meta file and cannot be decrypted."""
    return InvalidBackupError(
        f"The {what} of {path.name} cannot be decrypted ({reason}).",
        hint="The data may be whole: verify the backup.",
        path=path,
        reason=reason,
    )


def base_changed(path: Path, base: str | None, reason: str) -> BaseError:
    """Return the error for a differential whose base is there, and is not what it was."""
    return BaseError(
        f"{path.name} is a differential, and its base {base} is damaged or has changed ({reason}).",
        hint=f"Put a sound copy of {base} in its place, or use another backup.",
        path=path,
        reason=reason,
    )


def of_the_backup(error: InvalidBackupError, copy: Path, backup: Path) -> InvalidBackupError:
    """Return ``error``, which is about the decoded ``copy`` of ``backup``, as one about that."""
    what = error.what.replace(str(copy), str(backup)).replace(copy.name, backup.name)
    return type(error)(what, **error.facts | {"path": backup})


def not_read_back(path: Path, reason: str) -> StorageError:
    """Return the error for a file that is not what was just written."""
    return StorageError(
        f"The new backup could not be read back as it was written ({reason}).",
        hint="Check the disk of the backup directory, and the machine's memory.",
        path=path,
        reason=reason,
    )


def base_missing(path: Path, base: str | None) -> BaseError:
    """Return the error for a differential whose base is nowhere."""
    name = f"its base {base}" if base else "its base"
    return BaseError(
        f"{path.name} is a differential, and {name} is not there: it cannot be read without it.",
        hint=f"Copy {base or 'its base'}, with its meta file, to {path.parent}; or use a backup "
        "that does not need it: list shows which.",
        path=path,
    )


def name_of_other_form(target: Path, form: Form, *, plain: bool) -> StorageError:
    """Return the error for a copy that is to have the name of another form than it is in."""
    ending = "" if plain else form.ending
    what = f"of the form {ending}" if ending else "a plain database file"
    return StorageError(
        f"The copy would be {what}, and {target.name} is the name of something else.",
        hint=f"Give a name that ends in .db{ending}.",
        path=target,
    )


def would_be_decrypted(target: Path, ending: str) -> StorageError:
    """Return the error for an encrypted backup whose copy has the name of a plain one."""
    return StorageError(
        f"The backup is encrypted, and {target.name} is the name of a plain database file.",
        hint=f"Give a name that ends in .db{ending}; or write it decrypted, with --plain "
        "(plain=True).",
        path=target,
    )


def base_is_readable(info: BackupInfo, base: BackupInfo) -> StorageError:
    """Return the error for an encrypted differential that would take a readable base along."""
    return StorageError(
        f"{info.filename} is encrypted, and its base, {base.filename}, is not: the copy of that "
        "would be readable by everybody.",
        hint="Create a new backup where the private key is: it is encrypted as a whole. Or write "
        "this one decrypted, with --plain (plain=True).",
        path=Path(info.path),
    )
