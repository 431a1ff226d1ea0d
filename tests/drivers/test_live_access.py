"""The live database is reached in one way only: the application's own."""

from __future__ import annotations

import asyncio
import gc
import os
import shlex
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
import sqlalchemy as sa
import sqlean
from conftest import EngineMaker
from helpers import (
    NOBODY,
    ROWS,
    Mode,
    add_child,
    ask,
    digest,
    execute,
    held_by_another_process,
    make_database,
    run_as,
    scalar,
    snapshot_of,
    write_marker,
)
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool, QueuePool, StaticPool

from soulsense_db import BackupManager
from soulsense_db.drivers.sqlite.live_connection import innermost
from soulsense_db.errors import DatabaseLockedError, PermissionDeniedError, UnsupportedDatabaseError

pytestmark = pytest.mark.slow

COUNT = "SELECT count(*) FROM child"
AnyEngine = Engine | AsyncEngine
AnyMaker = Callable[..., AnyEngine]


@pytest.fixture(params=["plain", "async"])
def make_any(request: pytest.FixtureRequest, make_engine: EngineMaker) -> Iterator[AnyMaker]:
    """Return a function that makes an engine for what follows ``sqlite:///``, of either kind."""
    made: list[AsyncEngine] = []

    def make(rest: str, **options: Any) -> AnyEngine:
        if request.param == "plain":
            return make_engine(f"sqlite:///{rest}", **options)
        made.append(create_async_engine(f"sqlite+aiosqlite:///{rest}", **options))
        return made[-1]

    yield make
    for engine in made:
        asyncio.run(engine.dispose())


def listen(engine: AnyEngine, *statements: str) -> list[object]:
    """Run ``statements`` when the engine connects; return what grows by each connection."""
    connected: list[object] = []

    def connect(connection: Any, _record: object) -> None:
        connected.append(connection)
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
            cursor.fetchall()
        cursor.close()

    event.listen(getattr(engine, "sync_engine", engine), "connect", connect)
    return connected


def round_trip(manager: BackupManager, live: Path) -> None:
    """Create, change, restore and undo; see each in the file."""
    before = digest(live)
    info = manager.create()
    execute(live, "DELETE FROM child")
    emptied = digest(live)
    manager.restore(info)
    assert digest(live) == before
    manager.undo_restore()
    assert digest(live) == emptied
    manager.undo_restore()
    assert digest(live) == before


# Events, options, creators


@pytest.mark.parametrize(
    "statements",
    [
        ("PRAGMA locking_mode = EXCLUSIVE",),
        ("PRAGMA locking_mode = EXCLUSIVE", "SELECT count(*) FROM child"),
        ("PRAGMA auto_vacuum = INCREMENTAL",),
        ("PRAGMA incremental_vacuum",),
        ("PRAGMA application_id = 7", "PRAGMA journal_size_limit = 0"),
        ("INSERT INTO parent (name, total) VALUES ('an event', 0)",),
        ("PRAGMA read_uncommitted = 1", "PRAGMA query_only = 0", "PRAGMA mmap_size = 1000000"),
    ],
)
def test_an_operation_does_not_wait_for_its_own_connect_events(
    tmp_path: Path, make_any: AnyMaker, mode: Mode, statements: tuple[str, ...]
) -> None:
    """Events that write or lock run before the first lock: restore and undo work, and at once."""
    live = make_database(tmp_path / "app.db", mode=mode)
    engine = make_any(str(live))
    connected = listen(engine, *statements)
    round_trip(BackupManager(engine, lock_timeout=2), live)
    assert connected


def test_an_exclusive_mode_set_before_the_journal_mode(tmp_path: Path, make_any: AnyMaker) -> None:
    """In WAL mode an exclusive connection that reads first could never let go again."""
    live = make_database(tmp_path / "app.db", mode="wal")
    engine = make_any(str(live))
    listen(engine, "PRAGMA locking_mode = EXCLUSIVE", "PRAGMA journal_mode = WAL")
    round_trip(BackupManager(engine, lock_timeout=2), live)


def test_events_that_write_in_exclusive_mode(
    tmp_path: Path, make_any: AnyMaker, mode: Mode
) -> None:
    """In WAL mode no second connection of the application could connect: that is what is said."""
    live = make_database(tmp_path / "app.db", mode=mode)
    engine = make_any(str(live))
    listen(engine, "PRAGMA locking_mode = EXCLUSIVE", "PRAGMA user_version = 3")
    manager = BackupManager(engine, lock_timeout=1)
    if mode == "delete":
        round_trip(manager, live)
        return
    info = manager.create()
    before = digest(live)
    with pytest.raises(UnsupportedDatabaseError, match="allows a single connection"):
        manager.restore(info)
    assert digest(live) == before


