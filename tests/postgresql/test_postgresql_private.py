"""Where the user may make no databases, backups are tried on a private server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from sqlalchemy.engine import Engine

from postgresql import content
from postgresql.newest import on_newest
from postgresql.owned import Owned
from postgresql.server import NOBODY, Server
from postgresql.test_postgresql_event_triggers import LOGINS, REFUSES, TABLES, WRITES
from soulsense_db import BackupManager
from soulsense_db.cli.drills import told
from soulsense_db.drivers.postgresql import properties
from soulsense_db.drivers.postgresql.driver import PostgreSQLDriver
from soulsense_db.drivers.postgresql.private import PrivateDriver, place_for
from soulsense_db.drivers.postgresql.private_server import PrivatePostgreSQL
from soulsense_db.drivers.postgresql.server_tools import ServerTools, find_server
from soulsense_db.errors import (
    DrillError,
    MissingRightError,
    OptionError,
    ServerToolError,
)
from soulsense_db.operations import DrillCheck
from soulsense_db.testing.live import CancelledError


@pytest.fixture(autouse=True)
def folder_of_servers(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Give private servers a folder of the test's own, in which nothing is left."""
    del tmp_path  # it is made first, elsewhere
    monkeypatch.setenv("PATH", f"{server.bin}:{os.environ['PATH']}")
    with tempfile.TemporaryDirectory(prefix="p-") as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)
        assert not list(Path(folder).iterdir())


@pytest.fixture
def shop(server: Server) -> Iterator[Owned]:
    """Return a database of a user who may make no others; at its end nothing else is left."""
    before = content.databases(server)
    with Owned(server) as made:
        made.execute(
            "CREATE TABLE note (id serial PRIMARY KEY, body text)",
            "INSERT INTO note (body) VALUES ('one'), ('two')",
        )
        yield made
        assert content.databases(server) == before | {made.name}


@on_newest
@pytest.mark.parametrize("made", [WRITES, REFUSES, LOGINS], ids=["writes", "refuses", "logins"])
def test_event_triggers_do_not_act_on_what_is_drilled(
    server: Server, made: tuple[str, ...], tmp_path: Path
) -> None:
    """The backup is whole: its rows are counted before a trigger can write any."""
    with Owned(server) as owned:
        owned.administer(*TABLES, *made)
        owned.administer(f"GRANT pg_read_all_data TO {owned.user}")
        manager = BackupManager(owned.engine, tmp_path / "backups", catalog=False)
        manager.verify(manager.create(), level="drill")


@pytest.fixture
def manager(shop: Owned, tmp_path: Path) -> BackupManager:
    """Return a manager of a database that has a third row since its backup."""
    made = BackupManager(shop.engine, tmp_path / "backups")
    made.create()
    shop.execute("INSERT INTO note (body) VALUES ('three')")
    return made


def driver_of(shop: Owned) -> PostgreSQLDriver:
    """Return a driver of the database, as its user."""
    return PostgreSQLDriver(shop.engine, lock_timeout=5)


def tools_of(driver: PostgreSQLDriver) -> ServerTools:
    """Return the programs of the server's version."""
    found, _ = find_server(driver.tools(), is_named=False)
    assert found is not None
    return found


def private_of(shop: Owned) -> PrivateDriver:
    """Return the driver of a private server for the database."""
    private = driver_of(shop).private(Path(tempfile.gettempdir()) / "copy.pgdump")
    assert private is not None
    return private


def runs(number: int) -> bool:
    """Whether there is a process of this number; what is dead has no arguments any more."""
    path = Path(f"/proc/{number}/cmdline")
    return path.exists() and bool(path.read_bytes())


def has_two(engine: Engine) -> bool:
    """Whether the newest note is the second."""
    with engine.connect() as connection:
        return bool(connection.exec_driver_sql("SELECT max(id) FROM note").scalar() == 2)


def test_a_drill_needs_no_right_to_make_databases(shop: Owned, manager: BackupManager) -> None:
    """It counts rows, and has checks asked as the user, who sees the backup and no file."""
    asked = "SELECT current_user || ' ' || current_database()"
    checks: list[DrillCheck] = [
        {"sql": "SELECT count(*) FROM note", "is": 2},
        {"sql": asked, "is": f"{shop.user} {shop.name}"},
        has_two,
    ]
    report = manager.verify("latest", level="drill", checks=checks)
    assert report.drill is not None
    assert (report.drill.rows, report.drill.rows_compared) == (2, True)
    assert told(report.drill, (), has_file=False)[0].startswith("restored to a private server, as")
    assert shop.scalar("SELECT count(*) FROM note") == 3
    reading = "SELECT pg_read_file('/etc/hostname') IS NOT NULL"
    with pytest.raises(DrillError, match="permission denied"):
        manager.verify("latest", level="drill", checks=[reading])


