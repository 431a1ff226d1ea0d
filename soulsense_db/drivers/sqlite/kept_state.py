"""The state of a test's database, kept in memory and put back: quick, and not durable."""

from __future__ import annotations

import sqlite3
import time
import weakref
from collections.abc import Callable

from soulsense_db.drivers.sqlite import pragmas
from soulsense_db.drivers.sqlite.connections import LiveDatabase
from soulsense_db.drivers.sqlite.errors import locked
from soulsense_db.drivers.sqlite.structure import passing_over_schema

_ALL_PAGES = -1
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_RETRY_SECONDS = 0.001


class KeptState:
    """All of ``live`` as it is now; call it to put that back.

    ``lock_timeout``: seconds to wait for who uses the database.
    """

    def __init__(self, live: LiveDatabase, *, lock_timeout: float) -> None:
        self._live = live
        self._lock_timeout = lock_timeout
        # aiosqlite has a thread for each connection.
        self._kept = sqlite3.connect(":memory:", check_same_thread=False)
        weakref.finalize(self, self._kept.close)
        live.run(self._keep)

    def __call__(self) -> None:
        """Put it back, in one transaction; raises the errors of the tree that a restore raises."""
        self._live.run(self._put_back)

    def _keep(self, live: sqlite3.Connection) -> None:
        live.backup(self._kept, pages=_ALL_PAGES, progress=self._waiting(), sleep=0)

    def _put_back(self, live: sqlite3.Connection) -> None:
        journal = pragmas.text(live, "journal_mode")
        with passing_over_schema(live), pragmas.settings(live, synchronous=0, busy_timeout=0):
            if self._live.path and journal != "wal":
                live.execute("PRAGMA journal_mode = MEMORY").fetchall()  # of this connection only
            self._kept.backup(live, pages=_ALL_PAGES, progress=self._waiting(), sleep=0)

    def _waiting(self) -> Callable[[int, int, int], None]:
        """Return a progress of SQLite's backup that waits for locks, but not for ever."""
        deadline = time.monotonic() + self._lock_timeout

        def wait(status: int, _remaining: int, _total: int) -> None:
            if status & 0xFF not in _BUSY:
                return
            if time.monotonic() > deadline:
                name = str(self._live.path or "the database in memory")
                raise locked(name, f"no lock within {self._lock_timeout:g} s")
            time.sleep(_RETRY_SECONDS)

        return wait
