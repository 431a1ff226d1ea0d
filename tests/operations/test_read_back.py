"""A new backup is what was written, or it is none."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest
from conftest import EngineMaker
from helpers import make_database

from soulsense_db import BackupManager
from soulsense_db.drivers import Progress, SnapshotInfo, SQLiteDriver
from soulsense_db.errors import StorageError


@pytest.mark.parametrize("flipped", [None, 0, -1])
def test_other_bytes_than_were_written_are_no_backup(
    make_engine: EngineMaker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flipped: int | None,
) -> None:
    """A byte that the disk gives back as another is said of the disk, and nothing is left of it."""
    manager = BackupManager(make_engine(make_database(tmp_path / "app.db")), tmp_path / "backups")
    write = SQLiteDriver.snapshot

    def snapshot(
        driver: SQLiteDriver, target: Path, *, progress: Progress | None = None
    ) -> SnapshotInfo:
        info = write(driver, target, progress=progress)
        data = bytearray(target.read_bytes())
        sha256 = hashlib.sha256(data).hexdigest()
        if flipped is not None:
            data[flipped] ^= 1
            target.write_bytes(data)
        return dataclasses.replace(info, sha256=sha256)

    monkeypatch.setattr(SQLiteDriver, "snapshot", snapshot)
    if flipped is None:
        assert manager.create().sha256 == manager.list()[0].sha256
        return
    with pytest.raises(StorageError, match="other bytes were read back"):
        manager.create()
    assert manager.list() == []
    assert not list((tmp_path / "backups").glob("*.partial"))
