"""What goes wrong while a backup is made or restored: old or new, and nothing left behind."""

from __future__ import annotations

import gc
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from mariadb_driver.databases import Database, new_database
from mariadb_driver.server import Server, is_installed
from soulsense_db import BackupManager
from soulsense_db.drivers import driver_for
from soulsense_db.errors import (
    BackupError,
    DatabaseFileNotFoundError,
    DatabaseLockedError,
    DatabaseUnreachableError,
    InvalidBackupError,
    MissingRightError,
    ServerToolError,
    UnsupportedDatabaseError,
)

_SCHEMA = """
CREATE TABLE a (id INT PRIMARY KEY AUTO_INCREMENT, what TEXT);
CREATE TABLE b (id INT PRIMARY KEY AUTO_INCREMENT, what TEXT);
CREATE TABLE seen (id INT PRIMARY KEY AUTO_INCREMENT, what TEXT);
CREATE TRIGGER on_a AFTER INSERT ON a FOR EACH ROW INSERT INTO seen (what) VALUES (NEW.what);
CREATE TRIGGER on_b AFTER INSERT ON b FOR EACH ROW INSERT INTO seen (what) VALUES (NEW.what);
CREATE VIEW both_of AS SELECT * FROM a UNION ALL SELECT * FROM b;
CREATE PROCEDURE p() SELECT 1;
CREATE EVENT e ON SCHEDULE EVERY 1 YEAR DO DELETE FROM a WHERE id < 0;
INSERT INTO a (what) VALUES ('old'); INSERT INTO b (what) VALUES ('old');
"""
_LOAD = """
import sys
from pathlib import Path
from soulsense_db.drivers import driver_for, engine_for
url, path = sys.stdin.readline().strip(), sys.stdin.readline().strip()
driver = driver_for(engine_for(url), lock_timeout=5)
print("ready", flush=True)
driver.load(Path(path))
print("done", flush=True)
"""
_PASSWORD = "s3cr3t 'p\"a\\ss#word;%"  # noqa: S105 - PyMySQL takes Latin-1 only


@pytest.fixture
def database(server: Server, tmp_path: Path) -> Iterator[Database]:
    """Return a database with triggers and programs; nothing is left beside it."""
    with new_database(server, tmp_path) as made:
        made.run(_SCHEMA)
        yield made
        assert made.left() == set()


def _rows(database: Database) -> str:
    return database.run("SELECT what FROM a ORDER BY id; SELECT what FROM b ORDER BY id")


