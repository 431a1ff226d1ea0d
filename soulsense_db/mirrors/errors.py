"""What a mirror refused, as errors of the tree. No secret is in any of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from soulsense_db.errors import (
    BackupNotFoundError,
    ChecksumMismatchError,
    MirrorDeniedError,
    MirrorError,
    MirrorFullError,
    MirrorNotFoundError,
    MirrorUnreachableError,
    MissingExtraError,
    OptionError,
)
from soulsense_db.shown_text import shell_command

NO_ANSWER = "no answer"
"""The reason of an error where nothing came for too long; a connection that breaks has others."""
_STAYS = "The local backups are what they were."


def bad_url(url: str, reason: str) -> OptionError:
    """Return the error for what is no URL of a mirror; ``reason``: a clause."""
    # What follows may be a signature that lets everybody in, as in the URLs that Azure hands out.
    shown, mark, _ = re.sub(r"^([^/@]*):[^/@]*@", r"\1:***@", url).partition("?")
    shown, hash_, _ = shown.partition("#")
    mark = mark or hash_
    shown += f"{mark}***" if mark else ""
    return OptionError(
        f"{shown!r} is not the URL of a mirror: {reason}.",
        hint="Write it as s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, "
        "sftp://user@host/path or file:///mnt/usb/soulsense.",
    )


def password_in_url(scheme: str) -> OptionError:
    """Return the error for a secret in the place of a user's name, or behind it."""
    return OptionError(
        f"The {scheme}:// URL of a mirror has a password in it, which ends up in logs.",
        hint="Leave it out. Credentials are found where the tools of that service find them: see "
        "'Somewhere else' in the documentation.",
    )


def no_kind(scheme: str, known: Sequence[str]) -> OptionError:
    """Return the error for a URL of a kind that nobody knows."""
    return OptionError(
        f"There is no kind of mirror '{scheme}'.", hint=f"The kinds are: {', '.join(known)}."
    )


def not_loaded(value: str, name: str, reason: str) -> OptionError:
    """Return the error for a kind of mirror of others that cannot be imported."""
    return OptionError(
        f"The kind of mirror '{name}' cannot be loaded from {value} ({reason}).",
        hint="Update or remove the package that it is from.",
    )


def not_a_mirror(value: str, name: str) -> OptionError:
    """Return the error for an entry point that is no mirror."""
    return OptionError(
        f"{value}, which is named as the kind of mirror '{name}', is no subclass of "
        "soulsense_db.mirrors.Mirror.",
        hint="Update or remove the package that it is from.",
    )


def extra_missing(scheme: str, extra: str) -> MissingExtraError:
    """Return the error for an optional library that is not installed."""
    return MissingExtraError(
        f"{scheme}:// mirrors need an optional library, which is not installed.",
        hint=f'Install it: python3 -m pip install "soulsense-db[{extra}]"',
    )


def changed_locally(path: Path) -> ChecksumMismatchError:
    """Return the error for a backup whose bytes are not what they were."""
    return ChecksumMismatchError(
        f"{path} is not what it was when it was made: its checksum differs. It was not uploaded.",
        hint=f"Verify the backup: {shell_command('soulsense-db', 'verify', path.name)}",
        path=path,
    )


def no_object(address: str, key: str) -> BackupNotFoundError:
    """Return the error for an object that is not at the mirror."""
    return BackupNotFoundError(
        f"There is no {key} at {address}.",
        hint=f"See what is there: {shell_command('soulsense-db', 'mirror', 'list', address)}",
    )


def unreachable(address: str, reason: str) -> MirrorUnreachableError:
    """Return the error for a connection that was not made, or broke."""
    return MirrorUnreachableError(
        f"{address} was not reached, or the connection broke ({reason}).",
        state=_STAYS,
        hint="Check the network and the address. What is missing at the mirror is uploaded later.",
        reason=reason,
    )


def too_slow(address: str, seconds: float) -> MirrorUnreachableError:
    """Return the error for a connection over which nothing comes any more."""
    return MirrorUnreachableError(
        f"{address} did not answer for {seconds:g} seconds.",
        state=_STAYS,
        hint="Check the network. What is missing at the mirror is uploaded later.",
        reason=NO_ANSWER,
    )


def denied(address: str, action: str, reason: str, hint: str) -> MirrorDeniedError:
    """Return the error for a missing right; ``action``: what was not allowed, such as "list"."""
    return MirrorDeniedError(
        f"{address} does not allow these credentials to {action} ({reason}).",
        state=_STAYS,
        hint=hint,
        reason=reason,
    )


def place_missing(address: str, reason: str, hint: str) -> MirrorNotFoundError:
    """Return the error for a place that is not there."""
    return MirrorNotFoundError(
        f"{address} is not there ({reason}).", state=_STAYS, hint=hint, reason=reason
    )


def not_prepared(address: str) -> MirrorNotFoundError:
    """Return the error for a directory in which no mirror was set up."""
    return MirrorNotFoundError(
        f"{address} is not set up as a mirror: perhaps the drive is not mounted.",
        state="Nothing was written there.",
        hint="Mount the drive; or set the mirror up: "
        f"{shell_command('soulsense-db', 'mirror', 'add', address)}",
        reason="not set up",
    )


def full(address: str, reason: str) -> MirrorFullError:
    """Return the error for a place without space."""
    return MirrorFullError(
        f"There is no space left at {address} ({reason}).",
        state=_STAYS,
        hint="Make room there, or give the mirror a retention policy that keeps less.",
        reason=reason,
    )


def forked(address: str) -> MirrorError:
    """Return the error for an object store in a process that was forked after the first use."""
    return MirrorError(
        f"{address} cannot be used here: this process was forked from one that has used an object "
        "store.",
        state=_STAYS,
        hint="Start a new process ('spawn') for it, or use no mirror before the fork.",
        reason="forked",
    )


def failed(address: str, reason: str) -> MirrorError:
    """Return the error for anything else that a mirror says."""
    return MirrorError(
        f"{address} failed ({reason}).",
        state=_STAYS,
        hint="Try again. To see what is allowed there: "
        f"{shell_command('soulsense-db', 'mirror', 'add', address)}",
        reason=reason,
    )


def stored_differs(address: str, key: str) -> ChecksumMismatchError:
    """Return the error for an object that is not what was sent."""
    return ChecksumMismatchError(
        f"{key} was uploaded to {address}, and is not what was sent. It was removed again.",
        state=_STAYS,
        hint="Try again. If it happens again, do not rely on that mirror.",
    )


def bad_folder(name: str) -> OptionError:
    """Return the error for what cannot be the name of a folder at every kind of mirror."""
    return OptionError(
        f"{name!r} cannot be the name of a folder at a mirror.",
        hint="Use up to 100 letters of English, digits, '-', '_' and '.'; begin with a letter or "
        "a digit.",
    )
