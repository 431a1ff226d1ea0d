"""BackupManager: import_file and export."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import EngineMaker
from helpers import (
    ROWS,
    balanced,
    digest,
    flip,
    held_by_another_process,
    leftovers,
    make_database,
    scalar,
)
from test_manager_failures import spoiled

from soulsense_db import BackupManager
from soulsense_db.drivers.sqlite import pages
from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    ChecksumMismatchError,
    EmptyBackupError,
    InvalidBackupError,
    NotADatabaseError,
    StorageError,
)
from soulsense_db.fs import reading
from soulsense_db.fs.copying import sha256_of_own

OLD = datetime(2020, 1, 1, 12, tzinfo=UTC)


def test_a_backup_survives_export_and_import(
    manager: BackupManager, database: Path, tmp_path: Path, make_engine: EngineMaker
) -> None:
    """A backup carried to another machine arrives with its rows, time and description."""
    info = manager.create("to the laptop")
    exported = manager.export(info, tmp_path)
    assert exported == tmp_path / info.filename
    elsewhere = BackupManager(make_engine(tmp_path / "other.db"), tmp_path / "elsewhere")
    arrived = elsewhere.import_file(exported)
    assert (arrived.kind, arrived.description) == ("imported", "to the laptop")
    assert arrived.created_at == info.created_at
    assert digest(Path(arrived.path)) == digest(database)
    assert elsewhere.import_file(exported, "mine").description == "mine"
    elsewhere.restore("latest")
    assert scalar(tmp_path / "other.db", "SELECT count(*) FROM child") == ROWS


def test_latest_is_the_newest_data_and_not_the_last_import(
    manager: BackupManager, tmp_path: Path
) -> None:
    """A file without a meta file is as old as it says, in its name or by when it was changed."""
    made = manager.create("today")
    old = make_database(tmp_path / "old.db", rows=3)
    os.utime(old, (OLD.timestamp(), OLD.timestamp()))
    by_file = manager.import_file(old)
    by_name = manager.import_file(old.rename(tmp_path / "nightly_20190203_040506.db"))
    assert by_file.created_at == OLD
    assert by_name.created_at == datetime(2019, 2, 3, 4, 5, 6).astimezone(UTC)
    assert manager.get("latest").id == made.id
    assert manager.list() == [made, by_file, by_name]


def test_rows_in_a_log_are_as_new_as_the_log(manager: BackupManager, tmp_path: Path) -> None:
    """What is imported with the file is of the time at which the log was written, if that has any.

    A log that a program has only opened has none.
    """
    source = make_database(tmp_path / "source.db", mode="wal")
    later = OLD + timedelta(days=1)
    with held_by_another_process(source, "INSERT INTO parent VALUES (99, 'new', 0)"):
        os.utime(source, (OLD.timestamp(), OLD.timestamp()))
        os.utime(f"{source}-wal", (later.timestamp(), later.timestamp()))
        assert manager.import_file(source).created_at == later
    other = make_database(tmp_path / "other.db", mode="wal")
    with held_by_another_process(other, "SELECT count(*) FROM parent"):
        os.utime(other, (OLD.timestamp(), OLD.timestamp()))
        assert not (tmp_path / "other.db-wal").stat().st_size
        assert manager.import_file(other).created_at == OLD


def test_import_includes_what_a_wal_adds(manager: BackupManager, tmp_path: Path) -> None:
    """A database that a program still has open in WAL mode is imported with its newest rows."""
    source = make_database(tmp_path / "source.db", mode="wal")
    insert = "INSERT INTO parent VALUES (99, 'new', 0)"
    with held_by_another_process(source, insert):
        assert (tmp_path / "source.db-wal").stat().st_size
        info = manager.import_file(source)
    assert scalar(Path(info.path), "SELECT count(*) FROM parent") == 11


def test_import_is_of_one_moment(
    manager: BackupManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another program commits while its file is copied is in the copy as a whole or not."""
    monkeypatch.setattr(pages, "_STEP_PAGES", 20)
    source = make_database(tmp_path / "source.db", rows=3000)
    tried: list[int] = []

    def write(done: int, _: int) -> None:
        tried.append(done)
        with (
            closing(sqlite3.connect(source, timeout=0, isolation_level=None)) as connection,
            suppress(sqlite3.OperationalError),
        ):
            connection.executescript(
                "BEGIN; UPDATE parent SET total = total + 5 WHERE id = 3000 % 10;"
                "UPDATE child SET amount = amount + 5 WHERE id = 3000; COMMIT"
            )

    info = manager.import_file(source, progress=write)
    assert len(tried) > 3
    assert balanced(Path(info.path))