def test_rows_come_back_without_the_right(shop: Owned, manager: BackupManager) -> None:
    """They are found, previewed and restored, one by one; a condition reads what the user may."""
    shop.execute("DELETE FROM note WHERE id = 1", "UPDATE note SET body = 'x' WHERE id = 2")
    found = manager.find_rows("latest", "note", differing=True)
    assert [row.values[1] for row in found.rows] == ["one", "two"]
    assert manager.preview_rows("latest", "note", "body = 'one'").inserted == 1
    report = manager.restore_rows("latest", "note", f"id = 1 AND current_user = '{shop.user}'")
    assert report.inserted == 1
    with pytest.raises(OptionError, match="permission denied"):
        manager.restore_rows("latest", "note", "pg_read_file('/etc/hostname') IS NOT NULL")
    assert shop.scalar("SELECT string_agg(body, ',' ORDER BY id) FROM note") == "one,x,three"


@on_newest
def test_a_cancelled_search_leaves_nothing(shop: Owned, manager: BackupManager) -> None:
    """Whenever it is: while the server starts, while it is filled, while rows are read."""
    seen: list[int] = []

    def count(_done: int, _total: int) -> None:
        seen.append(0)

    manager.preview_rows("latest", "note", "id = 1", progress=count)
    for moment in {1, 2, 3, len(seen)}:
        seen.clear()

        def progress(_done: int, _total: int, moment: int = moment) -> None:
            seen.append(0)
            if len(seen) == moment:
                raise CancelledError

        with pytest.raises(CancelledError):
            manager.preview_rows("latest", "note", "id = 1", progress=progress)
        assert not list(Path(tempfile.gettempdir()).iterdir())


NEW_EXTENSION = r"""
    SET SESSION AUTHORIZATION chief;
    SELECT 'CREATE EXTENSION ' || name FROM pg_available_extensions
        WHERE name IN ('citext', 'vector') ORDER BY 1 LIMIT 1 \gexec
"""
# With it, statements are in other words.
SETTINGS = content.SETTINGS.replace("ALTER DATABASE {0} SET quote_all_identifiers = on;", "")
OF_SERVER = """
    SELECT pg_encoding_to_char(encoding), datcollate, datctype, datconnlimit, datacl::text,
        pg_get_userbyid(datdba), to_jsonb(d)->>'datlocprovider',
        (SELECT spcname || spcacl::text FROM pg_tablespace t WHERE t.oid = dattablespace)
    FROM pg_database d WHERE datname = current_database();
    SELECT r.rolname, s FROM pg_db_role_setting d CROSS JOIN unnest(setconfig) s
        LEFT JOIN pg_roles r ON r.oid = d.setrole WHERE setdatabase IN (0,
        (SELECT oid FROM pg_database WHERE datname = current_database())) ORDER BY 1, 2;
    SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls
        FROM pg_roles ORDER BY 1;
    SELECT to_jsonb(m) - 'oid' - 'roleid' - 'member' - 'grantor', pg_get_userbyid(roleid),
        pg_get_userbyid(member) FROM pg_auth_members m ORDER BY 2, 3;
    SELECT extname, pg_get_userbyid(extowner) FROM pg_extension ORDER BY 1;
    SHOW DateStyle; SHOW TimeZone; SHOW bytea_output; SHOW lc_monetary; SHOW extra_float_digits;
    SHOW default_text_search_config; SHOW transform_null_equals; SHOW array_nulls;
"""


