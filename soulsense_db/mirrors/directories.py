"""What mirrors have in common that keep each object as a file of a directory."""

from __future__ import annotations

import re

from soulsense_db.errors import MirrorError
from soulsense_db.mirrors.errors import failed

MARKER = ".soulsense_mirror"
"""The file that says that a directory is a mirror, and not the place where a drive is missing."""
MARKER_TEXT = (
    b"This directory is a mirror of backups that soulsense_db made. Where this file is missing, "
    b"nothing is stored.\n"
)
DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
_PARTIAL = ".partial"
_OF_ANY = re.compile(r"\..+\.[0-9a-f]{16}\.partial", re.S)


def is_plain(name: str) -> bool:
    """Whether a folder or an object may have that name: neither hidden nor anywhere else."""
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        return False
    # A name that is no text on this system is none of ours.
    return not any("\ud800" <= character <= "\udfff" for character in name)


def split_key(address: str, key: str) -> tuple[str, str]:
    """Return folder and name.

    Raises:
        MirrorError: It is no key of an object in a directory: it could lead out of it.
    """
    folder, _, name = key.partition("/")
    if not (is_plain(folder) and is_plain(name)):
        raise no_key(address, key)
    return folder, name


def no_key(address: str, key: str) -> MirrorError:
    """Return the error for what is no ``folder/name``."""
    return failed(address, f"{key!r} is not a folder and a name")


def partial_name(name: str, mark: str) -> str:
    """Return what the file is called until it is whole; ``mark``: whose, or of which contents."""
    return f".{name}.{mark}{_PARTIAL}"


def is_partial_of_any(found: str) -> bool:
    """Whether the file ``found`` is what was left of storing anything, with a mark as ours."""
    return _OF_ANY.fullmatch(found) is not None


def is_partial_of(name: str, found: str) -> bool:
    """Whether the file ``found`` is what was left of storing ``name``."""
    if not (found.startswith(f".{name}.") and found.endswith(_PARTIAL)):
        return False
    # The mark has no dot in it: else app.db would take that of app.db.meta for its own.
    return "." not in found[len(name) + 2 : -len(_PARTIAL)]
