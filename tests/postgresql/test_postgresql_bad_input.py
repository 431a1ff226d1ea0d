"""Disks that are full, servers that die, files of others: an error that says it, and no change."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BufferedReader
from pathlib import Path

import pytest
import sqlalchemy as sa
from helpers import disk_of, eventually

from postgresql import content
from postgresql.conftest import VERSIONS, Servers
from postgresql.server import NOBODY, Server
from soulsense_db import BackupManager
from soulsense_db.drivers.postgresql import snapshot
from soulsense_db.drivers.postgresql.tool_errors import tool_failed
from soulsense_db.drivers.server_programs import chunks_of
from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    DatabaseNotNamedError,
    DatabaseUnreachableError,
    InvalidBackupError,
    NotADatabaseError,
    NotEnoughSpaceError,
    StorageError,
    UnsupportedDatabaseError,
)
from soulsense_db.health import check_health

MEGABYTE = 1024 * 1024
TABLE = "CREATE TABLE t (id integer PRIMARY KEY, v text); INSERT INTO t VALUES (0, 'old')"
# Bytes that no compression makes fewer, about two megabytes a thousand rows.
MARKED = "only-in-a-row"
MANY = f"""INSERT INTO t SELECT n, '{MARKED}' || string_agg(md5(random()::text || m || n), '')
    FROM generate_series(1, 4000) AS n, generate_series(1, 62) AS m GROUP BY n"""


@pytest.fixture
def server(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Return the newest server: none of this is a matter of its version."""
    newest = servers.of(VERSIONS[-1])
    monkeypatch.setenv("PATH", str(newest.bin), prepend=":")
    return newest


@pytest.fixture
def app(server: Server) -> Iterator[str]:
    """Make a database, and see that nothing is left beside it."""
    with content.database(server, "app", content=TABLE) as name:
        yield name


def test_the_disk_of_backups_is_full(server: Server, app: str, tmp_path: Path) -> None:
    """In the middle of a backup, and of the safety backup of a restore: nothing half is kept."""
    place = tmp_path / "small"
    place.mkdir()
    with disk_of(6 * MEGABYTE, place):
        manager = BackupManager(content.engine_on(server, app), place)
        made = manager.create("small")
        content.psql(server, app, MANY)
        before = content.psql(server, app, "SELECT count(*) FROM t")
        for call in (lambda: manager.create("large"), lambda: manager.restore(made)):
            with pytest.raises(NotEnoughSpaceError) as caught:
                call()
            assert MARKED not in str(caught.value)
        half = place / "half.pgdump"
        half.touch()
        with pytest.raises(NotEnoughSpaceError, match=f"could not write {half}"):
            content.driver_on(server, app).snapshot(half)
        half.unlink()
        assert [one.description for one in manager.list()] == ["small"]
        assert content.psql(server, app, "SELECT count(*) FROM t") == before
        assert sum(path.stat().st_size for path in place.rglob("*")) < MEGABYTE


def test_a_backup_is_larger_than_a_file_may_be(server: Server, app: str, tmp_path: Path) -> None:
    """A limit of the system is told as what it is, and nothing half is kept."""
    content.psql(server, app, MANY)
    manager = BackupManager(content.engine_on(server, app), tmp_path / "to")
    limit, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MEGABYTE, hard))
    try:
        with pytest.raises(StorageError, match="File too large"):
            manager.create()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    assert manager.list() == []
    assert list((tmp_path / "to").glob("soulsense_*")) == []


