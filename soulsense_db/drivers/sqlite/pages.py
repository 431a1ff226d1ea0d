"""Copy all pages of one database over another: a snapshot, and the writing of a restore."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from soulsense_db import fs
from soulsense_db.drivers.results import ConcurrentCommitError, SnapshotInfo, WriteLock
from soulsense_db.drivers.sqlite import pragmas
from soulsense_db.drivers.sqlite.errors import locked, target_errors
from soulsense_db.drivers.sqlite.files import connect_new
from soulsense_db.drivers.sqlite.live_connection import require_not_interrupted
from soulsense_db.drivers.sqlite.structure import understood
from soulsense_db.notices import Wait
from soulsense_db.progress import Progress

_STEP_PAGES = 8192  # 32 MB at 4 KB pages: as fast as one step, and progress ten times a second
_RETRY_SECONDS = 0.001  # a writer that commits all the time leaves only short gaps


def write_snapshot(
    source: sqlite3.Connection,
    target: Path,
    *,
    lock_timeout: float,
    progress: Progress | None,
    attached: str = "",
) -> SnapshotInfo:
    """Copy ``source``, in a transaction of the caller's, to the existing empty file ``target``.

    ``attached``: the databases that its engine attaches, for the facts; ``lock_timeout`` as below.
    """
    # The first read takes the snapshot; while it is open no writer can make the copy restart.
    with understood(source):
        pragmas.rows(source, pragmas.SMALLEST_READ)
        facts = {
            "journal_mode": pragmas.text(source, "journal_mode"),
            "page_size": str(pragmas.number(source, "page_size")),
            "sqlite_version": sqlite3.sqlite_version,
        }
        if attached:
            facts["attached"] = attached
        with target_errors(target), closing(connect_new(target)) as copy:
            copy_pages(source, copy, str(target), lock_timeout=lock_timeout, progress=progress)
    with target_errors(target), closing(connect_new(target)) as copy:
        # The copy has the source's header. In WAL mode it could not be opened read-only in a
        # read-only directory, and opening it would leave files beside it.
        copy.execute("PRAGMA journal_mode = DELETE")
        heads = pragmas.alembic_heads(copy)
    with fs.storage_errors("read", target):
        size = target.stat().st_size
    if progress is not None:
        progress(size, size)
    return SnapshotInfo(size_bytes=size, alembic_heads=heads, facts=facts)


def copy_pages(
    source: sqlite3.Connection,
    target: sqlite3.Connection,
    target_name: str,
    *,
    lock_timeout: float,
    progress: Progress | None,
    write_lock: WriteLock | None = None,
) -> None:
    """Copy all pages in steps, waiting ``lock_timeout`` seconds at most for any one lock.

    ``write_lock`` on the target is released by the first step that it blocks. The next one
    follows at once, and learns when a writer has been faster all the same.
    """
    page_size = pragmas.number(source, "page_size")
    waiting_since: float | None = None
    wait = Wait(f"another program that uses {target_name}")
    released = False

    def on_step(status: int, remaining: int, total: int) -> None:
        nonlocal waiting_since, wait, released
        if status != sqlite3.SQLITE_DONE:
            require_not_interrupted()
        if status & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            if write_lock is not None and write_lock.release():
                released = True
                return
            now = time.monotonic()
            if waiting_since is None:
                waiting_since, wait = now, Wait(f"another program that uses {target_name}")
            wait.goes_on()
            if now - waiting_since >= lock_timeout:
                raise locked(target_name, f"no lock within {lock_timeout:g} s")
            time.sleep(_RETRY_SECONDS)
            return
        waiting_since = None
        if status == sqlite3.SQLITE_DONE:  # an exception could no longer cancel it
            return
        if released and write_lock is not None and write_lock.has_concurrent_commit():
            raise ConcurrentCommitError
        released = False
        if progress is not None:
            progress((total - remaining) * page_size, total * page_size)

    # No sleep of SQLite's: between the release of a hold and the next step others could commit.
    # And two steps at least: with the last one it is too late to find out.
    pages = max(1, min(_STEP_PAGES, pragmas.number(source, "page_count") - 1))
    source.backup(target, pages=pages, progress=on_step, sleep=0)