@pytest.mark.parametrize(
    "query", ["cache=shared", "mode=rwc&cache=shared", "cache=shared&vfs=unix", "psow=0&mode=rw"]
)
def test_options_of_a_uri(tmp_path: Path, make_any: AnyMaker, mode: Mode, query: str) -> None:
    """A shared cache, of the engine's URL, keeps no operation waiting for itself."""
    live = make_database(tmp_path / "app.db", mode=mode)
    round_trip(BackupManager(make_any(f"file:{live}?{query}&uri=true"), lock_timeout=2), live)


def test_a_shared_cache_of_a_creator_is_refused_before_anything_is_written(
    database: Path, make_engine: EngineMaker
) -> None:
    """What a creator makes cannot be changed; the restore says so at once instead of waiting."""
    engine = make_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(f"file:{database}?cache=shared", uri=True),
        poolclass=NullPool,
    )
    manager = BackupManager(engine, lock_timeout=20)
    info = manager.create()
    before = digest(database)
    with pytest.raises(UnsupportedDatabaseError, match="share a cache"):
        manager.restore(info)
    assert digest(database) == before


def test_an_async_creator_is_used(database: Path) -> None:
    """What only the application's creator does, is done on the connections of a backup as well."""
    made: list[object] = []

    async def creator() -> aiosqlite.Connection:
        connection = await aiosqlite.connect(database)  # one that belongs to its own thread
        made.append(connection)
        return connection

    engine = create_async_engine("sqlite+aiosqlite://", async_creator=creator, poolclass=NullPool)
    listen(engine, "PRAGMA locking_mode = EXCLUSIVE")
    manager = BackupManager(engine, lock_timeout=2)
    assert manager.database == database
    round_trip(manager, database)
    assert len(made) > 4
    asyncio.run(engine.dispose())


@pytest.mark.parametrize("pool", [QueuePool, NullPool, StaticPool])
def test_pool_events_stay_balanced(
    database: Path, make_engine: EngineMaker, pool: type[sa.Pool]
) -> None:
    """Every checkout that the application's pool hears of has its checkin; nothing is reset."""
    engine = make_engine(database, poolclass=pool)
    heard = {"connect": 0, "close": 0, "checkout": 0, "checkin": 0, "reset": 0}
    for name in heard:

        def hear(*_: object, name: str = name) -> None:
            heard[name] += 1

        event.listen(engine, name, hear)
    manager = BackupManager(engine)
    round_trip(manager, database)
    manager.compare(manager.create())
    assert heard["checkout"] == heard["checkin"]
    assert heard["reset"] == 0
    assert heard["connect"] == heard["close"] > 0


def test_memory_is_borrowed_without_a_checkout(make_engine: EngineMaker, tmp_path: Path) -> None:
    """The only connection of an in-memory database is used as it is: no reset rolls it back."""
    engine = make_engine("sqlite://")
    with engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        raw.execute("CREATE TABLE t (a)")
        heard: list[str] = []
        event.listen(engine, "reset", lambda *_: heard.append("reset"))
        event.listen(engine, "checkin", lambda *_: heard.append("checkin"))
        BackupManager(engine, tmp_path / "b").create()
        assert heard == []


# Other libraries


def _sqlean_plain(database: Path) -> AnyEngine:
    return sa.create_engine("sqlite://", creator=lambda: sqlean.connect(str(database)))


def _sqlean_module(database: Path) -> AnyEngine:
    return sa.create_engine(f"sqlite:///{database}", module=sqlean)


def _sqlean_async(database: Path) -> AnyEngine:
    async def creator() -> aiosqlite.Connection:
        return await aiosqlite.Connection(
            lambda: sqlean.connect(str(database)),
            iter_chunk_size=64,
        )

    return create_async_engine("sqlite+aiosqlite://", async_creator=creator, poolclass=NullPool)


class _Traced:
    """A connection as a tracing library wraps it."""

    def __init__(self, connection: Any) -> None:
        self.__wrapped__ = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__wrapped__, name)


def _sqlean_wrapped(database: Path) -> AnyEngine:
    return sa.create_engine("sqlite://", creator=lambda: _Traced(sqlean.connect(str(database))))


