"""What is wrong with a backup's facts, or with the meta file that holds them, as errors."""

from __future__ import annotations

from pathlib import Path

from soulsense_db.errors import (
    Action,
    Command,
    InvalidDescriptionError,
    MetaFileError,
    NewerFormatError,
    Remedy,
)


def too_long(what: str, length: int, limit: int) -> InvalidDescriptionError:
    """Return the error for a description, say, that no meta file has room for."""
    return InvalidDescriptionError(
        f"The {what} has {length:,} characters.", hint=f"Use at most {limit:,} characters."
    )


def no_text(what: str) -> InvalidDescriptionError:
    """Return the error for a description, say, that cannot be written."""
    return InvalidDescriptionError(
        f"The {what} has characters that are not valid text (lone surrogates).",
        hint="Remove them and try again.",
    )


def meta_damaged(meta: Path, why: str) -> MetaFileError:
    """Return the error for a meta file that is not what was written."""
    return _meta_error(meta, f"The meta file of {meta.stem} is damaged: {why}.", why)


def meta_unusable(meta: Path, why: str) -> MetaFileError:
    """Return the error for a meta file that nothing damaged, and whose facts are wrong."""
    return _meta_error(meta, f"The meta file of {meta.stem} cannot be used: {why}.", why)


def meta_unreadable(meta: Path, reason: str) -> MetaFileError:
    """Return the error for what cannot be opened in the place of a meta file."""
    return _meta_error(meta, f"{meta.name} cannot be read ({reason}).", reason)


def no_meta(meta: Path, why: str) -> MetaFileError:
    """Return the error for what is no meta file in the place of one; ``why``: a verb phrase."""
    return _meta_error(meta, f"{meta.name} {why}.", why)


def _meta_error(meta: Path, what: str, reason: str) -> MetaFileError:
    return MetaFileError(what, remedy=_without(meta), path=meta, reason=reason)


def newer_format(meta: Path, version: int, known: int) -> NewerFormatError:
    """Return the error for a meta file of a format that this version does not know."""
    return NewerFormatError(
        f"The meta file of {meta.stem} has format {version}; this version reads up to {known}.",
        hint="Upgrade soulsense_db and try again.",
        path=meta,
    )


def meta_unwritable(meta: Path, why: str) -> MetaFileError:
    """Return the error for facts that no meta file can hold."""
    return MetaFileError(
        f"The meta file of {meta.stem} cannot be written: {why}.",
        hint="Correct it, and try again.",
        path=meta,
        reason=why,
    )


def _without(meta: Path) -> Remedy:
    """Return what to do about a meta file that cannot be trusted."""
    return Remedy(
        f"To use the backup anyway, delete {meta.name}. The backup then has no checksum and is of "
        "unknown origin: 'latest' no longer means it.",
        (
            Command(
                Action.ADOPT,
                "If you know that it belongs to this database, give it a new meta file",
                (meta.stem,),
            ),
        ),
    )
