"""How the SQLite driver reaches the live database without touching the engine's pool.

A database in a file (or in shared-cache memory) is reached through a private connection made by
the engine's own creator, with its connect arguments and connect events. A private in-memory
database has only the engine's own connection, which is then borrowed.

Never ``open()`` the live database file in this process: closing any descriptor of it drops all
POSIX locks that SQLite holds on it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from sqlalchemy.engine import Engine
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import QueuePool, StaticPool
from sqlalchemy.util import greenlet_spawn

from soulsense_db import files
from soulsense_db.drivers import sqlite_pragmas as pragmas
from soulsense_db.drivers.base import reason_of
from soulsense_db.drivers.sqlite_errors import live_errors
from soulsense_db.errors import (
    BackupError,
    DatabaseFileNotFoundError,
    DatabaseLockedError,
    UnsupportedDatabaseError,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


class LiveDatabase:
    """The live database behind ``engine``.

    ``path``: its file, resolved, None in memory; ``lock_timeout`` in seconds.
    """

    def __init__(self, engine: Engine, *, lock_timeout: float) -> None:
        self._engine = engine
        self._lock_timeout = lock_timeout
        self._arguments, self._keywords = _connect_arguments(engine)
        # Resolved now: a relative path means the directory the engine was made in.
        self._path = _path_of_arguments(self._arguments, self._keywords)
        self._identified = False
        self._borrowed = False
        self._repeated = False

    @property
    def path(self) -> Path | None:
        """The file of the live database; None when it lives in memory."""
        self._identify()
        return self._path

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
                    return work(connection)
            if self._engine.dialect.is_async:
                return self._run_in_its_own_thread(lambda own: work(_idle(own)))
            with self._own() as connection:
                return work(_idle(connection))

    def require_file(self) -> None:
        """Raise :class:`DatabaseFileNotFoundError` when the database's file does not exist."""
        if self._path is None:
            return
        if not files.exists(self._path):
            raise DatabaseFileNotFoundError(
                f"Database file not found: {self._path}. Nothing was changed.",
                hint="Check the URL and the current directory; to get the data back, "
                "restore a backup.",
            )
        if not self._path.is_file():
            raise DatabaseFileNotFoundError(
                f"Database file not found: {self._path} is not a file. Nothing was changed.",
                hint="Check the URL.",
            )

    @contextmanager
    def connected(self) -> Iterator[sqlite3.Connection | None]:
        """Yield a private connection, None where there is only the application's own."""
        self.require_file()
        self._identify()
        if self._borrowed:
            yield None
            return
        with live_errors(self._path), self._private(self._lock_timeout) as connection:
            yield connection

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

    def _identify(self) -> None:
        """Find out which file is really behind the engine, whatever its URL looks like."""
        if self._identified or (self._path is not None and not files.exists(self._path)):
            return  # connecting to an absent file would make it
        try:
            with live_errors(self._path):
                file = self._main_file()
        except BackupError:
            if self._path is None:
                raise
            return  # damaged or locked, and a connect event stumbled over it: the URL must do
        self._path = Path(file).resolve() if file else None
        self._identified = True

    def _main_file(self) -> str:
        """Ask SQLite for the name of the main database's file, empty in memory."""
        if self._engine.dialect.is_async:
            file = self._main_file_async()
            self._borrowed = not file and not self._shared_memory
        elif self._creator_repeats_itself():
            self._borrowed = self._repeated = True
            with self._own() as connection:
                file = _main_of(pragmas.rows(connection, "PRAGMA database_list"))
        else:
            with self._private(self._lock_timeout) as connection:
                file = _main_of(pragmas.rows(connection, "PRAGMA database_list"))
            self._borrowed = not file and not self._shared_memory
        return file

    @property
    def _shared_memory(self) -> bool:
        """Whether another connection reaches the same in-memory database."""
        name = str(self._arguments[0]) if self._arguments else ""
        return bool(self._keywords.get("uri")) and "cache=shared" in name

    def _creator_repeats_itself(self) -> bool:
        """Whether the creator always returns the same connection: then it is not ours to close."""
        first, second = self._make(), self._make()
        if first is second:
            return True
        first.close()
        second.close()
        return False

    def _make(self) -> sqlite3.Connection:
        """Make a connection by the engine's creator, with its connect events, in no pool."""
        try:
            borrowed = self._engine.pool.recreate().connect()
        except UnicodeDecodeError:  # what a connect event met in a damaged database
            raise
        except (OverflowError, TypeError, ValueError) as error:
            raise _no_option(error) from None
        connection = _require_sqlite3(borrowed.driver_connection)
        borrowed.detach()
        return connection

    @contextmanager
    def _private(self, lock_timeout: float) -> Iterator[sqlite3.Connection]:
        if self._engine.dialect.is_async:
            # A plain connection to the same database: an async one needs the caller's event loop.
            target = str(self._path) if self._path else str(self._arguments[0])
            connection = sqlite3.connect(target, uri=self._path is None)
        else:
            connection = self._make()
        with closing(connection):
            if sys.version_info >= (3, 12):  # which knows a second way to begin transactions
                connection.autocommit = sqlite3.LEGACY_TRANSACTION_CONTROL
            connection.isolation_level = None
            connection.row_factory = None
            connection.text_factory = str
            connection.execute(f"PRAGMA busy_timeout = {int(lock_timeout * 1000)}")
            yield connection

    @contextmanager
    def _own(self) -> Iterator[sqlite3.Connection]:
        """Borrow the engine's own connection, without the reset that a pool does on return."""
        pool = self._engine.pool
        if self._repeated:
            yield self._make()
            return
        if isinstance(pool, StaticPool):
            yield _require_sqlite3(pool.connection.dbapi_connection)
            return
        borrowed = self._engine.raw_connection()
        try:
            yield _require_sqlite3(borrowed.driver_connection)
        finally:
            borrowed.close()

    def _main_file_async(self) -> str:
        if isinstance(self._engine.pool, StaticPool):
            return self._run_in_its_own_thread(
                lambda own: _main_of(pragmas.rows(own, "PRAGMA database_list"))
            )

        async def ask() -> str:
            from sqlalchemy.ext.asyncio import AsyncEngine

            pool = self._engine.pool.recreate()
            private = AsyncEngine(Engine(pool, self._engine.dialect, self._engine.url))
            try:
                async with private.connect() as connection:
                    result = await connection.exec_driver_sql("PRAGMA database_list")
                    return _main_of(result.fetchall())
            finally:
                await private.dispose()

        return _run_async(ask())

    def _run_in_its_own_thread(self, work: Work[T]) -> T:
        """Run ``work`` on a StaticPool's aiosqlite connection, in the thread that it has."""

        async def run() -> T:
            # Not checked out: giving it back would roll back what somebody has not committed.
            record = await greenlet_spawn(lambda: self._engine.pool.connection)  # type: ignore[attr-defined]
            raw: Any = record.driver_connection
            result: T = await raw._execute(lambda: work(raw._conn))
            return result

        return _run_async(run())


