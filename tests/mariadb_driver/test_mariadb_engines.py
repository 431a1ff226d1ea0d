"""Whatever an application makes its engine with, the driver reaches the same database."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import pymysql
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool, StaticPool

from mariadb_driver.databases import Database, new_database
from mariadb_driver.server import Server
from soulsense_db import BackupManager
from soulsense_db.drivers import driver_for, engine_for
from soulsense_db.drivers.mariadb import login

_SCHEMA = "CREATE TABLE t (id INT PRIMARY KEY, what TEXT); INSERT INTO t VALUES (1, 'old');"


@pytest.fixture
def database(server: Server, tmp_path: Path) -> Iterator[Database]:
    """Return a database with one row; nothing is left beside it."""
    with new_database(server, tmp_path) as made:
        made.run(_SCHEMA)
        yield made
        assert made.left() == set()


def _round_trip(database: Database, engine: Any) -> None:
    driver = driver_for(engine, lock_timeout=5)
    path = database.folder / "made.sql"
    path.touch()
    driver.snapshot(path)
    database.run("UPDATE t SET what = 'new'")
    with driver.exclusive(timeout=1), driver.write_locked() as lock:
        driver.load(path, write_lock=lock)
    assert database.run("SELECT what FROM t WHERE id = 1") == "old\n"
    assert driver.compare(path, ignore=()).identical
    driver.check_loaded(driver.schema_of(path))
    driver.flush()
    assert (
        driver.transaction(
            lambda connection: connection.scalar(sa.text("SELECT what FROM t WHERE id = 1")),
            lock_timeout=1,
        )
        == "old"
    )


_MODULES = {
    "pymysql": "pymysql",
    "mysqlconnector": "mysql.connector",
    "mysqldb": "MySQLdb",
    "mariadbconnector": "mariadb",
    "asyncmy": "asyncmy",
    "aiomysql": "aiomysql",
}


def _require(library: str) -> None:
    """Skip the test where a library is not installed; fail, where all have to be."""
    try:
        import_module(_MODULES[library])
    except ImportError:
        if os.environ.get("SOULSENSE_TESTS_NEED_ALL"):
            raise
        pytest.skip(f"{library} is not installed")


@pytest.mark.parametrize("library", ["pymysql", "mysqlconnector", "mysqldb", "mariadbconnector"])
@pytest.mark.parametrize("dialect", ["mysql", "mariadb"])
def test_libraries_that_wait(database: Database, dialect: str, library: str) -> None:
    """Backups and restores go through the application's own library."""
    _require(library)
    engine = sa.create_engine(database.server.url(database.name, dialect=dialect, driver=library))
    _round_trip(database, engine)
    engine.dispose()


def test_a_server_may_take_its_time_for_an_answer(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit for connecting ends when PyMySQL is in; one of the URL for answers stays."""
    monkeypatch.setattr(login, "CONNECT_SECONDS", 1)
    url = database.server.url(database.name)
    for limit, ends in (("", True), ("&read_timeout=1", False)):
        engine = engine_for(url + limit)
        with engine.connect() as connection, nullcontext() if ends else pytest.raises(DBAPIError):
            assert connection.scalar(sa.text("SELECT SLEEP(1.5)")) == 0
        engine.dispose()
    of_its_own = login.login_of(engine_for(url), name="app")
    with of_its_own.connected(name="app") as connection:
        assert connection.scalar(sa.text("SELECT SLEEP(1.5)")) == 0


@pytest.mark.parametrize("library", ["asyncmy", "aiomysql"])
def test_libraries_of_asyncio(database: Database, library: str) -> None:
    """Beside an async engine another library is used, which is found."""
    _require(library)
    engine = create_async_engine(database.server.url(database.name, driver=library))
    _round_trip(database, engine)

    async def read() -> str:
        async with engine.connect() as connection:
            found = await connection.scalar(sa.text("SELECT what FROM t"))
        await engine.dispose()
        return str(found)

    assert asyncio.run(read()) == "old"


def _with_creator(database: Database) -> Engine:
    def connect() -> Any:
        return pymysql.connect(
            unix_socket=str(database.server.socket),
            user="root",
            database=database.name,
            client_flag=pymysql.constants.CLIENT.FOUND_ROWS,
        )

    return sa.create_engine("mariadb+pymysql://", creator=connect)


def _with_listener(database: Database) -> Engine:
    database.run("DROP USER IF EXISTS late@localhost; CREATE USER late@localhost IDENTIFIED BY 'x'")
    database.run("GRANT ALL ON *.* TO late@localhost")
    engine = sa.create_engine(database.server.url(database.name, user="nobody"))

    @sa.event.listens_for(engine, "do_connect")
    def bring_password(_dialect: Any, _record: Any, _args: Any, keywords: Any) -> None:
        keywords.update(user="late", password="x")  # noqa: S106

    return engine


def _odd_session(database: Database) -> Engine:
    engine = sa.create_engine(database.server.url(database.name), poolclass=StaticPool)

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(
            "SET sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES,TRADITIONAL', time_zone = '+9:00'"
        )
        cursor.execute("SET NAMES latin1")

    return engine


def _without_pool(database: Database) -> Engine:
    url = sa.make_url(database.server.url(database.name))
    return sa.create_engine(url.update_query_dict({"charset": "latin1"}), poolclass=NullPool)


@pytest.mark.parametrize("make", [_with_creator, _with_listener, _odd_session, _without_pool])
def test_engines_of_many_kinds(database: Database, make: Any) -> None:
    """Creators, listeners, pools, and sessions that are set up in an odd way."""
    engine = make(database)
    _round_trip(database, engine)
    engine.dispose()
    database.run("DROP USER IF EXISTS late@localhost")


def test_settings_of_the_server_change_nothing(database: Database, server: Server) -> None:
    """What a server sets for everybody's sessions is not what a backup goes by."""
    database.run("INSERT INTO t VALUES (2, 'back\\\\slash \\' \"q\"')")
    odd = {
        "sql_mode": "'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES'",
        "lock_wait_timeout": "1",
        "wait_timeout": "2",
        "time_zone": "'+09:00'",
        "max_statement_time": "5",
        "group_concat_max_len": "4",
        "autocommit": "0",
    }
    before = dict(line.split("\t") for line in database.run("SHOW GLOBAL VARIABLES").splitlines())
    for name, value in odd.items():
        database.run(f"SET GLOBAL {name} = {value}")
    try:
        _round_trip(database, database.engine)
        driver = driver_for(engine_for(database.server.url(database.name)), lock_timeout=5)
        assert driver.count_rows(database.folder / "made.sql") == {"t": 2}
    finally:
        for name in odd:
            value = before[name]
            is_number = value.replace(".", "").isdigit()
            database.run(f"SET GLOBAL {name} = {value if is_number else repr(value)}")


def test_sockets_are_told_apart(tmp_path: Path) -> None:
    """Two servers of one machine have databases of one name: the backups of each are its own."""
    for number in (1, 2):
        url = f"mariadb+pymysql://root@localhost/shop?unix_socket={tmp_path}/{number}/socket"
        manager = BackupManager.from_url(url, tmp_path / "backups")
        assert manager.live.name == f"{tmp_path}/{number}/socket/shop"
