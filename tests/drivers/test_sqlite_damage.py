"""SQLite: damaged and odd files, live and as backups."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from conftest import EngineMaker
from helpers import digest, execute, fill, flip, make_database, scalar, snapshot_of
from test_sqlite import driver_of, taken

from soulsense_db import BackupManager
from soulsense_db.drivers import Findings, SQLiteDriver
from soulsense_db.drivers.results import CheckLevel
from soulsense_db.errors import (
    DatabaseDamagedError,
    InvalidBackupError,
    PermissionDeniedError,
    StorageError,
    TruncatedBackupError,
    UnsupportedDatabaseError,
)
from soulsense_db.fs import durable

DEPTHS: tuple[CheckLevel, ...] = ("quick", "pages", "full")
GARBAGE = b"this was a database once\n" * 400


def _garbage(path: Path) -> None:
    path.write_bytes(GARBAGE)


def _header(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[:16] = bytes(16)
    path.write_bytes(bytes(data))


def _schema_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100:4096] = b"\xff" * (4096 - 100)
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("damage", [_garbage, _header, _schema_page])
def test_a_damaged_live_database_is_named_so(
    tmp_path: Path, make_engine: EngineMaker, damage: Callable[[Path], None]
) -> None:
    """Damage of the live database is its own error, and reading it changes nothing of it."""
    live = make_database(tmp_path / "app.db")
    damage(live)
    before = live.read_bytes()
    driver = driver_of(make_engine, live)
    assert driver.location == live
    (tmp_path / "backup.db").touch()
    with pytest.raises(DatabaseDamagedError) as caught:
        driver.snapshot(tmp_path / "backup.db")
    assert str(live) in caught.value.message
    assert live.read_bytes() == before


def test_a_schema_format_that_nobody_has_is_damage(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """SQLite has no code of its own for it; a restore moves such a database aside all the same."""
    live = make_database(tmp_path / "app.db")
    expected = digest(live)
    manager = BackupManager(make_engine(live))
    info = manager.create()
    flip(live, 47, 0x08)
    with pytest.raises(DatabaseDamagedError, match="unsupported file format"):
        manager.create()
    assert manager.restore(info).moved_aside
    assert digest(live) == expected
    flip(Path(info.path), 47, 0x08)
    Path(info.meta_path).unlink()
    with pytest.raises(InvalidBackupError, match="unsupported file format"):
        manager.verify(info)


def test_a_header_that_forbids_writing_is_hinted_at(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """A flipped bit can make a database read-only; the hint says how all rows are kept then."""
    live = make_database(tmp_path / "app.db")
    manager = BackupManager(make_engine(live), catalog=False)
    info = manager.create()
    expected = digest(live)
    flip(live, 18, 0x40)
    with pytest.raises(
        PermissionDeniedError,
        match="header forbids writing: copy all rows to a new file with VACUUM INTO",
    ):
        manager.restore(info)
    execute(live, f"VACUUM INTO '{tmp_path / 'new.db'}'")
    (tmp_path / "new.db").rename(live)
    assert digest(live) == expected
    BackupManager(make_engine(live), catalog=False).restore(info)


def test_an_empty_live_database_gets_a_valid_backup(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """A database file of 0 bytes is a good empty database, and so is its backup."""
    live = tmp_path / "app.db"
    live.touch()
    driver = driver_of(make_engine, live)
    backup = taken(driver, tmp_path / "backup.db")
    assert driver.check(backup, level="full") == Findings()
    driver.load(backup)
    driver.check_loaded(driver.schema_of(backup))
    assert scalar(live, "SELECT count(*) FROM sqlite_master") == 0


def test_broken_references_are_warnings(tmp_path: Path, make_engine: EngineMaker) -> None:
    """A faithful backup of a database with broken references is good; the check tells of them."""
    live = make_database(tmp_path / "app.db")
    with closing(sqlite3.connect(live)) as connection:
        connection.execute("DELETE FROM parent WHERE id = 4")
        connection.commit()
    driver = driver_of(make_engine, live)
    backup = taken(driver, tmp_path / "backup.db")
    (warning,) = driver.check(backup, level="full").warnings
    assert "30 row(s) of table child" in warning
    assert driver.check(backup, level="pages") == Findings()


@pytest.mark.parametrize(
    ("offset", "value", "expected"),
    [(16, b"\x00\x07", InvalidBackupError), (28, b"\x7f\xff\xff\xff", TruncatedBackupError)],
)
def test_a_header_that_lies_is_refused(
    tmp_path: Path,
    make_engine: EngineMaker,
    offset: int,
    value: bytes,
    expected: type[InvalidBackupError],
) -> None:
    """An impossible page size, and more pages than the file has, are found by the header alone."""
    backup = make_database(tmp_path / "backup.db")
    data = bytearray(backup.read_bytes())
    data[offset : offset + len(value)] = value
    backup.write_bytes(bytes(data))
    driver = SQLiteDriver(make_engine("sqlite://"), lock_timeout=1)
    with pytest.raises(expected):
        driver.check(backup, level="quick")


def test_a_file_that_sqlite_refuses_passes_no_check(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """A format that SQLite does not read is found by the quickest check, as it is by a restore."""
    backup = make_database(tmp_path / "backup.db")
    data = bytearray(backup.read_bytes())
    data[18] = data[19] = 9  # the version of the format to read and to write
    backup.write_bytes(bytes(data))
    driver = SQLiteDriver(make_engine("sqlite://"), lock_timeout=1)
    for level in DEPTHS:
        with pytest.raises(InvalidBackupError):
            driver.check(backup, level=level)


def test_a_schema_of_another_sqlite_passes_the_quickest_check(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """A newer SQLite may understand it: its header says no more than that the file is whole."""
    backup = make_database(tmp_path / "backup.db")
    with closing(sqlite3.connect(backup)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "INSERT INTO sqlite_master VALUES ('view', 'v', 'v', 0, 'CREATE VIEW v AS SELECT OF')"
        )
        connection.commit()
    driver = SQLiteDriver(make_engine("sqlite://"), lock_timeout=1)
    assert driver.check(backup, level="quick") == Findings()


def test_the_largest_page_size_is_no_lie(tmp_path: Path, make_engine: EngineMaker) -> None:
    """65,536 bytes do not fit the header's two bytes and are written as 1: that is valid."""
    backup = make_database(tmp_path / "backup.db", page_size=65536)
    driver = SQLiteDriver(make_engine("sqlite://"), lock_timeout=1)
    assert driver.check(backup, level="full") == Findings()


