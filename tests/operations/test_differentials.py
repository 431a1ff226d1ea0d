"""Differentials: their base is found, checked and protected; what is wrong with it is said."""

from __future__ import annotations

import shutil
import struct
import zlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from age_keys import Key, sealed
from conftest import EngineMaker
from forms import (
    ALWAYS,
    Made,
    add_noise,
    all_identities,
    how,
    make_backup,
    unsealed_by_others,
)
from helpers import add_child, digest, flip, leftovers, make_database

from soulsense_db import BackupManager, RetentionPolicy
from soulsense_db.backup_info import to_meta, without_base
from soulsense_db.errors import (
    BaseError,
    InvalidBackupError,
    NewerFormatError,
    OptionError,
    ProtectedBackupError,
)
from soulsense_db.operations import DifferentialPolicy

_SEALS = ("open", "key")


@pytest.fixture(params=_SEALS)
def made(
    database: Path, make_engine: EngineMaker, key: Key, request: pytest.FixtureRequest
) -> Made:
    """Return a differential and its base."""
    return make_backup(database, make_engine, stored="diff", seal=request.param, key=key)


@pytest.fixture
def manager(database: Path, make_engine: EngineMaker) -> BackupManager:
    """Return a manager of open differentials."""
    add_noise(database, 3)
    return BackupManager(make_engine(database), differential=ALWAYS, lock_timeout=5)


def _base(made: Made) -> Path:
    assert made.base is not None
    return Path(made.base.path)


def _lose(path: Path) -> None:
    path.unlink()
    Path(f"{path}.meta").unlink()


def _refused(made: Made, live: str, *, match: str) -> None:
    """Every reader says that it is the base; the live database stays."""
    manager, info = made.manager, made.info
    assert manager.database is not None
    for call in (
        lambda: manager.verify(info, level="quick"),
        lambda: manager.verify(info),
        lambda: manager.restore(info),
        lambda: manager.compare(info),
        lambda: manager.export(info, manager.directory.parent / "out.db", plain=True),
    ):
        with pytest.raises(BaseError, match=match) as caught:
            call()
        assert caught.value.path == Path(info.path)
        assert ".work-" not in str(caught.value)
    assert not manager.can_restore(info).ok
    assert digest(manager.database) == live
    assert leftovers(manager.database.parent) == leftovers(manager.directory) == []


def test_a_missing_base_is_said_and_the_next_backup_is_full(made: Made, database: Path) -> None:
    """It is named with what to copy back; backups go on at once, and with it all is well again."""
    base = _base(made)
    kept = base.read_bytes(), Path(f"{base}.meta").read_bytes()
    _lose(base)
    _refused(made, made.rows, match=base.name)
    assert without_base(made.manager.list()) == [made.manager.get(made.info.id)]
    add_child(database)
    new = made.manager.create()
    assert not new.form.is_differential
    assert made.manager.create().base_name == new.filename
    base.write_bytes(kept[0])
    Path(f"{base}.meta").write_bytes(kept[1])
    assert made.manager.verify(made.info).recorded
    made.manager.restore(made.info)
    assert digest(database) == made.rows


