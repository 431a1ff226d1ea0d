"""What a restore replaced is kept on the server: the safety backup is written afterwards."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mariadb_driver.databases import Database, new_database
from mariadb_driver.kills import killed_at
from mariadb_driver.server import Server
from soulsense_db import BackupManager
from soulsense_db.drivers.mariadb import MariaDBDriver, schemas
from soulsense_db.errors import Outcome, RestoreError
from soulsense_db.health import check_health

KILLED = """
import os, sys
import sqlalchemy as sa
from soulsense_db import BackupManager
from soulsense_db.drivers.mariadb import MariaDBDriver, programs

def die(*arguments, **keywords):
    os._exit(9)

url, directory, where, what = sys.argv[1:]
setattr(programs if where == "replace" else MariaDBDriver, where, die)
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
CONTENT = """
CREATE SEQUENCE numbers START 5;
CREATE TABLE note (id INT PRIMARY KEY AUTO_INCREMENT, body TEXT,
    number INT DEFAULT nextval(numbers));
CREATE TABLE history (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING;
CREATE TABLE log (line TEXT);
CREATE TABLE page (id INT PRIMARY KEY, note INT, FOREIGN KEY (note) REFERENCES note (id));
CREATE TRIGGER noted AFTER INSERT ON note FOR EACH ROW INSERT INTO log VALUES (NEW.body);
CREATE EVENT never ON SCHEDULE EVERY 9 YEAR STARTS '2037-01-01 00:00:00' DO DELETE FROM note;
DELIMITER //
CREATE FUNCTION twice(n INT) RETURNS INT DETERMINISTIC RETURN 2 * n//
CREATE PROCEDURE add_note(b TEXT) BEGIN INSERT INTO note (body) VALUES (b); END//
DELIMITER ;
CREATE VIEW bodies AS SELECT body, twice(id) AS twice FROM note;
INSERT INTO note (body) VALUES ('one'), ('two');
INSERT INTO page VALUES (1, 1);
INSERT INTO history VALUES (1, 1);
UPDATE history SET v = 2;
"""


@pytest.fixture
def shop(server: Server, tmp_path: Path) -> Iterator[Database]:
    """Return a database with two notes, and something of all that no table takes with it."""
    with new_database(server, tmp_path) as made:
        made.run(CONTENT)
        yield made


@pytest.fixture
def manager(shop: Database, tmp_path: Path) -> BackupManager:
    """Return a manager of a database that has changed since its backup."""
    made = BackupManager(shop.engine, tmp_path, catalog=False)
    made.create()
    shop.run(
        """INSERT INTO note (body) VALUES ('three');
        CREATE TABLE added (id INT);
        DROP TRIGGER noted;
        CREATE TRIGGER noted BEFORE INSERT ON note FOR EACH ROW SET NEW.body = UPPER(NEW.body);
        ALTER EVENT never DISABLE;
        DROP PROCEDURE add_note;
        CREATE PROCEDURE count_notes() SELECT COUNT(*) FROM note;
        """
    )
    return made


def rows(shop: Database) -> int:
    """Return how many notes there are."""
    return int(shop.run("SELECT COUNT(*) FROM note"))


def killed(shop: Database, directory: Path, *, where: str, what: str = "restore") -> None:
    """Restore, or undo, in a process that dies where the driver is asked for something."""
    url = shop.server.url(shop.name)
    arguments = [sys.executable, "-c", KILLED, url, str(directory), where, what]
    assert subprocess.run(arguments, check=False, capture_output=True).returncode == 9


