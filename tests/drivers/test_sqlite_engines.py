"""SQLite: every kind of engine that an application may hand over."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from conftest import EngineMaker
from helpers import ROWS, add_child, digest, fill, make_database, scalar
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool, QueuePool, SingletonThreadPool, StaticPool

from soulsense_db import BackupManager
from soulsense_db.drivers.sqlite.engine import EngineConnections
from soulsense_db.errors import (
    DatabaseFileNotFoundError,
    DatabaseLockedError,
    StorageError,
    UnsupportedDatabaseError,
)

pytestmark = pytest.mark.slow

COUNT = "SELECT count(*) FROM child"
SHARED = "sqlite:///file:{name}?mode=memory&cache=shared&uri=true"


def count(engine: Engine) -> int:
    """Return the number of children that the application sees."""
    with engine.connect() as connection:
        return int(connection.exec_driver_sql(COUNT).scalar_one())


def fill_engine(engine: Engine) -> None:
    """Make and fill the tables through the engine's own connection."""
    with engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert isinstance(raw, sqlite3.Connection)
        fill(raw)


def round_trip(engine: Engine, directory: Path) -> BackupManager:
    """Create, verify, delete rows, restore, undo: the application sees each step."""
    manager = BackupManager(engine, directory, lock_timeout=2)
    info = manager.create("round trip")
    assert scalar(Path(info.path), COUNT) == ROWS
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM child")
    manager.restore(info)
    assert count(engine) == ROWS
    manager.undo_restore()
    assert count(engine) == 0
    manager.undo_restore()
    assert count(engine) == ROWS
    manager.delete(info)
    assert manager.list() == []
    return manager


@pytest.mark.parametrize("pool", [None, QueuePool, NullPool, StaticPool, SingletonThreadPool])
def test_a_file_works_with_every_pool(
    database: Path, make_engine: EngineMaker, tmp_path: Path, pool: type[sa.Pool] | None
) -> None:
    """Whatever pool the application chose, backups and restores work and it goes on."""
    engine = make_engine(database, poolclass=pool)
    assert count(engine) == ROWS
    manager = round_trip(engine, tmp_path / "b")
    assert manager.database == database


@pytest.mark.parametrize("pool", [None, StaticPool])
def test_memory_works(make_engine: EngineMaker, tmp_path: Path, pool: type[sa.Pool] | None) -> None:
    """An in-memory database is backed up and restored through its only connection."""
    engine = make_engine("sqlite://", poolclass=pool)
    fill_engine(engine)
    manager = round_trip(engine, tmp_path / "b")
    assert manager.database is None