def test_a_damaged_index_is_found_by_the_full_check(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """An index that disagrees with its table is a fault in full, though the structure is whole."""
    backup = tmp_path / "backup.db"
    with closing(sqlite3.connect(backup)) as connection:
        fill(connection)
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = 'CREATE INDEX child_parent ON child (amount)' "
            "WHERE name = 'child_parent'"
        )
        connection.commit()
    driver = SQLiteDriver(make_engine("sqlite://"), lock_timeout=1)
    assert driver.check(backup, level="pages").row_errors == ()
    assert "child_parent" in driver.check(backup, level="full").row_errors[0]


def test_an_in_memory_database_cannot_be_rebuilt(tmp_path: Path, make_engine: EngineMaker) -> None:
    """Moving damaged files aside is for files: in memory there is nothing to move."""
    backup = make_database(tmp_path / "backup.db")
    driver = SQLiteDriver(make_engine("sqlite://"), lock_timeout=1)
    with pytest.raises(DatabaseDamagedError, match="memory"):
        driver.rebuild(backup, facts={}, stamp="x")


def test_a_database_that_vanishes_while_it_is_rebuilt(
    tmp_path: Path, make_engine: EngineMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who deletes it at that very moment gets an error of the tree, and no half a database."""
    live, backup = make_database(tmp_path / "app.db"), make_database(tmp_path / "backup.db")
    driver = SQLiteDriver(make_engine(live), lock_timeout=1)
    assert driver.location == live
    exists = durable.exists

    def deleted_then(path: Path) -> bool:
        found = exists(path)
        copy = tmp_path / ".app.db.restoring"
        if path == live and exists(copy) and copy.stat().st_size:
            live.unlink(missing_ok=True)  # somebody else
        return found

    monkeypatch.setattr(durable, "exists", deleted_then)
    with pytest.raises(StorageError, match=r"could not look at .*app\.db"):
        driver.rebuild(backup, facts={}, stamp="now")
    assert list(tmp_path.iterdir()) == [backup]


def test_reading_back_notices_damage(tmp_path: Path, make_engine: EngineMaker) -> None:
    """A restored database whose pages do not hold what was written fails its check."""
    live, backup = make_database(tmp_path / "app.db"), make_database(tmp_path / "backup.db")
    driver = driver_of(make_engine, live)
    contents = driver.schema_of(backup)
    driver.check_loaded(contents)
    data = bytearray(live.read_bytes())
    data[4096 * 4 : 4096 * 6] = b"\xee" * 8192
    live.write_bytes(bytes(data))
    with pytest.raises(DatabaseDamagedError):
        driver.check_loaded(contents)


def test_a_connect_event_that_stumbles_over_damage(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """An application whose own connect event cannot read the file is still restored."""
    live = make_database(tmp_path / "app.db")
    engine = make_engine(live)

    @sa.event.listens_for(engine, "connect")
    def on_connect(dbapi_connection: sqlite3.Connection, _record: object) -> None:
        dbapi_connection.execute("PRAGMA journal_mode = WAL")

    expected = digest(live)
    manager = BackupManager(engine)
    info = manager.create()
    engine.dispose()
    _garbage(live)
    again = BackupManager(engine)
    assert again.database == live
    assert again.restore(info).moved_aside
    assert digest(live) == expected


class Wrapped:
    """Something that acts like a connection of sqlite3 and is none."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def test_another_sqlite_is_refused_by_name(make_engine: EngineMaker) -> None:
    """A connection that is not Python's own has no backup API: the error names what has."""
    with closing(sqlite3.connect(":memory:")) as connection:
        engine = make_engine("sqlite://", creator=lambda: Wrapped(connection))
        with pytest.raises(UnsupportedDatabaseError, match="test_sqlite_damage") as caught:
            SQLiteDriver(engine, lock_timeout=1).snapshot(Path("never"))
        engine.dispose()
    assert "aiosqlite" in caught.value.hint


def test_checking_a_file_in_wal_mode_leaves_nothing_beside_it(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """A copy that somebody made of a WAL database is checked without a ``-wal`` appearing."""
    backup = make_database(tmp_path / "backup.db", mode="wal")
    before = snapshot_of(tmp_path)
    driver = SQLiteDriver(make_engine("sqlite://"), lock_timeout=1)
    assert driver.check(backup, level="full") == Findings()
    assert snapshot_of(tmp_path) == before


def test_a_version_table_of_somebody_else_s_has_no_revisions(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """An application may have a table ``alembic_version`` that Alembic did not make."""
    path = make_database(tmp_path / "app.db")
    execute(path, "CREATE TABLE alembic_version (release TEXT)")
    manager = BackupManager(make_engine(path))
    assert manager.create().alembic_heads == ()
    assert manager.live.alembic_heads() == ()
