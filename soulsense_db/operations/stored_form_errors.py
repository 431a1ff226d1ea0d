"""What can be wrong with a backup that is not stored as a plain file, as errors of the tree."""

from __future__ import annotations

from pathlib import Path

from soulsense_db.errors import InvalidBackupError, StorageError, TruncatedBackupError

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
    path: Path, reason: str, *, is_cut: bool, is_limit: bool
) -> InvalidBackupError:
    """Return the error for a compressed file that is none, or damaged.

    ``is_cut``: it ends too early; ``is_limit``: more is in it than without a meta file is believed.
    """
    kind = TruncatedBackupError if is_cut else InvalidBackupError
    hint = "Decompress it with the program zstd, and import the result." if is_limit else ""
    return kind(
        f"Invalid backup file: {path.name} cannot be decompressed ({reason}).",
        hint=hint or _USE_ANOTHER,
        path=path,
        reason=reason,
    )


def of_the_backup(error: InvalidBackupError, copy: Path, backup: Path) -> InvalidBackupError:
    """Return ``error``, which is about the decoded ``copy`` of ``backup``, as one about that."""
    what = error.what.replace(str(copy), str(backup)).replace(copy.name, backup.name)
    return type(error)(what, **error.facts | {"path": backup})


def not_read_back(path: Path, reason: str) -> StorageError:
    """Return the error for a compressed file that is not what was just written."""
    return StorageError(
        f"The compressed backup could not be read back as it was written ({reason}).",
        hint="Check the disk of the backup directory, and the machine's memory.",
        path=path,
        reason=reason,
    )
