"""The keys of a manager, and those that a person gives while the program runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from age_keys import Key, text_of
from sqlalchemy.engine import Engine

from soulsense_db import BackupManager
from soulsense_db.codecs import Identities, Recipients
from soulsense_db.errors import IdentityError
from soulsense_db.events import Created


def test_a_manager_with_other_identities_opens_what_they_open(
    engine: Engine, tmp_path: Path
) -> None:
    """Each of its operations has them; the manager that it was made of does not."""
    key = Key(tmp_path)
    locked = BackupManager(engine, recipients=[key.public])
    info = locked.create("secret")
    with pytest.raises(IdentityError, match="no private key is given"):
        locked.require_key(info)
    opening = locked.with_identities(key.path)
    opening.require_key(info)
    assert opening.description_of(info) == "secret"
    assert opening.verify(info).backup.filename == info.filename
    assert opening.restore(info).verified
    assert opening.catalog.names() == frozenset({info.filename})
    assert (locked.identities, opening.identities.described) == (
        Identities(),
        f"the file {key.path}",
    )
    with pytest.raises(IdentityError):
        locked.restore(info)


def test_a_manager_with_other_identities_is_the_same_else(engine: Engine, tmp_path: Path) -> None:
    """Its listeners, its class and its way to encrypt stay."""

    class Own(BackupManager):
        pass

    passphrase = text_of("what opens the new ones")
    manager = Own(engine, recipients=Recipients.with_passphrase(passphrase))
    told: list[Created] = []
    manager.events.created(told.append)
    other = manager.with_identities(Key(tmp_path).path)
    assert type(other) is Own
    info = other.create()
    assert [event.backup for event in told] == [info]
    assert other.identities.passphrase is passphrase
    other.require_key(info)


def test_other_identities_do_not_change_what_new_backups_are_encrypted_with(
    engine: Engine,
) -> None:
    """A passphrase that opens an old backup is not that of the next one."""
    own, old = (Identities(passphrase=text_of(text)) for text in ("own", "old"))
    manager = BackupManager(engine, recipients="passphrase", identities=own)
    info = manager.with_identities(old).create()
    manager.require_key(info)
    with pytest.raises(IdentityError, match="does not open it"):
        BackupManager(engine, identities=old).require_key(info)


def test_a_wrong_passphrase_is_told_before_anything_is_begun(engine: Engine) -> None:
    """It is neither no passphrase nor a key that does not fit."""
    manager = BackupManager(engine, recipients=Recipients.with_passphrase(text_of("right")))
    info = manager.create()
    with pytest.raises(IdentityError, match=r"passphrase of the function for it does not open it"):
        BackupManager(engine, identities=Identities(passphrase=text_of("wrong"))).require_key(info)
    with pytest.raises(IdentityError, match="A passphrase opens it, and none is given"):
        BackupManager(engine).require_key(info)
