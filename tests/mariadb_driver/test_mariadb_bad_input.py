"""Disks that are full, servers that die, files of others: an error that says it, and no change."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import disk_of

from mariadb_driver.databases import Database, new_database
from mariadb_driver.server import Server, is_installed
from soulsense_db import BackupManager
from soulsense_db.errors import (
    BackupError,
    DatabaseNotNamedError,
    InvalidBackupError,
    NotADatabaseError,
    NotEnoughSpaceError,
    UnsupportedDatabaseError,
)

MEGABYTE = 1024 * 1024
MARKED = "only-in-a-row"
TABLE = "CREATE TABLE t (id INT PRIMARY KEY, v MEDIUMTEXT); INSERT INTO t VALUES (0, 'old');"
MANY = f"""INSERT INTO t SELECT seq, CONCAT('{MARKED}', REPEAT(MD5(RAND()), 500))
    FROM seq_1_to_%d;"""


@pytest.fixture
def database(server: Server, tmp_path: Path) -> Iterator[Database]:
    """Return a database; nothing is left beside it."""
    with new_database(server, tmp_path) as made:
        made.run(TABLE)
        yield made
        assert made.left() == set()


def first(database: Database) -> str:
    """Return what is in the first row."""
    return database.run("SELECT v FROM t WHERE id = 0")


def test_the_disk_of_backups_is_full(database: Database, tmp_path: Path) -> None:
    """In the middle of a backup, and of the safety backup of a restore: nothing half is kept."""
    place = tmp_path / "small"
    place.mkdir()
    with disk_of(3 * MEGABYTE, place):
        manager = BackupManager(database.engine, place)
        made = manager.create("small")
        database.run(MANY % 400)
        for call in (lambda: manager.create("large"), lambda: manager.restore(made)):
            with pytest.raises(NotEnoughSpaceError) as caught:
                call()
            assert MARKED not in str(caught.value)
        assert [one.description for one in manager.list()] == ["small"]
        assert database.run("SELECT COUNT(*) FROM t") == "401\n"
        assert sum(path.stat().st_size for path in place.rglob("*")) < MEGABYTE


# PyMySQL does not close the socket of a connection that fails, as one may on a full disk.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
def test_the_disk_of_the_server_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes does not fit beside what is there: it is gone, and the live database as it was."""
    if not is_installed():
        pytest.skip("no MariaDB is installed")
    with tempfile.TemporaryDirectory(prefix="small-", dir="/tmp") as name:
        place = Path(name)
        place.chmod(0o755)
        with disk_of(260 * MEGABYTE, place):
            with monkeypatch.context() as patched:
                patched.setattr(tempfile, "tempdir", name)
                server = Server()
            try:
                with new_database(server, tmp_path) as database:
                    database.run(TABLE + MANY % 1500)
                    manager = BackupManager(database.engine, tmp_path / "backups")
                    made = manager.create("all")
                    database.run("UPDATE t SET v = 'new' WHERE id = 0")
                    free = _free(place) - 12 * MEGABYTE
                    (place / "filler").write_bytes(b"x" * free)
                    with pytest.raises(NotEnoughSpaceError) as caught:
                        manager.restore(made)
                    assert MARKED not in str(caught.value)
                    (place / "filler").unlink()
                    assert first(database) == "new\n"
                    assert database.left() == set()
                    manager.restore(made)
                    assert first(database) == "old\n"
            finally:
                server.remove()
                gc.collect()


def _free(place: Path) -> int:
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize


# As above.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_server_dies_while_a_backup_is_made(tmp_path: Path) -> None:
    """An error, no half a backup, and the next one works."""
    if not is_installed():
        pytest.skip("no MariaDB is installed")
    server = Server()
    try:
        with new_database(server, tmp_path) as database:
            database.run(TABLE + MANY % 800)
            half = tmp_path / "half.sql"
            half.touch()
            died: list[bool] = []

            def die(done: int, _total: int) -> None:
                if not died and done > MEGABYTE:
                    died.append(True)
                    server.stop(kill=True)

            with pytest.raises(BackupError) as caught:
                database.driver.snapshot(half, progress=die)
            assert died
            assert MARKED not in str(caught.value)
            server.start()
            with pytest.raises(InvalidBackupError):
                database.driver.check(half, level="quick")
            database.driver.load(database.snapshot())
    finally:
        server.remove()
        gc.collect()


def test_a_packet_that_the_server_does_not_take(database: Database, tmp_path: Path) -> None:
    """A row larger than the server's max_allowed_packet: it is said, and no backup is blamed."""
    database.run(f"INSERT INTO t VALUES (1, CONCAT('{MARKED}', REPEAT('x', 3000000)))")
    path = database.snapshot()
    database.run("UPDATE t SET v = 'new' WHERE id = 0")
    before = database.run("SELECT @@GLOBAL.max_allowed_packet").strip()
    database.run("SET GLOBAL max_allowed_packet = 1048576")
    try:
        with pytest.raises(BackupError, match="max_allowed_packet") as caught:
            database.driver.load(path)
        assert not isinstance(caught.value, InvalidBackupError)
        assert MARKED not in str(caught.value)
        assert first(database) == "new\n"
    finally:
        database.run(f"SET GLOBAL max_allowed_packet = {before}")
    database.driver.load(path)
    assert first(database) == "old\n"


