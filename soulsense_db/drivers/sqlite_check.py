"""Checks of an SQLite file that nobody writes to: never written, nothing left beside it."""

from __future__ import annotations

import sqlite3
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from soulsense_db import files
from soulsense_db.drivers.base import Depth
from soulsense_db.drivers.sqlite_errors import backup_errors, invalid, not_a_database
from soulsense_db.errors import EmptyBackupError, TruncatedBackupError

# The header of every SQLite file, https://www.sqlite.org/fileformat.html#the_database_header
_MAGIC = b"SQLite format 3\x00"
_HEADER_BYTES = 100
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

    A file without a log is opened like a backup, so that nothing is left beside it.
    """
    logged = any(Path(f"{path}{log}").exists() for log in ("-wal", "-journal"))
    mode = "mode=ro" if logged else "mode=ro&immutable=1"
    with closing(_connect(path, mode)) as connection:
        connection.execute(f"PRAGMA busy_timeout = {int(lock_timeout * 1000)}")
        try:
            connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
                raise
            raise invalid(
                path.name, "a transaction in it was never finished; open it once with its program"
            ) from error
        yield connection


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # as_uri: a '#' or '?' in a path pasted into a URI silently opens another, empty database.
    return sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None)


def says_wal(path: Path) -> bool:
    """Whether the header of ``path`` says that it is in WAL mode."""
    return _header(path)[18] == _WAL_VERSION


def check(path: Path, *, depth: Depth, called: str | None = None) -> tuple[str, ...]:
    """Raise an :class:`InvalidBackupError` unless ``path`` is a whole SQLite database.

    ``pages`` adds SQLite's ``quick_check``, ``full`` its ``integrity_check`` instead. Returns a
    line for every table with broken foreign keys (``full`` only): SQLite does not enforce them
    unless asked, so that a faithful copy may have them. ``called``: its name in errors.
    """
    name = called or path.name
    _check_size(path, name)
    if depth == "header":
        return ()
    pragma = "integrity_check" if depth == "full" else "quick_check"
    with backup_errors(path, name), opened(path) as connection:
        problem = str(connection.execute(f"PRAGMA {pragma}(1)").fetchone()[0])
        if problem != "ok":
            raise invalid(name, problem.replace("\n", " "))
        broken = Counter[str]()
        if depth == "full":
            broken.update(row[0] for row in connection.execute("PRAGMA foreign_key_check"))
    return tuple(
        f"{count} row(s) of table {table} refer to rows that do not exist"
        for table, count in sorted(broken.items())
    )


def require_contents(path: Path) -> None:
    """Raise an :class:`InvalidBackupError` for a file too short to be a database.

    Told from its size, without opening it.
    """
    with files.storage_errors("read", path):
        size = path.stat().st_size
    if size == 0:
        raise _empty(path.name)
    if size < _SMALLEST:  # SQLite itself would take it for an empty database
        raise not_a_database(path.name)


def _check_size(path: Path, name: str) -> None:
    header = _header(path)
    if not header.startswith(_MAGIC):
        raise not_a_database(name)
    size = path.stat().st_size
    if size < _SMALLEST:
        raise _truncated(name, size, _SMALLEST)
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
        raise _truncated(name, size, max(pages, 1) * page_size)


def _truncated(name: str, size: int, wanted: int) -> TruncatedBackupError:
    return TruncatedBackupError(
        f"Invalid backup file: {name} is truncated: it has {size:,} bytes and should have "
        f"{wanted:,}. Nothing was changed.",
        hint="Use another backup.",
    )


def _empty(name: str) -> EmptyBackupError:
    return EmptyBackupError(
        f"Invalid backup file: {name} is empty (0 bytes). Nothing was changed.",
        hint="Use another backup.",
    )


def _header(path: Path) -> bytes:
    with files.storage_errors("read", path), path.open("rb") as stream:
        header = stream.read(_HEADER_BYTES)
    if not header:
        raise _empty(path.name)
    return header