def test_memory_goes_to_data_backups(
    make_engine: EngineMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database without a file has its backups in ``data/backups`` of the current directory."""
    monkeypatch.chdir(tmp_path)
    manager = BackupManager(make_engine("sqlite://"))
    assert manager.directory == tmp_path / "data" / "backups"


def test_memory_in_the_middle_of_a_transaction_is_locked(
    make_engine: EngineMaker, tmp_path: Path
) -> None:
    """The only connection holds uncommitted rows: no backup is made and the rows stay theirs."""
    engine = make_engine("sqlite://", poolclass=StaticPool)
    fill_engine(engine)
    manager = BackupManager(engine, tmp_path / "b", lock_timeout=0.2)
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM child WHERE id > 5")
        with pytest.raises(DatabaseLockedError, match="middle of a transaction"):
            manager.create()
        assert connection.exec_driver_sql(COUNT).scalar_one() == 5
    assert count(engine) == 5
    assert manager.list() == []


def test_shared_memory_works(make_engine: EngineMaker, tmp_path: Path) -> None:
    """A shared-cache database is reached by a connection of its own."""
    engine = make_engine(SHARED.format(name="works"), poolclass=QueuePool)
    with engine.connect():  # one connection keeps the database alive
        fill_engine(engine)
        round_trip(engine, tmp_path / "b")


def test_shared_memory_backups_have_only_committed_rows(
    make_engine: EngineMaker, tmp_path: Path
) -> None:
    """Another connection's uncommitted rows are in the shared pages and must not be copied."""
    engine = make_engine(SHARED.format(name="committed"), poolclass=QueuePool)
    with engine.connect() as connection:
        fill_engine(engine)
        manager = BackupManager(engine, tmp_path / "b", lock_timeout=0.3)
        connection.exec_driver_sql("DELETE FROM child")
        try:
            info = manager.create()
        except DatabaseLockedError:
            assert manager.list() == []
        else:
            assert scalar(Path(info.path), COUNT) == ROWS
        connection.rollback()
        assert scalar(Path(manager.create().path), COUNT) == ROWS


def test_a_static_pool_on_a_file_keeps_its_open_transaction(
    database: Path, make_engine: EngineMaker, tmp_path: Path
) -> None:
    """Rows that the application has not committed are in no backup and stay in its hands."""
    engine = make_engine(database, poolclass=StaticPool)
    with engine.connect() as connection:
        connection.exec_driver_sql("INSERT INTO parent VALUES (99, 'mine', 0)")
        manager = BackupManager(engine, tmp_path / "b", lock_timeout=0.5)
        info = manager.create()
        assert scalar(Path(info.path), "SELECT count(*) FROM parent") == 10
        assert connection.exec_driver_sql("SELECT count(*) FROM parent").scalar_one() == 11
        connection.commit()
    assert scalar(database, "SELECT count(*) FROM parent") == 11


def test_a_creator_of_fresh_connections_is_used(
    database: Path, make_engine: EngineMaker, tmp_path: Path
) -> None:
    """The creator decides which database it is, whatever the URL says."""
    made: list[sqlite3.Connection] = []

    def create() -> sqlite3.Connection:
        made.append(sqlite3.connect(database, check_same_thread=False))
        return made[-1]

    engine = make_engine("sqlite://", creator=create, poolclass=QueuePool)
    manager = round_trip(engine, tmp_path / "b")
    assert manager.database == database
    assert made


@pytest.mark.parametrize("pool", [None, StaticPool])
@pytest.mark.parametrize("where", ["file", "memory"])
def test_a_creator_that_repeats_itself_is_never_closed(
    database: Path, make_engine: EngineMaker, tmp_path: Path, pool: Any, where: str
) -> None:
    """``creator=lambda: connection``: the application's one connection goes on working."""
    name = database if where == "file" else ":memory:"
    with closing(sqlite3.connect(name, check_same_thread=False)) as own:
        if where == "memory":
            fill(own)
        before = (own.isolation_level, own.text_factory, own.row_factory)
        engine = make_engine("sqlite://", creator=lambda: own, poolclass=pool)
        round_trip(engine, tmp_path / "b")
        assert own.execute(COUNT).fetchone() == (ROWS,)
        assert (own.isolation_level, own.text_factory, own.row_factory) == before


def test_a_borrowed_connection_keeps_its_settings(
    database: Path, make_engine: EngineMaker, tmp_path: Path
) -> None:
    """The application's own connection keeps its settings through a restore, failed or not."""
    with closing(sqlite3.connect(database, check_same_thread=False)) as own:
        own.execute("PRAGMA synchronous = OFF")
        own.execute("PRAGMA busy_timeout = 1234")
        engine = make_engine("sqlite://", creator=lambda: own, poolclass=StaticPool)
        manager = BackupManager(engine, tmp_path / "b", lock_timeout=0.2)
        info = manager.create()
        manager.restore(info)
        with closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(DatabaseLockedError):
                manager.restore(info)
        settings = [
            own.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "busy_timeout")
        ]
        assert settings == [0, 1234]