def test_a_changed_base_is_told_from_a_damaged_differential(
    made: Made, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At any byte it is the base that is to blame; a new backup is a full one, and says why."""
    base, live = _base(made), digest(database)
    good = base.read_bytes()
    for offset in (0, 10, len(good) // 2, len(good) - 1):
        flip(base, offset)
        _refused(made, live, match="base")
        base.write_bytes(good)
    base.write_bytes(good[:-1])
    _refused(made, live, match="base")
    base.write_bytes(good)
    flip(base, len(good) // 2)
    caplog.clear()
    new = made.manager.create()
    assert not new.form.is_differential
    assert f"{base.name} cannot be its base" in caplog.text
    assert made.manager.verify(new).checksum
    assert leftovers(database.parent) == leftovers(made.manager.directory) == []


def test_another_backup_with_the_name_of_the_base_is_not_taken(
    made: Made, database: Path, tmp_path: Path
) -> None:
    """It is known by its content: another file of that name is none, one elsewhere is it."""
    base, info = _base(made), made.info
    add_child(database)
    other = BackupManager.from_url(str(database), tmp_path / "other", compression="zstd").create()
    aside = base.with_name(f"soulsense_backup_20200101_000000_moved.db{info.form.ending}")
    aside = aside.with_name(aside.name.replace(".diff", ".zst"))
    for ending in ("", ".meta"):
        base.with_name(base.name + ending).rename(aside.with_name(aside.name + ending))
    shutil.copy(other.path, base)
    shutil.copy(other.meta_path, f"{base}.meta")
    assert made.manager.verify(info).checksum
    made.manager.restore(info)
    assert digest(database) == made.rows
    _lose(aside)
    _refused(made, made.rows, match="not there")


def test_a_base_of_another_database_is_not_taken(
    made: Made, database: Path, make_engine: EngineMaker, tmp_path: Path, key: Key
) -> None:
    """Two databases share a directory: each has its own bases, and looks at no other's."""
    other = make_database(tmp_path / "other.db", rows=50)
    options = how("diff", "key" if made.info.form.is_encrypted else "open", key)
    others = BackupManager(make_engine(other), made.manager.directory, **options)
    assert others.list() == []
    first = others.create()
    assert not first.form.is_differential
    second = others.create()
    assert second.base_sha256 == first.database_sha256
    assert made.manager.create().base_name == _base(made).name
    others.prune(RetentionPolicy(keep_last=1))
    assert made.manager.verify(made.info).checksum
    _base(made).write_bytes(Path(first.path).read_bytes())
    _refused(made, made.rows, match="base")


def test_one_that_is_copied_elsewhere_needs_its_base(
    made: Made, tmp_path: Path, make_engine: EngineMaker, key: Key
) -> None:
    """Alone it is refused with the name of what is missing; the base beside it is found."""
    usb = tmp_path / "usb"
    usb.mkdir()
    for path in (made.path, Path(f"{made.path}.meta")):
        shutil.copy(path, usb)
    new = make_engine(tmp_path / "new.db")
    elsewhere = BackupManager(new, tmp_path / "else", identities=all_identities(key))
    with pytest.raises(BaseError, match=_base(made).name):
        elsewhere.import_file(usb / made.path.name)
    assert elsewhere.list() == []
    for path in (_base(made), Path(f"{_base(made)}.meta")):
        shutil.copy(path, usb)
    arrived = elsewhere.import_file(usb / made.path.name)
    assert digest(Path(arrived.path)) == made.rows


@pytest.mark.parametrize("name", ["../app.db", "/etc/passwd", ".", "..", "a/../b", "x\\y"])
def test_the_name_of_a_base_is_no_way_out_of_the_directory(made: Made, name: str) -> None:
    """A meta file may come from anybody: what it names elsewhere is not opened."""
    Path(f"{made.path}.meta").write_bytes(to_meta(replace(made.info, base_name=name)))
    assert made.manager.verify(made.path).checksum  # found by its content
    _lose(_base(made))
    with pytest.raises(BaseError):
        made.manager.verify(made.path)


def _change_header(made: Made, key: Key, *, version: int, size: int | None = None) -> None:
    """Write the differential anew with another header, whose checksum is right."""
    seal = "key" if made.info.form.is_encrypted else "open"
    data = bytearray(unsealed_by_others(made.path.read_bytes(), seal, key))
    struct.pack_into("<I", data, 16, version)
    if size is not None:
        struct.pack_into("<Q", data, 32, size)
    struct.pack_into("<I", data, 72, zlib.crc32(data[:72]))
    made.path.write_bytes(sealed(bytes(data), key.recipients) if seal == "key" else data)


def test_a_newer_format_is_told_from_damage(made: Made, key: Key, database: Path) -> None:
    """An older program says to upgrade, whether it has the meta file or not."""
    Path(f"{made.path}.meta").unlink()
    _change_header(made, key, version=2)
    for call in (made.manager.verify, made.manager.restore, made.manager.require_key):
        with pytest.raises(NewerFormatError, match="format 2") as caught:
            call(made.path)
        assert "Upgrade" in caught.value.hint
    assert digest(database) == made.rows


def test_a_bomb_stops_at_what_may_be_in_it(made: Made, key: Key, tmp_path: Path) -> None:
    """A header that promises a petabyte makes nobody write, with the meta file or without it."""
    _change_header(made, key, version=1, size=2**50)
    with pytest.raises(InvalidBackupError):
        made.manager.restore(made.info)
    Path(f"{made.path}.meta").unlink()
    with pytest.raises(InvalidBackupError, match="more than"):
        made.manager.restore(made.path)
    assert leftovers(tmp_path) == []


def test_a_base_is_not_deleted_and_cascade_takes_all(made: Made, database: Path) -> None:
    """It says who needs it; a pinned differential stops a cascade before anything is gone."""
    manager, base = made.manager, made.base
    assert base is not None
    second = manager.create("second")
    with pytest.raises(ProtectedBackupError, match=made.info.filename) as caught:
        manager.delete(base)
    assert "cascade" in caught.value.hint
    assert {one.id for one in manager.dependents(base)} == {made.info.id, second.id}
    manager.pin(second, "for the audit")
    with pytest.raises(ProtectedBackupError, match="pinned"):
        manager.delete(base, cascade=True)
    assert len(manager.list()) == 3
    manager.unpin(second)
    manager.delete(made.info)
    assert manager.dependents(second) == []
    manager.delete(manager.get(base.id), cascade=True)
    assert manager.list() == []
    assert not manager.catalog.names()
    assert digest(database) == made.rows


def test_the_base_of_one_without_its_meta_file_stays(
    manager: BackupManager, database: Path
) -> None:
    """Its own header says which base it has; one that cannot be read protects nothing."""
    base = manager.create("the base")
    unknown = Path(manager.create("unknown").path)
    Path(f"{unknown}.meta").unlink()
    rows = digest(database)
    add_child(database)
    BackupManager.from_url(str(database), compression="zstd").create("full")
    with pytest.raises(ProtectedBackupError, match=unknown.name):
        manager.delete(base)
    kept = {one.backup.id: one.reasons for one in manager.prune(RetentionPolicy(keep_last=1)).kept}
    assert kept[base.id] == ("base of 1 differential backup(s)",)
    manager.restore(unknown)
    assert digest(database) == rows
    unknown.write_bytes(b"nothing")
    manager.delete(base)


def test_of_two_bases_with_the_same_content_one_may_go(
    manager: BackupManager, database: Path, make_engine: EngineMaker
) -> None:
    """What is needed is the content: a second copy of it is not protected, the last one is."""
    first = manager.create()
    differential = manager.create()
    twin = BackupManager(make_engine(database), compression="zstd", catalog=False)
    copy = twin.export(first, database.with_name("copy.db"), plain=True)
    second = twin.import_file(copy)
    assert second.database_sha256 == first.database_sha256
    manager.delete(first)
    assert manager.verify(differential).checksum
    with pytest.raises(ProtectedBackupError):
        manager.delete(second)


def test_the_base_of_a_pinned_differential_stays(manager: BackupManager, database: Path) -> None:
    """Whatever the policy says, until nothing needs it: then it goes with the next prune."""
    base = manager.create("the base")
    pinned = manager.pin(manager.create("pinned"), "for the audit")
    add_child(database)
    full = BackupManager.from_url(str(database), compression="zstd")
    last = full.create("full")
    report = manager.prune(RetentionPolicy(keep_last=1))
    why = {decision.backup.id: decision.reasons for decision in report.kept}
    assert why[base.id] == ("base of 1 differential backup(s)",)
    assert [one.id for one in manager.list()] == [last.id, pinned.id, base.id]
    manager.unpin(pinned)
    removed = [one.backup.id for one in manager.prune(RetentionPolicy(keep_last=1)).removed]
    assert set(removed) == {base.id, pinned.id}
    assert [one.id for one in manager.list()] == [last.id]


def test_a_new_base_is_taken_when_it_is_time(database: Path, make_engine: EngineMaker) -> None:
    """A differential above the share is the last on its base; an old base has no more of them."""
    add_noise(database, 6)
    policy = DifferentialPolicy(share=0.2)
    manager = BackupManager(make_engine(database), differential=policy)
    manager.create()
    assert manager.create().form.is_differential
    add_noise(database, 2, seed=1)
    assert manager.create().form.is_differential  # which is too large
    base = manager.create()
    assert not base.form.is_differential
    assert manager.create().base_name == base.filename
    aged = DifferentialPolicy(max_base_age=timedelta(microseconds=1))
    old = BackupManager(make_engine(database), differential=aged)
    assert not old.create().form.is_differential


def test_an_encrypted_base_is_none_for_who_has_no_key(
    database: Path, make_engine: EngineMaker, key: Key, caplog: pytest.LogCaptureFixture
) -> None:
    """A full backup is made, and says why; an open one is never based on an encrypted one."""
    made = make_backup(database, make_engine, stored="diff", seal="key", key=key)
    (key.path.parent / "other").mkdir()
    stranger = Key(key.path.parent / "other")
    for identities in (None, stranger.path):
        options = how("diff", "key", key) | {"identities": identities}
        new = BackupManager(make_engine(database), **options).create()
        assert not new.form.is_differential
    assert "cannot be its base" in caplog.text
    opened = BackupManager(make_engine(database), differential=ALWAYS, identities=key.path)
    assert not opened.create().form.is_differential
    assert opened.create().form.is_differential  # on the open one
    assert made.manager.create().form.is_differential


@pytest.mark.parametrize("compression", ["none", ""])
def test_differentials_are_compressed(database: Path, compression: str) -> None:
    """To ask for both, differentials and no compression, is an error."""
    with pytest.raises(OptionError, match="compressed"):
        BackupManager.from_url(str(database), differential=True, compression=compression)
