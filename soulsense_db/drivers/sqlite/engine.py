"""How an engine makes its connections, and private ones made in the same way.

A private connection comes from the engine's own creator (``async_creator`` too), with its URL
options, ``connect_args`` and connect events. It is in no pool, so that the application's checkout,
checkin and reset events do not see it.

Two SQLite libraries in one process do not see each other's locks on a file: each drops those of the
other when it closes it. A connection of another library than :mod:`sqlite3` is therefore refused.
"""

from __future__ import annotations

import inspect
import re
import sqlite3
import sys
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlencode

from sqlalchemy.engine import Engine
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool
from sqlalchemy.util import await_only, greenlet_spawn

from soulsense_db.drivers.registry import reason_of
from soulsense_db.drivers.sqlite import pragmas
from soulsense_db.drivers.sqlite.loop import EventLoop
from soulsense_db.drivers.sqlite.refusals import no_option, other_library, without_locks

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
Look = Callable[[sqlite3.Connection], object]

# With these nothing keeps two processes from writing at the same time.
_NO_LOCKS = {"unix-none", "win32-none"}


class ConnectArguments:
    """What the engine gives ``sqlite3.connect``.

    ``name``: its first argument, a path or URI, empty where the engine has a creator of its own
    that ``engine.url`` tells nothing of; ``options``: those of a URI, by name; ``is_standard``:
    whether they are what the engine really gives, for it has no creator of its own.
    """

    def __init__(self, engine: Engine) -> None:
        found = _of_standard_creator(engine)
        self.is_standard = found is not None
        positional, self._keywords = found or _of_url(engine)
        self._positional = list(positional)
        self.name = str(positional[0]) if positional else ""
        self.is_uri = bool(self._keywords.get("uri")) and self.name.startswith("file:")
        self._resource, _, self._query = self.name.partition("#")[0].partition("?")
        self.options = dict(parse_qsl(self._query if self.is_uri else "", keep_blank_values=True))

    @property
    def file(self) -> str:
        """The name of the file, empty in memory."""
        if self.is_uri:
            in_memory = self.options.get("mode") == "memory"
            # file:path, file:/path, file:///path or file://localhost/path
            found = re.fullmatch(
                r"file:(//(localhost)?(?=/|$))?(?!//)(.*)", self._resource, re.DOTALL
            )
            if found is None:
                raise no_option(reason_of(ValueError("another host")))
            name = "" if in_memory else unquote(found[3])
        else:
            name = self.name
        return "" if name == ":memory:" else name

    @property
    def is_shared_memory(self) -> bool:
        """Whether another connection reaches the same in-memory database."""
        return self.is_uri and self.options.get("cache") == "shared"

    def address(self, path: Path) -> str:
        """Return what ``--url`` takes to reach the file ``path`` in the way of these arguments.

        By its plain path another VFS would be used, whose locks those of this one do not see.
        """
        if not (self.is_standard and self.options.get("vfs")):
            return str(path)
        options = urlencode({**self.options, "uri": "true"})
        return f"sqlite:///file:{quote(str(path))}?{options}"

    @property
    def is_read_only(self) -> bool:
        """Whether the engine's connections cannot write."""
        return self.options.get("mode") == "ro" or self.is_immutable

    def require_locks(self) -> None:
        """Raise :class:`UnsupportedDatabaseError` where SQLite is told to lock nothing."""
        if _is_true(self.options.get("nolock")):
            raise without_locks("nolock=1")
        if self.options.get("vfs") in _NO_LOCKS:
            raise without_locks(f"vfs={self.options['vfs']}")

    @property
    def is_immutable(self) -> bool:
        """Whether SQLite is told that nobody changes the file: it looks for no log then."""
        return _is_true(self.options.get("immutable"))

    def with_private_cache(self, engine: Engine) -> Callable[..., Any]:
        """Return a creator like the standard one of ``engine``, without ``cache=shared``.

        In a shared cache a connection that holds the write lock keeps all others of the process
        from reading. Locks between caches are those of the file.
        """
        parts = [part for part in self._query.split("&") if not part.startswith("cache=")]
        name = f"{self._resource}?{'&'.join([*parts, 'cache=private'])}"
        return _standard_creator(engine, [name, *self._positional[1:]], self._keywords)


def _is_true(value: str | None) -> bool:
    """Whether SQLite takes the value of an option of a URI for yes."""
    value = (value or "").lower()
    is_number = value.isascii() and value.isdecimal()
    return value in {"on", "yes", "true"} or (is_number and value.strip("0") != "")


def _of_standard_creator(engine: Engine) -> tuple[list[Any], dict[str, Any]] | None:
    """Return what the creator of :func:`sqlalchemy.create_engine` passes on.

    It has them as variables of its own, with ``connect_args``, and with a relative path as it was
    when the engine was made. None for a creator of the application's.
    """
    creator = engine.pool._creator
    if not inspect.isfunction(creator) or creator.__module__ != "sqlalchemy.engine.create":
        return None
    found = inspect.getclosurevars(creator).nonlocals
    positional, keywords = found.get("cargs_tup", found.get("cargs")), found.get("cparams")
    if positional is None or keywords is None:
        return None
    return list(positional), dict(keywords)


def _of_url(engine: Engine) -> tuple[list[Any], dict[str, Any]]:
    try:
        positional, keywords = engine.dialect.create_connect_args(engine.url)
    except (ArgumentError, OverflowError, TypeError, ValueError) as error:
        raise no_option(reason_of(error)) from None
    return list(positional), dict(keywords)