def test_a_definer_who_is_gone(database: Database) -> None:
    """What he defined is backed up and restored; a view of his could not be: it is named."""
    database.run(
        "CREATE USER gone@localhost; GRANT ALL ON *.* TO gone@localhost;"
        "CREATE DEFINER = gone@localhost PROCEDURE p() SELECT 1;"
        "CREATE DEFINER = gone@localhost TRIGGER tr BEFORE INSERT ON t FOR EACH ROW"
        " SET NEW.v = CONCAT(NEW.v, '');"
        "CREATE DEFINER = gone@localhost EVENT e ON SCHEDULE EVERY 1 YEAR DO DELETE FROM t;"
        "DROP USER gone@localhost;"
    )
    before = database.dump()
    path = database.snapshot()
    database.run("DROP TRIGGER tr; DROP PROCEDURE p; DROP EVENT e; UPDATE t SET v = 'new'")
    database.driver.load(path)
    assert database.dump() == before
    database.run(
        "CREATE USER gone@localhost; CREATE DEFINER = gone@localhost VIEW w AS SELECT * FROM t;"
        "DROP USER gone@localhost"
    )
    with pytest.raises(UnsupportedDatabaseError, match=r"cannot be dumped \(w\)"):
        database.snapshot("with a view")
    database.run("DROP VIEW w")
    assert database.dump() == before


def test_a_file_of_another_dialect(database: Database, tmp_path: Path) -> None:
    """What pg_dump, SQLite or mariadb-dump alone wrote is no backup, whatever its name says."""
    for number, beginning in enumerate((b"PGDMP", b"SQLite format 3\0", b"-- MariaDB dump")):
        path = tmp_path / f"other{number}.sql"
        path.write_bytes(beginning + b"x" * 5000)
        with pytest.raises(NotADatabaseError):
            database.driver.check(path, level="full")
        with pytest.raises(NotADatabaseError):
            database.driver.load(path)


def test_a_name_that_is_a_statement(server: Server, tmp_path: Path) -> None:
    """The name of a database, of a table and of a column is a name, whatever is in it."""
    odd = "x`; DROP TABLE kept; -- '"
    quoted = f"`{odd.replace('`', '``')}`"
    with new_database(server, tmp_path, name="a`; DROP DATABASE mysql; -- '") as database:
        database.run(
            f"CREATE TABLE kept (id INT); CREATE TABLE {quoted} ({quoted} INT PRIMARY KEY);"
            f"INSERT INTO {quoted} VALUES (1)"
        )
        manager = BackupManager(database.engine, tmp_path / "backups")
        made = manager.create("'; DROP TABLE kept; --")
        manager.verify(made, level="drill")
        database.run(f"DELETE FROM {quoted}")
        manager.restore(made)
        assert database.run(f"SELECT COUNT(*) FROM {quoted}; SELECT COUNT(*) FROM kept") == "1\n0\n"


@pytest.mark.parametrize("command", ["create", "list", "status", "verify", "restore"])
def test_a_url_without_a_database(server: Server, tmp_path: Path, command: str) -> None:
    """A server alone is no database: every command says so at once, and how it is written."""
    url = server.url("", user="app", password="Zq7")  # noqa: S106 - of nobody
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


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        (
            "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO BEGIN SET @note = 'a;; b'; END",
            'The event e .* has ";;"',
        ),
        ("CREATE TABLE `a\nb` (id INT PRIMARY KEY)", r"The table 'a\\nb'"),
    ],
)
def test_what_mariadb_dump_cannot_write_is_refused_at_once(
    database: Database, statement: str, named: str
) -> None:
    """With such an event it never ends, and keeps all changes of tables waiting."""
    path = database.snapshot()
    database.run(f"DELIMITER //\n{statement}//")
    before = database.dump("--skip-events")
    with pytest.raises(UnsupportedDatabaseError, match=named):
        database.snapshot("with it")
    with pytest.raises(UnsupportedDatabaseError, match=named):
        database.driver.require_rights()
    with pytest.raises(UnsupportedDatabaseError, match=named):
        database.driver.exchange(path, purpose="as it was")
    assert database.dump("--skip-events") == before
    assert database.left() == set()


@pytest.mark.parametrize("partitioned", [False, True])
def test_a_table_with_a_directory_of_its_own_is_refused(
    database: Database, tmp_path: Path, partitioned: bool
) -> None:
    """MariaDB would lose it at its next start, once it has changed places with another one."""
    folder = database.server.data.parent / f"apart_{database.name}"
    folder.mkdir()
    shutil.chown(folder, database.server.data.owner(), database.server.data.group())
    clause = f"DATA DIRECTORY = '{folder}'"
    if partitioned:
        clause = f"PARTITION BY RANGE (id) (PARTITION a VALUES LESS THAN (10) {clause})"
    database.run(
        f"CREATE TABLE apart (id INT PRIMARY KEY) {clause}; INSERT INTO apart VALUES (1);"
        "CREATE TABLE fine (id INT) COMMENT 'DATA DIRECTORY = ''/tmp''';"
    )
    manager = BackupManager(database.engine, tmp_path / "backups", catalog=False)
    backup = manager.create()
    with pytest.raises(UnsupportedDatabaseError, match=r"\(DATA DIRECTORY\): apart\."):
        manager.restore(backup)
    database.run("DROP TABLE apart")
    (problem,) = manager.can_restore(backup).problems
    assert "(DATA DIRECTORY): apart." in str(problem)
    with pytest.raises(UnsupportedDatabaseError):
        manager.restore(backup)
    assert manager.restore(manager.create()).verified


def test_a_column_with_a_line_feed_in_its_name_is_refused(server: Server, tmp_path: Path) -> None:
    """A backup of it could not be counted: create says so, and names it."""
    with new_database(server, tmp_path) as database:
        database.run("CREATE TABLE t (id INT, `a\nb` INT AS (id) STORED, `c\nd` INT)")
        with pytest.raises(UnsupportedDatabaseError, match=r"column 'c\\nd' of table 't'"):
            database.snapshot()
