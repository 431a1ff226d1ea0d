"""A backup that another process deletes while it is read: no lock is held for that long."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import time_machine
from helpers import digest, leftovers
from sqlalchemy.engine import Engine

from soulsense_db import BackupInfo, BackupManager, VerificationReport
from soulsense_db.drivers.sqlite.check import check
from soulsense_db.errors import BackupNotFoundError, StorageError
from soulsense_db.fs import reading
from soulsense_db.operations import database_lock, restore_source
from soulsense_db.operations.verify import verify_opened

Way = Callable[[BackupManager, BackupInfo], object]


def test_verify_tells_that_it_is_gone(manager: BackupManager) -> None:
    """A backup that is deleted while it is verified is not found, and no damaged disk."""
    info = manager.create()

    def delete_it(_done: int, _total: int) -> None:
        if Path(info.path).exists():
            manager.delete(info)

    with pytest.raises(BackupNotFoundError, match="Nothing was changed"):
        manager.verify(info, progress=delete_it)
    assert leftovers(manager.directory) == []


@pytest.mark.parametrize(
    "way", [BackupManager.restore, BackupManager.compare, BackupManager.row_counts]
)
def test_what_is_live_stays(
    way: Way,
    manager: BackupManager,
    engine: Engine,
    database: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Deleted once it was verified, a backup is not found, and all is as it was: undo as well."""
    manager.restore(manager.create("an earlier restore"))
    safety = manager.safety_backup()
    info = manager.create("to be deleted")
    before = digest(database)
    if way is BackupManager.restore:
        _delete_once_verified(monkeypatch, info)
    else:
        _delete_on_next_connection(engine, info)
    with pytest.raises(BackupNotFoundError, match="Nothing was changed"):
        way(manager, info)
    assert not Path(info.path).exists()
    assert digest(database) == before
    assert leftovers(database.parent) == []
    assert manager.safety_backup() == safety
    assert len(list(database.parent.glob("app.db.safety_backup*"))) == 2


def test_a_damaged_database_stays_where_it_is(
    manager: BackupManager, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is damaged is not moved aside for a backup that is gone."""
    info = manager.create()
    database.write_bytes(b"this was a database once\n" * 400)
    before = database.read_bytes()
    _delete_once_verified(monkeypatch, info)
    with pytest.raises(BackupNotFoundError, match="Nothing was changed"):
        manager.restore(info)
    assert database.read_bytes() == before
    assert list(database.parent.glob("app.db.*")) == []
    assert leftovers(database.parent) == []


@pytest.mark.parametrize(
    "way", [BackupManager.delete, BackupManager.restore, BackupManager.verify, BackupManager.pin]
)
def test_another_one_with_its_name_is_not_taken_for_it(way: Way, manager: BackupManager) -> None:
    """A backup made in the second in which its namesake was deleted is another backup."""
    with time_machine.travel(datetime.now(UTC), tick=False):
        gone = manager.create("daily")
        manager.delete(gone)
        made = manager.create("daily")
    assert made.path == gone.path
    with pytest.raises(BackupNotFoundError):
        way(manager, gone)
    assert manager.list() == [made]


def test_between_the_header_and_the_size(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that goes right after its header was read is an error of the tree as well."""
    database.write_bytes(database.read_bytes()[:4096])
    start_of = reading.start_of

    def read_and_delete(path: Path) -> bytes:
        header = start_of(path)
        path.unlink()
        return header

    monkeypatch.setattr(reading, "start_of", read_and_delete)
    with pytest.raises(StorageError, match="No such file"):
        check(database, level="quick")


def test_another_backup_has_its_name(
    manager: BackupManager,
    engine: Engine,
    database: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Deleted, and its name given to another of the same second: it is gone, and not damaged."""
    elsewhere = BackupManager(engine, directory=tmp_path / "elsewhere", catalog=False)
    with time_machine.travel(datetime(2026, 1, 1, tzinfo=UTC), tick=False):
        info = manager.create("to be deleted")
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE later (x)")
        other = elsewhere.create("to be deleted")
    assert other.filename == info.filename
    verify_again = restore_source.Source.verify_again

    def replace_it(source: restore_source.Source) -> None:
        Path(other.path).replace(info.path)
        Path(other.meta_path).replace(info.meta_path)
        verify_again(source)

    monkeypatch.setattr(restore_source.Source, "verify_again", replace_it)
    before = digest(database)
    with pytest.raises(BackupNotFoundError, match="Nothing was changed"):
        manager.restore(info)
    assert digest(database) == before
    assert manager.verify("latest").backup.id == other.id


def _delete_once_verified(monkeypatch: pytest.MonkeyPatch, info: BackupInfo) -> None:
    """Do what another process may: delete the backup just when it is verified to be restored."""
    verify = verify_opened

    def verify_then_delete(*arguments: Any, **options: Any) -> VerificationReport:
        report = verify(*arguments, **options)
        _delete(info)
        return report

    monkeypatch.setattr(database_lock, "verify_opened", verify_then_delete)


def _delete_on_next_connection(engine: Engine, info: BackupInfo) -> None:
    """Do what another process may: delete the backup just when the live database is opened."""

    @sa.event.listens_for(engine, "connect", once=True)
    def delete(_connection: object, _record: object) -> None:
        _delete(info)


def _delete(info: BackupInfo) -> None:
    for path in (info.meta_path, info.path):
        Path(path).unlink(missing_ok=True)
