"""Restoring in the place of a database that is damaged or gone."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import EngineMaker
from helpers import (
    MODES,
    ROWS,
    Mode,
    ask,
    digest,
    held_by_another_process,
    leftovers,
    make_database,
    scalar,
)
from sqlalchemy.engine import Engine
from test_restore import COUNT, safety_of

from soulsense_db import BackupManager
from soulsense_db.drivers.sqlite.files import put_in_place
from soulsense_db.errors import InvalidBackupError, NothingToUndoError, StorageError


def _garbage(path: Path) -> None:
    path.write_bytes(b"this was a database once\n" * 400)


def _header(path: Path) -> None:
    path.write_bytes(bytes(16) + path.read_bytes()[16:])


def _data_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096 * 4 : 4096 * 6] = b"\xee" * 8192
    path.write_bytes(bytes(data))


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 + 100)


@pytest.mark.parametrize("damage", [_garbage, _header, _data_page, _cut])
@pytest.mark.parametrize("mode", MODES)
def test_a_damaged_database_is_moved_aside_and_restored(
    tmp_path: Path, make_engine: EngineMaker, damage: Callable[[Path], None], mode: Mode
) -> None:
    """Damaged files are kept under a dated name, with what belongs to them, never deleted."""
    database = make_database(tmp_path / "app.db", mode=mode)
    database.chmod(0o640)
    engine = make_engine(database)
    manager = BackupManager(engine)
    info = manager.create()
    expected = digest(database)
    engine.dispose()
    damage(database)
    damaged = database.read_bytes()
    report = manager.restore(info)
    assert digest(database) == expected
    assert scalar(database, "PRAGMA journal_mode") == mode
    assert report.safety_backup is None
    (aside,) = (path for path in report.moved_aside if path.suffix != ".lock")
    assert aside.name.startswith("app.db.damaged_2")
    assert aside.read_bytes() == damaged
    assert stat.S_IMODE(database.stat().st_mode) == 0o640
    with pytest.raises(NothingToUndoError):
        manager.undo_restore()
    with engine.connect() as connection:
        assert connection.exec_driver_sql(COUNT).scalar_one() == ROWS
    engine.dispose()
    assert leftovers(tmp_path) == []


def test_a_missing_database_is_restored_without_its_old_log(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """A ``-wal`` that outlived its database is never replayed into the restored one."""
    database = make_database(tmp_path / "app.db", mode="wal")
    manager = BackupManager(make_engine(database))
    info = manager.create()
    expected = digest(database)
    with held_by_another_process(database, "DELETE FROM child WHERE id > 5") as child:
        child.kill()
    stale = (tmp_path / "app.db-wal").read_bytes()
    assert stale
    database.unlink()
    report = manager.restore(info)
    assert digest(database) == expected
    assert scalar(database, "PRAGMA journal_mode") == "wal"
    assert stale in [path.read_bytes() for path in report.moved_aside]
    assert stat.S_IMODE(database.stat().st_mode) == 0o600


def test_a_database_whose_directory_is_gone_is_restored(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """After a whole folder was deleted, a backup from elsewhere brings the database back."""
    (tmp_path / "data").mkdir()
    database = make_database(tmp_path / "data" / "app.db")
    engine = make_engine(database)
    manager = BackupManager(engine, tmp_path / "backups")
    info = manager.create()
    expected = digest(database)
    engine.dispose()
    database.unlink()
    (tmp_path / "data").rmdir()
    seen: list[tuple[int, int]] = []
    BackupManager(make_engine(database), tmp_path / "backups").restore(
        info, progress=lambda done, total: seen.append((done, total))
    )
    assert digest(database) == expected
    assert seen


def test_the_safety_backup_of_an_earlier_restore_is_kept_under_another_name(
    manager: BackupManager, database: Path, engine: Engine
) -> None:
    """Restoring a damaged database makes no way back; the old one stays, but not as that."""
    info = manager.create()
    manager.restore(info)
    earlier = safety_of(database).read_bytes()
    engine.dispose()
    _garbage(database)
    manager.restore(info)
    kept = list(database.parent.glob("app.db.safety_backup.2*"))
    assert earlier in [path.read_bytes() for path in kept]
    with pytest.raises(NothingToUndoError):
        manager.undo_restore()


@pytest.fixture
def mounted_database(tmp_path: Path) -> Iterator[Path]:
    """Mount a database file upon a file of its own, as containers do; skip where not allowed."""
    (tmp_path / "store").mkdir()
    (tmp_path / "app").mkdir()
    path = tmp_path / "app" / "app.db"
    path.touch()
    if sys.platform != "linux" or os.getuid() != 0:
        pytest.skip("mounting a file takes root on Linux")
    store = make_database(tmp_path / "store" / "app.db", mode="wal")
    command = ["mount", "--bind", str(store), str(path)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mount refused: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)  # noqa: S607


def test_a_damaged_database_that_cannot_be_renamed_keeps_its_log(
    mounted_database: Path, make_engine: EngineMaker
) -> None:
    """When the system refuses to move the file, its ``-wal`` is still there with the new rows."""
    manager = BackupManager(make_engine(mounted_database))
    info = manager.create()
    count = "SELECT count(*) FROM parent"
    with held_by_another_process(mounted_database, "DELETE FROM parent WHERE id > 5") as child:
        with mounted_database.open("r+b") as stream:  # a page of the table child
            stream.seek(4096 * 5)
            stream.write(b"\xee" * 8192)
        before = sorted(os.listdir(mounted_database.parent))
        with pytest.raises(StorageError, match="Nothing was changed"):
            manager.restore(info)
        assert set(before) <= set(os.listdir(mounted_database.parent))
        assert not list(mounted_database.parent.glob("*damaged*"))
        assert scalar(mounted_database, count) == 6
        assert ask(child, count) == "6"


def _index_page(path: Path) -> None:
    """Put another page over the root of the index, which only the full check reads."""
    data = path.read_bytes()
    path.write_bytes(data[: 4096 * 3] + data[4096 * 4 : 4096 * 5] + data[4096 * 4 :])


def test_the_way_back_is_open_to_a_database_with_a_damaged_index(
    manager: BackupManager, database: Path, engine: Engine
) -> None:
    """What could be taken can be undone to, as it was: it has all rows; ``verify`` tells of it."""
    sound = manager.create("sound")
    engine.dispose()
    _index_page(database)
    expected = digest(database)
    info = manager.create("with the damaged index")
    with pytest.raises(InvalidBackupError, match="malformed"):
        manager.verify(info)
    with pytest.raises(InvalidBackupError, match="malformed"):
        manager.restore(info)
    manager.restore(sound)
    manager.undo_restore()
    assert digest(database) == expected
    with manager.exclusive() as access:
        access.put_back(info)
    assert digest(database) == expected


def test_a_log_of_somebody_who_came_meanwhile_is_not_in_the_way_of_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moved log of a damaged database stays, when a new one has its name and all fails."""
    live = tmp_path / "app.db"
    live.write_bytes(b"damaged")
    log = tmp_path / "app.db-wal"
    log.write_bytes(b"committed rows")
    copy = tmp_path / ".app.db.restoring"
    copy.write_bytes(b"restored")
    replace = os.replace

    def fail_at_the_end(source: Path, target: Path) -> None:
        if Path(target) == live:
            log.write_bytes(b"")  # the application has opened the database meanwhile
            raise OSError(errno.ENOSPC, "no space")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_at_the_end)
    with pytest.raises(StorageError, match="replaced with another file meanwhile"):
        put_in_place(copy, live, stamp="damaged_1")
    assert live.read_bytes() == b"damaged"
    assert (tmp_path / "app.db.damaged_1-wal").read_bytes() == b"committed rows"
