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
_WAL_VERSION = 2


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open ``path`` read-only.

    ``immutable`` takes no lock and leaves no ``-wal`` beside the file. A file that has a ``-wal``
    is somebody's database in use: that one is read together with its log.
    """
    # as_uri: a '#' or '?' in a path pasted into a URI silently opens another, empty database.
    mode = "mode=ro" if Path(f"{path}-wal").exists() else "mode=ro&immutable=1"
    uri = f"{path.absolute().as_uri()}?{mode}"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        yield connection


def says_wal(path: Path) -> bool:
    """Whether the header of ``path`` says that it is in WAL mode."""
    return _header(path)[18] == _WAL_VERSION


def check(path: Path, *, depth: Depth) -> tuple[str, ...]:
    """Raise an :class:`InvalidBackupError` unless ``path`` is a whole SQLite database.

    ``pages`` adds SQLite's ``quick_check``, ``full`` its ``integrity_check`` instead. Returns a
    line for every table with broken foreign keys (``full`` only): SQLite does not enforce them
    unless asked, so that a faithful copy may have them.
    """
    _check_size(path)
    if depth == "header":
        return ()
    pragma = "integrity_check" if depth == "full" else "quick_check"
    with backup_errors(path), opened(path) as connection:
        problem = str(connection.execute(f"PRAGMA {pragma}(1)").fetchone()[0])
        if problem != "ok":
            raise invalid(path, problem.replace("\n", " "))
        broken = Counter[str]()
        if depth == "full":
            broken.update(row[0] for row in connection.execute("PRAGMA foreign_key_check"))
    return tuple(
        f"{count} row(s) of table {table} refer to rows that do not exist"
        for table, count in sorted(broken.items())
    )


def require_contents(path: Path) -> None:
    """Raise :class:`EmptyBackupError` for a file of 0 bytes, without opening it."""
    with files.storage_errors("read", path):
        size = path.stat().st_size
    if size == 0:
        raise EmptyBackupError(
            f"Invalid backup file: {path.name} is empty (0 bytes). Nothing was changed.",
            hint="Use another backup.",
        )


def _check_size(path: Path) -> None:
    header = _header(path)
    if not header.startswith(_MAGIC) or len(header) < _HEADER_BYTES:
        raise not_a_database(path)
    page_size, changes, pages, valid_for = (
        struct.unpack(">H", header[16:18])[0],
        *struct.unpack(">II", header[24:32]),
        struct.unpack(">I", header[92:96])[0],
    )
    page_size = 65536 if page_size == 1 else page_size
    if page_size < 512 or page_size & (page_size - 1):
        raise invalid(path, f"page size {page_size}")
    size = path.stat().st_size
    # Very old writers leave the page count stale; then the file's size is all there is to go by.
    trusted = changes == valid_for and pages > 0
    if size % page_size or (trusted and size < pages * page_size):
        raise TruncatedBackupError(
            f"Invalid backup file: {path.name} is truncated: it has {size:,} bytes and should "
            f"have {max(pages, 1) * page_size:,}. Nothing was changed.",
            hint="Use another backup.",
        )


def _header(path: Path) -> bytes:
    require_contents(path)
    with files.storage_errors("read", path), path.open("rb") as stream:
        return stream.read(_HEADER_BYTES)
