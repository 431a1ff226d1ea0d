"""Foreign keys whose table is missing, in the live database or in the backup."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mariadb_driver.databases import Database, new_database
from mariadb_driver.kills import killed_at
from mariadb_driver.server import Server
from soulsense_db import BackupManager

_FAMILY = """
CREATE TABLE a (id INT PRIMARY KEY);
CREATE TABLE b (a INT, `x,y` INT, FOREIGN KEY (a) REFERENCES a (id) ON DELETE CASCADE,
    CONSTRAINT `od``d key` FOREIGN KEY (`x,y`) REFERENCES a (id) ON UPDATE SET NULL);
INSERT INTO a VALUES (77); INSERT INTO b VALUES (77, NULL);
"""


@pytest.fixture
def database(server: Server, tmp_path: Path) -> Iterator[Database]:
    """Return a database with a foreign key; nothing is left beside it."""
    with new_database(server, tmp_path) as made:
        made.run(_FAMILY)
        yield made
        assert made.left() == set()


def _manager(database: Database) -> BackupManager:
    return BackupManager(database.engine, database.folder / "b", catalog=False, lock_timeout=5)


def test_what_is_kept_does_not_obey_live_tables(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """A dropped table comes back: a delete there reaches no kept row, and an undo loses nothing."""
    manager, before = _manager(database), database.dump()
    backup = manager.create("one")
    database.run("SET foreign_key_checks = 0; DROP TABLE a")
    replaced = database.dump()
    manager.restore(backup)
    assert "foreign key" not in caplog.text
    assert database.dump() == before
    [kept] = [one for one in database.kept() if one.endswith("_old")]
    database.run("DELETE FROM a")
    assert database.run("SELECT COUNT(*) FROM b") == "0\n"
    assert database.run("SELECT COUNT(*) FROM b", database=kept) == "1\n"
    assert manager.can_restore(backup).problems == ()
    manager.undo_restore()
    assert database.dump() == replaced
    manager.restore(backup)
    assert database.dump() == before


_MOMENTS = [
    ("DROP FOREIGN KEY", "before"),
    ("DROP FOREIGN KEY", "after"),
    ("ADD CONSTRAINT", "after"),
]


@pytest.mark.parametrize(("at", "when"), _MOMENTS)
def test_a_kill_takes_no_foreign_key(database: Database, at: str, when: str) -> None:
    """Killed while live keys are led home: whatever is done next makes them, and so an undo's."""
    database.run("SET foreign_key_checks = 0; DROP TABLE a")
    manager, before = _manager(database), database.dump()
    backup = manager.create("one")
    database.run("DELETE FROM b")
    replaced = database.dump()
    killed_at(database, at, backup.filename, where="references", when=when)
    manager.create("finishes it")
    assert database.dump() == before
    killed_at(database, at, "undo", where="references", when=when)
    manager.create("finishes that, too")
    assert database.dump() == replaced


@pytest.mark.parametrize(("at", "when"), _MOMENTS)
def test_a_kill_takes_no_foreign_key_of_what_is_kept(
    database: Database, at: str, when: str
) -> None:
    """Killed while the keys of replaced tables are led home: an undo has them all the same."""
    manager, before = _manager(database), database.dump()
    backup = manager.create("one")
    database.run("SET foreign_key_checks = 0; DROP TABLE a")
    replaced = database.dump()
    killed_at(database, at, backup.filename, where="references", when=when)
    manager.create("finishes it")
    assert database.dump() == before
    manager.undo_restore()
    assert database.dump() == replaced


def test_a_key_that_fits_no_more_is_told(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody makes another table by that name in between: the restore ends, and says so."""
    database.run("SET foreign_key_checks = 0; DROP TABLE a")
    manager = _manager(database)
    backup = manager.create("one")
    live = f"`{database.name}`.`b`"
    killed_at(database, f"{live} DROP FOREIGN KEY", backup.filename, where="references")
    database.run("CREATE TABLE a (other INT)")
    manager.create("finishes it")
    assert "without the foreign key b_ibfk_1" in caplog.text
    assert manager.live.unfinished() == "its safety backup is not written"
    manager.restore(backup)


def test_a_restore_that_an_earlier_version_has_stuck_goes_on(database: Database) -> None:
    """A foreign key of kept tables to live ones is no other database's: it is dropped."""
    manager, before = _manager(database), database.dump()
    backup = manager.create("one")
    manager.restore(backup)
    [kept] = [one for one in database.kept() if one.endswith("_old")]
    database.run(
        f"ALTER TABLE b ADD FOREIGN KEY (a) REFERENCES `{database.name}`.a (id)", database=kept
    )
    with pytest.raises(subprocess.CalledProcessError):
        database.run("DELETE FROM b; DELETE FROM a")
    assert manager.can_restore(backup).problems == ()
    manager.restore(backup)
    assert database.dump() == before


@pytest.mark.parametrize("is_there", [True, False])
def test_a_foreign_key_to_a_table_that_the_backup_lacks(database: Database, is_there: bool) -> None:
    """It names the table of its own database, also where that has one again meanwhile."""
    database.run("SET foreign_key_checks = 0; DROP TABLE a")
    manager, before = _manager(database), database.dump()
    backup = manager.create("one")
    manager.verify(backup, level="drill")
    if is_there:
        database.run("CREATE TABLE a (id INT PRIMARY KEY)")
    database.run("DELETE FROM b")
    replaced = database.dump()
    manager.restore(backup)
    assert database.dump() == before
    manager.undo_restore()
    assert database.run("SELECT COUNT(*) FROM b") == "0\n"
    assert not is_there or database.dump() == replaced
    manager.restore(backup)
    assert database.dump() == before
    database.run("CREATE TABLE IF NOT EXISTS a (id INT PRIMARY KEY); INSERT INTO a VALUES (1)")
    with pytest.raises(subprocess.CalledProcessError):
        database.run("INSERT INTO b VALUES (2, 2)")
    database.run("INSERT INTO b VALUES (1, 1)")
