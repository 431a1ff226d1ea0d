"""How the SQLite driver reaches the live database without touching the engine's pool.

A database in a file (or in shared-cache memory) is reached through private connections made in the
way of the engine (:mod:`~soulsense_db.drivers.sqlite.engine`). A private in-memory database has
only the engine's own connection, which is then borrowed.

Never ``open()`` the live database file in this process: closing any descriptor of it drops all
POSIX locks that SQLite holds on it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.engine import Engine
from sqlalchemy.pool import QueuePool, SingletonThreadPool, StaticPool
from sqlalchemy.util import greenlet_spawn

from soulsense_db import fs
from soulsense_db.drivers.event_loop import EventLoop
from soulsense_db.drivers.sqlite import logs, pragmas
from soulsense_db.drivers.sqlite.engine import EngineConnections, make_ours, without_limits
from soulsense_db.drivers.sqlite.errors import live_errors, primary_code
from soulsense_db.drivers.sqlite.identity import FileIdentity, path_of
from soulsense_db.drivers.sqlite.live_connection import (
    LiveConnection,
    Work,
    innermost,
    run_in_its_thread,
)
from soulsense_db.drivers.sqlite.refusals import (
    file_not_found,
    for_one_connection,
    in_transaction,
    no_file,
    read_only,
    without_locks,
)
from soulsense_db.drivers.sqlite.write_lock import (
    is_busy,
    is_locked_out,
    try_to_hold,
)
from soulsense_db.errors import (
    BackupError,
    DatabaseChangedError,
    DatabaseDamagedError,
    DatabaseFileNotFoundError,
    DatabaseLockedError,
    UnsupportedDatabaseError,
)
from soulsense_db.notices import ignoring

T = TypeVar("T")

# An operation holds the write lock on one and reads or writes through another.
_FOR_ONE_OPERATION = 2


class LiveDatabase:
    """The live database behind ``engine``.

    ``path``: its file, resolved, None in memory; ``lock_timeout`` in seconds.
    """

    def __init__(self, engine: Engine, *, lock_timeout: float) -> None:
        self._engine = engine
        self._lock_timeout = lock_timeout
        self._connections = EngineConnections(engine)
        # Resolved now: a relative path means the directory the engine was made in.
        self._identity = FileIdentity(path_of(self._connections.arguments.file))
        self._borrowed = False
        self._repeated = False
        self._prepared = threading.local()
        self._locks_are_known = self._connections.are_predictable
        self._may_be_immutable = False
        self.attached = ""
        """The databases that the engine attaches when it connects, with their files."""

    @property
    def _path(self) -> Path | None:
        return self._identity.path

    @property
    def path(self) -> Path | None:
        """The file of the live database; None when it lives in memory."""
        self._identify()
        return self._path

    @property
    def known_path(self) -> Path | None:
        """Its file as far as it is known without a connection."""
        return self._path

    @property
    def address(self) -> str:
        """What ``--url`` takes to reach it; empty in memory."""
        return self._connections.arguments.address(self.path) if self.path else ""

    def run(self, work: Work[T], *, lock_timeout: float | None = None) -> T:
        """Return ``work(connection)`` for a raw connection to the live database.

        A private connection is in autocommit mode. Raises errors of the tree for what SQLite
        raises, and :class:`DatabaseFileNotFoundError` instead of making the file.
        """
        self.require_file()
        self._identify()
        patience = self._lock_timeout if lock_timeout is None else lock_timeout
        with live_errors(self._path):
            if not self._borrowed:
                with self._private(patience) as connection:
                    return connection.run(work)
            if self._engine.dialect.is_async:
                return self._run_on_own_async(lambda own: work(_idle(own)))
            with self._own() as own:
                return work(_idle(own))

    def require_file(self) -> None:
        """Raise :class:`DatabaseFileNotFoundError` when the database's file does not exist."""
        if self._path is None:
            return
        if not fs.exists(self._path):
            raise file_not_found(self._path)
        with fs.storage_errors("look at", self._path):
            is_file = self._path.is_file()
        if not is_file:
            raise no_file(self._path)

    def require_writable(self) -> None:
        """Raise :class:`PermissionDeniedError` for an engine that only reads, by its URL."""
        if self._connections.arguments.is_read_only:
            raise read_only(self._path)

    def require_same_file(self) -> None:
        """Raise :class:`DatabaseChangedError` when the file was replaced since it was opened."""
        self._identity.require_same_file()

    def require_same_path(self) -> None:
        """Raise :class:`DatabaseChangedError` when the engine would make another file by now."""
        if self._connections.are_predictable:
            self._identity.require_same_path(path_of(self._connections.arguments.file))

    @contextmanager
    def prepared(self, lock_timeout: float) -> Iterator[None]:
        """Open the connections that an operation needs, for this thread to use in the block.

        Called before the operation takes its first lock: a connect event of the application may
        need a lock itself. Where the database is missing or damaged, none are opened.
        """
        if self._ready is not None:
            yield
            return
        with ExitStack() as opened:
            ready: list[LiveConnection] = []
            self._prepared.ready = ready
            try:
                self._prepare(ready, opened, lock_timeout)
                yield
            finally:
                self._prepared.ready = None

    def _prepare(self, ready: list[LiveConnection], opened: ExitStack, lock_timeout: float) -> None:
        try:
            self.require_file()
            self._identify()
            if self._borrowed:
                return
            # What the application does when one closes is not our matter.
            with ignoring(Exception, what="Idle connections could not be closed"):
                self.return_idle_connections()
            with live_errors(self._path):
                for _ in range(_FOR_ONE_OPERATION):
                    ready.append(opened.enter_context(closing(self._make(lock_timeout))))
        except DatabaseLockedError as error:
            if ready:
                self._require_for_several(ready[0], error)
            raise
        except (DatabaseFileNotFoundError, DatabaseDamagedError):
            self._let_go(ready)

    def _require_for_several(self, first: LiveConnection, error: DatabaseLockedError) -> None:
        """Raise what is wrong when a second connection is locked out by the first one of ours."""
        with live_errors(self._path):
            first.run(pragmas.begin_immediate)  # it waits for the locks of others
            first.run(_roll_back)
        raise for_one_connection(error.cause) from error

    def _let_go(self, ready: list[LiveConnection]) -> None:
        while ready:
            ready.pop().close()

    @property
    def _ready(self) -> list[LiveConnection] | None:
        """The connections that this thread has prepared and does not use just now."""
        return getattr(self._prepared, "ready", None)

    @contextmanager
    def connected(self, lock_timeout: float) -> Iterator[LiveConnection | None]:
        """Yield a private connection, None where there is only the application's own."""
        self.require_file()
        self._identify()
        if self._borrowed:
            yield None
            return
        with live_errors(self._path), self._private(lock_timeout) as connection:
            yield connection

    @contextmanager
    def replaced(self) -> Iterator[None]:
        """Let go of the file that the block replaces by another, which is the database then."""
        if self._ready is not None:
            self._let_go(self._ready)
        yield
        self._identity.forget()

    def return_idle_connections(self) -> None:
        """Close idle pooled connections, where that cannot touch one in use or the data."""
        pool = self._engine.pool
        # Other pools hand one connection to several users. An async pool can only be closed from
        # its own event loop; neither a snapshot nor a restore needs it closed.
        if not isinstance(pool, QueuePool) or self._engine.dialect.is_async or not self.path:
            return
        # With one in use, dispose() would leave that one in a pool that nobody closes any more.
        if pool.checkedout() == 0:
            self._engine.dispose()

    # Identity

    def _identify(self) -> None:
        """Find out which file is really behind the engine, whatever its URL looks like."""
        if self._identity.is_settled or (self._path is not None and not fs.exists(self._path)):
            return  # connecting to an absent file would make it
        try:
            with live_errors(self._path):
                file = self._main_file()
        except (DatabaseChangedError, UnsupportedDatabaseError):
            raise
        except BackupError:
            if self._path is None:
                raise
            return  # damaged or locked, and a connect event stumbled over it: the URL must do
        self._identity.settle(file, must_be_known=self._connections.are_predictable)

    def _main_file(self) -> str:
        """Ask SQLite for the name of the main database's file, empty in memory."""
        shared = self._connections.arguments.is_shared_memory
        if self._engine.dialect.is_async and isinstance(self._engine.pool, StaticPool):
            file = self._run_on_own_async(pragmas.main_file)
            self._borrowed = not file and not shared
            return file
        if self._connections.repeat_themselves():
            self._borrowed = self._repeated = True
            with self._own() as own:
                return pragmas.main_file(own)
        names: list[str] = []
        self._connections.make(lambda raw: names.append(pragmas.main_file(raw))).close()
        self._borrowed = not names[0] and not shared
        return names[0]

    # Connections

    def _make(self, lock_timeout: float) -> LiveConnection:
        """Return a new private connection, which holds no lock and looks at the right file."""

        def look(raw: sqlite3.Connection) -> None:
            self._identity.require_leads_there(raw)
            if self._path is not None:
                self._look_beside(self._path, lock_timeout)
            pragmas.wait_for_locks(raw, lock_timeout)
            # Before the connect events: with an exclusive locking mode in the first read of a
            # database in WAL mode, nobody could share it for as long as the connection lives.
            raw.execute(pragmas.SMALLEST_READ).fetchall()

        connection = self._connections.make(look)
        try:
            connection.run(without_limits)
            self.attached = connection.run(pragmas.attached)
            connection.run(make_ours)
            if self._path is not None and not self._locks_are_known:
                self._find_out_locks(connection, look, self._path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _look_beside(self, path: Path, lock_timeout: float) -> None:
        """Look for logs and journals before the first read."""
        if self._connections.arguments.is_immutable:
            logs.require_no_log(path)
        if not self._locks_are_known or self._may_be_immutable:
            logs.wait_for_no_journal(path, lock_timeout)
        logs.require_own_log(path)

    def _find_out_locks(self, first: LiveConnection, look: Work[None], path: Path) -> None:
        """Raise where the connections take no locks, or pass over a log.

        With a creator or an event of the application's no option tells that.
        """
        try:
            second = self._connections.make(look)
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
        else:
            with closing(second):
                second.run(without_limits)
                second.run(make_ours)
                self._require_locks(first, second, path)
        self._locks_are_known = True

    def _require_locks(self, first: LiveConnection, second: LiveConnection, path: Path) -> None:
        try:
            if first.run(try_to_hold) and not second.run(is_locked_out):
                raise without_locks("nolock=1, or a VFS that does not lock")
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_READONLY:
                raise
            self._may_be_immutable = True
            logs.require_log_is_read(path, first.run(lambda raw: pragmas.text(raw, "journal_mode")))
        except UnsupportedDatabaseError as error:
            if not isinstance(error.__cause__, sqlite3.Error):  # else a cache that they share
                raise
        finally:
            first.run(_roll_back)

    @contextmanager
    def _private(self, lock_timeout: float) -> Iterator[LiveConnection]:
        ready = self._ready
        if not ready:
            with closing(self._make(lock_timeout)) as connection:
                connection.run(lambda raw: pragmas.wait_for_locks(raw, lock_timeout))
                yield connection
            return
        connection = ready.pop()
        try:
            connection.run(self._identity.require_leads_there)
            connection.run(lambda raw: pragmas.wait_for_locks(raw, lock_timeout))
            yield connection
        finally:
            try:
                connection.run(_roll_back)
            finally:
                ready.append(connection)

    @contextmanager
    def _own(self) -> Iterator[sqlite3.Connection]:
        """Borrow the engine's own connection; no event of its pool is triggered by that."""
        pool = self._engine.pool
        if self._repeated:
            yield innermost(pool._invoke_creator(None))  # type: ignore[arg-type]
            return
        if isinstance(pool, StaticPool):
            yield innermost(pool.connection.driver_connection)
            return
        record = pool._do_get()
        try:
            record.get_connection()  # type: ignore[attr-defined]
            yield innermost(record.driver_connection)
        finally:
            # A pool with a connection per thread keeps it; returning one would take it from the
            # application, which may be using it.
            if not isinstance(pool, SingletonThreadPool):
                pool._do_return_conn(record)

    def _run_on_own_async(self, work: Work[T]) -> T:
        """Run ``work`` on a StaticPool's aiosqlite connection, in the thread that it has."""
        pool: Any = self._engine.pool
        with EventLoop() as loop:
            # Not checked out: giving it back would roll back what somebody has not committed.
            record = loop.call(greenlet_spawn(lambda: pool.connection))
            return run_in_its_thread(loop, record.driver_connection, work)


def _idle(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Return ``connection``; raise when it is in a transaction: its rows are not committed."""
    if connection.in_transaction:
        file = pragmas.main_file(connection)
        name = f"the only connection of the engine to {file}" if file else "the in-memory database"
        raise in_transaction(name)
    return connection


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.rollback()
