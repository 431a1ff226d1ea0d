"""Bases of encrypted differentials: who can read which, and what is copied along."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from age_keys import Key
from conftest import EngineMaker
from forms import ALWAYS, add_noise
from helpers import add_child, digest, flip

from soulsense_db import BackupManager
from soulsense_db.errors import ChecksumMismatchError, IdentityError, StorageError
from soulsense_db.operations import DifferentialPolicy


@pytest.fixture
def full(database: Path, make_engine: EngineMaker) -> str:
    """Return the file name of a full backup that is not encrypted."""
    add_noise(database, 3)
    return BackupManager(make_engine(database), compression="zstd").create("readable").filename


def test_with_a_key_at_hand_the_base_is_encrypted_as_well(
    database: Path, make_engine: EngineMaker, key: Key, full: str
) -> None:
    """What is readable already is no base; without encryption the other one is none."""
    engine = make_engine(database)
    sealing = BackupManager(
        engine, differential=ALWAYS, recipients=[key.public], identities=key.path
    )
    assert not sealing.create().form.is_differential
    assert sealing.create().form.is_differential
    again = BackupManager(engine, differential=ALWAYS, identities=key.path).create()
    assert again.base_name == full


def test_after_a_change_of_recipients_the_old_key_is_not_needed(
    database: Path, make_engine: EngineMaker, key: Key, tmp_path: Path
) -> None:
    """A base has the same recipients as its differentials: the next backup is a full one."""
    add_noise(database, 3)
    (tmp_path / "keys" / "new").mkdir()
    new = Key(tmp_path / "keys" / "new")
    engine = make_engine(database)
    old = BackupManager(engine, differential=ALWAYS, recipients=[key.public], identities=key.path)
    old.create()
    assert old.create().form.is_differential
    both = [new.path, key.path]
    changed = BackupManager(engine, differential=ALWAYS, recipients=[new.public], identities=both)
    assert not changed.create().form.is_differential
    info = changed.create()
    assert info.form.is_differential
    rows = digest(database)
    add_child(database)
    changed.with_identities(new.path).restore(info)
    assert digest(database) == rows


def test_an_encrypted_backup_takes_no_readable_base_along(
    database: Path, make_engine: EngineMaker, key: Key, full: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a key at hand it may be based on one, which is said; neither goes onto a stick."""
    usb = database.parent / "usb"
    usb.mkdir()
    manager = BackupManager(make_engine(database), differential=ALWAYS, recipients=[key.public])
    with caplog.at_level(logging.WARNING, logger="soulsense_db"):
        info = manager.create("sealed")
    assert info.base_name == full
    assert any(full in line and "is not" in line for line in caplog.messages)
    with pytest.raises(StorageError, match="readable"):
        manager.export(info, usb)
    assert list(usb.iterdir()) == []
    opening = manager.with_identities(key.path)
    assert digest(opening.export(info, usb, plain=True)) == digest(database)


def test_an_error_of_a_key_names_the_base_that_it_is_about(
    database: Path, make_engine: EngineMaker, key: Key, tmp_path: Path
) -> None:
    """The differential itself is opened; who reads the error knows which key to look for."""
    add_noise(database, 3)
    engine = make_engine(database)
    (tmp_path / "keys" / "other").mkdir()
    other = Key(tmp_path / "keys" / "other")
    # The same content, for somebody else.
    standing_in = BackupManager(
        engine, catalog=False, compression="zstd", recipients=[other.public]
    ).create()
    manager = BackupManager(
        engine, catalog=False, differential=ALWAYS, recipients=[key.public], identities=key.path
    )
    base, info = manager.create(), manager.create()
    assert info.base_sha256 == standing_in.database_sha256
    manager.delete(base)
    with pytest.raises(IdentityError, match="needs its base") as caught:
        manager.restore(info)
    assert standing_in.filename in str(caught.value)
    manager.with_identities([key.path, other.path]).restore(info)


def test_a_machine_that_only_creates_copies_its_backups_off(
    database: Path, make_engine: EngineMaker, key: Key, tmp_path: Path
) -> None:
    """An export of what is encrypted compares the stored bytes, and needs no key."""
    manager = BackupManager(make_engine(database), recipients=[key.public])
    info = manager.create("off")
    (tmp_path / "usb").mkdir()
    copy = manager.export(info, tmp_path / "usb")
    assert copy.read_bytes() == Path(info.path).read_bytes()
    flip(Path(info.path), -1)
    with pytest.raises(ChecksumMismatchError):
        manager.export(info, tmp_path / "again.db.age")
    with pytest.raises(IdentityError):
        manager.export(info, tmp_path / "plain.db", plain=True)


def test_an_import_that_decrypts_says_so(
    database: Path,
    make_engine: EngineMaker,
    key: Key,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The backup directory would hold readable what came encrypted."""
    manager = BackupManager(make_engine(database), recipients=[key.public], identities=key.path)
    copy = manager.export(manager.create("secret"), tmp_path / "copy.db.age")
    engine = make_engine(tmp_path / "other.db")
    with caplog.at_level(logging.WARNING, logger="soulsense_db"):
        BackupManager(engine, tmp_path / "open", identities=key.path).import_file(copy)
        assert any("copy.db.age is encrypted" in line for line in caplog.messages)
        caplog.clear()
        sealed = BackupManager(
            engine, tmp_path / "sealed", identities=key.path, recipients=[key.public]
        ).import_file(copy)
    assert sealed.form.is_encrypted
    assert not caplog.messages


def test_a_plain_base_counts_as_what_a_full_backup_would_take(
    database: Path, make_engine: EngineMaker
) -> None:
    """A new base is taken at a third of that, not at a third of the plain size."""
    add_noise(database, 3)
    engine = make_engine(database)
    plain = BackupManager(engine).create()
    first = BackupManager(engine, differential=ALWAYS).create()
    assert first.base_name == plain.filename
    share = 1.5 * first.size_bytes / plain.size_bytes
    again = BackupManager(engine, differential=DifferentialPolicy(share=share)).create()
    assert not again.form.is_differential
