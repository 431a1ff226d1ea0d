"""BackupManager and its table: an index that may be missing, locked, old or somebody else's."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from conftest import EngineMaker
from helpers import digest, held_by_another_process, make_database, run_unprivileged, scalar
from sqlalchemy.engine import Engine

from soulsense_db import BackupManager
from soulsense_db.errors import CatalogError, DatabaseLockedError

ROWS = "SELECT count(*) FROM backups"


def execute(path: Path, *statements: str) -> None:
    """Run statements on a database file and commit."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_a_locked_table_fails_no_backup_and_heals(engine: Engine, database: Path) -> None:
    """While the application writes, a backup is good without its row; the next brings both."""
    manager = BackupManager(engine, lock_timeout=0.2)
    with held_by_another_process(database, "BEGIN IMMEDIATE"):
        info = manager.create("while locked")
        assert manager.list() == [info]
    manager.create("afterwards")
    assert scalar(database, ROWS) == 2


def test_a_row_for_each_backup_even_of_deleted_files(
    manager: BackupManager, database: Path
) -> None:
    """Files that a person deleted by hand lose their rows at the next backup."""
    gone = manager.create("gone")
    Path(gone.path).unlink()
    Path(gone.meta_path).unlink()
    kept = manager.create("kept")
    assert scalar(database, "SELECT group_concat(id) FROM backups") == kept.id


def test_a_dropped_table_comes_back(manager: BackupManager, database: Path) -> None:
    """The table may be dropped at any time: the meta files have all facts."""
    manager.create("one")
    manager.create("two")
    execute(database, "DROP TABLE backups")
    assert manager.catalog.rebuild() == 2
    execute(database, "DROP TABLE backups")
    manager.create("three")
    assert scalar(database, ROWS) == 3


def test_an_absent_table_can_be_left_absent(manager: BackupManager, database: Path) -> None:
    """Before a first migration no table is made that the migration would trip over."""
    manager.create(record=False)
    assert scalar(database, "SELECT count(*) FROM sqlite_master WHERE name = 'backups'") == 0


def test_an_older_layout_is_filled(manager: BackupManager, database: Path) -> None:
    """A table of an older version is brought up to date and filled by the next backup."""
    execute(
        database,
        "CREATE TABLE backups (filename TEXT PRIMARY KEY, catalog_format INTEGER)",
        "INSERT INTO backups VALUES ('old.db', 0)",
    )
    info = manager.create()
    assert scalar(database, "SELECT group_concat(id) FROM backups") == info.id


def test_somebody_elses_table_stops_a_backup(manager: BackupManager, database: Path) -> None:
    """A table ``backups`` of the application is untouched; the error names the option."""
    execute(
        database,
        "CREATE TABLE backups (id INTEGER PRIMARY KEY, place TEXT)",
        "INSERT INTO backups VALUES (1, 'cellar')",
    )
    before = database.read_bytes()
    for call in (manager.create, manager.catalog.rebuild):
        with pytest.raises(CatalogError, match="not soulsense_db's") as caught:
            call()
        assert "soulsense_catalog_table = soulsense_backups" in caught.value.hint
    assert manager.list() == []
    assert database.read_bytes() == before


def test_somebody_elses_table_stops_a_backup_beside_a_writer(
    engine: Engine, database: Path
) -> None:
    """That a table is the application's is seen also while the application writes."""
    execute(database, "CREATE TABLE backups (place TEXT)")
    manager = BackupManager(engine)
    with (
        held_by_another_process(database, "BEGIN IMMEDIATE"),
        pytest.raises(CatalogError, match="not soulsense_db's"),
    ):
        manager.create()
    assert manager.list() == []