def _programs(database: Database) -> str:
    here = f"'{database.name}'"
    return database.run(
        f"SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = {here};"
        f"SELECT TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA = {here};"
        f"SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {here};"
        f"SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = {here}"
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(14))
def test_a_kill_at_any_moment_leaves_old_or_new(database: Database, seed: int) -> None:
    """SIGKILL in the middle of a restore: never a mixture, and the next call tidies up."""
    path = database.snapshot()
    programs = _programs(database)
    database.run("UPDATE a SET what = 'new'; UPDATE b SET what = 'new'; DROP PROCEDURE p")
    with subprocess.Popen(
        [sys.executable, "-c", _LOAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{database.server.url(database.name)}\n{path}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        # The second half of a load is the interesting one.
        time.sleep(random.Random(seed).uniform(0.3, 1.0) if seed else 0.05)
        process.send_signal(signal.SIGKILL)
    assert _rows(database) in ("old\nold\n", "new\nnew\n")
    is_new = _rows(database) == "old\nold\n"
    other = database.snapshot("after")
    assert database.left() == set()
    if is_new:
        assert _programs(database) == programs
    else:
        assert _programs(database) == programs.replace("p\n", "", 1) or "p" not in _programs(
            database
        ).split("\n")
    before = database.run("SELECT COUNT(*) FROM seen")
    database.run("INSERT INTO a (what) VALUES ('x'); INSERT INTO b (what) VALUES ('y')")
    assert int(database.run("SELECT COUNT(*) FROM seen")) == int(before) + 2
    database.driver.load(other)
    database.driver.load(path)
    assert _rows(database) == "old\nold\n"
    assert _programs(database) == programs


_DYING = """
import os, sys
from importlib import import_module
module, name, moment = sys.argv[1:]
*path, last = f"soulsense_db.drivers.mariadb.{module}".split(":")
owner = import_module(path[0]) if path else import_module(last)
owner = getattr(owner, last) if path else owner
original = getattr(owner, name)
def dying(*arguments, **options):
    if moment == "before":
        os._exit(9)
    original(*arguments, **options)
    os._exit(9)
setattr(owner, name, dying)
"""


@pytest.mark.parametrize(
    ("where", "moment", "is_new"),
    [
        ("notes write", "after", False),
        ("gates:Gates drop", "before", False),
        ("gates:Gates ask", "before", False),
        ("gates:Gates ask", "after", False),
        ("gates:Gates drop", "after", False),
        ("gates:Gates let_through", "after", None),
        ("swap:Swap _until_it_has_all_but_ours", "after", None),
        ("gates:Gates create", "before", True),
        ("gates:Gates create", "after", True),
        ("programs replace", "before", True),
        ("programs replace", "after", True),
        ("schemas drop_all", "before", True),
        ("schemas drop_all", "after", True),
    ],
)
def test_a_death_at_each_step_is_tidied_up(
    database: Database, where: str, moment: str, is_new: bool | None
) -> None:
    """Each step of the swap is the last one of a process once; the next call does the rest."""
    path = database.snapshot()
    wanted = database.dump()
    database.run(
        "UPDATE a SET what = 'new'; UPDATE b SET what = 'new'; DROP EVENT e; DROP VIEW both_of"
    )
    before = database.dump()
    process = subprocess.run(
        [sys.executable, "-c", _DYING + _LOAD, *where.split(), moment],
        input=f"{database.server.url(database.name)}\n{path}\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 9, process.stderr
    assert _rows(database) in ("old\nold\n", "new\nnew\n")
    database.snapshot("after")
    assert database.dump() in (
        (wanted, before) if is_new is None else (wanted if is_new else before,)
    )
    assert database.left() == set()


def test_a_dead_process_swaps_nothing_later(database: Database) -> None:
    """The server goes on waiting for locks for a process that was killed: it is told to stop."""
    path = database.snapshot()
    database.run("UPDATE a SET what = 'new'; UPDATE b SET what = 'new'")
    before = database.dump()
    waits = (
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST"
        " WHERE INFO LIKE 'RENAME TABLE%' AND STATE LIKE 'Waiting%'"
    )
    with database.engine.connect() as connection:
        connection.exec_driver_sql("SELECT * FROM seen")
        with subprocess.Popen(
            [sys.executable, "-c", _LOAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            process.stdin.write(f"{database.server.url(database.name)}\n{path}\n")
            process.stdin.flush()
            while database.run(waits) != "1\n":
                assert process.poll() is None
                time.sleep(0.02)
            process.kill()
        assert database.run(waits) == "1\n"
        began = time.monotonic()
        database.snapshot("after")
        assert database.run(waits) == "0\n"
        assert time.monotonic() - began < 3, "it was waited for"
        connection.rollback()
    assert database.dump() == before
    assert database.left() == set()


def test_no_write_misses_its_trigger(database: Database) -> None:
    """Writers that never stop find a trigger on each table, before, during and after a restore."""
    database.run("DELETE FROM seen")
    path = database.snapshot()
    stop, errors = threading.Event(), []

    def write(table: str) -> None:
        engine = sa.create_engine(database.server.url(database.name))
        with engine.connect() as connection:
            while not stop.is_set():
                try:
                    connection.exec_driver_sql(f"INSERT INTO {table} (what) VALUES ('w')")
                    connection.commit()
                except sa.exc.DBAPIError as error:
                    connection.rollback()
                    errors.append(str(error.orig))
        engine.dispose()

    writers = [threading.Thread(target=write, args=(table,)) for table in "ababab"]
    for one in writers:
        one.start()
    try:
        for _ in range(3):
            database.driver.load(path)
            time.sleep(0.05)
    finally:
        stop.set()
        for one in writers:
            one.join()
    written = database.run("SELECT COUNT(*) FROM both_of WHERE what = 'w'")
    assert database.run("SELECT COUNT(*) FROM seen") == written
    assert int(written) > 0
    assert errors == []


@pytest.mark.slow
def test_tables_that_change_all_the_time_are_an_error_or_of_one_moment(
    database: Database, server: Server
) -> None:
    """Columns that come and go while a snapshot is made: each row has what its table has."""
    database.run("INSERT INTO a (what) SELECT REPEAT('x', 1000) FROM seq_1_to_3000")
    stop = threading.Event()

    def change() -> None:
        engine = sa.create_engine(server.url(database.name), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            while not stop.is_set():
                connection.exec_driver_sql("ALTER TABLE a ADD COLUMN extra INT DEFAULT 1")
                connection.exec_driver_sql("TRUNCATE b")
                connection.exec_driver_sql("ALTER TABLE a DROP COLUMN extra")
                connection.exec_driver_sql("INSERT INTO b VALUES (1, 'old')")
                connection.exec_driver_sql("RENAME TABLE b TO c, c TO b")
        engine.dispose()

    changing = threading.Thread(target=change)
    changing.start()
    try:
        made = []
        for number in range(2):
            try:
                made.append(database.snapshot(f"s{number}"))
            except BackupError as error:
                assert "changed" in str(error)
    finally:
        stop.set()
        changing.join()
    made.append(database.snapshot("afterwards"))  # on a busy machine each of the others may fail
    for path in made:
        database.driver.load(path)
        assert database.run("SELECT COUNT(*) FROM a") == "3001\n"


def test_without_reload_a_changed_table_is_found(server: Server, database: Database) -> None:
    """Who may not keep statements waiting compares the schema before and after."""
    database.run("INSERT INTO a (what) SELECT REPEAT('x', 1000) FROM seq_1_to_20000")
    url = _user(
        database,
        "plain",
        f"GRANT ALL ON `{database.name}`.* TO plain@localhost",
        "GRANT SELECT ON mysql.proc TO plain@localhost",
    )
    driver = driver_for(sa.create_engine(url), lock_timeout=5)
    path = database.folder / "plain.sql"
    path.touch()
    written: list[int] = []

    def change(done: int, _total: int) -> None:
        written.append(done)
        if len(written) == 1:
            database.run("ALTER TABLE b ADD COLUMN extra INT DEFAULT 7")

    driver.snapshot(path, progress=change)
    assert written.count(written[0]) == 2, "it did not begin once more"
    database.run("DROP USER plain@localhost")
    database.driver.load(path)
    assert database.run("SELECT extra FROM b") == "7\n"


def _user(database: Database, name: str, *grants: str, password: str = _PASSWORD) -> str:
    escaped = password.replace("\\", "\\\\").replace("'", "\\'")
    database.run(
        f"DROP USER IF EXISTS {name}@localhost; CREATE USER {name}@localhost IDENTIFIED BY"
        f" '{escaped}'; {'; '.join(grants)}"
    )
    return database.server.url(database.name, user=name, password=password)


def _granted_by_the_guide(database: Database, name: str) -> str:
    """Make the user ``name`` with the statements that the guide has for it; return the URL."""
    guide = Path(__file__).parents[2] / "docs" / "guide" / "mariadb.md"
    said = re.findall(rf"^GRANT .* TO `{name}`@`localhost`;$", guide.read_text(), re.MULTILINE)
    assert said
    grants = (one.rstrip(";").replace("`shop`", f"`{database.name}`") for one in said)
    return _user(database, name, *grants)


def test_the_rights_that_the_guide_names_are_enough(database: Database) -> None:
    """One user makes a backup of all that there is; the other one restores it."""
    database.run(
        "CREATE TABLE old (id INT PRIMARY KEY) WITH SYSTEM VERSIONING; INSERT INTO old VALUES (1);"
        "DELETE FROM old; CREATE SEQUENCE s; CREATE TABLE m (id INT) ENGINE = MyISAM;"
        "CREATE TABLE n (id INT DEFAULT NEXTVAL(s), FOREIGN KEY (id) REFERENCES a (id));"
    )
    engine = sa.create_engine(_granted_by_the_guide(database, "backup"), poolclass=NullPool)
    maker = BackupManager(engine, database.folder / "backups")
    path = database.folder / "guide.sql"
    path.touch()
    before = database.dump()
    made = maker.create("by one who may only read")
    driver_for(engine, lock_timeout=5).snapshot(path)
    with pytest.raises(MissingRightError, match="a restore needs"):
        maker.restore(made)
    assert database.dump() == before
    restorer = driver_for(
        sa.create_engine(_granted_by_the_guide(database, "restore")), lock_timeout=5
    )
    restorer.require_rights()
    database.run(
        "DROP TRIGGER on_a; DROP TABLE n; DROP SEQUENCE s; DELETE FROM a; DROP VIEW both_of;"
        "DROP EVENT e; DROP PROCEDURE p"
    )
    restorer.load(path)
    assert database.dump() == before
    restorer.snapshot(path)
    database.run("DROP USER backup@localhost; DROP USER restore@localhost")


@pytest.mark.parametrize(
    ("grants", "expected"),
    [
        ("SELECT, TRIGGER, EXECUTE, EVENT, SHOW VIEW, LOCK TABLES", "CREATE"),
        ("SELECT, EXECUTE, EVENT, SHOW VIEW", "TRIGGER"),
        ("SELECT, TRIGGER, EVENT, SHOW VIEW", "routines"),
        ("SELECT, TRIGGER, EXECUTE, EVENT, SHOW VIEW", "statements cannot be read"),
    ],
)
def test_a_missing_right_is_named_before_anything_is_changed(
    database: Database, grants: str, expected: str
) -> None:
    """A backup without triggers or routines is none: the right is named, and how to give it."""
    url = _user(database, "poor", f"GRANT {grants} ON `{database.name}`.* TO poor@localhost")
    driver = driver_for(sa.create_engine(url), lock_timeout=5)
    path = database.folder / "poor.sql"
    path.touch()
    before = database.dump()
    with pytest.raises(MissingRightError) as caught:
        if expected == "CREATE":
            driver.load(database.snapshot())
        else:
            driver.snapshot(path)
    assert expected in f"{caught.value} {caught.value.hint}"
    assert _PASSWORD not in f"{caught.value} {caught.value.hint}"
    assert database.dump() == before
    database.run("DROP USER poor@localhost")


def test_passwords_are_in_no_argument_and_no_error(database: Database) -> None:
    """While the programs run, what everybody can see of them has no password."""
    database.run("INSERT INTO a (what) SELECT REPEAT('x', 1000) FROM seq_1_to_3000")
    url = _user(database, "secret", "GRANT ALL ON *.* TO secret@localhost")
    driver = driver_for(sa.create_engine(url), lock_timeout=5)
    path = database.folder / "secret.sql"
    path.touch()
    seen: list[str] = []

    def look(_done: int, _total: int) -> None:
        for one in Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                try:
                    seen.append((one / name).read_bytes().decode(errors="replace"))
                except OSError:
                    continue

    driver.snapshot(path, progress=look)
    driver.load(path, progress=look)
    assert any("mariadb-dump" in one for one in seen)
    assert not any(_PASSWORD in one for one in seen)
    wrong = sa.make_url(url).set(password="wr0ng-one")  # noqa: S106
    with pytest.raises(DatabaseUnreachableError) as caught:
        driver_for(sa.create_engine(wrong), lock_timeout=1).require_database()
    assert "refused the login" in str(caught.value)
    assert "wr0ng-one" not in f"{caught.value} {caught.value.hint}"
    database.run("DROP USER secret@localhost")


# PyMySQL does not close the socket of a connection that fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_server_that_is_down_and_a_database_that_is_not_there(
    database: Database, tmp_path: Path
) -> None:
    """Both are said, and a missing database is made from a backup."""
    nowhere = sa.create_engine(f"mariadb+pymysql://root@/x?unix_socket={tmp_path / 'none'}")
    driver = driver_for(nowhere, lock_timeout=1)
    for call in (driver.require_database, driver.size, lambda: driver.snapshot(tmp_path / "x")):
        with pytest.raises(DatabaseUnreachableError):
            call()
    gc.collect()
    path = database.snapshot()
    before = database.dump()
    database.run(f"DROP DATABASE `{database.name}`", database="mysql")
    for call in (database.driver.require_database, database.driver.size):
        with pytest.raises(DatabaseFileNotFoundError):
            call()
    assert database.driver.rebuild(path, facts={}, stamp="now") == ()
    assert database.dump() == before


def test_a_missing_program_is_named(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without mariadb-dump of the server's version the error says which one to install."""
    monkeypatch.setattr("soulsense_db.drivers.mariadb.tools._FOLDERS", ())
    monkeypatch.setenv("PATH", str(database.folder))
    with pytest.raises(ServerToolError, match=r"10\.11"):
        database.driver.require_restorable()


def test_damage_of_each_kind_is_found(database: Database) -> None:
    """Cut anywhere, flipped anywhere: never loaded."""
    path = database.snapshot()
    whole = path.read_bytes()
    database.run("UPDATE a SET what = 'new'")
    rng = random.Random(1)
    for number in range(60):
        at = rng.randrange(1, len(whole))
        flipped = bytearray(whole)
        flipped[at] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped if number % 2 else whole[:at])
        with pytest.raises(InvalidBackupError):
            database.driver.check(path, level="pages")
        with pytest.raises(InvalidBackupError):
            database.driver.load(path)
    assert _rows(database) == "new\nold\n"


def test_a_program_that_dies_is_an_error(database: Database) -> None:
    """mariadb-dump killed in the middle of a snapshot leaves no backup that looks whole."""
    database.run("INSERT INTO a (what) SELECT REPEAT('x', 1000) FROM seq_1_to_20000")
    path = database.folder / "killed.sql"
    path.touch()

    def kill(done: int, _total: int) -> None:
        if done > 100_000:
            for one in Path("/proc").glob("[0-9]*"):
                try:
                    words = (one / "cmdline").read_bytes().split(b"\0")
                    parent = (one / "stat").read_text().rpartition(")")[2].split()[1]
                except OSError:
                    continue
                if words[0].endswith(b"mariadb-dump") and int(parent) == os.getpid():
                    os.kill(int(one.name), signal.SIGKILL)

    with pytest.raises(BackupError):
        database.driver.snapshot(path, progress=kill)
    with pytest.raises(InvalidBackupError):
        database.driver.check(path, level="quick")


def test_foreign_keys_of_other_databases_are_in_the_way(server: Server, database: Database) -> None:
    """They would follow the old tables: a restore is refused before it begins."""
    with new_database(server, database.folder) as other:
        other.run(f"CREATE TABLE x (id INT, FOREIGN KEY (id) REFERENCES `{database.name}`.a (id))")
        path = database.snapshot()
        with pytest.raises(UnsupportedDatabaseError, match="refer to"):
            database.driver.load(path)
        assert database.left() == {other.name}
        other.run("DROP TABLE x")


def test_a_reader_that_holds_on_is_not_waited_for_without_end(database: Database) -> None:
    """A long transaction that has read a table: an error in time, and triggers are as before."""
    path = database.snapshot()
    before = database.dump()
    with database.engine.connect() as connection:
        connection.exec_driver_sql("SELECT * FROM b")
        driver = driver_for(sa.create_engine(database.engine.url), lock_timeout=0.5)
        began = time.monotonic()
        with pytest.raises(DatabaseLockedError):
            driver.load(path)
        assert time.monotonic() - began < 8
        connection.rollback()
    assert database.dump() == before
    database.driver.load(path)


def test_two_restores_at_once_are_one_after_the_other(database: Database) -> None:
    """Whichever comes last, each table and trigger is there once."""
    path = database.snapshot()
    before = database.dump()
    outcomes: list[object] = []

    def load() -> None:
        try:
            driver_for(sa.create_engine(database.engine.url), lock_timeout=10).load(path)
            outcomes.append("done")
        except BackupError as error:
            outcomes.append(error)

    loading = [threading.Thread(target=load) for _ in range(2)]
    for one in loading:
        one.start()
    for one in loading:
        one.join()
    assert "done" in outcomes
    database.snapshot("after")
    assert database.dump() == before


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_crash_of_the_server_leaves_old_or_new(tmp_path: Path) -> None:
    """The server is killed in the middle of restores: old or new each time, and it goes on."""
    if not is_installed():
        pytest.skip("no MariaDB is installed")
    server = Server()
    try:
        with new_database(server, tmp_path) as database:
            database.run(_SCHEMA)
            path = database.snapshot()
            programs = _programs(database)
            for number in range(8):
                database.run("UPDATE a SET what = 'new'; UPDATE b SET what = 'new'")
                killing = threading.Timer(0.15 + number * 0.09, server.stop, kwargs={"kill": True})
                killing.start()
                try:
                    database.driver.load(path)
                except BackupError as error:
                    assert "old" not in str(error)
                killing.join()
                server.start()
                assert _rows(database) in ("old\nold\n", "new\nnew\n")
                database.snapshot(f"after{number}")
                assert _programs(database) == programs
                assert database.left() == set()
                before = database.run("SELECT COUNT(*) FROM seen")
                database.run("INSERT INTO a VALUES (99, 'x'); DELETE FROM a WHERE id = 99")
                assert int(database.run("SELECT COUNT(*) FROM seen")) == int(before) + 1
    finally:
        server.remove()
        gc.collect()  # sockets that PyMySQL has not closed


def test_many_tables_and_triggers(database: Database) -> None:
    """More tables with triggers than there are connections for: all come back."""
    database.run(
        "".join(
            f"CREATE TABLE t{number} (id INT PRIMARY KEY); CREATE TRIGGER tr{number} AFTER INSERT"
            f" ON t{number} FOR EACH ROW INSERT INTO seen (what) VALUES ('t{number}');"
            for number in range(90)
        )
    )
    before = database.dump()
    path = database.snapshot()
    database.run("DROP TABLE t3; DROP TRIGGER tr40; INSERT INTO t7 VALUES (1)")
    database.driver.load(path)
    assert database.dump() == before