@pytest.mark.parametrize("make", [_sqlean_plain, _sqlean_module, _sqlean_async, _sqlean_wrapped])
def test_another_sqlite_library_is_refused_before_the_file_is_touched(
    tmp_path: Path, make: Callable[[Path], AnyEngine]
) -> None:
    """The other library keeps its log: what other processes commit then is not lost."""
    live = make_database(tmp_path / "app.db", mode="wal")
    with closing(sqlean.connect(str(live))) as application:
        application.execute("INSERT INTO parent (name, total) VALUES ('the application', 0)")
        application.commit()
        before = snapshot_of(tmp_path)
        with pytest.raises(UnsupportedDatabaseError, match="sqlean"):
            BackupManager(make(live)).create()
        assert snapshot_of(tmp_path) == before
        with held_by_another_process(live) as other:
            ask(other, "INSERT INTO parent (name, total) VALUES ('other', 0) RETURNING id")
        application.execute("INSERT INTO parent (name, total) VALUES ('again', 0)")
        application.commit()
    assert scalar(live, "SELECT count(*) FROM parent") == 13


def test_a_wrapped_connection_of_sqlite3_is_unwrapped(
    database: Path, make_engine: EngineMaker
) -> None:
    """Tracing libraries put a proxy around the connection; what counts is inside."""
    raw = sqlite3.connect(database)
    assert innermost(_Traced(_Traced(raw))) is raw
    raw.close()


# Locks and read-only engines


@pytest.mark.parametrize("query", ["nolock=1", "vfs=unix-none", "nolock=yes", "mode=rw&nolock=1"])
def test_an_engine_without_locks_is_refused(database: Path, make_any: AnyMaker, query: str) -> None:
    """Without locks a backup could hold half a change: there is none."""
    with pytest.raises(UnsupportedDatabaseError, match="without locks"):
        BackupManager(make_any(f"file:{database}?{query}&uri=true"))
    assert os.listdir(database.parent) == [database.name]


def _creator(make_engine: EngineMaker, database: Path, query: str) -> Engine:
    def create() -> sqlite3.Connection:
        return sqlite3.connect(f"file:{database}?{query}", uri=True, check_same_thread=False)

    return make_engine("sqlite://", creator=create, poolclass=NullPool)


def _do_connect(make_engine: EngineMaker, database: Path, query: str) -> Engine:
    engine = make_engine(database, poolclass=NullPool)

    @event.listens_for(engine, "do_connect")
    def connect(*_: object) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{database}?{query}", uri=True, check_same_thread=False)

    return engine


WAYS = [_creator, _do_connect]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("query", ["nolock=1", "vfs=unix-none"])
def test_connections_without_locks_are_found_out(
    database: Path,
    make_engine: EngineMaker,
    way: Callable[[EngineMaker, Path, str], Engine],
    query: str,
) -> None:
    """Where no option shows that they take no locks, it is found out by trying: no backup."""
    before = database.read_bytes()
    manager = BackupManager(way(make_engine, database, query), catalog=False)
    with pytest.raises(UnsupportedDatabaseError, match="without locks"):
        manager.create()
    assert database.read_bytes() == before
    assert manager.list() == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("query", ["nolock=1", "vfs=unix-none", "vfs=unix-dotfile"])
def test_the_journal_of_a_writer_is_not_rolled_back(
    database: Path,
    make_engine: EngineMaker,
    way: Callable[[EngineMaker, Path, str], Engine],
    query: str,
) -> None:
    """A connection that sees no locks takes a running transaction for one of a dead process."""
    manager = BackupManager(way(make_engine, database, query), catalog=False, lock_timeout=0.1)
    with closing(sqlite3.connect(database, isolation_level=None)) as application:
        application.execute("PRAGMA cache_size = 5")
        application.execute("BEGIN")
        application.execute("UPDATE child SET body = hex(randomblob(400))")
        with pytest.raises(DatabaseLockedError, match="-journal"):
            manager.create()
        application.execute("COMMIT")
        assert application.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert scalar(database, "SELECT count(*) FROM child WHERE length(body) = 800") == ROWS


@pytest.mark.parametrize("way", WAYS)
def test_a_log_that_a_creator_passes_over_is_missed(
    tmp_path: Path, make_engine: EngineMaker, way: Callable[[EngineMaker, Path, str], Engine]
) -> None:
    """With ``immutable=1`` from a creator what others committed would not be in the backup."""
    live = make_database(tmp_path / "app.db", mode="wal")
    manager = BackupManager(way(make_engine, live, "immutable=1"))
    with closing(sqlite3.connect(live, isolation_level=None)) as application:
        application.execute("INSERT INTO parent (name, total) VALUES ('in the log', 0)")
        with pytest.raises(UnsupportedDatabaseError, match="immutable=1"):
            manager.create()
    assert manager.list() == []