def test_import_takes_no_uncommitted_rows_of_a_dead_program(
    manager: BackupManager, tmp_path: Path
) -> None:
    """A database with a hot journal is imported as of before the transaction, or refused."""
    source = make_database(tmp_path / "source.db", rows=3000)
    before = digest(source)
    statements = ("PRAGMA cache_size = 1", "BEGIN", "UPDATE child SET amount = 0, body = 'half'")
    with held_by_another_process(source, *statements) as child:
        child.kill()
    assert (tmp_path / "source.db-journal").stat().st_size
    try:
        info = manager.import_file(source)
    except BackupError:
        assert manager.list() == []
    else:
        assert digest(Path(info.path)) == before


IMPORTS: dict[str, type[BackupError]] = {
    "empty": EmptyBackupError,
    "text": NotADatabaseError,
    "directory": NotADatabaseError,
    "20000": InvalidBackupError,
    "4096": InvalidBackupError,
}


@pytest.mark.parametrize(("kind", "expected"), IMPORTS.items())
def test_only_whole_databases_come_in(
    manager: BackupManager, tmp_path: Path, kind: str, expected: type[BackupError]
) -> None:
    """What is no whole database is refused at the door, and nothing of it stays."""
    source = make_database(tmp_path / "source.db")
    spoiled(source, kind)
    with pytest.raises(expected):
        manager.import_file(source)
    assert manager.list() == []
    assert not manager.directory.exists() or leftovers(manager.directory) == []


def test_import_compares_the_checksum(manager: BackupManager, tmp_path: Path) -> None:
    """A copy that was damaged on its way is refused, as is one that is not there."""
    exported = manager.export(manager.create(), tmp_path)
    flip(exported, 9000)
    with pytest.raises(ChecksumMismatchError):
        manager.import_file(exported)
    with pytest.raises(BackupNotFoundError, match="File not found"):
        manager.import_file(tmp_path / "gone.db")
    assert len(manager.list()) == 1


def test_export_never_replaces_a_file(manager: BackupManager, tmp_path: Path) -> None:
    """An export to a name that is taken is refused; a damaged backup is not exported."""
    info = manager.create()
    (tmp_path / "taken.db").write_text("mine")
    with pytest.raises(StorageError, match="already exists"):
        manager.export(info, tmp_path / "taken.db")
    assert (tmp_path / "taken.db").read_text() == "mine"
    flip(Path(info.path), 9000)
    with pytest.raises(ChecksumMismatchError):
        manager.export(info, tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize("beside", [".meta", "-wal", "-shm", "-journal"])
def test_export_never_mixes_with_other_files(
    manager: BackupManager, tmp_path: Path, beside: str
) -> None:
    """What has the name of a part of the copy is not overwritten, nor replayed into the copy."""
    info = manager.create()
    foreign = tmp_path / f"copy.db{beside}"
    foreign.write_text("notes")
    with pytest.raises(StorageError, match="already exists"):
        manager.export(info, tmp_path / "copy.db")
    assert foreign.read_text() == "notes"
    assert not (tmp_path / "copy.db").exists()


def test_export_removes_a_copy_that_differs(
    manager: BackupManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that writes something else than it was given leaves no copy to be trusted."""
    info = manager.create()
    copy = reading.copy_contents

    def spoil(source: Path, target: Path, **options: Any) -> None:
        copy(source, target, **options)
        flip(target, 5000)

    monkeypatch.setattr(reading, "copy_contents", spoil)
    with pytest.raises(ChecksumMismatchError, match="differs"):
        manager.export(info, tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()


def test_the_live_database_is_not_imported(manager: BackupManager, database: Path) -> None:
    """Importing the live database itself is refused: ``create`` is the way that is safe."""
    with pytest.raises(BackupError, match="live database"):
        manager.import_file(database)
    assert manager.list() == []


def test_two_exports_of_one_name(
    manager: BackupManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second export of a name is refused while the first is at work, which goes on."""
    info = manager.create()
    copy = reading.copy_contents
    refused: list[str] = []

    def export_again(source: Path, target: Path, **options: Any) -> None:
        copy(source, target, **options)
        with pytest.raises(StorageError, match="Another export") as caught:
            manager.export(info, tmp_path / "copy.db")
        refused.append(str(caught.value))

    monkeypatch.setattr(reading, "copy_contents", export_again)
    copied = manager.export(info, tmp_path / "copy.db")
    assert refused
    assert sha256_of_own(copied) == info.sha256
    assert not list(tmp_path.glob(".copy.db*"))