def test_another_name_goes_round_somebody_elses_table(engine: Engine, database: Path) -> None:
    """With a name of its own the catalog lives beside the application's ``backups``."""
    execute(database, "CREATE TABLE backups (id INTEGER)", "INSERT INTO backups VALUES (1)")
    manager = BackupManager(engine, catalog="soulsense_backups")
    info = manager.create()
    assert scalar(database, "SELECT id FROM soulsense_backups") == info.id
    assert manager.restore(info).catalog_rebuilt
    assert scalar(database, "SELECT id FROM soulsense_backups") == info.id
    assert scalar(database, "SELECT id FROM backups") == 1


def test_no_catalog_makes_no_table(engine: Engine, database: Path) -> None:
    """``catalog=False`` writes not a byte into the live database."""
    manager = BackupManager(engine, catalog=False)
    before = database.read_bytes()
    info = manager.create()
    assert manager.catalog.rebuild() == 0
    assert database.read_bytes() == before
    assert not manager.restore(info).catalog_rebuilt
    manager.delete(info)
    assert scalar(database, "SELECT count(*) FROM sqlite_master WHERE name = 'backups'") == 0


def test_a_restore_does_not_rewind_the_table(manager: BackupManager, database: Path) -> None:
    """The table inside the backup is older than the directory: a restore brings it in step."""
    first = manager.create("first")
    manager.create("second")
    report = manager.restore(first)
    assert report.catalog_rebuilt
    assert scalar(database, ROWS) == 2
    manager.undo_restore()
    assert scalar(database, ROWS) == 2


def test_rebuilding_says_when_it_cannot(engine: Engine, database: Path) -> None:
    """Who asks for a rebuild and gets none is told why."""
    manager = BackupManager(engine, lock_timeout=0.2)
    manager.create()
    with (
        held_by_another_process(database, "BEGIN IMMEDIATE"),
        pytest.raises(DatabaseLockedError),
    ):
        manager.catalog.rebuild()
    assert manager.catalog.rebuild() == 1


def test_deleting_while_the_table_is_locked(engine: Engine, database: Path) -> None:
    """A backup is deleted though its row cannot be; the next backup takes the row away."""
    manager = BackupManager(engine, lock_timeout=0.2)
    info = manager.create()
    before = digest(database)
    with held_by_another_process(database, "BEGIN IMMEDIATE"):
        manager.delete(info)
    assert manager.list() == []
    manager.create()
    assert scalar(database, ROWS) == 1
    assert digest(database) == before


def test_two_databases_keep_apart_tables(
    manager: BackupManager, database: Path, tmp_path: Path, make_engine: EngineMaker
) -> None:
    """In a shared directory each database has rows of its own backups only."""
    execute(tmp_path / "other.db", "CREATE TABLE x (y)")
    theirs = BackupManager(make_engine(tmp_path / "other.db"), manager.directory)
    for _ in range(2):
        manager.create()
        theirs.create()
    assert scalar(database, ROWS) == 2
    assert scalar(tmp_path / "other.db", ROWS) == 2


@pytest.mark.parametrize("work", ["create", "restore"])
def test_a_directory_that_cannot_be_listed_fails_nothing_that_is_done(
    open_path: Path, work: str
) -> None:
    """A backup or restore that was done is no failure because the rows could not follow."""
    open_path.chmod(0o777)
    database = make_database(open_path / "app.db")
    database.chmod(0o666)
    answer = run_unprivileged(f"{work}_unlisted", database)
    assert answer["error"] is None, answer
    assert answer["listed"] == 1
    assert not answer.get("rebuilt")


@pytest.mark.parametrize("name", ["'another.db'", "x'ff00'", "CAST(x'fffe' AS TEXT)"])
def test_a_garbled_row_is_mended_by_the_next_backup(
    manager: BackupManager, database: Path, name: str
) -> None:
    """The right number of rows is not enough: names that are no backup's go, no text or not."""
    first = manager.create("first")
    execute(database, f"UPDATE backups SET filename = {name}")
    assert manager.catalog.names() != frozenset({first.filename})
    second = manager.create("second")
    assert manager.catalog.names() == frozenset({first.filename, second.filename})