@pytest.mark.parametrize("has_library", [True, False])
@pytest.mark.parametrize("how", ["flip", "truncate", "flip at the end", "append at the end"])
def test_a_file_that_changes_while_it_is_written_is_no_backup(
    server: Server,
    app: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    *,
    has_library: bool,
) -> None:
    """What is read back has to be what pg_dump wrote, not only what its own checksum says.

    Also without the library for a quick checksum, which comes with the extra.
    """
    if not has_library:
        monkeypatch.setitem(sys.modules, "xxhash", None)
    path = tmp_path / "changed.pgdump"
    path.touch()

    def change() -> None:
        with path.open("r+b") as other:
            other.seek(100, os.SEEK_SET if how.startswith("flip") else os.SEEK_END)
            if how == "truncate":
                other.truncate(100)
            else:
                other.write(b"!")

    def changed(live: snapshot.Live, output: BufferedReader) -> Iterator[bytes | memoryview]:
        del live
        for number, chunk in enumerate(chunks_of(output)):
            if number == 1 and "at the end" not in how:
                change()
            yield chunk
        if "at the end" in how:
            change()

    content.psql(server, app, MANY)
    monkeypatch.setattr(snapshot.Live, "chunks", changed)
    with pytest.raises(StorageError, match="other bytes"):
        content.driver_on(server, app).snapshot(path)


def test_the_disk_of_the_server_is_full(server: Server, tmp_path: Path) -> None:
    """The new database does not fit beside the live one: it is gone, and that one as it was."""
    place = Path("/tmp") / f"space_{os.getpid()}"  # noqa: S108 - where another user may go
    place.mkdir()
    try:
        with disk_of(18 * MEGABYTE, place):
            folder = place / "space"
            folder.mkdir(mode=0o700)
            os.chown(folder, NOBODY, NOBODY)
            content.psql(server, "postgres", f"CREATE TABLESPACE small LOCATION '{folder}'")
            options = "TABLESPACE small"
            with content.database(server, "tight", options=options, content=TABLE) as name:
                content.psql(server, name, MANY)
                manager = BackupManager(content.engine_on(server, name), tmp_path)
                made = manager.create("all")
                content.psql(server, name, "UPDATE t SET v = 'new' WHERE id = 0")
                # Until then the files of a new database have holes, which would have no room.
                content.psql(server, "postgres", "CHECKPOINT")
                for call in (
                    lambda: manager.restore(made),
                    lambda: manager.verify(made, level="drill"),
                ):
                    with pytest.raises(NotEnoughSpaceError) as caught:
                        call()
                    assert not isinstance(caught.value, InvalidBackupError)
                    assert MARKED not in str(caught.value)
                assert content.psql(server, name, "SELECT v FROM t WHERE id = 0") == "new\n"
                assert content.databases(server) & {"tight"}
            content.psql(server, "postgres", "DROP TABLESPACE small")
    finally:
        place.rmdir()


@pytest.mark.parametrize("operation", ["create", "restore"])
def test_the_server_dies(server: Server, app: str, operation: str, tmp_path: Path) -> None:
    """In the middle of an operation: an error, no half a backup, and the next one works."""
    content.psql(server, app, MANY)
    driver = content.driver_on(server, app)
    path = content.backup(server, app, tmp_path)
    half = tmp_path / "half.pgdump"
    half.touch()
    died: list[bool] = []

    def die(_done: int, _total: int) -> None:
        if not died:
            died.append(True)
            server.stop("immediate")
            server.start()

    with pytest.raises(BackupError) as caught:
        if operation == "create":
            driver.snapshot(half, progress=die)
        else:
            driver.load(path, progress=die)
    assert died
    assert isinstance(caught.value, DatabaseUnreachableError), caught.value
    assert MARKED not in str(caught.value)
    if operation == "create":
        with pytest.raises(InvalidBackupError):
            driver.check(half, level="quick")
    content.psql(server, app, "UPDATE t SET v = 'new' WHERE id = 0")
    content.driver_on(server, app).load(path)
    assert content.psql(server, app, "SELECT v FROM t WHERE id = 0") == "old\n"


