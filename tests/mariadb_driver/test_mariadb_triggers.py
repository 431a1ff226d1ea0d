"""Triggers while a restore puts tables in place: no write misses one, and none is lost."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa

from mariadb_driver.databases import Database, new_database
from mariadb_driver.server import Server
from soulsense_db.drivers import driver_for
from soulsense_db.drivers.mariadb import MariaDBDriver
from soulsense_db.drivers.mariadb.gates import Gates
from soulsense_db.drivers.mariadb.observer import Observer
from soulsense_db.drivers.results import ConcurrentCommitError
from soulsense_db.errors import BackupError, DatabaseLockedError

# What a trigger uses, and what refers to its table, stands before and after it in the alphabet.
_SCHEMA = """
CREATE TABLE a_log (n INT);
CREATE TABLE b_plain (n INT);
CREATE TABLE c_parent (id INT PRIMARY KEY, x INT);
CREATE TABLE w (id INT PRIMARY KEY AUTO_INCREMENT, n INT, x INT, parent INT,
    FOREIGN KEY (parent) REFERENCES c_parent (id) ON DELETE CASCADE);
CREATE TABLE z_plain (n INT);
CREATE TRIGGER of_parent BEFORE UPDATE ON c_parent FOR EACH ROW SET NEW.x = 1;
CREATE TRIGGER first_of_w BEFORE INSERT ON w FOR EACH ROW SET NEW.x = NEW.n * 2;
CREATE TRIGGER last_of_w AFTER INSERT ON w FOR EACH ROW INSERT INTO a_log VALUES (NEW.n);
INSERT INTO c_parent VALUES (1, 1);
INSERT INTO b_plain VALUES (1);
"""
_MISSED = """SELECT COUNT(*) FROM w WHERE x IS NULL OR NOT EXISTS
    (SELECT 1 FROM a_log WHERE a_log.n = w.n)"""


def _definitions(database: Database) -> str:
    """Return the triggers, in their order; not when each was made."""
    return database.run(
        "SELECT TRIGGER_NAME, ACTION_TIMING, EVENT_OBJECT_TABLE, ACTION_ORDER, ACTION_STATEMENT"
        f" FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = '{database.name}' ORDER BY 1"
    )


@pytest.fixture
def database(server: Server, tmp_path: Path) -> Iterator[Database]:
    """Return a database with triggers; nothing is left beside it."""
    with new_database(server, tmp_path) as made:
        made.run(_SCHEMA)
        yield made
        assert made.left() == set()


@contextmanager
def _written_to(database: Database) -> Iterator[None]:
    """Write to the table with triggers for as long as the block lasts; no write fails."""
    stop, errors = threading.Event(), []

    def write(first: int) -> None:
        engine = sa.create_engine(database.server.url(database.name))
        with engine.connect() as connection:
            number = first
            while not stop.is_set():
                number += 1
                try:
                    connection.exec_driver_sql(f"INSERT INTO w (n, parent) VALUES ({number}, 1)")
                    connection.commit()
                except sa.exc.DBAPIError as error:
                    connection.rollback()
                    errors.append(str(error.orig))
                time.sleep(0.002)
        engine.dispose()

    writers = [threading.Thread(target=write, args=(k * 1_000_000,)) for k in (1, 2, 3)]
    for one in writers:
        one.start()
    try:
        yield
    finally:
        stop.set()
        for one in writers:
            one.join()
    assert errors == []


@pytest.mark.slow
@pytest.mark.parametrize("table", ["a_log", "b_plain", "z_plain"])
def test_an_open_transaction_makes_no_write_miss_a_trigger(database: Database, table: str) -> None:
    """Whatever table somebody has read and holds: the restore fails, no trigger was ever gone."""
    path = database.snapshot()
    triggers = database.run("SHOW TRIGGERS")
    driver = driver_for(database.engine, lock_timeout=2)
    with database.engine.connect() as reader, _written_to(database):
        reader.exec_driver_sql(f"SELECT * FROM {table}")
        with pytest.raises(DatabaseLockedError, match="Nothing was changed"):
            driver.load(path)
    assert database.run(_MISSED) == "0\n"
    assert database.run("SHOW TRIGGERS") == triggers


@pytest.mark.slow
def test_a_transaction_that_comes_at_the_last_moment(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The triggers are dropped already when somebody reads a table and stays: they come back."""
    path = database.snapshot()
    triggers = _definitions(database)
    driver = driver_for(database.engine, lock_timeout=2)
    original = Gates.drop
    with database.engine.connect() as reader, _written_to(database):

        def drop(*arguments: object) -> None:
            original(*arguments)  # type: ignore[arg-type]
            assert database.run("SHOW TRIGGERS") == ""
            reader.exec_driver_sql("SELECT * FROM z_plain").fetchall()

        monkeypatch.setattr(Gates, "drop", drop)
        with pytest.raises(DatabaseLockedError, match="Nothing was changed"):
            driver.load(path)
    assert database.run(_MISSED) == "0\n"
    assert _definitions(database) == triggers


@pytest.mark.slow
def test_no_write_misses_what_uses_a_table_before_it(database: Database) -> None:
    """The server locks what a trigger uses together with its table."""
    path = database.snapshot()
    with _written_to(database):
        for _ in range(3):
            database.driver.load(path)
            time.sleep(0.05)
    assert database.run("SELECT COUNT(*) > 0 FROM w") == "1\n"
    assert database.run(_MISSED) == "0\n"


