"""Checks of an SQLite file that nobody writes to: never written, nothing left beside it."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from soulsense_db import fs
from soulsense_db.drivers.other_files import refuse
from soulsense_db.drivers.results import CheckLevel, Findings
from soulsense_db.drivers.sqlite import pragmas
from soulsense_db.drivers.sqlite.cancel import interruptible
from soulsense_db.drivers.sqlite.errors import (
    READONLY_ROLLBACK,
    backup_errors,
    backup_not_understood,
    damaged,
    invalid,
    is_unreadable_schema,
)
from soulsense_db.drivers.sqlite.refusals import empty, truncated
from soulsense_db.drivers.sqlite.structure import DamageError, examine
from soulsense_db.errors import InvalidBackupError

# The header of every SQLite file, https://www.sqlite.org/fileformat.html#the_database_header
_MAGIC = b"SQLite format 3\x00"
_SMALLEST = 512
_WAL_VERSION = 2


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the backup ``path`` read-only: no lock is taken, and no ``-wal`` left beside it."""
    with closing(_connect(path, "mode=ro&immutable=1")) as connection:
        yield connection


@contextmanager
def opened_in_use(path: Path, *, lock_timeout: float) -> Iterator[sqlite3.Connection]:
    """Open the database file ``path`` read-only, with what a log beside it adds.

    One in WAL mode without a log is opened like a backup: else SQLite would leave one beside it.
    """
    alone = says_wal(path) and not fs.exists(Path(f"{path}-wal"))
    mode = "mode=ro&immutable=1" if alone else "mode=ro"
    with closing(_connect(path, mode)) as connection:
        pragmas.wait_for_locks(connection, lock_timeout)
        try:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != READONLY_ROLLBACK:
                raise
            raise invalid(
                path.name, "a transaction in it was never finished; open it once with its program"
            ) from error
        yield connection


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # as_uri: a '#' or '?' in a path pasted into a URI silently opens another, empty database.
    uri = f"{path.absolute().as_uri()}?{mode}"
    # Any thread: long work runs in one of its own.
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def says_wal(path: Path) -> bool:
    """Whether the header of ``path`` says that it is in WAL mode."""
    return _header(path)[18] == _WAL_VERSION


def check(
    path: Path,
    *,
    level: CheckLevel,
    called: str | None = None,
    poll: Callable[[], object] | None = None,
) -> Findings:
    """Raise an :class:`InvalidBackupError` unless ``path`` is a whole SQLite database.

    ``pages`` adds SQLite's ``quick_check``, ``full`` its ``integrity_check`` and
    ``foreign_key_check`` instead. ``called``: its name in errors. ``poll`` is called now and then;
    what it raises cancels, and so does Ctrl-C.

    This process may have the file open: what is not read through SQLite, another process reads.
    """
    name = called or path.name
    _check_size(path, name)
    if level == "quick":
        return Findings()
    with backup_errors(path, name), opened(path) as connection:
        full = level == "full"
        return interruptible(
            lambda: _check_pages(connection, name, full=full), connection, poll=poll
        )


def check_own(
    path: Path,
    *,
    without: Collection[str] = (),
    poll: Callable[[], object] | None = None,
) -> Findings:
    """Check ``path``, a file that is ours alone, in full, but for the tables ``without``.

    On a connection that could write: on one that only reads, ``integrity_check`` of SQLite 3.40
    passes over CHECK constraints.
    """
    with backup_errors(path), closing(_connect(path, "mode=rw")) as connection:
        return interruptible(
            lambda: _check_pages(connection, path.name, full=True, without=without),
            connection,
            poll=poll,
        )


def check_live(connection: sqlite3.Connection, name: str) -> None:
    """Raise :class:`DatabaseDamagedError` when a page of the database ``name`` is damaged.

    The connection may be the application's own.
    """
    try:
        _check_pages(connection, name, full=False, is_borrowed=True)
    except InvalidBackupError as error:
        raise damaged(name, error.reason) from error


def is_sound(path: Path) -> bool:
    """Whether ``path`` is a whole SQLite database; read through SQLite alone.

    SQLite may have the file open already: its own locks stay, as they would not if the file was
    opened and closed by anybody else in the process.
    """
    try:
        size = path.stat().st_size
        with opened(path) as connection:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            (page_size,) = connection.execute("PRAGMA page_size").fetchone()
            _check_pages(connection, path.name, full=False)
    except (OSError, ValueError, sqlite3.Error, InvalidBackupError):
        return False
    return bool(size >= max(_SMALLEST, pages * page_size))


def _check_pages(
    connection: sqlite3.Connection,
    name: str,
    *,
    full: bool,
    is_borrowed: bool = False,
    without: Collection[str] = (),
) -> Findings:
    """Tell damaged pages (an error) from faulty rows and from what cannot be checked here."""
    try:
        found = examine(connection, full=full, is_borrowed=is_borrowed, without=without)
    except DamageError as error:
        raise invalid(name, str(error)) from error
    if full and found.schema_problem:
        raise backup_not_understood(name, found.schema_problem)
    return Findings(
        row_errors=found.row_errors,
        warnings=found.warnings,
        broken_references=found.broken_references,
    )


def require_contents(path: Path) -> None:
    """Raise an :class:`InvalidBackupError` for a file too short to be a database.

    Told from its size, without opening it.
    """
    with fs.storage_errors("read", path):
        size = path.stat().st_size
    if size == 0:
        raise empty(path.name)
    if size < _SMALLEST:  # SQLite itself would take it for an empty database
        refuse("an SQLite database", path)


def _check_size(path: Path, name: str) -> None:
    """Raise unless the header is SQLite's and the file as long as it says."""
    with fs.storage_errors("read", path):
        size = path.stat().st_size
    try:
        with opened(path) as connection:
            pages = pragmas.number(connection, "page_count")
            page_size = pragmas.number(connection, "page_size")
    except (sqlite3.Error, UnicodeDecodeError) as error:
        _tell_what_is_wrong(path, name)
        if is_unreadable_schema(error):  # a newer SQLite may understand it
            return
        with backup_errors(path, name):
            raise
    if size < _SMALLEST or size % page_size or size < pages * page_size:
        _tell_what_is_wrong(path, name)


def _tell_what_is_wrong(path: Path, name: str) -> None:
    """Raise in better words than SQLite's what the header and the size of a file tell."""
    header = _header(path)
    if not header.startswith(_MAGIC):
        refuse("an SQLite database", path, name=name)
    with fs.storage_errors("read", path):
        size = path.stat().st_size
    if size < _SMALLEST:
        raise truncated(name, size, _SMALLEST)
    page_size, changes, pages, valid_for = (
        struct.unpack(">H", header[16:18])[0],
        *struct.unpack(">II", header[24:32]),
        struct.unpack(">I", header[92:96])[0],
    )
    page_size = 65536 if page_size == 1 else page_size
    if page_size < 512 or page_size & (page_size - 1):
        raise invalid(name, f"page size {page_size}")
    # Very old writers leave the page count stale; then the file's size is all there is to go by.
    trusted = changes == valid_for and pages > 0
    if size % page_size or (trusted and size < pages * page_size):
        raise truncated(name, size, max(pages, 1) * page_size)


def _header(path: Path) -> bytes:
    header = fs.start_of(path)
    if not header:
        raise empty(path.name)
    return header
