"""The base of a differential: kept as long as it is needed, and the right one of several."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from age_keys import Key
from conftest import EngineMaker
from helpers import execute, flip

from soulsense_db import BackupInfo, BackupManager, RetentionPolicy
from soulsense_db.backup_info import to_meta
from soulsense_db.errors import BackupError, InvalidBackupError, ProtectedBackupError

ONE = RetentionPolicy(keep_last=1)


@pytest.fixture
def manager(database: Path, make_engine: EngineMaker) -> BackupManager:
    """Return a manager that makes differentials, and whose table changes no content."""
    return BackupManager(make_engine(database), catalog=False, differential=True)


@pytest.fixture
def pair(manager: BackupManager, database: Path) -> tuple[BackupInfo, BackupInfo]:
    """Return a base, and the differential on it."""
    base = manager.create("base")
    execute(database, "CREATE TABLE more (id INTEGER)")
    return base, manager.create("differential")


def _twin(info: BackupInfo) -> BackupInfo:
    """Copy a backup; return the copy, which has the same content."""
    path = str(Path(info.path).with_name(info.filename.replace("base", "again")))
    shutil.copy(info.path, path)
    twin = replace(info, path=path, id="twin")
    Path(twin.meta_path).write_bytes(to_meta(twin))
    return twin


def _lose(meta: Path) -> None:
    meta.unlink()


def _damage(meta: Path) -> None:
    meta.write_bytes(meta.read_bytes()[:-20])


@pytest.mark.parametrize("spoil", [_lose, _damage])
def test_a_differential_without_its_meta_file_keeps_its_base(
    manager: BackupManager,
    database: Path,
    make_engine: EngineMaker,
    pair: tuple[BackupInfo, BackupInfo],
    spoil: Callable[[Path], None],
) -> None:
    """Its file says which one that is: nothing removes it, and then it can be adopted."""
    base, differential = pair
    spoil(Path(differential.meta_path))
    with pytest.raises(ProtectedBackupError, match="the base of 1 differential"):
        manager.delete(base)
    full = BackupManager(make_engine(database), catalog=False)
    full.create()
    full.create()
    full.prune(ONE)
    assert base.filename in {info.filename for info in manager.list()}
    adopted = manager.adopt(differential.path)
    assert adopted.base_sha256 == base.database_sha256
    assert manager.verify(adopted).recorded


@pytest.mark.parametrize("spoiled", ["named", "twin"])
def test_of_two_bases_the_sound_one_is_needed(
    manager: BackupManager, pair: tuple[BackupInfo, BackupInfo], spoiled: str
) -> None:
    """One that has failed a check stands in for none, and is not the one that is read."""
    base, differential = pair
    twin = _twin(base)
    bad, good = (base, twin) if spoiled == "named" else (twin, base)
    flip(Path(bad.path), 200)
    with pytest.raises(InvalidBackupError):
        manager.verify(bad)
    assert manager.verify(differential).recorded
    with pytest.raises(ProtectedBackupError):
        manager.delete(good)
    manager.prune(ONE)
    assert {info.id for info in manager.list()} == {differential.id, good.id}
    assert manager.verify(differential).recorded


def test_a_base_that_takes_a_key_stands_in_for_none_that_takes_none(
    manager: BackupManager,
    database: Path,
    make_engine: EngineMaker,
    tmp_path: Path,
) -> None:
    """A differential that is not encrypted is never lost with a key."""
    base = manager.create("base")
    key = Key(tmp_path)
    engine = make_engine(database)
    sealing = BackupManager(engine, catalog=False, recipients=[key.public], identities=key.path)
    sealed = sealing.create("sealed")
    assert sealed.database_sha256 == base.database_sha256
    execute(database, "CREATE TABLE more (id INTEGER)")
    differential = manager.create("differential")
    with pytest.raises(ProtectedBackupError):
        manager.delete(base)
    renamed = Path(base.path).with_name(base.filename.replace("base", "renamed"))
    Path(base.path).rename(renamed)
    Path(base.meta_path).rename(f"{renamed}.meta")
    assert manager.verify(differential).recorded  # without the key
    manager.delete(sealed)
    assert manager.verify(differential).recorded


@pytest.mark.parametrize("name", ["../{}", "/backups/{}", ".", ".."])
def test_a_base_whose_name_is_none(
    manager: BackupManager, pair: tuple[BackupInfo, BackupInfo], name: str
) -> None:
    """The content tells the base; a name that nobody but an attacker writes leads nowhere."""
    base, differential = pair
    odd = replace(differential, base_name=name.format(base.filename))
    Path(odd.meta_path).write_bytes(to_meta(odd))
    assert manager.verify(odd).recorded


@pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
def test_a_base_from_outside_that_is_no_file(
    manager: BackupManager, pair: tuple[BackupInfo, BackupInfo], tmp_path: Path, kind: str
) -> None:
    """It is not waited for: the one in the backup directory is taken, if there is one."""
    base, differential = pair
    outside = tmp_path / "outside"
    outside.mkdir()
    copy = manager.export(differential, outside)
    beside = outside / base.filename
    moved = beside.rename(outside / "moved")
    if kind == "link":
        beside.symlink_to(moved)
    elif kind == "fifo":
        os.mkfifo(beside)
    else:
        beside.mkdir()
    assert manager.import_file(copy).kind == "imported"
    manager.delete(base, cascade=True)
    with pytest.raises(BackupError, match="is not there"):
        manager.import_file(copy)
