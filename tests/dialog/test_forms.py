"""Encrypted and differential backups in the window: what is shown of them, and asked about them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Unpack

import pytest
from age_keys import Key, sealed_with, text_of, write_private
from helpers import add_child, digest, snapshot_of

from dialog.conftest import MakePerson
from dialog.host import DELETE_TITLE, choose_file, host, open_window, restore, row, rows, table
from dialog.person import Person
from soulsense_db import BackupInfo, BackupManager
from soulsense_db.codecs import Identities, Recipients
from soulsense_db.manager import ManagerOptions

PASSPHRASE = "correct horse"  # noqa: S105 - of this test
KEY_TITLE = "This backup is encrypted"
SEALED = "(encrypted)"


def _manager(database: Path, **options: Unpack[ManagerOptions]) -> BackupManager:
    return BackupManager.from_url(str(database), **options)


@pytest.fixture
def with_passphrase(database: Path) -> BackupInfo:
    """Return a backup that a passphrase opens, of a database that has changed since."""
    recipients = Recipients.with_passphrase(text_of(PASSPHRASE))
    info = _manager(database, recipients=recipients, compression="zstd").create("my secret")
    add_child(database)
    return info


@pytest.fixture
def key(tmp_path: Path) -> Key:
    """Return a private key and its file."""
    return Key(tmp_path, "my key.txt")


def _opened(person: MakePerson, database: Path, more: str = "") -> Person:
    user = person(host(database, more=more))
    open_window(user)
    return user


def _details(user: Person) -> str:
    return next(one.value for one in user.look().widgets if one.kind == "Text")


def _answer(user: Person, passphrase: str) -> None:
    user.window(KEY_TITLE)
    user.type(passphrase)
    user.click(user.find("Open", within=KEY_TITLE))


def test_an_encrypted_backup_is_marked(
    person: MakePerson, database: Path, with_passphrase: BackupInfo
) -> None:
    """The list says that it is encrypted, and its description is not to be read anywhere."""
    user = _opened(person, database)
    user.click(row(user, SEALED))
    assert rows(user, "Stored as") == ["encrypted, compressed"]
    user.wait_until(lambda: "cannot be counted" in _details(user), "the details")
    details = _details(user)
    assert f"Description\t{SEALED}" in details
    assert f"{with_passphrase.size_display} (restored: " in details
    assert "Stored as\tencrypted, compressed" in details
    assert "A passphrase opens it, and none is given" in details
    assert not user.sees("my secret")


def test_plain_backups_need_no_column(person: MakePerson, database: Path) -> None:
    """Where nothing is encrypted or differential, nothing is said of that."""
    _manager(database).create("plain")
    _manager(database, compression="zstd").create("small")
    user = _opened(person, database)
    row(user, "small")
    assert "Stored as" not in [one.text for one in table(user).headings]
    assert user.find("Restore…")


@pytest.mark.parametrize("button", ["Restore…", "Verify", "Export…"])
def test_a_no_changes_nothing(
    person: MakePerson, database: Path, with_passphrase: BackupInfo, button: str
) -> None:
    """A wrong passphrase is told as one, as often as it is given; Cancel leaves all as it was."""
    before = digest(database), snapshot_of(Path(with_passphrase.path).parent)
    user = _opened(person, database)
    user.click(row(user, SEALED))
    user.click(button)
    user.window(KEY_TITLE)
    assert not user.find("Open", within=KEY_TITLE).enabled
    for _ in range(2):
        _answer(user, "wrong")
        user.waits_for("The passphrase of this window does not open it.")
        assert user.sees("That does not open the backup.")
        assert not user.sees("wrong")
    user.press("Escape")
    user.wait_until(lambda: not user.sees(KEY_TITLE), "the question to go")
    assert (digest(database), snapshot_of(Path(with_passphrase.path).parent)) == before


def test_a_passphrase_is_asked_once(
    person: MakePerson, database: Path, with_passphrase: BackupInfo
) -> None:
    """Then it opens what else it opens: the restore, the next verify, and the details.

    A new window knows nothing of it.
    """
    user = _opened(person, database)
    user.click(row(user, SEALED))
    user.click("Restore…")
    _answer(user, PASSPHRASE)
    user.window("Replace app.db with this backup?")
    user.waits_for("What will change")
    user.click(user.find("Restore", within="Replace app.db with this backup?"))
    user.waits_for("Restored app.db as of")
    user.click("Verify")
    user.waits_for("is intact. It passed all checks.")
    user.wait_until(lambda: "Description\tmy secret" in _details(user), "the description")
    assert "child\t" in _details(user)
    user.press("Escape")
    open_window(user)
    user.click(row(user, SEALED))
    user.click("Verify")
    user.window(KEY_TITLE)
    user.press("Escape")


def test_a_key_file_opens_it(person: MakePerson, database: Path, key: Key, tmp_path: Path) -> None:
    """The file is chosen in the dialog for files; one that others can read is refused."""
    _manager(database, recipients=[key.public]).create("my secret")
    other = Key(tmp_path, "other.txt")
    user = _opened(person, database)
    user.click(row(user, SEALED))
    user.click("Verify")
    key.path.chmod(0o644)
    for file, told in (
        (other.path, f"No private key of the file {other.path} opens it."),
        (key.path, f"Others can read or change the key file {key.path}"),
    ):
        user.click(user.find("Key file…", within=KEY_TITLE))
        choose_file(user, "Key file", file)
        user.waits_for(told)
    key.path.chmod(0o600)
    user.click(user.find("Open", within=KEY_TITLE))
    user.waits_for("is intact. It passed all checks.")


def test_a_key_file_may_have_a_passphrase(
    person: MakePerson, database: Path, key: Key, tmp_path: Path
) -> None:
    """Then both are needed, whichever is given first."""
    manager = _manager(database, recipients=[key.public])
    info = manager.create("my secret")
    file = write_private(tmp_path / "sealed.txt", sealed_with(PASSPHRASE, key.path.read_bytes()))
    user = _opened(person, database)
    user.click(row(user, SEALED))
    user.click("Verify")
    user.click(user.find("Key file…", within=KEY_TITLE))
    choose_file(user, "Key file", file)
    user.waits_for(f"A passphrase opens the private keys in the file {file}, and none is given.")
    _answer(user, PASSPHRASE)
    user.waits_for(f"{info.filename} is intact. It passed all checks.")


def test_what_opens_an_old_backup_does_not_encrypt_the_next(
    person: MakePerson, database: Path, with_passphrase: BackupInfo
) -> None:
    """New backups are encrypted with the passphrase of the application, whatever was typed."""
    passphrase = "the application's"  # noqa: S105 - of this test
    more = f"""
