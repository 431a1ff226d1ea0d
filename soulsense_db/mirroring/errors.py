"""What is wrong with a mirror as a whole, or with what is there, as errors of the tree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from soulsense_db.errors import (
    AmbiguousReferenceError,
    BackupError,
    BackupNotFoundError,
    BaseError,
    ChecksumMismatchError,
    DirectoryLockedError,
    InvalidBackupError,
    MirrorError,
    MirrorNotFoundError,
    MirrorUnreachableError,
    OptionError,
    TruncatedBackupError,
)
from soulsense_db.shown_text import shell_command

NOT_MOUNTED = "not mounted"
"""The reason of an error about a mirror that was there before."""
_STAYS = "The local backups are what they were."


def mirror_of_same_place(address: str, place: Path, what: str) -> OptionError:
    """Return the error for a mirror that would be lost with what it is to outlive."""
    return OptionError(
        f"The mirror {address} is in the {what}, {place}: it would be lost with it.",
        hint="Name a directory on another disk or machine.",
    )


def twice(address: str) -> OptionError:
    """Return the error for a mirror with two policies."""
    return OptionError(
        f"The mirror {address} is named twice, with different policies.", hint="Name it once."
    )


def no_deadline(deadline: float) -> OptionError:
    """Return the error for a time that nobody can wait."""
    return OptionError(
        f"The deadline for mirrors, {deadline:g} seconds, is not positive.",
        hint="Give a number of seconds above 0.",
    )


def not_mounted(address: str) -> MirrorNotFoundError:
    """Return the error for a mirror that was there, and where there is nothing now."""
    return MirrorNotFoundError(
        f"{address} is not there any more, though backups were stored there: perhaps the drive is "
        "not mounted.",
        state="Nothing was written there.",
        hint="Mount the drive.",
        reason=NOT_MOUNTED,
    )


def no_mirror_there(address: str) -> MirrorNotFoundError:
    """Return the error for a place that is to be read, and is no mirror."""
    return MirrorNotFoundError(
        f"There is no mirror at {address}.",
        hint="Check the URL. Is the drive mounted?",
        reason="no mirror",
    )


def broke_down(address: str, reason: str) -> MirrorError:
    """Return the error for a library that has failed itself."""
    return MirrorError(
        f"The library for {address} broke down ({reason}).",
        state=_STAYS,
        hint="Check the address and the environment variables of that service.",
        reason=reason,
    )


def late(address: str, seconds: float) -> MirrorUnreachableError:
    """Return the error for a mirror that was not done by the deadline."""
    return MirrorUnreachableError(
        f"{address} was not done within {seconds:g} seconds.",
        state=_STAYS,
        hint="The rest is uploaded later. To wait for as long as it takes: soulsense-db mirror "
        "sync. To wait longer each time, set soulsense_mirror_deadline.",
        reason="deadline",
    )


def sync_at_work(directory: Path) -> DirectoryLockedError:
    """Return the error for a directory whose mirrors another process is busy with."""
    return DirectoryLockedError(
        f"Another process is at work with the mirrors of {directory}.",
        hint="Wait until it has ended.",
        path=directory,
    )


def object_changed(address: str, name: str, *, is_short: bool) -> InvalidBackupError:
    """Return the error for a backup at a mirror that is not what its meta file says."""
    kind: type[InvalidBackupError] = TruncatedBackupError if is_short else ChecksumMismatchError
    what = "is shorter than" if is_short else "is not what"
    return kind(
        f"{name} at {address} {what} its meta file says: it was changed there, or damaged.",
        hint=f"Use another backup: {shell_command('soulsense-db', 'mirror', 'list', address)}",
    )


def base_not_there(address: str, name: str) -> BaseError:
    """Return the error for a differential at a mirror without its base."""
    return BaseError(
        f"{name} is a differential backup, and its base is neither at {address} nor here.",
        hint=f"Use another backup: {shell_command('soulsense-db', 'mirror', 'list', address)}",
    )


def deleted_before(address: str, name: str) -> BackupNotFoundError:
    """Return the error for a backup that had to be at a mirror, and is gone here before."""
    return BackupNotFoundError(
        f"{name} is not at {address}: it is gone here, and was not uploaded in time.",
        hint="Take another one: soulsense-db create",
    )


def none_there(address: str) -> BackupNotFoundError:
    """Return the error for a mirror without any backup."""
    return BackupNotFoundError(
        f"There are no backups at {address}.",
        hint="Check the URL. Only what is whole counts: data and meta file.",
    )


def no_such_folder(address: str, folder: str, known: Sequence[str]) -> BackupNotFoundError:
    """Return the error for a folder that is not at the mirror."""
    return BackupNotFoundError(
        f"There is no folder {folder} at {address}.", hint=f"There are: {', '.join(known)}."
    )


def several_databases(address: str, folders: Sequence[str]) -> AmbiguousReferenceError:
    """Return the error for a mirror with the backups of several databases; one has to be named."""
    return AmbiguousReferenceError(
        f"The backups of {len(folders)} databases are at {address}.",
        hint=f"Name one of them, such as {address}/{folders[0]}. To see whose they are: "
        f"{shell_command('soulsense-db', 'mirror', 'list', address)}",
        candidates=folders,
    )


def databases_mixed(address: str, ref: str, names: Sequence[str]) -> AmbiguousReferenceError:
    """Return the error for a folder that has the backups of several databases, called ``names``."""
    return AmbiguousReferenceError(
        f"{address} has the backups of {len(names)} databases ({', '.join(names)}): which one "
        f"{ref!r} is of is not known.",
        hint="Name a backup by its id: " + shell_command("soulsense-db", "mirror", "list", address),
        candidates=names,
    )


def none_fits(address: str, ref: str) -> BackupNotFoundError:
    """Return the error for a reference that fits no backup at a mirror."""
    return BackupNotFoundError(
        f"No backup at {address} is meant by {ref!r}.",
        hint=f"See what is there: {shell_command('soulsense-db', 'mirror', 'list', address)}",
    )


def several_fit(address: str, ref: str, names: Sequence[str]) -> AmbiguousReferenceError:
    """Return the error for a reference that fits several backups at a mirror."""
    return AmbiguousReferenceError(
        f"{ref!r} may mean {len(names)} backups at {address}.",
        hint=f"Give more of the id: {', '.join(names)}.",
        candidates=names,
    )


def probe_differs(address: str) -> ChecksumMismatchError:
    """Return the error for a mirror that does not give back what it was given."""
    return ChecksumMismatchError(
        f"What was stored at {address} came back changed.", hint="Do not use this mirror."
    )


def not_listed(address: str) -> MirrorError:
    """Return the error for a mirror that does not list what is there."""
    return MirrorError(
        f"What was stored at {address} is not in its listing.",
        hint="Try again in a minute: some places list what is new only after a while.",
    )


def not_conditional(address: str) -> MirrorError:
    """Return the error for a mirror that lets a second one overwrite what a first one stored."""
    return MirrorError(
        f"{address} stored an object a second time that was to be stored only once: two machines "
        "could overwrite each other's.",
        hint="Give each machine a prefix of its own.",
    )


def none_took_it(name: str, errors: Sequence[BackupError]) -> MirrorError:
    """Return the error for a backup that has to be at a mirror, and is at none; ``errors``: why."""
    return MirrorError(
        f"The backup {name} did not reach a mirror: {'; '.join(error.cause for error in errors)}.",
        remedy=errors[0].remedy,
        reason=errors[0].reason,
    )


def none_has(ref: str, errors: Sequence[BackupError]) -> BackupError:
    """Return the error for a backup that none of several mirrors gave; ``errors``: why, of each."""
    what = f"No mirror gave {ref!r}: {'; '.join(error.cause for error in errors)}."
    if all(isinstance(error, BackupNotFoundError) for error in errors):
        return BackupNotFoundError(what, hint="See what is there: soulsense-db mirror list")
    told = next(error for error in errors if not isinstance(error, BackupNotFoundError))
    return MirrorError(what, remedy=told.remedy, reason=told.reason)
