"""How an engine makes its connections, and private ones made in the same way.

A private connection comes from the engine's own creator (``async_creator`` too), with its URL
options, ``connect_args`` and connect events. It is in no pool, so that the application's checkout,
checkin and reset events do not see it.

Two SQLite libraries in one process do not see each other's locks on a file: each drops those of the
other when it closes it. A connection of another library than :mod:`sqlite3` is therefore refused.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from typing import Any

from sqlalchemy.engine import Engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool
from sqlalchemy.util import await_only, greenlet_spawn

from soulsense_db.drivers.event_loop import EventLoop
from soulsense_db.drivers.registry import reason_of
from soulsense_db.drivers.sqlite import pragmas
from soulsense_db.drivers.sqlite.arguments import ConnectArguments
from soulsense_db.drivers.sqlite.live_connection import (
    AsyncConnection,
    LiveConnection,
    PlainConnection,
    forget_cursors,
    innermost,
)
from soulsense_db.drivers.sqlite.refusals import no_option
from soulsense_db.notices import ignoring

Look = Callable[[sqlite3.Connection], object]


class EngineConnections:
    """Makes private connections in the way of ``engine``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.arguments = ConnectArguments(engine)
        self.arguments.require_locks()

    @property
    def are_predictable(self) -> bool:
        """Whether their arguments alone tell which file they lead to."""
        return self.arguments.is_standard and not self._engine.dialect._has_events

    def repeat_themselves(self) -> bool:
        """Whether the creator always returns the same connection: then it is not ours to close."""
        if self.arguments.is_standard:
            return False
        make, close = self._engine.pool._invoke_creator, self._engine.dialect.do_close

        def compare() -> bool:
            first = make(None)  # type: ignore[arg-type]
            try:
                second = make(None)  # type: ignore[arg-type]
            except BaseException:
                close(first)
                raise
            if first is second:
                return True
            try:
                close(first)
            finally:
                close(second)
            return False

        if not self._engine.dialect.is_async:
            return compare()
        with EventLoop() as loop:
            return loop.call(greenlet_spawn(compare))

    def make(self, look: Look) -> LiveConnection:
        """Return a new connection, with the application's connect events.

        ``look`` is called with the raw connection before the events; what it raises cancels.
        Raises :class:`UnsupportedDatabaseError` for one of another SQLite library.
        """
        if not self._engine.dialect.is_async:
            record = self._record(look, closing=lambda connection: connection.close())
            return PlainConnection(record, innermost(record.driver_connection))
        loop = EventLoop().__enter__()
        try:
            return AsyncConnection(loop, loop.call(greenlet_spawn(self._async_record, look)))
        except BaseException:
            loop.__exit__()
            raise

    def _async_record(self, look: Look) -> ConnectionPoolEntry:
        def look_in_its_thread(raw: sqlite3.Connection) -> None:
            await_only(adapted.driver_connection._execute(lambda: look(raw)))

        adapted: Any = None

        def created(connection: Any) -> None:
            nonlocal adapted
            adapted = connection

        return self._record(
            look_in_its_thread, closing=lambda connection: connection.close(), created=created
        )

    def _record(
        self,
        look: Look,
        *,
        closing: Callable[[Any], object],
        created: Callable[[Any], object] = lambda _: None,
    ) -> ConnectionPoolEntry:
        engine = self._engine
        shared = (
            self.arguments.is_standard
            and self.arguments.file
            and (self.arguments.options.get("cache") == "shared")
        )
        # As wrapped by the pool: a creator of the application's takes no argument, most often.
        make: Any = engine.pool._invoke_creator
        if shared:
            make = self.arguments.with_private_cache(engine)

        def creator(record: ConnectionPoolEntry) -> Any:
            connection = make(record)
            try:
                created(connection)
                look(innermost(engine.dialect.get_driver_connection(connection)))
            except BaseException:
                # By whatever library it is.
                with ignoring(Exception, what="A connection that is refused could not be closed"):
                    closing(connection)
                raise
            return connection

        # The dispatch is that of the application's pool: what listens to it hears of "connect".
        pool = NullPool(creator, dialect=engine.dialect, _dispatch=engine.pool.dispatch)  # type: ignore[arg-type]
        try:
            return pool._create_connection()
        except BaseException as error:
            forget_cursors(error)
            # A decoding error is what a connect event met in a damaged database.
            option = isinstance(error, OverflowError | TypeError | ValueError)
            if option and not isinstance(error, UnicodeDecodeError):
                raise no_option(reason_of(error)) from None
            raise


_LIMITS = [getattr(sqlite3, name) for name in dir(sqlite3) if name.startswith("SQLITE_LIMIT_")]


def without_limits(connection: sqlite3.Connection) -> None:
    """Lift the limits of the application's own statements: the schema may be beyond them."""
    for limit in _LIMITS:
        connection.setlimit(limit, pragmas.NO_LIMIT)


def make_ours(connection: sqlite3.Connection) -> None:
    """Undo what would change what we read or when we lock; in autocommit mode from here on."""
    if connection.in_transaction:  # a connect event began it and did not commit
        connection.rollback()
    if sys.version_info >= (3, 12):  # which knows a second way to begin transactions
        connection.autocommit = sqlite3.LEGACY_TRANSACTION_CONTROL
    connection.isolation_level = None
    connection.row_factory = None
    connection.text_factory = str
    connection.set_authorizer(None)
    connection.set_trace_callback(None)
    connection.set_progress_handler(None, 0)
    # A write transaction would lock them too; and where it is the same file, wait for itself.
    for name in pragmas.attached_names(connection):
        connection.execute(f"DETACH {name}")
    # With a read at once: only that lets go of what an exclusive mode had taken.
    connection.execute("PRAGMA main.locking_mode = NORMAL").fetchall()
    connection.execute(pragmas.SMALLEST_READ).fetchall()
