"""Backups of every form, open and encrypted: all that can be done with a plain one."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from age_keys import Key, age, needs_age
from conftest import EngineMaker
from forms import (
    EVERY,
    Made,
    add_noise,
    all_identities,
    ending,
    guess_quickly,
    how,
    make_backup,
    plain_by_others,
)
from helpers import add_child, digest, leftovers

from soulsense_db import BackupManager, RetentionPolicy
from soulsense_db.errors import BackupError, InvalidBackupError, NotEnoughSpaceError, StorageError
from soulsense_db.fs import space
from soulsense_db.scheduled import run_auto

_ZSTD = shutil.which("zstd")
_needs_zstd = pytest.mark.skipif(_ZSTD is None, reason="the program zstd is not here")
_FULL = [(stored, seal) for stored, seal in EVERY if stored != "diff"]


@pytest.fixture(autouse=True)
def _quick_passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    guess_quickly(monkeypatch)


@pytest.fixture
def made(
    database: Path, make_engine: EngineMaker, key: Key, request: pytest.FixtureRequest
) -> Made:
    """Return a backup of the form that the test is for."""
    stored, seal = request.param
    return make_backup(database, make_engine, stored=stored, seal=seal, key=key)


_each = pytest.mark.parametrize("made", EVERY, indirect=True, ids="-".join)


def _nothing_left(made: Made) -> None:
    database = made.manager.database
    assert database is not None
    assert leftovers(database.parent) == leftovers(made.manager.directory) == []


@_each
def test_it_is_verified_restored_undone_and_compared(made: Made, database: Path) -> None:
    """Row by row the same comes back, and nothing is left beside the database."""
    manager, info = made.manager, made.info
    for level in ("quick", "full"):
        report = manager.verify(info, level=level)
        assert (report.checksum, report.recorded) == (True, True)
    add_child(database)
    changed = digest(database)
    assert {one.table: one.lost for one in manager.compare(info).tables}["child"] == 1
    counts = {one.table: (one.backup, one.live) for one in manager.row_counts(info)}
    assert counts["child"] == (301, 302)
    assert manager.can_restore(info).ok
    assert manager.restore(info).verified
    assert digest(database) == made.rows
    manager.undo_restore()
    assert digest(database) == changed
    database.unlink()
    manager.restore(info)
    assert digest(database) == made.rows
    _nothing_left(made)


@pytest.mark.parametrize(("stored", "seal"), EVERY)
def test_others_read_what_is_stored(
    database: Path, make_engine: EngineMaker, key: Key, *, stored: str, seal: str
) -> None:
    """By the descriptions of the formats alone; the sizes of both are in the meta file."""
    made = make_backup(database, make_engine, stored=stored, seal=seal, key=key)
    assert made.info.filename.endswith(ending(stored, seal))
    base = plain_by_others(Path(made.base.path), seal, key) if made.base else b""
    plain = database.with_name("plain.db")
    plain.write_bytes(plain_by_others(made.path, seal, key, base))
    assert digest(plain) == made.rows
    assert made.info.restored_size_bytes == plain.stat().st_size
    assert made.info.size_bytes == made.path.stat().st_size
    meta = json.loads(Path(f"{made.path}.meta").read_bytes())
    assert meta.get("base_name") == (made.base.filename if made.base else None)
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert made.manager.list()[0] == made.info


@needs_age
@_needs_zstd
@pytest.mark.parametrize("stored", ["plain", "zstd"])
def test_programs_of_others_open_ours_and_we_open_theirs(
    database: Path, make_engine: EngineMaker, key: Key, stored: str
) -> None:
    """`age -d | zstd -d` has the database; what `zstd | age` wrote is imported."""
    made = make_backup(database, make_engine, stored=stored, seal="key", key=key)
    data = age("-d", "-i", key.path, made.info.path)
    if stored == "zstd":
        command = [str(_ZSTD), "-dqc"]
        data = subprocess.run(command, input=data, capture_output=True, check=True).stdout
    (theirs := database.with_name("theirs.db")).write_bytes(data)
    assert digest(theirs) == made.rows
    if stored == "zstd":
        subprocess.run([str(_ZSTD), "-q", "--rm", str(theirs)], check=True)
        theirs = theirs.with_name("theirs.db.zst")
    sealed = theirs.with_name(f"{theirs.name}.age")
    age("-r", key.public, "-o", sealed, theirs)
    arrived = made.manager.import_file(sealed, "From the program")
    assert made.manager.description_of(arrived) == "From the program"
    add_child(database)
    made.manager.restore(arrived)
    assert digest(database) == made.rows


def test_all_forms_are_in_one_directory(database: Path, make_engine: EngineMaker, key: Key) -> None:
    """One manager that has the keys works with all; retention keeps what a differential needs."""
    add_noise(database, 12)
    rows = {}
    identities = all_identities(key)
    for number, (stored, seal) in enumerate(EVERY):
        options = how(stored, seal, key) | {"identities": identities}
        manager = BackupManager(make_engine(database), **options)
        add_child(database, f"for {number}")
        info = manager.create(f"number {number}")
        assert info.filename.endswith(ending(stored, seal))
        rows[info.id] = digest(database)
    plain = BackupManager(make_engine(database), identities=identities)
    listed = plain.list()
    assert [info.id for info in listed] == list(reversed(rows))
    assert plain.get("latest~2").id == listed[2].id
    for info in listed:
        plain.restore(info)
        assert digest(database) == rows[info.id]
        assert plain.description_of(info).startswith("number")
    plain.pin(listed[1], "for the audit")
    removed = {one.backup.id for one in plain.prune(RetentionPolicy(keep_last=1)).removed}
    needed = {info.base_sha256 for info in listed[:2]}
    bases = {info.id for info in listed[2:] if info.database_sha256 in needed}
    assert removed == {info.id for info in listed[2:]} - bases
    for info in plain.list():
        plain.restore(info)
        assert digest(database) == rows[info.id]


@_each
def test_it_is_exported_and_imported(
    made: Made, tmp_path: Path, make_engine: EngineMaker, key: Key
) -> None:
    """As it is with its base, under a name of its form, and plain; all can be brought in."""
    manager, info = made.manager, made.info
    (tmp_path / "usb").mkdir()
    as_it_is = manager.export(info, tmp_path / "usb")
    assert (as_it_is.name, as_it_is.read_bytes()) == (info.filename, made.path.read_bytes())
    (tmp_path / "named").mkdir()
    named = manager.export(info, tmp_path / "named" / f"copy.db{info.form.ending}")
    assert named.read_bytes() == as_it_is.read_bytes()
    plain = manager.export(info, tmp_path / "plain.db", plain=True)
    assert digest(plain) == made.rows
    meta = json.loads(Path(f"{plain}.meta").read_bytes())
    assert meta["format"] == 1
    assert meta["description"] == "Before the import"
    if info.form.is_encrypted:
        with pytest.raises(StorageError, match="encrypted"):
            manager.export(info, tmp_path / "by_mistake.db")
        assert not (tmp_path / "by_mistake.db").exists()
    options = how("plain", "open", key) | {"identities": all_identities(key)}
    other = make_engine(tmp_path / "other.db")
    elsewhere = BackupManager(other, tmp_path / "elsewhere", **options)
    for source in (as_it_is, named, plain):
        arrived = elsewhere.import_file(source)
        assert (arrived.description, arrived.created_at) == ("Before the import", info.created_at)
        assert digest(Path(arrived.path)) == made.rows
    assert elsewhere.verify(arrived).checksum
    _nothing_left(made)


@_each
def test_what_is_imported_gets_the_form_of_new_backups(
    made: Made, tmp_path: Path, make_engine: EngineMaker, database: Path
) -> None:
    """A plain file from elsewhere is stored as full backups are, and comes back."""
    copy = made.manager.export(made.info, tmp_path / "copy.db", plain=True)
    add_child(database)
    arrived = made.manager.import_file(copy)
    differential = made.info.form.is_differential
    assert arrived.form == replace(
        made.info.form,
        is_differential=False,
        is_compressed=made.info.form.is_compressed or differential,
    )
    made.manager.restore(arrived)
    assert digest(database) == made.rows
    assert made.manager.description_of(arrived) == "Before the import"


def test_the_room_for_an_import_is_that_of_the_new_form(
    database: Path, make_engine: EngineMaker, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is small outside and large here is refused before anything is written."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE zeros AS SELECT zeroblob(1000000) AS data")
    made = make_backup(database, make_engine, stored="zstd", seal="open", key=key)
    copy = made.manager.export(made.info, database.with_name("copy.db.zst"))
    plain = BackupManager(make_engine(database))
    room = made.info.size_bytes + 400_000
    assert room < made.info.restored_size_bytes
    free = space.free_space
    monkeypatch.setattr(
        space, "free_space", lambda place: room if place == plain.directory else free(place)
    )
    with pytest.raises(NotEnoughSpaceError):
        plain.import_file(copy)
    assert made.manager.import_file(copy).form == made.info.form


@_each
def test_a_schedule_sees_that_nothing_has_changed(made: Made, database: Path) -> None:
    """No second backup of the same content; the old ones go, and not what is still needed."""
    again = run_auto(made.manager)
    assert again is not None
    assert again.created is None
    add_child(database)
    changed = run_auto(made.manager, RetentionPolicy(keep_last=1))
    assert changed is not None
    assert changed.created is not None
    assert changed.created.form == made.info.form
    for info in made.manager.list():
        assert made.manager.verify(info).checksum


@_each
def test_one_without_its_meta_file_is_used_and_adopted(made: Made, database: Path) -> None:
    """It is of unknown origin, as a plain one; adopted, it has all its facts again."""
    Path(f"{made.path}.meta").unlink()
    unknown = next(one for one in made.manager.list() if one.path == made.info.path)
    assert unknown.of_unknown_origin
    assert not made.manager.verify(unknown).checksum
    made.manager.require_key(unknown)
    add_child(database)
    made.manager.restore(made.path)
    assert digest(database) == made.rows
    adopted = made.manager.adopt(made.path)
    for fact in ("sha256", "size_bytes", "plain_sha256", "plain_size_bytes", "base_sha256"):
        assert getattr(adopted, fact) == getattr(made.info, fact), fact
    assert made.manager.verify(adopted, level="quick").checksum
    _nothing_left(made)


def _refused(made: Made, what: Path | object, *, level: Literal["quick", "full"]) -> None:
    with pytest.raises(InvalidBackupError):
        made.manager.verify(what, level=level)  # type: ignore[arg-type]
    with pytest.raises(InvalidBackupError):
        made.manager.restore(what)  # type: ignore[arg-type]


@pytest.mark.slow
@_each
def test_every_flip_and_cut_is_found(made: Made, database: Path) -> None:
    """Damage in every 64 KB is found by each check, a restore refuses, and nothing is lost."""
    good, before = made.path.read_bytes(), digest(database)
    assert len(good) > 4 * 64 * 1024
    for offset in [*range(0, len(good), 64 * 1024), len(good) - 1]:
        for damaged in (_flipped(good, offset), good[:offset]):
            made.path.write_bytes(damaged)
            for level in ("quick", "full"):
                _refused(made, made.info, level=level)
    made.path.write_bytes(good)
    assert digest(database) == before
    assert made.manager.verify(made.info).checksum
    _nothing_left(made)


@pytest.mark.slow
@pytest.mark.parametrize(
    "made", [one for one in EVERY if one != ("plain", "open")], indirect=True, ids="-".join
)
def test_every_flip_and_cut_is_found_without_the_meta_file(made: Made, database: Path) -> None:
    """The stored streams have checksums of their own: an error of the tree, whatever is damaged."""
    Path(f"{made.path}.meta").unlink()
    good, before = made.path.read_bytes(), digest(database)
    for offset in [*range(0, len(good), 64 * 1024), len(good) - 1, 30, 60, 150]:
        for damaged in (_flipped(good, offset), good[:offset]):
            made.path.write_bytes(damaged)
            with pytest.raises(BackupError):  # a header may be that of another key
                made.manager.restore(made.path)
            with suppress(BackupError):  # its beginning may be whole
                made.manager.require_key(made.path)
    made.path.write_bytes(good)
    assert digest(database) == before
    _nothing_left(made)


def _flipped(data: bytes, offset: int) -> bytes:
    return data[:offset] + bytes([data[offset] ^ 0xFF]) + data[offset + 1 :]
