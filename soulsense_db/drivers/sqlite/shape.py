"""Give a backup the shape in which SQLite can write it over a live database."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from soulsense_db import fs
from soulsense_db.drivers.sqlite import check as sqlite_check
from soulsense_db.drivers.sqlite import pragmas
from soulsense_db.drivers.sqlite.errors import backup_errors
from soulsense_db.drivers.sqlite.files import RESIZED, RESTORING, beside, connect_new
from soulsense_db.drivers.sqlite.refusals import name_too_long, other_encoding
from soulsense_db.drivers.sqlite.structure import understood
from soulsense_db.fs import name_max
from soulsense_db.notices import ignoring

_ATTACHED = "soulsense_db_working_copy"
_KEPT_WITHOUT_TABLES = ("auto_vacuum", "user_version", "application_id")


def require_same_encoding(source: Path, live: sqlite3.Connection) -> None:
    """Raise :class:`InvalidBackupError` where both have tables, and text in other encodings.

    SQLite could write it all the same; whoever is connected would then get nothing but errors.
    """
    with backup_errors(source), sqlite_check.opened(source) as backup, understood(backup):
        encoding = pragmas.text(backup, "encoding")
        if is_empty(backup):
            return
    if not is_empty(live) and pragmas.text(live, "encoding") != encoding:
        raise other_encoding(source.name, encoding, pragmas.text(live, "encoding"))


def require_journal_fits(location: Path) -> None:
    """Raise :class:`StorageError` where SQLite could make no journal for the database."""
    if len(os.fsencode(f"{location.name}-journal")) > name_max(location.parent):
        raise name_too_long(location)


@contextmanager
def journal_that_survives(live: sqlite3.Connection, location: Path | None) -> Iterator[str]:
    """Yield the journal mode of ``live``, which is one that survives a crash in the block."""
    mode = pragmas.text(live, "journal_mode")
    if location is None or mode not in {"off", "memory"}:
        yield mode
        return
    # A connect event of the application chose speed; half a restore could not be rolled back.
    yield str(pragmas.rows(live, "PRAGMA journal_mode = DELETE")[0][0])
    # The connection may be the application's own.
    with ignoring(sqlite3.Error, what=f"The journal mode {mode} was not put back"):
        pragmas.rows(live, f"PRAGMA journal_mode = {mode}")


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether the database has no table and nothing else that has a name: it fits any other."""
    return not pragmas.rows(connection, "SELECT 1 FROM main.sqlite_master LIMIT 1")


@contextmanager
def compatible_source(
    source: Path,
    live: sqlite3.Connection,
    live_mode: str,
    location: Path | None,
    *,
    for_rehearsal: bool = False,
) -> Iterator[sqlite3.Connection]:
    """Open ``source``, or a working copy of it that the live database can take as it is.

    It has two pages at least: a copy of one would be done before anybody could look whether
    somebody else has committed meanwhile.

    SQLite cannot change the page size of a WAL or in-memory database; and a backup whose header
    says WAL would turn the live database to WAL, which nobody could turn back with others
    connected. ``location``: of the live database, beside which the copy is made.
    ``for_rehearsal``: a restore may be at work, with copies of its own.
    """
    with _compatible_source(
        source, live, live_mode, location, for_rehearsal=for_rehearsal
    ) as backup:
        if pragmas.number(backup, "page_count") != 1:
            yield backup
            return
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as two_pages:
            two_pages.deserialize(_with_a_free_page(backup.serialize()))
            yield two_pages


def _with_a_free_page(page: bytes) -> bytes:
    """Return the database of one ``page`` with a second one, which is not in use.

    The fields of the header: https://www.sqlite.org/fileformat2.html#the_database_header
    """
    header = bytearray(page)
    header[28:32] = (2).to_bytes(4, "big")  # pages
    if not any(header[52:56]):  # else, with auto_vacuum, page 2 is always a map of pages
        header[32:36] = (2).to_bytes(4, "big")  # the first page of the list of free ones
        header[36:40] = (1).to_bytes(4, "big")  # how many there are
    return bytes(header) + bytes(len(page))


@contextmanager
def _compatible_source(
    source: Path,
    live: sqlite3.Connection,
    live_mode: str,
    location: Path | None,
    *,
    for_rehearsal: bool,
) -> Iterator[sqlite3.Connection]:
    own = f"_{os.getpid()}_{threading.get_ident()}" if for_rehearsal else ""
    live_page_size = pragmas.number(live, "page_size")
    with sqlite_check.opened(source) as backup, understood(backup) as problem:
        fixed_size = live_mode in {"wal", "memory"}
        resized = fixed_size and pragmas.number(backup, "page_size") != live_page_size
        if not problem and is_empty(backup):
            with _without_tables(backup, live_page_size if fixed_size else None) as empty:
                yield empty
            return
        if not resized and not sqlite_check.says_wal(source):
            yield backup
            return
    with working_copy(source, location, own) as copy:
        with closing(connect_new(copy)) as connection, understood(connection):
            connection.execute("PRAGMA journal_mode = DELETE")
            same_encoding = pragmas.text(connection, "encoding") == pragmas.text(live, "encoding")
            if not resized:
                yield connection
                return
        with beside(location, f"{RESIZED}{own}") as path:
            if same_encoding:
                _vacuum_into(copy, path, live, live_page_size)
            else:  # the live database is empty, and SQLite attaches no other encoding to it
                with closing(sqlite3.connect(":memory:", isolation_level=None)) as other:
                    _choose_encoding_of(copy, other)
                    _vacuum_into(copy, path, other, live_page_size)
            with closing(connect_new(path)) as in_live_size:
                yield in_live_size


@contextmanager
def working_copy(source: Path, location: Path | None, own: str = "") -> Iterator[Path]:
    """Copy ``source`` to a file beside the live database, gone at the end.

    ``own``: the end of a name of its own, where another one may be in use.
    """
    with beside(location, f"{RESTORING}{own}") as copy:
        fs.copy_contents(source, copy)
        yield copy


@contextmanager
def _without_tables(
    backup: sqlite3.Connection, page_size: int | None
) -> Iterator[sqlite3.Connection]:
    """Make a database without tables in memory: its encoding is not decided yet.

    That of the backup may be another than its application's connections have by now.
    """
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as empty:
        empty.execute(f"PRAGMA page_size = {page_size or pragmas.number(backup, 'page_size')}")
        for name in _KEPT_WITHOUT_TABLES:
            empty.execute(f"PRAGMA {name} = {pragmas.number(backup, name)}")
        yield empty


def _choose_encoding_of(copy: Path, connection: sqlite3.Connection) -> None:
    with sqlite_check.opened(copy) as opened, understood(opened):
        connection.execute(f"PRAGMA encoding = '{pragmas.text(opened, 'encoding')}'")


def _vacuum_into(copy: Path, path: Path, live: sqlite3.Connection, page_size: int) -> None:
    """Write the database ``copy`` to the empty file ``path`` with pages of another size.

    Through the application's own connection ``live``: an index may be sorted by its collation, or
    hold what its function returns. INTO keeps the rowids of tables without INTEGER PRIMARY KEY;
    plain VACUUM does not.
    """
    live.execute(f"ATTACH ? AS {_ATTACHED}", (str(copy),))
    try:
        live.execute(f"PRAGMA {_ATTACHED}.page_size = {page_size}")
        live.execute(f"VACUUM {_ATTACHED} INTO ?", (str(path),))
    finally:
        # The connection is about to be closed.
        with ignoring(sqlite3.Error, what="A working copy could not be detached"):
            live.execute(f"DETACH {_ATTACHED}")
