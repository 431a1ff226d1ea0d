"""Files of a directory that is open: no name leads anywhere else, whatever is put there meanwhile.

Each function takes the descriptor ``inside`` of the directory, and raises :class:`OSError`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import stat
from contextlib import ExitStack

from soulsense_db import fs
from soulsense_db.mirrors.base import CHUNK
from soulsense_db.mirrors.directories import (
    FILE_MODE,
    MARKER,
    is_partial_of,
    is_partial_of_any,
    partial_name,
)
from soulsense_db.notices import ignoring, log_ignored

_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)


def open_directory(stack: ExitStack, name: str, inside: int | None = None) -> int:
    """Return a directory, opened; in an open one, ``inside``, no link is followed."""
    flags = _DIRECTORY if inside is None else _DIRECTORY | fs.NO_LINK
    descriptor = os.open(name, flags, dir_fd=inside)
    stack.callback(os.close, descriptor)
    return descriptor


def open_directory_if_there(stack: ExitStack, name: str, inside: int) -> int | None:
    """Return a directory, opened; None where there is none."""
    try:
        return open_directory(stack, name, inside)
    except FileNotFoundError:
        return None


def create_file(stack: ExitStack, name: str, inside: int) -> int:
    """Return a new file, opened to write and read."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | fs.NO_LINK | fs.BINARY
    descriptor = os.open(name, flags, FILE_MODE, dir_fd=inside)
    stack.callback(os.close, descriptor)
    # A umask may have taken bits that we need ourselves; a file system may have no permissions.
    with ignoring(OSError, what=f"The mode of {name} could not be set"):
        os.fchmod(descriptor, FILE_MODE)
    return descriptor


def create_partial(stack: ExitStack, name: str, inside: int) -> tuple[str, int]:
    """Return name and descriptor of a new file, which is called ``name`` once it is whole.

    Another program that stores the same at once has a file of its own. It is locked: that tells
    :func:`remove_leftovers` that it is none.
    """
    while True:
        partial = partial_name(name, secrets.token_hex(8))
        descriptor = create_file(stack, partial, inside)
        # Else another program took it for a leftover before it was locked.
        if _is_locked_by_us(descriptor) and is_there(partial, inside):
            return partial, descriptor


def remove_leftovers(name: str | None, inside: int) -> None:
    """Remove what earlier calls left over that were killed while they stored ``name``.

    None for any name.
    """
    for found in os.listdir(inside):
        if not (is_partial_of_any(found) if name is None else is_partial_of(name, found)):
            continue
        try:
            if not stat.S_ISREG(os.stat(found, dir_fd=inside, follow_symlinks=False).st_mode):
                continue
            descriptor = os.open(found, os.O_RDWR | fs.NO_LINK | os.O_NONBLOCK, dir_fd=inside)
        except FileNotFoundError:
            continue
        try:
            # Where there are no locks, one of another name may be written at this moment.
            if _is_locked_by_us(descriptor, without_locks=name is not None):
                remove(found, inside)
        finally:
            os.close(descriptor)


def _is_locked_by_us(descriptor: int, *, without_locks: bool = True) -> bool:
    """Lock a file, if nobody else has; ``without_locks``: the answer of a file system without."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        log_ignored("A file of a mirror could not be locked", error)
        return without_locks
    return True


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data``."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def has_contents(descriptor: int, size_bytes: int, sha256: str) -> bool:
    """Whether the file has those contents, on its drive as far as the system lets us ask."""
    if hasattr(os, "posix_fadvise"):  # else it is the memory of this machine that is read
        with ignoring(OSError, what="What was written is read back from memory"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.lseek(descriptor, 0, os.SEEK_SET)
    if os.fstat(descriptor).st_size != size_bytes:
        return False
    checksum = hashlib.sha256()
    while piece := os.read(descriptor, CHUNK):
        checksum.update(piece)
    return checksum.hexdigest() == sha256


def has_marker(place: int) -> bool:
    """Whether the directory was set up as a mirror."""
    try:
        return stat.S_ISREG(os.stat(MARKER, dir_fd=place, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def is_there(name: str, inside: int) -> bool:
    """Whether there is something of that name."""
    try:
        os.stat(name, dir_fd=inside, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def remove(name: str, inside: int) -> None:
    """Delete a file; one that is gone is no error."""
    try:
        os.unlink(name, dir_fd=inside)
    except FileNotFoundError:
        return
