"""What goes wrong around a driver of PostgreSQL: the live database is what it was, or restored."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from postgresql import content
from postgresql.server import Server
from soulsense_db.drivers.postgresql import PostgreSQLDriver
from soulsense_db.drivers.results import QueryError
from soulsense_db.errors import (
    BackupError,
    DatabaseLockedError,
    DatabaseUnreachableError,
    InvalidBackupError,
    MissingRightError,
    ServerToolError,
    UnsupportedDatabaseError,
)

TABLE = """CREATE TABLE t (id integer PRIMARY KEY, v text);
    INSERT INTO t SELECT n, 'old' FROM generate_series(1, 20000) AS n;"""
MANY = "INSERT INTO t SELECT n, repeat('x', 500) FROM generate_series(20001, 90000) AS n"
RESTORE = """
import sys
from pathlib import Path
import sqlalchemy as sa
from soulsense_db.drivers.postgresql import PostgreSQLDriver

driver = PostgreSQLDriver(sa.create_engine(sys.argv[1]), lock_timeout=5)
print("begins", flush=True)
with driver.write_locked() as lock:
    driver.load(Path(sys.argv[2]), write_lock=lock)
"""


@pytest.fixture(autouse=True)
def _programs(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    content.make_roles(server)
    monkeypatch.setenv("PATH", str(server.bin), prepend=":")


@pytest.fixture
def app(server: Server) -> Iterator[str]:
    """Make a database, and see that nothing is left beside it."""
    with content.database(server, "app", content=TABLE) as name:
        yield name


@pytest.fixture
def owner(server: Server, app: str) -> str:
    """Give the database to a user who may do nothing but make databases."""
    content.psql(
        server,
        "postgres",
        f"""SELECT 'CREATE ROLE maker LOGIN CREATEDB' WHERE NOT EXISTS
            (SELECT FROM pg_roles WHERE rolname = 'maker') \\gexec
        ALTER DATABASE {app} OWNER TO maker""",
    )
    content.psql(server, app, "ALTER TABLE t OWNER TO maker")
    return "maker"


def values(server: Server) -> str:
    """Return which values are in the table."""
    return content.psql(server, "app", "SELECT DISTINCT v FROM t ORDER BY 1")


# Crashes


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "crash"])
def test_a_restore_is_cut_off(server: Server, app: str, how: str, tmp_path: Path) -> None:
    """Of the program or of the server: old or new, who uses it is let in, nothing is left."""
    path = content.backup(server, app, tmp_path)
    moments = random.Random(7)
    for _ in range(12):
        content.psql(server, app, "UPDATE t SET v = 'new'")
        child = subprocess.Popen(
            [sys.executable, "-c", RESTORE, server.url(app), str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        with child.stdout or pytest.fail() as output:
            output.readline()
            threading.Event().wait(moments.uniform(0, 0.7))  # any moment will do
            if how == "kill":
                child.kill()
            else:
                server.stop("immediate")
                server.start()
            child.wait()
        assert values(server) in ("old\n", "new\n")
        content.backup(server, app, tmp_path)
    content.driver_on(server, app).load(path)
    assert values(server) == "old\n"


def test_what_a_kill_left_goes_with_the_next_backup(
    server: Server, app: str, tmp_path: Path
) -> None:
    """Also a database whose maker had not even said whose it is; none of another name, though."""
    driver = content.driver_on(server, app)
    name = driver.scratch(tmp_path).database
    said = f'soulsense_db: {{"role":"scratch","live":"app","token":"{name[-16:]}"}}'
    content.psql(server, "postgres", f"CREATE DATABASE {name}")
    content.psql(server, "postgres", "CREATE DATABASE kept")
    content.psql(server, "postgres", f"COMMENT ON DATABASE kept IS '{said}'")
    content.psql(server, "postgres", f"COMMENT ON DATABASE app IS '{said}'")
    try:
        path = content.backup(server, app, tmp_path)
        assert {"app", "kept"} == content.databases(server) - {
            "postgres",
            "template0",
            "template1",
        }
        driver.load(path)
        assert {"app", "kept"} <= content.databases(server)
    finally:
        content.psql(server, "postgres", "DROP DATABASE kept")


@pytest.mark.parametrize("program", ["pg_dump", "pg_restore"])
def test_a_program_is_killed(server: Server, app: str, program: str, tmp_path: Path) -> None:
    """It is said so, and no backup is called damaged for it."""
    content.psql(server, app, MANY)
    path = content.backup(server, app, tmp_path)
    driver = content.driver_on(server, app)
    calls: list[Callable[[], object]] = (
        [lambda: content.backup(server, app, tmp_path)]
        if program == "pg_dump"
        else [lambda: driver.load(path), lambda: driver.check(path, level="full")]
    )
    for call in calls:
        killing = threading.Thread(target=_kill_child, args=(program,))
        killing.start()
        with pytest.raises(ServerToolError, match="signal 9"):
            call()
        killing.join()
    assert content.driver_on(server, app).compare(path, ignore=()).identical


def _kill_child(program: str) -> None:
    """Kill a program that this process starts, as soon as it is there."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                status = (folder / "stat").read_text()
            except OSError:
                continue
            name, _, rest = status.partition(" (")[2].rpartition(") ")
            if name == program and rest.split()[1] == str(os.getpid()):
                os.kill(int(folder.name), signal.SIGKILL)
                return