def _idle(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Return ``connection``; raise when it is in a transaction: its rows are not committed."""
    if connection.in_transaction:
        raise DatabaseLockedError(
            "Database locked: the in-memory database is in the middle of a transaction. "
            "Nothing was changed.",
            hint="Commit or roll back first: it has only this one connection.",
        )
    return connection


def _connect_arguments(engine: Engine) -> tuple[list[Any], dict[str, Any]]:
    try:
        arguments, keywords = engine.dialect.create_connect_args(engine.url)
    except (ArgumentError, OverflowError, TypeError, ValueError) as error:
        raise _no_option(error) from None
    return list(arguments), dict(keywords)


def _no_option(error: Exception) -> UnsupportedDatabaseError:
    return UnsupportedDatabaseError(
        f"The database URL has an option that SQLite cannot take ({reason_of(error)}). Nothing was "
        "changed.",
        hint="Correct the part of the URL after '?', or what the engine does when it connects.",
    )


def _path_of_arguments(arguments: list[Any], keywords: dict[str, Any]) -> Path | None:
    """Return the file that ``sqlite3.connect(*arguments, **keywords)`` would open."""
    name = str(arguments[0]) if arguments else ""
    try:
        if name.startswith("file:") and keywords.get("uri"):
            parts = urlsplit(name)
            if "memory" in parse_qs(parts.query).get("mode", ()):
                return None
            name = unquote(parts.path)
        return None if name in {"", ":memory:"} else Path(name).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # no current directory, a loop of links
        raise UnsupportedDatabaseError(
            f"The database URL names no file that there could be ({error}). Nothing was changed.",
            hint="Correct the path in the URL, and check the current directory and links on it.",
        ) from error


def _main_of(databases: Any) -> str:
    return next((str(file or "") for _, name, file in databases if name == "main"), "")


def _require_sqlite3(connection: Any) -> sqlite3.Connection:
    if not isinstance(connection, sqlite3.Connection):
        raise UnsupportedDatabaseError(
            f"SQLite through {type(connection).__module__} cannot be backed up. "
            "Nothing was changed.",
            hint="Supported: Python's own sqlite3 (pysqlite), and aiosqlite.",
        )
    return connection


def _run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run ``coroutine`` in a thread with an event loop of its own: the caller may be in one."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(asyncio.run(coroutine))
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread below
            errors.append(error.orig if isinstance(error, DBAPIError) and error.orig else error)

    thread = threading.Thread(target=run, name="soulsense_db-async")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
