"""What a restore replaced is kept on the server: the safety backup is written afterwards."""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from postgresql.database import Database
from postgresql.server import Server
from soulsense_db import BackupManager
from soulsense_db.drivers.postgresql import PostgreSQLDriver
from soulsense_db.health import check_health

KILLED = """
import os, sys
import sqlalchemy as sa
from soulsense_db import BackupManager
from soulsense_db.drivers.postgresql import PostgreSQLDriver

def die(*arguments, **keywords):
    os._exit(9)

url, directory, where, what = sys.argv[1:]
setattr(PostgreSQLDriver, where, die)
manager = BackupManager(sa.create_engine(url), directory)
if what == "put_back":
    with manager.exclusive() as lock:
        lock.put_back("latest")
elif what == "undo":
    manager.undo_restore()
else:
    manager.restore("latest")
"""

RESTORE = """
import sys
import sqlalchemy as sa
from soulsense_db import BackupManager

manager = BackupManager(sa.create_engine(sys.argv[1]), sys.argv[2])
print("now", flush=True)
manager.restore("latest")
"""
CUTS = 6


@pytest.fixture
def shop(server: Server) -> Iterator[Database]:
    """Return a database with two rows."""
    with Database(server) as made:
        made.execute(
            "CREATE TABLE note (id serial PRIMARY KEY, body text)",
            "INSERT INTO note (body) VALUES ('one'), ('two')",
        )
        yield made


@pytest.fixture
def manager(shop: Database, tmp_path: Path) -> BackupManager:
    """Return a manager of a database that has a third row since its backup."""
    made = BackupManager(shop.engine, tmp_path)
    made.create()
    shop.execute("INSERT INTO note (body) VALUES ('three')")
    return made


def rows(shop: Database) -> int:
    """Return how many notes there are, as others see it."""
    return int(shop.scalar("SELECT count(*) FROM note"))


def killed(shop: Database, directory: Path, *, where: str, what: str = "restore") -> None:
    """Restore, or undo, in a process that dies where the driver is asked for something."""
    arguments = [sys.executable, "-c", KILLED, shop.url, str(directory), where, what]
    assert subprocess.run(arguments, check=False, capture_output=True).returncode == 9


def test_an_undo_gives_the_very_database_back(shop: Database, manager: BackupManager) -> None:
    """Nothing is restored for it: both change places, and a redo changes them again."""
    before = shop.oid()
    report = manager.restore("latest")
    assert report.safety_backup is not None
    assert not report.warnings
    restored = shop.oid()
    assert (rows(shop), restored != before) == (2, True)
    manager.undo_restore()
    assert (rows(shop), shop.oid()) == (3, before)
    manager.undo_restore()
    assert (rows(shop), shop.oid()) == (2, restored)


def test_what_is_kept_stays_what_its_copy_has(shop: Database, manager: BackupManager) -> None:
    """Nobody can connect to it, not even an administrator, before it is live again."""
    manager.restore("latest")
    engine = sa.create_engine(shop.server.url(shop.kept()))
    with pytest.raises(DBAPIError, match="not currently accepting connections"):
        engine.connect()


def test_the_next_restore_keeps_another(shop: Database, manager: BackupManager) -> None:
    """One is kept, that of the last restore: no more than twice the room is taken."""
    manager.restore("latest")
    first = shop.kept()
    shop.execute("INSERT INTO note (body) VALUES ('four')")
    manager.restore("latest")
    assert shop.kept() not in ("", first)  # and there is no other
    manager.undo_restore()
    assert shop.scalar("SELECT max(body) FROM note") == "two"
    assert rows(shop) == 3


def test_an_undo_without_what_was_kept_takes_the_copy(
    shop: Database, manager: BackupManager
) -> None:
    """Who needs the room may drop it: the safety backup is a file like any other."""
    manager.restore("latest")
    shop.maintain(f"DROP DATABASE {shop.kept()}")
    manager.undo_restore()
    assert rows(shop) == 3


def test_what_the_database_has_now_comes_along(shop: Database, manager: BackupManager) -> None:
    """An undo changes the content: settings, rights and the comment stay those of today."""
    shop.maintain("ALTER DATABASE {} SET work_mem = '7MB'")
    shop.maintain("GRANT CREATE ON DATABASE {} TO PUBLIC")
    manager.restore("latest")
    shop.maintain("ALTER DATABASE {} RESET ALL")
    shop.maintain("ALTER DATABASE {} SET lock_timeout = '9s'")
    shop.maintain("REVOKE CREATE ON DATABASE {} FROM PUBLIC")
    shop.maintain("COMMENT ON DATABASE {} IS 'of today'")
    manager.undo_restore()
    assert rows(shop) == 3
    settings = shop.scalar(
        "SELECT setconfig::text FROM pg_db_role_setting s JOIN pg_database d"
        " ON d.oid = s.setdatabase WHERE datname = current_database()"
    )
    assert settings == "{lock_timeout=9s}"
    assert not shop.scalar(
        "SELECT has_database_privilege('pg_monitor', current_database(), 'CREATE')"
    )
    assert (
        shop.scalar(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database"
            " WHERE datname = current_database()"
        )
        == "of today"
    )


@pytest.mark.parametrize("where", ["snapshot_replaced", "keep_replaced"])
def test_a_restore_is_killed_before_its_copy_is_written(
    shop: Database, manager: BackupManager, tmp_path: Path, where: str
) -> None:
    """What was live is on the server: whoever asks for the safety backup next, makes it."""
    killed(shop, tmp_path, where=where)
    assert rows(shop) == 2
    told = [one for one in check_health(manager).checks if one.name == "last restore"]
    assert [one.state.name for one in told] == ["WARNING"]
    assert "its safety backup is not written" in told[0].message
    safety = manager.safety_backup()
    assert safety is not None
    manager.undo_restore()
    assert rows(shop) == 3