# What is tied to a database


@pytest.mark.parametrize(
    ("tie", "untie"),
    [
        (
            "CREATE SUBSCRIPTION s CONNECTION 'host=/nowhere' PUBLICATION p WITH (connect = false)",
            "ALTER SUBSCRIPTION s SET (slot_name = NONE); DROP SUBSCRIPTION s",
        ),
        (
            "SELECT pg_create_logical_replication_slot('s', 'pgoutput')",
            "SELECT pg_drop_replication_slot('s')",
        ),
        (
            "BEGIN; INSERT INTO t VALUES (0, 'prepared'); PREPARE TRANSACTION 's'",
            "ROLLBACK PREPARED 's'",
        ),
    ],
    ids=["subscription", "slot", "prepared transaction"],
)
def test_a_database_to_which_something_is_tied(
    server: Server, app: str, tie: str, untie: str, tmp_path: Path
) -> None:
    """What a restored database could not take over is said before anything is done."""
    path = content.backup(server, app, tmp_path)
    content.psql(server, app, tie)
    try:
        driver = content.driver_on(server, app)
        with pytest.raises(UnsupportedDatabaseError, match="belongs to it: s"):
            driver.require_rights()
        with pytest.raises(UnsupportedDatabaseError, match="belongs to it: s"):
            driver.load(path)
    finally:
        content.psql(server, app, untie)


# Rights


def test_an_owner_restores(server: Server, app: str, owner: str, tmp_path: Path) -> None:
    """Without any right but to make databases, also while autovacuum is at work."""
    path = tmp_path / "backup.pgdump"
    path.touch()
    driver = content.driver_on(server, app, user=owner)
    driver.require_restorable()
    driver.snapshot(path)
    content.psql(server, app, "UPDATE t SET v = 'new'")
    driver.load(path)
    assert values(server) == "old\n"


@pytest.mark.slow
def test_autovacuum_keeps_no_owner_from_restoring(
    server: Server, app: str, owner: str, tmp_path: Path
) -> None:
    """Only a superuser may end it, but the server does when a database is renamed."""
    content.psql(
        server,
        app,
        "ALTER TABLE t SET (autovacuum_vacuum_cost_delay = 100,"
        " autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_threshold = 1,"
        " autovacuum_vacuum_scale_factor = 0); DELETE FROM t WHERE id % 2 = 0",
    )
    path = content.backup(server, app, tmp_path)
    content.psql(server, "postgres", "ALTER SYSTEM SET autovacuum_naptime = '1s'")
    content.psql(server, "postgres", "SELECT pg_reload_conf()")
    try:
        works = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'"
        deadline = time.monotonic() + 60
        while content.psql(server, "postgres", f"{works} AND datname = 'app'") == "0\n":
            assert time.monotonic() < deadline
        content.driver_on(server, app, user=owner).load(path)
    finally:
        content.psql(server, "postgres", "ALTER SYSTEM RESET autovacuum_naptime")
        content.psql(server, "postgres", "SELECT pg_reload_conf()")


def test_rows_that_a_policy_hides(server: Server, app: str, owner: str, tmp_path: Path) -> None:
    """A user who may not see all rows gets an error, no smaller backup, and no smaller number."""
    content.psql(
        server,
        app,
        "CREATE TABLE p (o name); INSERT INTO p VALUES ('maker'), ('x');"
        "ALTER TABLE p ENABLE ROW LEVEL SECURITY; CREATE POLICY x ON p USING (o = current_user);"
        "GRANT SELECT ON p TO maker",
    )
    path = tmp_path / "backup.pgdump"
    path.touch()
    driver = content.driver_on(server, app, user=owner)
    with pytest.raises(MissingRightError, match="row-level security"):
        driver.snapshot(path)
    whole = content.backup(server, app, tmp_path)
    assert all(one.live is None for one in driver.row_counts(whole, ignore=()))
    with pytest.raises(MissingRightError):
        driver.load(whole)  # a table is somebody else's
    assert values(server) == "old\n"