def _standard_creator(
    engine: Engine, positional: list[Any], keywords: dict[str, Any]
) -> Callable[..., Any]:
    """Return a creator that does what SQLAlchemy's own does with these arguments."""
    dialect: Any = engine.dialect

    def connect(record: Any = None) -> Any:
        arguments, options = list(positional), dict(keywords)
        for listener in dialect.dispatch.do_connect if dialect._has_events else ():
            connection = listener(dialect, record, arguments, options)
            if connection is not None:
                return connection
        return dialect.connect(*arguments, **options)

    return connect


class LiveConnection(ABC):
    """A connection to the live database. ``run`` and ``close`` are the only ways to use it."""

    @abstractmethod
    def run(self, work: Work[T]) -> T:
        """Return ``work(connection)`` of the raw connection, in the thread it belongs to."""

    @abstractmethod
    def close(self) -> None:
        """Close it; a second call does nothing."""


class _PlainConnection(LiveConnection):
    def __init__(self, record: ConnectionPoolEntry, raw: sqlite3.Connection) -> None:
        self._record = record
        self.raw = raw

    def run(self, work: Work[T]) -> T:
        with _forgetting_cursors():
            return work(self.raw)

    def close(self) -> None:
        try:
            self._record.close()
        except Exception:  # noqa: BLE001 - a "close" event of the application, which came first
            self.raw.close()


class _AsyncConnection(LiveConnection):
    """A connection of aiosqlite, which has a thread for it."""

    def __init__(self, loop: EventLoop, record: ConnectionPoolEntry) -> None:
        self._loop = loop
        self._record = record
        self._driver: Any = record.driver_connection
        self._closed = False

    def run(self, work: Work[T]) -> T:
        return run_in_its_thread(self._loop, self._driver, work)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self._loop.call(greenlet_spawn(self._record.close))
        except Exception:  # noqa: BLE001 - as above
            self._loop.call(self._driver.close())
        finally:
            self._loop.__exit__()


def run_in_its_thread(loop: EventLoop, driver: Any, work: Work[T]) -> T:
    """Return ``work(connection)`` of a connection of aiosqlite, run in the thread that it has."""
    raw = innermost(driver)
    interrupted = threading.Event()

    def interrupt() -> None:
        interrupted.set()
        raw.interrupt()

    def in_its_thread() -> T:
        _this_thread.interrupted = interrupted
        try:
            return work(raw)
        finally:
            del _this_thread.interrupted

    with _forgetting_cursors():
        result: T = loop.call(driver._execute(in_its_thread), interrupt=interrupt)
    return result


_this_thread = threading.local()


def require_not_interrupted() -> None:
    """Raise ``KeyboardInterrupt`` where the thread that waits for this one was interrupted.

    ``sqlite3.Connection.interrupt`` does not end a running ``backup()``.
    """
    interrupted: threading.Event | None = getattr(_this_thread, "interrupted", None)
    if interrupted is not None and interrupted.is_set():
        raise KeyboardInterrupt


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
            return _PlainConnection(record, innermost(record.driver_connection))
        loop = EventLoop().__enter__()
        try:
            return _AsyncConnection(loop, loop.call(greenlet_spawn(self._async_record, look)))
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
                with suppress(Exception):  # by whatever library it is
                    closing(connection)
                raise
            return connection

        # The dispatch is that of the application's pool: what listens to it hears of "connect".
        pool = NullPool(creator, dialect=engine.dialect, _dispatch=engine.pool.dispatch)  # type: ignore[arg-type]
        try:
            return pool._create_connection()
        except BaseException as error:
            _forget_cursors(error)
            # A decoding error is what a connect event met in a damaged database.
            option = isinstance(error, OverflowError | TypeError | ValueError)
            if option and not isinstance(error, UnicodeDecodeError):
                raise no_option(reason_of(error)) from None  # type: ignore[arg-type]
            raise


@contextmanager
def _forgetting_cursors() -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        _forget_cursors(error)
        raise


def _forget_cursors(error: BaseException | None) -> None:
    """Clear what the frames of ``error`` hold.

    A cursor in one of them, a connect event's say, keeps the connection from closing for as long as
    somebody holds the error, and an exclusive locking mode its locks with it. asyncio's futures
    hold each other and their errors in circles.
    """
    seen = set[int]()
    while error is not None and id(error) not in seen:  # the chain may be a circle
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def innermost(connection: Any) -> sqlite3.Connection:
    """Return the connection of :mod:`sqlite3` inside all wrappers.

    Raises :class:`UnsupportedDatabaseError` when it is of another SQLite library.
    """
    found = connection
    for _ in range(_MOST_WRAPPERS):
        if issubclass(type(found), sqlite3.Connection):
            return found  # type: ignore[no-any-return]
        # aiosqlite has it as _conn, proxies of tracing libraries as __wrapped__.
        inner = getattr(found, "_conn", None) or getattr(found, "__wrapped__", None)
        if inner is None:
            break
        found = inner
    raise other_library(type(found).__module__)


_MOST_WRAPPERS = 5


_LIMITS = [getattr(sqlite3, name) for name in dir(sqlite3) if name.startswith("SQLITE_LIMIT_")]
_NO_LIMIT = 2**31 - 1  # SQLite takes the highest that it was compiled for


def without_limits(connection: sqlite3.Connection) -> None:
    """Lift the limits of the application's own statements: the schema may be beyond them."""
    for limit in _LIMITS:
        connection.setlimit(limit, _NO_LIMIT)


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