def test_a_journal_that_is_not_in_use_is_in_nobodys_way(tmp_path: Path, make_any: AnyMaker) -> None:
    """With journal_mode = PERSIST an empty one stays beside the database."""
    live = make_database(tmp_path / "app.db", mode="delete")
    with closing(sqlite3.connect(live)) as application:
        application.execute("PRAGMA journal_mode = PERSIST")
        application.execute("DELETE FROM child WHERE id = 1")
        application.commit()
    assert live.with_name("app.db-journal").stat().st_size
    BackupManager(make_any(f"file:{live}?immutable=1&uri=true")).create()


def test_a_scheme_that_shares_no_lock_is_backed_up_and_not_restored(
    tmp_path: Path, make_any: AnyMaker
) -> None:
    """Lock files keep readers out as well: `can_restore` says so before a migration needs it."""
    live = make_database(tmp_path / "app.db", mode="delete")
    manager = BackupManager(make_any(f"file:{live}?vfs=unix-dotfile&uri=true"), lock_timeout=3)
    info = manager.create()
    problems = manager.can_restore(info).problems
    assert [type(problem) for problem in problems] == [UnsupportedDatabaseError]
    before = digest(live)
    with pytest.raises(UnsupportedDatabaseError, match="allows a single connection"):
        manager.restore(info)
    assert digest(live) == before


@pytest.mark.parametrize("limit", ["SQLITE_LIMIT_COLUMN", "SQLITE_LIMIT_SQL_LENGTH"])
def test_limits_of_the_application_damage_nothing(
    database: Path, make_engine: EngineMaker, limit: str
) -> None:
    """A schema that is beyond a limit of the engine's statements is not damaged."""
    execute(database, "CREATE TABLE wide (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r)")
    engine = make_engine(database)

    @event.listens_for(engine, "connect")
    def connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.setlimit(getattr(sqlite3, limit), 16)

    manager = BackupManager(engine, catalog=False)
    info = manager.create()
    execute(database, "DELETE FROM child")
    assert not manager.restore(info).moved_aside
    assert scalar(database, COUNT) == ROWS


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_no_connection_of_ours_outlives_an_operation(
    tmp_path: Path, make_any: AnyMaker, mode: Mode
) -> None:
    """Errors in circles, as asyncio's, keep no connection open: with an exclusive lock it stays."""
    live = make_database(tmp_path / "app.db", mode=mode)
    manager = BackupManager(make_any(str(live), poolclass=NullPool))
    info = manager.create()
    execute(live, "DELETE FROM child")
    gc.disable()
    try:
        manager.restore(info)
        found = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
    finally:
        gc.enable()
    assert str(live) not in found


def test_the_locks_of_another_scheme_are_seen(tmp_path: Path, make_any: AnyMaker) -> None:
    """A backup beside a writer that locks by files waits for it, and rolls nothing back."""
    live = tmp_path / "app.db"
    name = f"file:{live}?vfs=unix-dotfile"
    with closing(sqlite3.connect(name, uri=True, isolation_level=None)) as application:
        application.execute("PRAGMA cache_size = 20")  # the transaction spills into the file
        application.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
        application.execute("BEGIN")
        application.executemany(
            "INSERT INTO t VALUES (?, ?)", [(n, "a" * 200) for n in range(5000)]
        )
        application.execute("COMMIT")
        manager = BackupManager(make_any(f"{name}&uri=true"), catalog=False, lock_timeout=0.2)
        application.execute("BEGIN")
        application.execute("UPDATE t SET v = 'b' || id WHERE id % 2 = 0")
        with pytest.raises(DatabaseLockedError):
            manager.create()
        application.execute("UPDATE t SET v = 'c' || id WHERE id % 3 = 0")
        application.execute("COMMIT")
        manager.create()
        assert application.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("query", ["mode=ro", "immutable=1", "mode=ro&cache=shared"])