def test_all_is_as_on_the_live_server(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows, schema, owners, rights, roles, extensions, settings, locale, tablespace: no less."""
    content.make_roles(server)
    place = Path(tempfile.mkdtemp(prefix="space-", dir=server.folder))
    if os.geteuid() == 0:
        os.chown(place, NOBODY, NOBODY)
    before = f"""
        CREATE ROLE "Plain'one" LOGIN; CREATE ROLE boss ADMIN app_owner CREATEROLE BYPASSRLS;
        CREATE ROLE chief SUPERUSER;
        GRANT app_owner TO "Plain'one"; GRANT pg_read_all_data TO "Plain'one";
        CREATE TABLESPACE "far away" OWNER app_owner LOCATION '{place}';
        GRANT CREATE ON TABLESPACE "far away" TO app_reader WITH GRANT OPTION;
        ALTER ROLE "Plain'one" SET search_path = a, other;
        ALTER ROLE ALL SET extra_float_digits = 2;
        ALTER SYSTEM SET timezone = 'Asia/Kathmandu'; ALTER SYSTEM SET datestyle = 'SQL, DMY';
        ALTER SYSTEM SET transform_null_equals = on; SELECT pg_reload_conf();
    """
    after = """
        ALTER SYSTEM RESET ALL; SELECT pg_reload_conf(); DROP TABLESPACE "far away";
        ALTER ROLE ALL RESET ALL; DROP ROLE "Plain'one"; DROP ROLE boss; DROP ROLE chief;
    """
    for statement in filter(str.strip, before.split(";")):
        content.psql(server, "postgres", statement)
    try:
        options = 'TABLESPACE "far away" OWNER app_owner'
        with content.database(server, "app", options=options, content=content.EVERYTHING):
            content.psql(server, "app", NEW_EXTENSION)
            content.psql(server, "app", SETTINGS.format("app"))
            content.psql(server, "app", 'GRANT CONNECT ON DATABASE app TO "Plain\'one"')
            backup = content.backup(server, "app", tmp_path)
            live = PostgreSQLDriver(
                content.engine_on(server, "app", user="Plain'one"), lock_timeout=5
            )
            private = PrivateDriver(live, tools_of(live), backup, user="Plain'one")
            with closing(SimpleNamespace(close=private.discard)):
                private.make(backup)
                reached = private._server.reached("postgres")
                there: Any = SimpleNamespace(bin=server.bin, socket=reached["host"])
                seen = content.facts(server, "app")
                expected = content.psql(server, "app", OF_SERVER)
                monkeypatch.setenv("PGPASSWORD", reached["password"])
                found = content.facts(there, "app")
                assert content.psql(there, "app", OF_SERVER) == expected
                assert found["rows"] == seen["rows"]
                assert found["schema"].splitlines() == seen["schema"].splitlines()
                monkeypatch.delenv("PGPASSWORD")
                assert private.search_path() == live.search_path() == "a, other"
                with pytest.raises(Exception, match="password"):
                    content.engine_on(there, "app").connect()
    finally:
        for statement in filter(str.strip, after.split(";")):
            content.psql(server, "postgres", statement)


@on_newest
def test_a_database_that_is_missing_is_drilled(shop: Owned, manager: BackupManager) -> None:
    """As on a new machine: what is recorded of it tells how it was made."""
    shop.engine.dispose()
    shop.maintain("DROP DATABASE {}")
    try:
        report = manager.verify("latest", level="drill")
    finally:
        shop.maintain(f"CREATE DATABASE {{}} OWNER {shop.user}")
    assert report.drill is not None
    assert report.drill.rows == 2


@on_newest
def test_one_whose_name_each_server_has_is_drilled(server: Server, tmp_path: Path) -> None:
    """The one that initdb makes gives way."""
    content.psql(server, "postgres", "CREATE ROLE guest LOGIN; CREATE TABLE t AS SELECT 1 AS a")
    content.psql(server, "postgres", "GRANT SELECT ON t TO guest")
    try:
        engine = content.engine_on(server, "postgres", user="guest")
        manager = BackupManager(engine, tmp_path / "backups", catalog=False)
        report = manager.verify(manager.create(), level="drill")
    finally:
        content.psql(server, "postgres", "DROP TABLE t; DROP ROLE guest")
    assert report.drill is not None
    assert report.drill.rows == 1


KILLED = """
import sys, sqlalchemy as sa
from pathlib import Path
from soulsense_db.drivers.postgresql.driver import PostgreSQLDriver
private = PostgreSQLDriver(sa.create_engine(sys.argv[1]), lock_timeout=5).private(Path("copy"))
private.make(Path(sys.argv[2]))
with private.user_login.connected(name="private") as connection:
    print(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar(), flush=True)
    connection.exec_driver_sql("DO $$ BEGIN LOOP NULL; END LOOP; END $$")
"""


@on_newest
@pytest.mark.parametrize("tidied", [False, True], ids=["with a watcher", "without"])
def test_a_killed_program_leaves_nothing(
    shop: Owned, manager: BackupManager, folder_of_servers: Path, tidied: bool
) -> None:
    """Its server is gone a moment later with its processes, however busy, and all its files."""
    (backup,) = manager.list()
    program = [sys.executable, "-c", KILLED, shop.url, backup.path]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        busy = int(process.stdout.readline())
        (folder,) = folder_of_servers.glob("soulsense_db-postgresql-*")
        PrivatePostgreSQL.tidy_up(folder_of_servers)
        assert runs(busy)  # it is in use
        number = int((folder / "run" / "pid").read_text())
        if tidied:
            watcher = int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
            os.kill(watcher, signal.SIGKILL)
        process.kill()
    if tidied:
        while runs(watcher):
            pass
        PrivatePostgreSQL.tidy_up(folder_of_servers)
    while folder.exists() or runs(number) or runs(busy):
        pass


@on_newest
def test_without_its_programs_the_right_is_named(
    shop: Owned, manager: BackupManager, tmp_path: Path
) -> None:
    """The error names the right, and what to install; a folder that is named is the only one."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for program in ("pg_dump", "pg_restore", "psql"):
        script = f'#!/bin/sh\nexec "{shop.server.bin / program}" "$@"\n'
        (folder / program).write_text(script)
        (folder / program).chmod(0o755)
    other = BackupManager(shop.engine, tmp_path / "backups", tools=folder)
    with pytest.raises(MissingRightError, match="may not create databases") as caught:
        other.verify("latest", level="drill")
    assert f"ALTER ROLE {shop.user} CREATEDB" in caught.value.hint
    assert f"postgresql-{shop.server.version}" in caught.value.hint
    assert other.list()[0].drill_result is None
    with pytest.raises(MissingRightError, match="may not create databases"):
        other.preview_rows("latest", "note", "id = 1")
    driver = driver_of(shop)
    tools = replace(driver.tools(), version=14)
    found, others = find_server(tools, is_named=False)
    assert found is None
    assert f"postgres is of version {shop.server.version}" in " ".join(others)


@on_newest
def test_a_locale_that_is_not_here_is_told(
    shop: Owned, manager: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says nothing of the backup, which is not recorded as failed."""
    real = properties.properties

    def elsewhere(*arguments: Any) -> properties.Properties | None:
        found = real(*arguments)
        assert found is not None
        locale = msgspec.structs.replace(found.locale, collate="xx_XX.utf8")
        return replace(found, locale=locale)

    monkeypatch.setattr(properties, "properties", elsewhere)
    with pytest.raises(ServerToolError, match=r"locale.*xx_XX"):
        manager.verify("latest", level="drill")
    assert manager.list()[0].drill_result is None


@on_newest
def test_an_extension_that_is_not_here_is_told(shop: Owned, tmp_path: Path) -> None:
    """By its name, before anything is restored."""
    if shop.server.folder not in shop.server.bin.parents:
        pytest.skip("the server's files are not the tests' own")
    (folder,) = shop.server.folder.rglob("share/**/extension")
    control, script = folder / "fancy.control", folder / "fancy--1.sql"
    control.write_text("default_version = '1'\n")
    script.write_text("CREATE FUNCTION fancy() RETURNS int LANGUAGE sql RETURN 1;\n")
    try:
        shop.administer("CREATE EXTENSION fancy")
    finally:
        control.unlink()
        script.unlink()
    manager = BackupManager(shop.engine, tmp_path / "backups")
    manager.create()
    with pytest.raises(ServerToolError, match="extensions that are not on this machine: fancy"):
        manager.verify("latest", level="drill")
    assert manager.list()[0].drill_result is None


@on_newest
def test_a_server_that_does_not_start_says_why(shop: Owned, folder_of_servers: Path) -> None:
    """By its own words, or as the path of its socket is too long; nothing is left."""
    tools = tools_of(driver_of(shop))
    made = PrivatePostgreSQL(tools, place=folder_of_servers)
    try:
        with pytest.raises(ServerToolError, match="no_such_setting"):
            made.start("postgres", {"no_such_setting": "it's"})
    finally:
        made.stop()
    deep = folder_of_servers / ("d" * 60)
    deep.mkdir()
    made = PrivatePostgreSQL(tools, place=deep)
    try:
        with pytest.raises(ServerToolError, match="path of its socket is too long"):
            made.start("postgres", {})
    finally:
        made.stop()
        deep.rmdir()


@on_newest
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gets everywhere")
def test_root_is_told_where_the_servers_user_cannot_go(
    shop: Owned, manager: BackupManager, folder_of_servers: Path
) -> None:
    """The server refuses to run as root: the place that keeps it out is named."""
    folder_of_servers.chmod(0o700)
    with pytest.raises(ServerToolError, match=f"nobody else gets to {folder_of_servers}"):
        manager.verify("latest", level="drill")
    folder_of_servers.chmod(0o755)
    assert manager.list()[0].drill_result is None


@on_newest
def test_the_place_is_that_of_what_is_worked_with(tmp_path: Path) -> None:
    """Where an option names a directory for what is secret, it is there and not elsewhere."""
    work = tmp_path / ".memory.work-1a2b3c4d"
    assert place_for(work) == place_for(work / "drill.pgdump") == tmp_path
    system = Path(tempfile.gettempdir())
    assert place_for(tmp_path / "backup.pgdump") == place_for(system / "x" / "y") == system