def test_backups_are_read_while_the_server_is_down(
    server: Server, app: str, tmp_path: Path
) -> None:
    """Who has lost it wants them more than ever: check, compare, copy out and in again."""
    manager = BackupManager(content.engine_on(server, app), tmp_path / "backups")
    first = manager.create()
    content.psql(server, app, "UPDATE t SET v = 'new'")
    second = manager.create()
    other = BackupManager(content.engine_on(server, app), tmp_path / "others", catalog=False)
    server.stop("immediate")
    try:
        assert manager.verify(second, level="full").checksum
        assert [one.table for one in manager.diff(first, second).tables] == ["t"]
        exported = manager.export(second, tmp_path / "out.pgdump")
        assert other.import_file(exported).sha256 == second.sha256
    finally:
        server.start()


def test_a_database_without_an_encoding(server: Server, tmp_path: Path) -> None:
    """SQLAlchemy cannot read what psycopg returns there: an error that says what to add."""
    options = "ENCODING 'SQL_ASCII' LOCALE 'C'"
    with content.database(server, "bytes", options=options, content=TABLE) as name:
        with pytest.raises(UnsupportedDatabaseError, match="SQL_ASCII") as caught:
            BackupManager(content.engine_on(server, name), tmp_path / "one").create()
        assert "client_encoding=utf8" in caught.value.hint
        engine = sa.create_engine(f"{server.url(name)}&client_encoding=utf8")
        manager = BackupManager(engine, tmp_path / "two")
        made = manager.create()
        content.psql(server, name, "UPDATE t SET v = 'new'")
        manager.restore(made)
        assert content.psql(server, name, "SELECT v FROM t") == "old\n"
        engine.dispose()


def test_a_table_that_somebody_wants_to_change(server: Server, app: str, tmp_path: Path) -> None:
    """An ALTER TABLE that waits for a reader holds up neither the size nor the status."""
    content.psql(server, app, f"{MANY}; ANALYZE t")
    engine = content.engine_on(server, app)
    manager = BackupManager(engine, tmp_path)
    size = manager.live.size()
    waits = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND query LIKE 'ALTER TABLE t%'"
    )
    with ThreadPoolExecutor(1) as side:
        with engine.connect() as reader:
            reader.execute(sa.text("SELECT 1 FROM t LIMIT 1"))
            change = side.submit(content.psql, server, app, "ALTER TABLE t ADD extra integer")
            assert eventually(lambda: content.psql(server, app, waits) == "1\n")
            assert manager.live.size() == pytest.approx(size, rel=0.1)
            assert check_health(manager).numbers["database_bytes"]
            assert not change.done()
        change.result()


def test_a_file_of_another_dialect(server: Server, app: str, tmp_path: Path) -> None:
    """What mariadb-dump or SQLite wrote is no backup of PostgreSQL, whatever its name says."""
    driver = content.driver_on(server, app)
    for number, beginning in enumerate((b"-- MariaDB dump 10.19", b"SQLite format 3\0")):
        path = tmp_path / f"other{number}.pgdump"
        path.write_bytes(beginning + b"x" * 5000)
        with pytest.raises(NotADatabaseError):
            driver.check(path, level="full")
        with pytest.raises(NotADatabaseError):
            driver.load(path)


def test_a_backup_of_a_newer_server(
    servers: Servers, server: Server, app: str, tmp_path: Path
) -> None:
    """It is refused before anything is made."""
    if len(VERSIONS) == 1:
        pytest.skip("there is one version alone")
    path = content.backup(server, app, tmp_path)
    older = servers.of(VERSIONS[0])
    with content.database(older, "app", content=TABLE):
        driver = content.driver_on(older, "app")
        said = f"PostgreSQL {VERSIONS[-1]}"
        with pytest.raises(InvalidBackupError, match=said):
            driver.rehearse(path)
        with pytest.raises(InvalidBackupError, match=said):
            driver.load(path)