def test_a_role_that_is_gone(server: Server, app: str, tmp_path: Path) -> None:
    """What the server lacks is no damage of the backup."""
    content.psql(
        server, app, "CREATE ROLE gone; CREATE TABLE g (id integer); ALTER TABLE g OWNER TO gone"
    )
    path = content.backup(server, app, tmp_path)
    content.psql(server, app, "DROP TABLE g; DROP ROLE gone")
    with pytest.raises(BackupError, match='role "gone" does not exist') as caught:
        content.driver_on(server, app).load(path)
    assert not isinstance(caught.value, InvalidBackupError)
    assert "The backup is whole" in str(caught.value)


def test_what_a_role_has_set(server: Server, app: str, owner: str, tmp_path: Path) -> None:
    """Read-only, limits of time, another quoting: nothing of it changes or hinders a backup."""
    path = tmp_path / "backup.pgdump"
    path.touch()
    settings = {
        "default_transaction_read_only": "on",
        "statement_timeout": "'300ms'",
        "idle_in_transaction_session_timeout": "'300ms'",
        "lock_timeout": "'1ms'",
        "search_path": "''",
        "quote_all_identifiers": "on",
        "client_encoding": "'LATIN1'",
    }
    for name, value in settings.items():
        content.psql(server, "postgres", f"ALTER ROLE maker SET {name} = {value}")
    try:
        driver = content.driver_on(server, app, user=owner)
        driver.snapshot(path)
        driver.check(path, level="full")
        content.psql(server, app, "UPDATE t SET v = 'new'")
        with driver.write_locked() as lock:
            driver.load(path, write_lock=lock)
        assert values(server) == "old\n"
        driver.check_loaded(driver.schema_of(path))
    finally:
        content.psql(server, "postgres", "ALTER ROLE maker RESET ALL")


# Others who work meanwhile