@pytest.mark.slow
def test_triggers_that_could_not_be_put_back_come_with_the_next_backup(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed has left its notes: until then it is known that something is missing."""
    path = database.snapshot()
    triggers = _definitions(database)

    def fails(*_: object) -> None:
        raise DatabaseLockedError("in the way")

    original = Gates.drop

    def drops_and_fails(*arguments: object) -> None:
        original(*arguments)  # type: ignore[arg-type]
        fails()

    with monkeypatch.context() as patched:
        patched.setattr(Gates, "drop", drops_and_fails)
        patched.setattr(Gates, "create", fails)
        with pytest.raises(DatabaseLockedError):
            database.driver.load(path)
    assert database.run("SHOW TRIGGERS") == ""
    assert database.driver.unfinished() != ""
    database.snapshot("after")
    assert _definitions(database) == triggers


_MOMENTS = ["ask", "let_through", "drop", "create"]


def _ending(
    monkeypatch: pytest.MonkeyPatch, moment: str, end: Callable[[Observer], object]
) -> None:
    """Do something once, just before that moment of a swap."""
    original = getattr(Gates, moment)
    ended: list[object] = []

    def called(gates: Gates, *arguments: object) -> None:
        observer = arguments[-1]
        assert isinstance(observer, Observer)
        if not ended:
            ended.append(end(observer))
        original(gates, *arguments)

    monkeypatch.setattr(Gates, moment, called)


@pytest.mark.parametrize("moment", _MOMENTS)
def test_an_observer_that_is_ended_is_replaced(
    database: Database, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """What looks at locks has none: somebody ends its session, and the restore goes on."""
    path = database.snapshot()
    triggers = _definitions(database)
    driver = driver_for(database.engine, lock_timeout=5)
    numbers = []

    def end(observer: Observer) -> None:
        numbers.append(observer.scalar("SELECT CONNECTION_ID()"))
        database.run(f"KILL {numbers[0]}")

    _ending(monkeypatch, moment, end)
    with _written_to(database):
        driver.load(path)
    assert numbers
    assert database.run(_MISSED) == "0\n"
    assert _definitions(database) == triggers


_OURS = """SELECT ID FROM information_schema.PROCESSLIST
    WHERE DB IS NULL AND ID <> CONNECTION_ID() AND USER <> 'system user' ORDER BY ID"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "chosen"), [("drop", "each"), ("create", "each"), *((m, "all") for m in _MOMENTS)]
)
def test_sessions_that_are_ended_leave_old_or_new(
    database: Database, monkeypatch: pytest.MonkeyPatch, moment: str, chosen: str
) -> None:
    """Triggers and rows are of the same side once the next call has tidied up; no lock is left."""
    path = database.snapshot()
    new = _definitions(database)
    live = "CREATE OR REPLACE TRIGGER last_of_w AFTER INSERT ON w FOR EACH ROW"
    place, ended = 0, [""]
    while ended:
        database.run(f"{live} INSERT INTO a_log VALUES (-NEW.n); INSERT INTO b_plain VALUES (2)")
        old = _definitions(database)
        assert old != new
        driver = driver_for(database.engine, lock_timeout=2)

        def end(observer: Observer) -> None:
            del observer
            ours = database.run(_OURS).split()
            ended[:] = ours if chosen == "all" else ours[place : place + 1]  # noqa: B023 - called in this turn
            for number in ended:
                with suppress(subprocess.CalledProcessError):  # it has ended with another one
                    database.run(f"KILL {number}")

        with monkeypatch.context() as patch:
            _ending(patch, moment, end)
            started = time.monotonic()
            with suppress(BackupError, ConcurrentCommitError):
                driver.load(path)
            assert time.monotonic() - started < 20
        assert isinstance(driver, MariaDBDriver)
        driver.finish_interrupted()
        is_new = database.run("SELECT COUNT(*) FROM b_plain") == "1\n"
        assert _definitions(database) == (new if is_new else old), place
        database.run("INSERT INTO w (n, parent) VALUES (1, 1)")  # nobody holds it
        driver.load(path)
        assert _definitions(database) == new
        place += 1
        if chosen == "all":
            break


@pytest.mark.slow
def test_a_server_with_few_connections(database: Database) -> None:
    """More tables have triggers than connections are left: some share one, and all come back."""
    path = database.snapshot()
    before = database.run("SELECT @@GLOBAL.max_connections").strip()
    database.run("SET GLOBAL max_connections = 18")
    try:
        driver_for(database.engine, lock_timeout=5).load(path)
    finally:
        database.run(f"SET GLOBAL max_connections = {before}")
    driver = driver_for(database.engine, lock_timeout=5)
    assert database.run("SHOW TRIGGERS").count("\n") == 3
    database.run(
        "".join(
            f"CREATE TABLE t{n} (x INT); CREATE TRIGGER g{n} BEFORE INSERT ON t{n} FOR EACH ROW"
            " SET NEW.x = 1;"
            for n in range(70)
        )
    )
    assert int(before) < 70
    many = database.snapshot()
    triggers = _definitions(database)
    driver.load(many)
    assert _definitions(database) == triggers
