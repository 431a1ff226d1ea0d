"""What SQLite's own errors become: each result code has its class, path and hint."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import sqlalchemy as sa
from conftest import EngineMaker
from helpers import PROGRAMS, held_by_another_process, make_database, run_unprivileged

from soulsense_db import BackupManager
from soulsense_db.drivers import SQLiteDriver
from soulsense_db.drivers.sqlite.errors import backup_errors, live_errors
from soulsense_db.errors import (
    BackupError,
    DatabaseDamagedError,
    DatabaseLockedError,
    InvalidBackupError,
    NotADatabaseError,
    NotEnoughSpaceError,
    PermissionDeniedError,
    StorageError,
)

PATH = Path("/data/app.db")
Guard = Callable[[Path], AbstractContextManager[None]]
COMMON: list[tuple[int, type[BackupError]]] = [
    (sqlite3.SQLITE_BUSY, DatabaseLockedError),
    (sqlite3.SQLITE_BUSY_SNAPSHOT, DatabaseLockedError),
    (sqlite3.SQLITE_LOCKED, DatabaseLockedError),
    (sqlite3.SQLITE_FULL, NotEnoughSpaceError),
    (sqlite3.SQLITE_PERM, PermissionDeniedError),
    (sqlite3.SQLITE_READONLY_DIRECTORY, PermissionDeniedError),
    (sqlite3.SQLITE_CANTOPEN, PermissionDeniedError),
    (sqlite3.SQLITE_IOERR_FSYNC, StorageError),
    (sqlite3.SQLITE_ERROR, BackupError),
]
LIVE = [(sqlite3.SQLITE_CORRUPT_INDEX, DatabaseDamagedError)]
LIVE += [(sqlite3.SQLITE_NOTADB, DatabaseDamagedError)]
BACKUP = [(sqlite3.SQLITE_CORRUPT, InvalidBackupError), (sqlite3.SQLITE_NOTADB, NotADatabaseError)]


def error_with(code: int) -> sqlite3.OperationalError:
    """Return an error as SQLite raises it; several of these no test can make it raise."""
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("guard", "code", "expected"),
    [(live_errors, *pair) for pair in [*COMMON, *LIVE]]
    + [(backup_errors, *pair) for pair in [*COMMON, *BACKUP]],
)
def test_every_result_code_has_its_class(
    guard: Guard, code: int, expected: type[BackupError]
) -> None:
    """Extended codes too lead to one class, which names the file."""
    with pytest.raises(BackupError) as caught, guard(PATH):
        raise error_with(code)
    assert type(caught.value) is expected
    assert PATH.name in caught.value.message
    assert isinstance(caught.value.__cause__, sqlite3.Error)


def test_errors_wrapped_by_sqlalchemy_are_seen_through() -> None:
    """An error that came through an SQLAlchemy connection has the same class."""
    wrapped = sa.exc.OperationalError("SELECT 1", None, error_with(sqlite3.SQLITE_BUSY))
    with pytest.raises(DatabaseLockedError, match="what SQLite says"), live_errors(None):
        raise wrapped


def test_a_locked_file_is_not_imported(tmp_path: Path, make_engine: EngineMaker) -> None:
    """A file that another program holds exclusively is locked, and no damaged backup."""
    source = make_database(tmp_path / "source.db", mode="wal")
    target = tmp_path / "target.db"
    target.touch()
    driver = SQLiteDriver(make_engine("sqlite://"), lock_timeout=0.2)
    statements = ("PRAGMA locking_mode = EXCLUSIVE", "DELETE FROM child")
    with (
        held_by_another_process(source, *statements),
        pytest.raises((DatabaseLockedError, PermissionDeniedError)),
    ):
        driver.copy_file(source, target)


def test_a_file_without_permission_is_told(open_path: Path) -> None:
    """A file one may not read is no damaged backup."""
    source = make_database(open_path / "source.db")
    source.chmod(0)
    answer = run_unprivileged("copy_file", source, open_path / "target.db")
    assert answer["error"] == PermissionDeniedError.__name__


def test_what_only_reads_a_sound_file_is_hinted_at(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """Nobody is told to move a sound database away, of which they would lose what is newest."""
    database = make_database(tmp_path / "app.db")
    engine = make_engine(database)

    @sa.event.listens_for(engine, "connect")
    def only_read(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA query_only = ON")

    manager = BackupManager(engine, catalog=False)
    info = manager.create()
    with pytest.raises(PermissionDeniedError) as queried:
        manager.restore(info)
    assert "query_only" in queried.value.hint
    subprocess.run([sys.executable, PROGRAMS / "die_in_a_transaction.py", database], check=False)
    assert Path(f"{database}-journal").exists()
    reading = make_engine(f"sqlite:///file:{database}?mode=ro&uri=true")
    with pytest.raises(PermissionDeniedError) as left:
        BackupManager(reading, catalog=False).create()
    assert "without mode=ro" in left.value.hint
    for caught in (queried.value, left.value):
        assert "move" not in caught.hint
    assert BackupManager(make_engine(database), catalog=False).create()