def test_a_copy_is_written_where_its_restore_was(
    shop: Database, manager: BackupManager, tmp_path: Path
) -> None:
    """Also by a command that has another backup directory: there, nothing was restored."""
    killed(shop, tmp_path, where="snapshot_replaced")
    elsewhere = BackupManager(shop.engine, tmp_path / "elsewhere")
    elsewhere.exclusive().release()
    assert elsewhere.safety_backup() is None
    manager.undo_restore()
    assert rows(shop) == 3


def test_an_undo_is_killed_before_its_copy_is_written(
    shop: Database, manager: BackupManager, tmp_path: Path
) -> None:
    """What it replaced is what the next undo goes back to, as without the kill."""
    manager.restore("latest")
    shop.execute("INSERT INTO note (body) VALUES ('four'), ('five')")
    killed(shop, tmp_path, where="snapshot_replaced", what="undo")
    assert rows(shop) == 3
    manager.undo_restore()
    assert rows(shop) == 4


def test_a_copy_that_has_no_room_is_made_later(
    shop: Database, manager: BackupManager, tmp_path: Path
) -> None:
    """The restore is done, and says what is missing; with room again, an undo is as ever."""
    shop.execute("INSERT INTO note (body) SELECT repeat('x', 1000) FROM generate_series(1, 2000)")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = PostgreSQLDriver.snapshot_replaced

    def without_room(driver: PostgreSQLDriver, target: Path) -> object:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            return before(driver, target)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PostgreSQLDriver, "snapshot_replaced", without_room)
        report = manager.restore("latest")
    assert report.safety_backup is None
    assert "is kept on the server" in report.warnings[0]
    assert rows(shop) == 2
    manager.undo_restore()
    assert rows(shop) == 2003
    assert list(tmp_path.glob(".*partial")) == []


def test_writers_do_not_wait_for_the_copy(shop: Database, manager: BackupManager) -> None:
    """While the safety backup is written, the restored database is in use already."""
    before = PostgreSQLDriver.snapshot_replaced

    def used(driver: PostgreSQLDriver, target: Path) -> object:
        shop.execute("INSERT INTO note (body) VALUES ('after the restore')")
        return before(driver, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PostgreSQLDriver, "snapshot_replaced", used)
        manager.restore("latest")
    assert rows(shop) == 3
    manager.undo_restore()
    assert not shop.scalar("SELECT count(*) FROM note WHERE body = 'after the restore'")


def test_a_failed_migration_s_way_back_is_none_of_an_undo(
    shop: Database, manager: BackupManager, tmp_path: Path
) -> None:
    """Its copy is a file of another name, also after a kill; what undo goes back to stays."""
    manager.restore("latest")
    kept = shop.kept()
    shop.execute("INSERT INTO note (body) VALUES ('half'), ('migrated')")
    with manager.exclusive() as lock:
        report = lock.put_back("latest")
    assert report.safety_backup is not None
    assert report.safety_backup.name.endswith("failed_migration")
    assert (rows(shop), shop.kept()) == (2, kept)
    shop.execute("INSERT INTO note (body) VALUES ('half')")
    killed(shop, tmp_path, where="snapshot_replaced", what="put_back")
    before = report.safety_backup.stat().st_mtime_ns
    manager.undo_restore()
    assert rows(shop) == 3
    assert report.safety_backup.stat().st_mtime_ns > before


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_copy_that_cannot_be_noted_is_not_removed(
    shop: Database, manager: BackupManager, tmp_path: Path, when: str
) -> None:
    """Whether the server has noted it or not: undo goes back to what the restore replaced."""
    note = PostgreSQLDriver.keep_replaced

    def fail(driver: PostgreSQLDriver, copy: Path | None) -> None:
        if when == "after":
            note(driver, copy)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PostgreSQLDriver, "keep_replaced", fail)
        with pytest.raises(KeyboardInterrupt):
            manager.restore("latest")
    assert rows(shop) == 2
    assert manager.safety_backup() is not None
    manager.undo_restore()
    assert rows(shop) == 3
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "crash"])
def test_a_restore_is_cut_off_anywhere(
    shop: Database, manager: BackupManager, tmp_path: Path, how: str
) -> None:
    """Of the program or the server: old or new, and where it is old, undo brings back the new."""
    moments = random.Random(16)
    longest = 0.0
    for number in range(CUTS + 1):
        shop.execute("DELETE FROM note WHERE id > 2", f"INSERT INTO note VALUES (9, 'at {number}')")
        arguments = [sys.executable, "-c", RESTORE, shop.url, str(tmp_path)]
        child = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        with child.stdout or pytest.fail() as output:
            output.readline()
            began = time.monotonic()
            if not longest:  # the first one tells how long it takes
                child.wait()
                longest = time.monotonic() - began
                assert rows(shop) == 2
                manager.undo_restore()
                continue
            # Any moment will do: one of each part of it, so that they are not all in the first.
            threading.Event().wait(longest * (number - moments.random()) / CUTS)
            if how == "kill":
                child.kill()
            else:
                shop.server.stop("immediate")
                shop.server.start()
            child.wait()
        shop.engine.dispose()
        if rows(shop) == 2:
            manager.undo_restore()
        assert shop.scalar("SELECT body FROM note WHERE id = 9") == f"at {number}"
        assert rows(shop) == 3
    manager.restore("latest")  # which drops what the last kill left
    assert rows(shop) == 2
