"""What lies beside a live database file before it is read: a log, a journal, or none of them.

A connection that takes no locks takes the journal of a running writer for that of one that died,
and rolls it back under the writer. One that is told that nobody writes looks for neither.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from soulsense_db import fs
from soulsense_db.drivers.sqlite import refusals
from soulsense_db.drivers.sqlite.check import says_wal
from soulsense_db.errors import StorageError
from soulsense_db.notices import Wait

# Of a journal that is of use, https://www.sqlite.org/fileformat.html#the_rollback_journal; with
# journal_mode = PERSIST one that is not stays, with zeros there.
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_PAUSE_SECONDS = 0.01


def has_journal(path: Path) -> bool:
    """Whether a writer is at work on the database ``path``, or died, in any mode but WAL."""
    journal = Path(f"{path}-journal")
    if not _has_contents(journal):
        return False
    try:
        return fs.start_of(journal).startswith(_JOURNAL_MAGIC)
    except StorageError:  # it is gone by now
        return _has_contents(journal)


def wait_for_no_journal(path: Path, seconds: float) -> None:
    """Wait until no writer is at work on ``path``.

    Raises :class:`~soulsense_db.errors.DatabaseLockedError` after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    wait = Wait(f"another program that is writing to {path}")
    while has_journal(path):
        if time.monotonic() >= deadline:
            raise refusals.has_journal(path)
        wait.goes_on()
        time.sleep(_PAUSE_SECONDS)


def require_no_log(path: Path) -> None:
    """Raise :class:`UnsupportedDatabaseError` where a log or journal of ``path`` is passed over.

    What is in there would be missing, or half of a change be read.
    """
    if _has_contents(Path(f"{path}-wal")):
        raise refusals.log_passed_over(path, "-wal")
    if has_journal(path):
        raise refusals.log_passed_over(path, "-journal")


def require_log_is_read(path: Path, journal_mode: str) -> None:
    """Raise as :func:`require_no_log` where a connection does not know of a log beside ``path``."""
    if journal_mode != "wal" and _has_contents(Path(f"{path}-wal")):
        raise refusals.log_passed_over(path, "-wal")


def require_own_log(path: Path) -> None:
    """Raise :class:`PermissionDeniedError` where reading ``path`` would lock its owner out.

    SQLite makes the log and its index with the first read of a database in WAL mode, and who may
    not write to the database cannot remove them at the end. They would belong to this user.
    """
    if not hasattr(os, "geteuid") or os.access(path, os.W_OK):
        return
    with fs.storage_errors("look at", path):
        is_own = path.stat().st_uid == os.geteuid()
    made = not all(fs.exists(Path(f"{path}{ending}")) for ending in ("-wal", "-shm"))
    if not is_own and made and os.access(path.parent, os.W_OK) and says_wal(path):
        raise refusals.log_of_another(path)


def _has_contents(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