def test_a_name_that_is_a_statement(server: Server, tmp_path: Path) -> None:
    """The name of a database, of a table and of a column is a name, whatever is in it."""
    name = 'a\'; DROP DATABASE "postgres"; --'
    odd = 'x"; DROP TABLE "kept"; --'
    doubled = odd.replace('"', '""')
    with content.database(server, name) as made:
        content.psql(
            server,
            made,
            f'CREATE TABLE kept (id int); CREATE TABLE "{doubled}" ("{doubled}" int PRIMARY KEY);'
            f'INSERT INTO "{doubled}" VALUES (1)',
        )
        manager = BackupManager(content.engine_on(server, made), tmp_path)
        backup = manager.create("'; DROP TABLE kept; --")
        manager.verify(backup, level="drill")
        content.psql(server, made, f'DELETE FROM "{doubled}"')
        manager.restore(backup)
        assert content.psql(server, made, f'SELECT count(*) FROM "{doubled}"') == "1\n"
        assert content.psql(server, made, "SELECT count(*) FROM kept") == "0\n"
        assert "postgres" in content.databases(server)


@pytest.mark.parametrize("command", ["create", "list", "status", "verify", "restore"])
def test_a_url_without_a_database(server: Server, tmp_path: Path, command: str) -> None:
    """A server alone is no database: every command says so at once, and how it is written."""
    url = f"postgresql+psycopg://app:Zq7@/?host={server.socket}"
    words = [command, *(["latest"] if command in {"verify", "restore"} else [])]
    told = subprocess.run(
        [sys.executable, "-m", "soulsense_db", *words, "--url", url],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    said = "The URL of the database names a server, and no database there."
    if command == "status":  # which is for a monitor: each error is CRITICAL there
        assert f"CRITICAL - error: {said}" in told.stdout
        return
    assert told.returncode == DatabaseNotNamedError.exit_code, told
    *_, error, hint = told.stderr.splitlines()  # a warning of the password is before
    assert error == f"Error: {said} Nothing was changed."
    assert "Zq7" not in hint
    assert "/shop" in hint


def test_whose_backup_it_is(server: Server, app: str, tmp_path: Path) -> None:
    """A backup of another database is told by host and name, in errors and in events."""
    made = BackupManager(content.engine_on(server, app), tmp_path / "b")
    info = made.create("x")
    other = BackupManager(content.engine_on(server, "other"), tmp_path / "b")
    with pytest.raises(BackupNotFoundError) as caught:
        other.get(info.id[:6])
    assert f"{info.filename} is a backup of {made.live.name}." in caught.value.hint
    events: list[str] = []
    made.events.restored(lambda event: events.append(str(event)))
    made.restore(info)
    assert events[0].startswith(f"{made.live.name} was restored from")


def test_status_while_the_server_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That it does not answer is told once by each check, as a part of a sentence."""
    own = Server(VERSIONS[-1])
    monkeypatch.setenv("PATH", str(own.bin), prepend=":")
    try:
        content.psql(own, "postgres", "CREATE DATABASE app")
        content.psql(own, "app", TABLE)
        manager = BackupManager(content.engine_on(own, "app"), tmp_path / "b")
        manager.create("x")
        own.stop()
        told = {check.name: check.message for check in check_health(manager).checks}
        own.start()
    finally:
        own.remove()
    assert told["database"].count("does not answer") == 1
    assert told["restore"].count("does not answer") == 1
    assert told["catalog"] == "it cannot be read now"
    assert not told["database"].endswith(".")


def test_a_session_that_ends_while_rows_are_read_is_a_broken_connection() -> None:
    """pg_dump tells of it in its second line, or in none: it names the table first."""
    said = (
        'pg_dump: error: Dumping the contents of table "t" failed: PQgetCopyData() failed.\n'
        "pg_dump: detail: Error message from server: server closed the connection unexpectedly\n"
        "\tThis probably means the server terminated abnormally\n"
    )
    error = tool_failed("pg_dump", "shop", said, user="app")
    assert isinstance(error, DatabaseUnreachableError)
    assert "server closed the connection" in str(error)