def test_sessions_that_come_again_and_again(server: Server, app: str, tmp_path: Path) -> None:
    """They are ended and let in again at once; who creates a backup meanwhile is not told lies."""
    path = content.backup(server, app, tmp_path)
    stop = threading.Event()

    def come_again() -> None:
        while not stop.is_set():
            try:
                with psycopg.connect(server.url(app).replace("+psycopg", "")) as connection:
                    connection.execute("SELECT count(*) FROM t")
            except psycopg.Error:
                continue

    threads = [threading.Thread(target=come_again) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            content.psql(server, "postgres", "SELECT 1")
            content.driver_on(server, app).load(path)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert values(server) == "old\n"


@pytest.mark.parametrize(
    "change",
    [
        "TRUNCATE u; INSERT INTO u SELECT generate_series(1, 1000)",
        "ALTER TABLE u ALTER id TYPE bigint; ALTER TABLE u ALTER id TYPE integer",
    ],
)
def test_tables_that_change_meanwhile(
    server: Server, app: str, change: str, tmp_path: Path
) -> None:
    """A table that is rewritten is whole in the backup, or there is none: never an empty one."""
    content.psql(server, app, "CREATE TABLE u AS SELECT generate_series(1, 1000) AS id")
    stop, changed = threading.Event(), threading.Event()

    def change_again() -> None:
        with psycopg.connect(server.url(app).replace("+psycopg", "")) as connection:
            while not stop.is_set():
                connection.execute(change)
                connection.commit()
                changed.set()
                stop.wait(0.05)

    thread = threading.Thread(target=change_again)
    thread.start()
    try:
        made = 0
        for _ in range(20):  # on a busy machine, most of them may meet a change
            changed.clear()
            changed.wait(10)
            try:
                path = content.backup(server, app, tmp_path)
            except DatabaseLockedError:
                continue
            made += 1
            assert content.driver_on(server, app).count_rows(path)["u"] == 1000
            content.driver_on(server, app).check(path, level="full")
            if made == 3:
                break
        assert made
    finally:
        stop.set()
        thread.join()


def test_operators_of_others_are_not_run(server: Server, app: str, tmp_path: Path) -> None:
    """Who may make functions in a schema that is searched gets none run by who makes backups."""
    content.psql(
        server,
        app,
        """CREATE FUNCTION public.evil(oid, regclass) RETURNS boolean LANGUAGE plpgsql COST 0.0001
            AS $$ BEGIN RAISE EXCEPTION 'evil'; END $$;
        CREATE OPERATOR public.= (LEFTARG = oid, RIGHTARG = regclass, FUNCTION = public.evil);""",
    )
    path = content.backup(server, app, tmp_path)
    driver = content.driver_on(server, app)
    assert driver.alembic_heads("alembic_version") is None
    assert driver.size() > 0
    driver.require_restorable()
    driver.row_counts(path, ignore=())
    driver.load(path)


def test_a_query_is_one_statement(server: Server, app: str) -> None:
    """What would end the transaction that can only read is not run."""
    driver = content.driver_on(server, app)
    assert driver.query("SELECT 'x:y %s' AS a, 1 AS a;") == (("x:y %s", 1),)
    for statement in (
        "SELECT 1) AS a; COMMIT; DROP TABLE t; SELECT * FROM (SELECT 1",
        "DELETE FROM t RETURNING id",
        "SELECT set_config('transaction_read_only', 'off', true)",
    ):
        with pytest.raises(QueryError):
            driver.query(statement)
    assert values(server) == "old\n"


def test_heads_are_found_as_the_application_finds_them(
    server: Server, app: str, tmp_path: Path
) -> None:
    """In the search path of its URL, and in a drill as well."""
    content.psql(
        server,
        app,
        "CREATE SCHEMA tenant;"
        " CREATE TABLE tenant.alembic_version AS SELECT 'abc'::text AS version_num",
    )
    url = f"{server.url(app)}&options=-csearch_path%3Dtenant"
    driver = PostgreSQLDriver(sa.create_engine(url, poolclass=NullPool), lock_timeout=5)
    path = tmp_path / "backup.pgdump"
    path.touch()
    assert driver.snapshot(path).alembic_heads == ("abc",)
    assert driver.alembic_heads("alembic_version") == ("abc",)
    scratch = driver.scratch(tmp_path)
    assert scratch is not None
    try:
        scratch.rebuild(path, facts={}, stamp="")
        assert scratch.examine().alembic_heads == ("abc",)
        assert scratch.query("SELECT version_num FROM alembic_version") == (("abc",),)
    finally:
        scratch.discard()


# Passwords


def test_a_password_is_nowhere(
    server: Server, app: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In no argument, log, error or file; whatever characters it has."""
    caplog.set_level("DEBUG")
    odd = "Zq'7 \"%s:@/\\;ü=#&x"
    literal = odd.replace("'", "''")
    content.psql(
        server,
        "postgres",
        f"""SET password_encryption = 'scram-sha-256';
        DROP ROLE IF EXISTS secretive;
        CREATE ROLE secretive SUPERUSER LOGIN PASSWORD '{literal}'""",
    )
    content.psql(server, app, MANY)
    rules = server.data / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all secretive scram-sha-256\n{before}")
    content.psql(server, "postgres", "SELECT pg_reload_conf()")
    try:
        url = sa.make_url(server.url(app, user="secretive")).set(password=odd)
        driver = PostgreSQLDriver(sa.create_engine(url, poolclass=NullPool), lock_timeout=5)
        seen: list[bytes] = []
        path = tmp_path / "backup.pgdump"
        path.touch()
        driver.snapshot(path, progress=lambda *_: seen.extend(_arguments_of("pg_dump")))
        driver.load(path, progress=lambda *_: seen.extend(_arguments_of("pg_restore")))
        assert {Path(os.fsdecode(one.partition(b"\0")[0])).name for one in seen} == {
            "pg_dump",
            "pg_restore",
        }
        wrong = sa.create_engine(url.set(password=f"{odd}!"), poolclass=NullPool)
        with pytest.raises(DatabaseUnreachableError, match="refused the login") as caught:
            PostgreSQLDriver(wrong, lock_timeout=5).require_database()
        told = [*seen, path.read_bytes(), caplog.text.encode(), str(caught.value).encode()]
        assert not any(b"Zq" in one for one in told)
        assert "Zq" not in driver.database + driver.address
    finally:
        rules.write_text(before)
        content.psql(server, "postgres", "SELECT pg_reload_conf()")


def _arguments_of(program: str) -> list[bytes]:
    """Return the arguments of all processes of a program."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            said = path.read_bytes()
        except OSError:
            continue
        if Path(os.fsdecode(said.partition(b"\0")[0])).name == program:
            found.append(said)
    return found


# Files


def test_a_file_that_is_cut_off_or_has_other_bits(server: Server, app: str, tmp_path: Path) -> None:
    """No byte of it can be another, and none can be missing."""
    path = content.backup(server, app, tmp_path)
    data, driver = path.read_bytes(), content.driver_on(server, app)
    chosen = random.Random(5)
    places = [chosen.randrange(len(data)) for _ in range(60)] + list(
        range(len(data) - 900, len(data))
    )
    damaged = tmp_path / "damaged.pgdump"
    for place in places:
        wrong = bytearray(data)
        wrong[place] ^= 1 << chosen.randrange(8)
        damaged.write_bytes(wrong)
        with pytest.raises(InvalidBackupError):
            driver.check(damaged, level="pages")
    for length in [0, 1, 5, 40, *places[:20], *range(len(data) - 60, len(data))]:
        damaged.write_bytes(data[:length])
        with pytest.raises(InvalidBackupError):
            driver.check(damaged, level="quick")