def test_a_read_only_engine_is_never_written_to(
    database: Path, make_any: AnyMaker, query: str
) -> None:
    """It is backed up; neither the catalog nor a restore writes to it, damaged or not."""
    before = database.read_bytes()
    manager = BackupManager(make_any(f"file:{database}?{query}&uri=true"), lock_timeout=1)
    info = manager.create()
    assert scalar(Path(info.path), COUNT) == ROWS
    with pytest.raises(PermissionDeniedError):
        manager.restore(info)
    assert database.read_bytes() == before
    database.write_bytes(b"no database any more " * 500)
    damaged = database.read_bytes()
    with pytest.raises(PermissionDeniedError):
        manager.restore(info)
    assert database.read_bytes() == damaged
    assert list(database.parent.glob("app.db.*")) == []


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_an_immutable_engine_beside_a_writer_is_refused(
    tmp_path: Path, make_any: AnyMaker, mode: Mode
) -> None:
    """With ``immutable=1`` SQLite reads neither log nor journal: rows would be missing."""
    live = make_database(tmp_path / "app.db", mode=mode)
    manager = BackupManager(make_any(f"file:{live}?immutable=1&uri=true"))
    with closing(sqlite3.connect(live, isolation_level=None)) as application:
        application.execute("PRAGMA cache_size = 5")
        application.execute("BEGIN IMMEDIATE")
        application.execute("UPDATE child SET body = hex(randomblob(400))")
        if mode == "wal":
            application.execute("COMMIT")
        with pytest.raises(UnsupportedDatabaseError, match="immutable=1"):
            manager.create()
    assert manager.list() == []


def test_a_read_only_creator_is_never_written_to(database: Path, make_engine: EngineMaker) -> None:
    """Also where the URL tells nothing of it."""
    engine = make_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(f"file:{database}?mode=ro", uri=True),
        poolclass=NullPool,
    )
    before = database.read_bytes()
    manager = BackupManager(engine)
    info = manager.create()
    with pytest.raises(PermissionDeniedError):
        manager.restore(info)
    assert database.read_bytes() == before


def test_a_transaction_of_an_event_is_not_committed_by_us(
    database: Path, make_engine: EngineMaker
) -> None:
    """What an event left uncommitted stays so, and its lock is let go of."""
    engine = make_engine(database)

    def connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("INSERT INTO parent (name, total) VALUES ('never committed', 0)")

    event.listen(engine, "connect", connect)
    manager = BackupManager(engine, lock_timeout=2)
    manager.restore(manager.create())
    add_child(database)
    assert scalar(database, "SELECT count(*) FROM parent") == 10


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="takes two users")
def test_another_user_leaves_no_log_that_locks_the_owner_out(tmp_path: Path) -> None:
    """In WAL mode the files of the first reader are its own: the owner could not write any more."""
    tmp_path.chmod(0o1777)
    live = make_database(tmp_path / "app.db", mode="wal")
    live.chmod(0o644)
    os.chown(live, 1001, 1001)
    answer = run_as(NOBODY, "create_without_a_row", live, tmp_path / "backups")
    assert answer["error"] == "PermissionDeniedError"
    assert os.listdir(tmp_path) == ["app.db"]


def test_commands_to_copy_reach_the_database_as_the_engine_does(
    tmp_path: Path, make_any: AnyMaker
) -> None:
    """By its plain path the locks of another scheme would be passed by."""
    live = make_database(tmp_path / "my app.db", mode="delete")
    engine = make_any(f"file:{live}?vfs=unix-excl&uri=true")
    manager = BackupManager(engine, catalog=False)
    write_marker(live, backup=str(tmp_path / "b.db"), alembic_heads=(), target_revision="b")
    error = manager.alarm.error()
    assert error is not None
    words = shlex.split(error.hint)
    url = words[words.index("--url") + 1]
    assert "vfs=unix-excl" in url
    again = BackupManager.from_url(url, catalog=False)
    assert again.database == live
    assert again.live.address == url


@pytest.mark.parametrize("error", [StopIteration, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_a_progress_raises_comes_out_of_either_engine(
    tmp_path: Path, make_any: AnyMaker, error: type[BaseException]
) -> None:
    """Also what asyncio would lose, or end its loop with: nobody waits for ever."""
    manager = BackupManager(make_any(str(make_database(tmp_path / "app.db"))), catalog=False)

    def progress(_done: int, _total: int) -> None:
        raise error

    raised: list[BaseException] = []

    def create() -> None:
        try:
            manager.create(progress=progress)
        except BaseException as caught:  # noqa: BLE001 - that is what it is about
            raised.append(caught)

    creating = threading.Thread(target=create, daemon=True)
    creating.start()
    creating.join(60)
    assert [type(one) for one in raised] == [error]
    assert manager.list() == []
    manager.create()
