"""How many rows each table has in a backup and in the live database."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import EngineMaker
from helpers import add_child, execute, held_by_another_process, make_database, snapshot_of

from soulsense_db import BackupManager
from soulsense_db.drivers import RowCounts
from soulsense_db.errors import (
    BackupNotFoundError,
    EmptyBackupError,
    InvalidBackupError,
    WrongDatabaseError,
)

Counts = list[tuple[str, int | None, int | None]]
Spoil = Callable[[Path], object]


def _counts(manager: BackupManager, ref: str = "latest") -> Counts:
    return [(t.table, t.backup, t.live) for t in manager.row_counts(ref)]


def test_rows_are_counted_by_table_on_both_sides(manager: BackupManager, database: Path) -> None:
    """Every table is there by its name, also one without a difference or on one side only."""
    execute(database, "CREATE TABLE mood (name)", "INSERT INTO mood VALUES ('calm')")
    manager.create()
    execute(
        database,
        "DROP TABLE mood",
        "DELETE FROM child WHERE id <= 5",
        'CREATE TABLE "an ""odd"" one" (a, rowid, oid, _rowid_)',
        'INSERT INTO "an ""odd"" one" (a) VALUES (1), (2)',
    )
    assert _counts(manager) == [
        ('an "odd" one', None, 2),
        ("child", 300, 295),
        ("mood", 1, None),
        ("parent", 10, 10),
    ]


def test_the_safety_backup_can_be_counted(manager: BackupManager, database: Path) -> None:
    """What an undo goes back to is counted like a backup, though it lies outside the directory."""
    manager.create()
    add_child(database)
    manager.restore("latest")
    safety = manager.safety_backup()
    assert safety is not None
    assert manager.row_counts(safety)[0] == RowCounts(table="child", backup=301, live=300)


def _damage(database: Path) -> None:
    database.write_bytes(b"this was a database once\n" * 400)


def _cut(database: Path) -> None:
    os.truncate(database, 3 * 4096)


@pytest.mark.parametrize("spoil", [_damage, _cut, Path.unlink])
def test_the_backup_is_counted_without_a_live_database(
    manager: BackupManager, database: Path, make_engine: EngineMaker, spoil: Spoil
) -> None:
    """One that is damaged or missing is why somebody looks at backups: it is no error.

    Our own table is left out then as well, and nothing is made or changed by looking.
    """
    manager.create()
    manager.create()
    spoil(database)
    before = snapshot_of(database.parent)
    expected: Counts = [("child", 300, None), ("parent", 10, None)]
    assert _counts(manager) == expected
    assert _counts(BackupManager(make_engine(database))) == expected
    assert snapshot_of(database.parent) == before


def test_the_backup_is_counted_beside_a_lock(
    database: Path, manager: BackupManager, make_engine: EngineMaker
) -> None:
    """A live database that somebody holds is one that cannot be read."""
    manager.create()
    impatient = BackupManager(make_engine(database), lock_timeout=0.2)
    with held_by_another_process(database, "BEGIN EXCLUSIVE"):
        assert _counts(impatient) == [("child", 300, None), ("parent", 10, None)]
    assert _counts(impatient) == [("child", 300, 300), ("parent", 10, 10)]


def test_a_table_of_the_application_s_with_our_name_is_counted(
    database: Path, make_engine: EngineMaker
) -> None:
    """Only our own table is left out, not one that has its name."""
    execute(database, "CREATE TABLE backups (a)", "INSERT INTO backups VALUES (1)")
    BackupManager(make_engine(database), catalog="soulsense_backups").create()
    expected: Counts = [("backups", 1, 1), ("child", 300, 300), ("parent", 10, 10)]
    assert _counts(BackupManager(make_engine(database), catalog="soulsense_backups")) == expected
    named = _counts(BackupManager(make_engine(database)))
    assert [count for count in named if count[0] == "backups"] == [("backups", 1, 1)]


def test_what_cannot_be_counted_is_an_error(
    manager: BackupManager, database: Path, tmp_path: Path, make_engine: EngineMaker
) -> None:
    """A backup that is damaged, empty, gone or another database's is one, as everywhere."""
    info = manager.create()
    other = make_database(tmp_path / "other.db")
    with pytest.raises(WrongDatabaseError):
        BackupManager(make_engine(other), manager.directory).row_counts(info)
    path = Path(info.path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InvalidBackupError):
        manager.row_counts(info)
    path.write_bytes(b"")
    with pytest.raises(EmptyBackupError):
        manager.row_counts(info)
    path.unlink()
    with pytest.raises(BackupNotFoundError):
        manager.row_counts(info)