def test_connect_events_and_arguments_are_kept(
    database: Path, make_engine: EngineMaker, tmp_path: Path
) -> None:
    """What the application sets on each connection holds for the private ones too."""
    seen: list[Any] = []

    class Connection(sqlite3.Connection):
        """A class of the application's own."""

    engine = make_engine(database, connect_args={"factory": Connection})

    @sa.event.listens_for(engine, "connect")
    def on_connect(dbapi_connection: Any, _record: object) -> None:
        seen.append(dbapi_connection)
        dbapi_connection.execute("PRAGMA foreign_keys = ON")

    BackupManager(engine, tmp_path / "b").create()
    assert seen
    assert all(type(connection) is Connection for connection in seen)


def as_dict(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    """Make dictionaries of rows, as the documentation of sqlite3 shows."""
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


@pytest.mark.parametrize("factory", [sqlite3.Row, as_dict])
def test_a_row_factory_of_the_application_is_no_trouble(
    database: Path, make_engine: EngineMaker, tmp_path: Path, factory: Any
) -> None:
    """Rows and texts in the application's own form change nothing about its backups."""
    engine = make_engine(database)

    @sa.event.listens_for(engine, "connect")
    def on_connect(dbapi_connection: Any, _record: object) -> None:
        dbapi_connection.row_factory = factory
        dbapi_connection.text_factory = bytes

    manager = BackupManager(engine, tmp_path / "b")
    info = manager.create()
    add_child(database)
    assert manager.restore(info).catalog_rebuilt
    assert scalar(database, COUNT) == ROWS


class DictCursor(sqlite3.Cursor):
    def fetchall(self) -> Any:
        """Give rows the shape that the application likes."""
        return [dict(enumerate(row)) for row in super().fetchall()]


class DictConnection(sqlite3.Connection):
    def cursor(self, factory: Any = DictCursor) -> Any:
        """Make cursors of the application's own class."""
        return super().cursor(factory)


def test_a_file_that_the_connections_do_not_tell_of_is_not_taken_for_memory(
    database: Path, make_engine: EngineMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it shared one directory with all such databases, and ``latest`` of another were its."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsupportedDatabaseError, match="report no file") as caught:
        BackupManager(make_engine(database, connect_args={"factory": DictConnection}))
    assert str(database) in caught.value.message
    assert os.listdir(tmp_path) == [database.name]


def test_a_shared_connection_to_a_file_in_a_transaction_is_called_what_it_is(
    database: Path, make_engine: EngineMaker, tmp_path: Path
) -> None:
    """A file that the engine reaches by one connection only is no in-memory database."""
    with closing(sqlite3.connect(database, check_same_thread=False)) as one:
        engine = make_engine("sqlite://", creator=lambda: one, poolclass=StaticPool)
        manager = BackupManager(engine, tmp_path / "b")
        one.execute("DELETE FROM child")
        with pytest.raises(DatabaseLockedError, match="middle of a transaction") as caught:
            manager.create()
        assert "in-memory" not in caught.value.message
        assert str(database) in caught.value.message


NAMES = ["my app.db", "a#b.db", "what?.db", "100%41.db", "日記 😀.db", "a&b=c;d.db", "'quoted\".db"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("style", ["plain", "uri", "async"])
def test_any_path_works(tmp_path: Path, name: str, style: str) -> None:
    """Spaces, ``#``, ``?``, ``%`` and emoji in the path lead to the file and to no other."""
    folder = tmp_path / name.removesuffix(".db")
    folder.mkdir()
    path = make_database(folder / name)
    if style == "uri":
        url = sa.URL.create(
            "sqlite", database=f"file:{path.as_uri()[7:]}", query={"uri": "true", "mode": "rw"}
        )
    elif style == "async":
        url = sa.URL.create("sqlite+aiosqlite", database=str(path))
    else:
        url = sa.URL.create("sqlite", database=str(path))
    engine = create_async_engine(url) if style == "async" else sa.create_engine(url)
    manager = BackupManager(engine)
    assert manager.database == path
    info = manager.create()
    before = digest(path)
    add_child(path)
    manager.restore(info)
    manager.verify(info)
    manager.import_file(manager.export(info, tmp_path))
    assert digest(path) == before
    engine.dispose() if isinstance(engine, Engine) else asyncio.run(engine.dispose())
    assert {entry.split(".")[0] for entry in os.listdir(folder) if not entry.startswith(".")} <= {
        name.split(".", maxsplit=1)[0],
        "backups",
    }


@pytest.mark.parametrize("uri", [False, True])
def test_a_missing_file_is_not_made(tmp_path: Path, make_engine: EngineMaker, uri: bool) -> None:
    """A wrong path is "Database file not found", and no empty database appears there."""
    path = tmp_path / "gone.db"
    engine = make_engine(f"sqlite:///file:{path}?uri=true" if uri else path)
    manager = BackupManager(engine)
    for call in (manager.create, manager.catalog.rebuild):
        with pytest.raises(DatabaseFileNotFoundError, match="Database file not found"):
            call()
    assert os.listdir(tmp_path) == []


def test_a_relative_path_means_the_directory_of_the_start(
    tmp_path: Path, make_engine: EngineMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An application that changes its directory later is still backed up, not another file."""
    make_database(tmp_path / "app.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    engine = make_engine("sqlite:///app.db")
    manager = BackupManager(engine)
    assert manager.database == tmp_path / "app.db"
    assert manager.directory == tmp_path / "backups"


def test_a_read_only_engine_can_be_backed_up(
    database: Path, make_engine: EngineMaker, tmp_path: Path
) -> None:
    """A report tool that opens the database read-only gets its backup, only without a row."""
    engine = make_engine(f"sqlite:///file:{database}?mode=ro&uri=true")
    info = BackupManager(engine, tmp_path / "b").create()
    assert scalar(Path(info.path), COUNT) == ROWS


@pytest.fixture(params=["file", "file, StaticPool", "memory", "shared memory"])
def async_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AsyncEngine]:
    """Return an async engine, filled, on each kind of database."""
    kind = request.param
    path = tmp_path / "async.db"
    urls = {"memory": "sqlite://", "shared memory": SHARED.format(name="async")}
    url = urls.get(kind, f"sqlite:///{path}").replace("sqlite:", "sqlite+aiosqlite:")
    static = kind in {"file, StaticPool", "shared memory"}
    engine = create_async_engine(url, **({"poolclass": StaticPool} if static else {}))

    async def start() -> None:
        async with engine.connect() as connection:
            raw: Any = (await connection.get_raw_connection()).driver_connection
            await raw._execute(lambda: fill(raw._conn))

    asyncio.run(start())
    yield engine
    asyncio.run(engine.dispose())


async def async_count(engine: AsyncEngine) -> int:
    """Return the number of children that an async application sees."""
    async with engine.connect() as connection:
        return int((await connection.exec_driver_sql(COUNT)).scalar_one())


def test_async_engines_work_from_plain_code(async_engine: AsyncEngine, tmp_path: Path) -> None:
    """A script without an event loop backs up and restores an async application's database."""
    manager = BackupManager(async_engine, tmp_path / "b", lock_timeout=2)
    info = manager.create()
    assert scalar(Path(info.path), COUNT) == ROWS
    manager.restore(info)
    assert asyncio.run(async_count(async_engine)) == ROWS


def test_async_engines_work_inside_a_running_loop(
    async_engine: AsyncEngine, tmp_path: Path
) -> None:
    """A request handler may call the manager in the middle of its event loop."""

    async def handle() -> None:
        manager = BackupManager(async_engine, tmp_path / "b", lock_timeout=2)
        info = manager.create()
        async with async_engine.begin() as connection:
            await connection.exec_driver_sql("DELETE FROM child")
        manager.restore(info)
        assert await async_count(async_engine) == ROWS
        manager.undo_restore()
        assert await async_count(async_engine) == 0

    asyncio.run(handle())


def test_an_open_async_transaction_survives(async_engine: AsyncEngine, tmp_path: Path) -> None:
    """Neither making a manager nor a backup takes back what a task has not committed yet."""

    async def handle() -> None:
        async with async_engine.connect() as connection:
            await connection.exec_driver_sql("DELETE FROM child WHERE id > 5")
            try:
                manager = BackupManager(async_engine, tmp_path / "b", lock_timeout=0.3)
                info = manager.create()
            except DatabaseLockedError:
                pass
            else:
                assert scalar(Path(info.path), COUNT) == ROWS
            await connection.commit()
        assert await async_count(async_engine) == 5

    asyncio.run(handle())


def test_no_file_descriptor_is_left_open(
    database: Path, make_engine: EngineMaker, tmp_path: Path
) -> None:
    """Backups and restores, good and refused, leave no descriptor behind."""
    engine = make_engine(database, poolclass=NullPool)
    manager = BackupManager(engine, tmp_path / "b", lock_timeout=0.2)
    bad = tmp_path / "bad.db"
    bad.write_text("not a database")

    def work() -> None:
        info = manager.create()
        manager.verify(info)
        manager.restore(info)
        manager.undo_restore()
        with pytest.raises(sa.exc.SQLAlchemyError), engine.connect() as connection:
            connection.exec_driver_sql("SELECT * FROM nothing")
        with pytest.raises(Exception, match="Invalid backup"):
            manager.import_file(bad)
        with closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(DatabaseLockedError):
                manager.create()
        manager.delete(info)

    work()
    before = len(os.listdir("/proc/self/fd"))
    work()
    work()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("fails", ["second connection", "first close"])
def test_what_a_creator_made_is_closed_on_any_error(
    database: Path, make_engine: EngineMaker, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """A creator or a close that fails half-way leaves no connection of ours open."""
    made: list[sqlite3.Connection] = []

    def creator() -> sqlite3.Connection:
        if made and fails == "second connection":
            raise sqlite3.OperationalError("not twice")
        made.append(sqlite3.connect(database))
        return made[-1]

    engine = make_engine("sqlite://", creator=creator, poolclass=NullPool)
    close = engine.dialect.do_close

    def close_or_fail(connection: Any) -> None:
        close(connection)
        if connection is made[0] and fails == "first close":
            raise sqlite3.OperationalError("closed, and complains")

    monkeypatch.setattr(engine.dialect, "do_close", close_or_fail)
    with pytest.raises(sqlite3.OperationalError):
        EngineConnections(engine).repeat_themselves()
    assert made
    for connection in made:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


def test_an_async_connection_is_closed_once_whatever_its_events_do(database: Path) -> None:
    """A second close does nothing, also after an event of the first one failed."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{database}")

    def refuse(*_: object) -> None:
        raise ValueError("of the application")

    sa.event.listen(engine.sync_engine, "close", refuse)
    connection = EngineConnections(engine.sync_engine).make(lambda _: None)
    assert connection.run(lambda raw: raw.execute(COUNT).fetchone()) == (ROWS,)
    connection.close()
    connection.close()


@pytest.mark.parametrize("value", ["²", "٣", "9" * 5000, "", "x"])
def test_odd_values_of_an_option_are_no_traceback(
    database: Path, make_engine: EngineMaker, value: str
) -> None:
    """Only what SQLite takes for a number is one: an odd digit says no, a long one yes."""
    engine = make_engine(f"sqlite:///file:{database}?immutable={quote(value)}&uri=true")
    manager = BackupManager(engine)
    assert manager.create()
    arguments = EngineConnections(engine).arguments
    assert arguments.is_read_only == value.startswith("9")


def test_a_file_that_vanishes_while_it_is_looked_at(
    database: Path, make_engine: EngineMaker
) -> None:
    """A database that is deleted right after SQLite named it is an error of the tree."""
    engine = make_engine("sqlite://", creator=lambda: sqlite3.connect(database), poolclass=NullPool)
    sa.event.listen(engine, "close", lambda *_: database.unlink(missing_ok=True))
    with pytest.raises(StorageError, match=r"could not look at .*app\.db"):
        BackupManager(engine)
