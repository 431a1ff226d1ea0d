"""Database files: ours opened, any moved and removed with what SQLite keeps beside it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from soulsense_db import fs
from soulsense_db.drivers.sqlite.refusals import not_flushed, not_moved_back
from soulsense_db.errors import BackupError, Outcome, StorageError
from soulsense_db.fs import beside as named_beside
from soulsense_db.fs import require_file, require_same
from soulsense_db.notices import ignoring

COMPANIONS = fs.Companions(logs=("-wal", "-journal"), others=("-shm",))
LONGEST_PATH = 504 if os.name == "posix" else None
"""SQLite's own limit on Unix is 512, and it needs room for "-journal"."""
RESTORING, RESIZED = "restoring", "resized"
"""What a restore may need a copy for, made by :func:`beside`."""
WORKING_COPIES = (f".{RESTORING}", f".{RESIZED}")


def connect_new(path: Path) -> sqlite3.Connection:
    """Open a file of our own for writing; nothing is synced until it is complete."""
    with fs.storage_errors("open", path):
        made = require_file(path)
        connection = sqlite3.connect(path, isolation_level=None)
        try:  # SQLite follows a link; up to here it has written nothing
            require_same(path, made)
        except BaseException:
            connection.close()
            raise
    try:
        # Exclusive: no -shm file is made, and nobody else has business with it.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        # Reads the schema, which may be one that this SQLite does not understand.
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA writable_schema = OFF")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def beside(location: Path | None, purpose: str) -> Iterator[Path]:
    """Make an empty file beside ``location``, gone at the end with all that belongs to it.

    Without one it is in a directory of its own, where the system has such.
    """
    if location is None:
        with fs.temporary_file(purpose) as path:
            yield path
        return
    usual = named_beside(location, f".{purpose}", hidden=True)
    path = fs.free_name(usual, endings=("", *COMPANIONS.endings))
    fs.create_private_file(path, owner_of=location)
    try:
        yield path
    finally:
        # What it was for may be done; the next one removes it.
        with ignoring(StorageError, what=f"{path} is left over"):
            remove_with_companions(path)


def remove_with_companions(path: Path) -> None:
    """Remove the file ``path`` and all that belongs to it."""
    for companion in ("", *COMPANIONS.endings):
        fs.remove(Path(f"{path}{companion}"))


def flush_committed(location: Path) -> None:
    """Bring to the disk what is committed in the database ``location`` and SQLite has not flushed.

    With ``synchronous = NORMAL`` that is the log; with a rollback journal, also under ``FULL``,
    that it is gone. SQLite holds no lock on the log that closing it here could drop.
    """
    try:
        fs.sync_file(_log_of(location))
    except StorageError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise  # else it is all in the database: who closed it last flushed that
    fs.sync_directory(location.parent)


def size_with_log(location: Path) -> int:
    """Return how many bytes the files have in which the data of ``location`` is."""
    return sum(path.stat().st_size for path in _written_to(location) if fs.exists(path))


def write_stamp(location: Path) -> object:
    """Return what changes when somebody writes to the database ``location``."""
    found = []
    for path in _written_to(location):
        with suppress(OSError):  # absent: that too is what it was
            status = path.stat()
            found.append((status.st_size, status.st_mtime_ns))
    return tuple(found)


def _written_to(location: Path) -> tuple[Path, Path]:
    return location, _log_of(location)


def _log_of(location: Path) -> Path:
    return Path(f"{location}-wal")


def put_in_place(copy: Path, location: Path, *, stamp: str) -> tuple[Path, ...]:
    """Rename ``copy`` to ``location``; what is there is kept under names with ``stamp``, returned.

    ``location`` is one or the other at every moment, where the file system has hard links. On any
    error everything has its old name.
    """
    aside = named_beside(location, f".{stamp}")
    moved: list[Path] = []
    try:
        for companion in ("", *COMPANIONS.endings):
            path, to = Path(f"{location}{companion}"), Path(f"{aside}{companion}")
            if not fs.exists(path):
                continue
            # The main file first: with that the system refuses what it will not do, and it stays.
            if not companion and _link(path, to):
                moved.append(to)
                continue
            moved.append(to)
            fs.move_durably(path, to)
        with fs.storage_errors("rename to", location):
            require_file(copy)
            os.replace(copy, location)
    except BaseException as error:
        if fs.exists(copy):  # else an interrupt came after the last step
            _move_back(moved, aside, location)
            if isinstance(error, BackupError):
                error.with_outcome(Outcome.UNCHANGED)
        raise
    try:
        fs.sync_directory(location.parent)
    except StorageError as error:
        raise not_flushed(location, aside if moved else None, error.cause) from error
    return tuple(moved)


def _link(path: Path, to: Path) -> bool:
    """Give the file a second name; False where it cannot have one."""
    try:
        os.link(path, to)
    except FileExistsError as error:
        raise fs.as_storage_error(error, "rename to", to) from error
    except OSError:
        return False
    fs.sync_directory(to.parent)
    return True


def _move_back(moved: list[Path], aside: Path, location: Path) -> None:
    try:
        for path in reversed(moved):
            before = Path(f"{location}{path.name.removeprefix(aside.name)}")
            if not fs.exists(path):
                continue
            if not fs.exists(before):
                fs.move_durably(path, before)
            elif path.samefile(before):  # its second name: it never lost the first
                fs.remove(path)
            else:  # who opened the database meanwhile has made a new log
                raise StorageError(f"{before} was replaced with another file meanwhile.")
    except StorageError as error:
        raise not_moved_back(location, aside, error.cause) from error