from age_keys import text_of
from soulsense_db.codecs import Identities
manager = BackupManager.from_url(
    {str(database)!r},
    recipients="passphrase",
    identities=Identities(passphrase=text_of({passphrase!r})),
)
"""
    user = _opened(person, database, more)
    user.click(row(user, SEALED))
    user.click("Verify")
    _answer(user, PASSPHRASE)
    user.waits_for("is intact. It passed all checks.")
    user.click("Create Backup")
    user.waits_for("Created soulsense_backup_")
    manager = _manager(database, identities=Identities(passphrase=text_of(passphrase)))
    newest, _oldest = manager.list()
    manager.require_key(newest)


def test_an_encrypted_backup_is_exported(
    person: MakePerson, database: Path, with_passphrase: BackupInfo, tmp_path: Path
) -> None:
    """As it is; or as a plain database file, after a question."""
    user = _opened(person, database)
    user.click(row(user, SEALED))
    user.click("Export…")
    _answer(user, PASSPHRASE)
    choose_file(user, "Export", tmp_path / "copy.db.zst.age")
    user.waits_for("Exported to ")
    copy = tmp_path / "copy.db.zst.age"
    assert copy.read_bytes() == Path(with_passphrase.path).read_bytes()
    plain = tmp_path / "plain.db"
    for answer in ("Cancel", "Export decrypted"):
        user.click("Export…")
        choose_file(user, "Export", plain)
        user.click(user.find(answer, within="Export this backup without encryption?"))
        user.wait_until(lambda: not user.sees("without encryption?"), "the question to go")
        assert answer != "Cancel" or not plain.exists()
    user.waits_for(f"Exported to {plain}.")
    exported = hashlib.sha256(plain.read_bytes()).hexdigest()
    assert exported == with_passphrase.plain_sha256


def test_a_key_of_the_application_is_not_asked_for(
    person: MakePerson, database: Path, key: Key
) -> None:
    """What the manager has at hand opens its backups, without a question."""
    _manager(database, recipients=[key.public]).create("my secret")
    more = f"manager = manager.with_identities({str(key.path)!r})"
    user = _opened(person, database, more)
    restore(user, SEALED)
    assert not user.sees(KEY_TITLE)


def test_an_encrypted_file_is_imported(
    person: MakePerson, database: Path, key: Key, tmp_path: Path
) -> None:
    """What opens a file from outside is asked for, and asked for again where it does not fit."""
    there = _manager(database, recipients=[key.public], identities=key.path)
    outside = there.export(there.create("my secret"), tmp_path / "outside.db.age")
    there.delete("latest")
    user = _opened(person, database)
    user.click("Import file…")
    choose_file(user, "Import file", outside)
    _answer(user, "wrong")
    user.waits_for("no private key is given")
    user.click(user.find("Key file…", within=KEY_TITLE))
    choose_file(user, "Key file", key.path)
    user.waits_for("Imported as ")
    row(user, "my secret")
    assert [info.kind for info in there.list()] == ["imported"]


def test_a_differential_names_its_base(person: MakePerson, database: Path) -> None:
    """It says on which backup it is based, and the base how many need it; or that it is gone."""
    manager = _manager(database, differential=True)
    base = manager.create("the base")
    for name in ("first", "second"):
        manager.create(name)
    user = _opened(person, database)
    user.click(row(user, "second"))
    assert rows(user, "Stored as") == ["differential", "differential", "compressed"]
    assert "Stored as\tdifferential" in _details(user)
    assert base.filename in _details(user)
    user.click(row(user, "the base"))
    user.wait_until(lambda: "2 differential backups" in _details(user), "who needs it")
    Path(base.path).unlink()
    user.press("F5")
    user.click(row(user, "second"))
    gone = f"{base.filename} is missing; this backup cannot be restored without it"
    user.wait_until(lambda: gone in _details(user), "that it is missing")


def test_a_base_takes_what_needs_it_along(person: MakePerson, database: Path) -> None:
    """The question says how many; a no keeps all, a yes deletes those and no others."""
    manager = _manager(database, differential=True)
    for name in ("the base", "first", "second"):
        manager.create(name)
    add_child(database)
    _manager(database).create("another")
    user = _opened(person, database)
    user.click(row(user, "the base"))
    user.press("Delete")
    user.waits_for("2 other backups need it and cannot be restored without it. Delete all of them?")
    user.press("Escape")
    user.wait_until(lambda: not user.sees(DELETE_TITLE), "the question to go")
    assert len(manager.list()) == 4
    user.click(row(user, "the base"))
    user.press("Delete")
    user.click(user.find("Delete 3 backups", within=DELETE_TITLE))
    user.waits_for("Deleted with it: 2 backups that needed it.")
    user.wait_until(lambda: rows(user) == ["another"], "the rows to go")
    assert [info.description for info in manager.list()] == ["another"]


def test_only_what_was_asked_about_is_deleted(person: MakePerson, database: Path) -> None:
    """A differential that was made since the question is not deleted unasked, nor its base."""
    manager = _manager(database, differential=True)
    for name in ("the base", "first"):
        manager.create(name)
    user = _opened(person, database)
    user.click(row(user, "the base"))
    user.press("Delete")
    user.waits_for("1 other backup needs it")
    manager.create("second")
    user.click(user.find("Delete 2 backups", within=DELETE_TITLE))
    user.waits_for("Other backups need this one now than those that you were asked about.")
    user.click("OK")
    assert len(manager.list()) == 3