def test_an_undo_gives_all_of_it_back(
    shop: Database, manager: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Triggers, routines, views and events as well, and no row is loaded for it."""
    before = shop.dump()
    report = manager.restore("latest")
    assert report.safety_backup is not None
    assert not report.warnings
    restored = shop.dump()
    assert rows(shop) == 2
    monkeypatch.setattr("soulsense_db.drivers.mariadb.loading.fill", pytest.fail)
    manager.undo_restore()
    assert shop.dump() == before
    manager.undo_restore()
    assert shop.dump() == restored


def test_one_is_kept(shop: Database, manager: BackupManager) -> None:
    """That of the last restore, and nothing else of ours."""
    manager.restore("latest")
    first = shop.kept()
    shop.run("INSERT INTO note (body) VALUES ('four')")
    manager.restore("latest")
    second = shop.kept()
    assert shop.left() == set()
    assert len(first) == len(second) == 2  # the tables, and the notes on them
    assert not first & second
    manager.undo_restore()
    assert rows(shop) == 3


@pytest.mark.parametrize("change", ["drop", "write"])
def test_an_undo_without_what_was_kept_takes_the_copy(
    shop: Database, manager: BackupManager, change: str
) -> None:
    """Who needs the room may drop it; and what somebody has written to is not used."""
    before = shop.dump()
    manager.restore("latest")
    kept = next(one for one in shop.kept() if one.endswith("_old"))
    if change == "drop":
        shop.run(f"DROP DATABASE `{kept}`")
    else:
        shop.run(f"INSERT INTO `{kept}`.note (body) VALUES ('no note')")
    manager.undo_restore()
    assert shop.dump() == before


@pytest.mark.parametrize("where", ["snapshot_replaced", "keep_replaced"])
def test_a_restore_is_killed_before_its_copy_is_written(
    shop: Database, manager: BackupManager, tmp_path: Path, where: str
) -> None:
    """What was live is on the server: whoever asks for the safety backup next, makes it."""
    before = shop.dump()
    killed(shop, tmp_path, where=where)
    assert rows(shop) == 2
    told = [one for one in check_health(manager).checks if one.name == "last restore"]
    assert [one.state.name for one in told] == ["WARNING"]
    assert "its safety backup is not written" in told[0].message
    assert manager.safety_backup() is not None
    manager.undo_restore()
    assert shop.dump() == before
    assert manager.live.unfinished() == ""


def test_an_undo_is_killed_before_its_copy_is_written(
    shop: Database, manager: BackupManager, tmp_path: Path
) -> None:
    """What it replaced is what the next undo goes back to, as without the kill."""
    manager.restore("latest")
    shop.run("INSERT INTO note (body) VALUES ('four'), ('five')")
    killed(shop, tmp_path, where="snapshot_replaced", what="undo")
    assert rows(shop) == 3
    manager.undo_restore()
    assert rows(shop) == 4


def test_a_restore_is_killed_between_tables_and_programs(
    shop: Database, manager: BackupManager, tmp_path: Path
) -> None:
    """What may be missing is told, and made by whatever is done next; then the copy is missing."""
    before = shop.dump()
    killed(shop, tmp_path, where="replace")
    assert "triggers, routines" in manager.live.unfinished()
    manager.create()
    assert manager.live.unfinished() == "its safety backup is not written"
    manager.undo_restore()
    assert manager.live.unfinished() == ""
    assert shop.dump() == before


def test_writers_do_not_wait_for_the_copy(shop: Database, manager: BackupManager) -> None:
    """While the safety backup is written, the restored database is in use already."""
    before = MariaDBDriver.snapshot_replaced

    def used(driver: MariaDBDriver, target: Path) -> object:
        shop.run("INSERT INTO note (body) VALUES ('after the restore')")
        return before(driver, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MariaDBDriver, "snapshot_replaced", used)
        manager.restore("latest")
    assert rows(shop) == 3
    manager.undo_restore()
    assert shop.run("SELECT body FROM note ORDER BY id").split() == ["one", "two", "three"]


def test_a_sequence_that_is_missing_is_in_no_safety_backup(
    shop: Database, manager: BackupManager
) -> None:
    """It is made for the load: what is undone to has it as little as the live database had."""
    shop.run("ALTER TABLE note ALTER number DROP DEFAULT; DROP SEQUENCE numbers")
    before = shop.dump()
    manager.restore("latest")
    assert "numbers" in shop.dump()
    manager.undo_restore()
    assert shop.dump() == before
    with manager.exclusive() as lock:
        failed = lock.put_back("latest")
    assert failed.safety_backup is not None
    assert "SEQUENCE" not in failed.safety_backup.read_text(encoding="utf-8", errors="replace")


def test_a_sequence_that_was_made_for_a_load_does_not_outlive_a_kill(shop: Database) -> None:
    """Nor does one go that somebody has made by that name: whose it is stands in its comment."""
    manager = BackupManager(shop.engine, shop.folder / "b", catalog=False)
    backup = manager.create()
    shop.run("ALTER TABLE note ALTER number DROP DEFAULT; DROP SEQUENCE numbers")
    before = shop.dump()
    for when in ("before", "after"):
        killed_at(shop, "CREATE SEQUENCE", backup.filename, where="restoring", when=when)
        manager.create("finishes it")
        assert shop.dump() == before
    kept = b'"purpose"'.hex()  # notes of the swap, in the place of those of the sequence
    killed_at(shop, kept, backup.filename, where="notes", when="before")
    manager.create("finishes it")
    assert shop.dump() == before
    killed_at(shop, "CREATE SEQUENCE", backup.filename, where="restoring", when="before")
    shop.run("CREATE SEQUENCE numbers START 7")
    before = shop.dump()
    manager.create("finishes it")
    assert shop.dump() == before


def test_a_failed_migration_s_way_back_is_none_of_an_undo(
    shop: Database, manager: BackupManager, tmp_path: Path
) -> None:
    """Its copy is a file of another name, also after a kill; what undo goes back to stays."""
    before = shop.dump()
    manager.restore("latest")
    kept = shop.kept()
    shop.run("INSERT INTO note (body) VALUES ('half'), ('migrated')")
    with manager.exclusive() as lock:
        report = lock.put_back("latest")
    assert report.safety_backup is not None
    assert report.safety_backup.name.endswith("failed_migration")
    assert (rows(shop), shop.kept()) == (2, kept)
    shop.run("INSERT INTO note (body) VALUES ('half')")
    killed(shop, tmp_path, where="snapshot_replaced", what="put_back")
    written = report.safety_backup.stat().st_mtime_ns
    manager.undo_restore()
    assert shop.dump() == before
    assert report.safety_backup.stat().st_mtime_ns > written


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_copy_that_cannot_be_noted_is_not_removed(
    shop: Database, manager: BackupManager, tmp_path: Path, when: str
) -> None:
    """Whether the server has noted it or not: undo goes back to what the restore replaced."""
    note = MariaDBDriver.keep_replaced

    def fail(driver: MariaDBDriver, copy: Path | None) -> None:
        if when == "after":
            note(driver, copy)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MariaDBDriver, "keep_replaced", fail)
        with pytest.raises(KeyboardInterrupt):
            manager.restore("latest")
    assert rows(shop) == 2
    assert manager.safety_backup() is not None
    manager.undo_restore()
    assert rows(shop) == 3
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("why", [KeyboardInterrupt, RestoreError])
def test_what_fails_after_the_swap_is_not_called_unchanged(
    shop: Database, manager: BackupManager, why: type[BaseException]
) -> None:
    """All rows are those of the backup: what was there is kept, and the rest is made later."""
    before = shop.dump()

    def fail(*_arguments: object, **_keywords: object) -> None:
        raise why("as a right that is missing")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("soulsense_db.drivers.mariadb.programs.replace", fail)
        with pytest.raises(why) as caught:
            manager.restore("latest")
    if isinstance(caught.value, RestoreError):
        assert caught.value.outcome is Outcome.UNSURE
    assert rows(shop) == 2
    assert manager.safety_backup() is not None
    manager.undo_restore()
    assert shop.dump() == before


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "crash"])
def test_a_restore_is_cut_off_anywhere(
    shop: Database, manager: BackupManager, tmp_path: Path, how: str
) -> None:
    """Of the program or the server: old or new, and where it is old, undo brings back the new."""
    moments = random.Random(16)
    longest = 0.0
    for number in range(CUTS + 1):
        shop.run(f"DELETE FROM note WHERE id > 2; INSERT INTO note VALUES (9, 'AT {number}', 1)")
        arguments = [sys.executable, "-c", RESTORE, shop.server.url(shop.name), str(tmp_path)]
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
                shop.server.stop(kill=True)
                shop.server.start()
            child.wait()
        manager.create()  # finishes what the kill left
        if rows(shop) == 2:
            manager.undo_restore()
        assert shop.run("SELECT body FROM note WHERE id = 9") == f"AT {number}\n"
        assert "UPPER" in shop.dump()
        manager.delete("latest")
    manager.restore("latest")
    assert rows(shop) == 2


def test_what_a_killed_server_left_without_a_word_is_dropped(shop: Database) -> None:
    """DROP DATABASE removes the comment first: what says nothing is known by its name."""
    mine, other = schemas.new_name(shop.name), schemas.new_name("another_one")
    for schema in (mine, f"{mine}_new", f"{mine}_old", other):
        shop.run(f"CREATE DATABASE `{schema}`")
    for schema in (mine, f"{mine}_old", other):
        shop.run(f"CREATE TABLE `{schema}`.t (id INT)")
    try:
        shop.snapshot()
        assert shop.left() == {other}
    finally:
        shop.run(f"DROP DATABASE `{other}`")
