"""Differential and encrypted backups on the command line: where each is set, and what is said."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from age_keys import Key, make_ssh_key, needs_ssh
from helpers import add_child, digest, execute, scalar
from shell import Shell

from soulsense_db import BackupManager, errors
from soulsense_db.meta_file import read_backup

pytestmark = pytest.mark.slow

WORDS = "correct horse battery staple"


@pytest.fixture
def key(tmp_path: Path) -> Key:
    """Return a key whose file is in the folder of the shell."""
    return Key(tmp_path, "mine.txt")


def _forms(shell: Shell) -> list[str]:
    return [info.form.text for info in reversed(shell.backups())]


def _change(shell: Shell) -> None:
    add_child(shell.database)


# Where they are set


def test_differentials_are_set_by_option_variable_and_file(shell: Shell) -> None:
    """Each of them makes differentials, and --no-differential switches that off once."""
    shell.create(1)
    shell.ok("create", "--differential")
    shell.env["SOULSENSE_DIFFERENTIAL"] = "1"
    shell.ok("create")
    shell.ok("create", "--no-differential")
    shell.ok("create", "--compression", "none")
    del shell.env["SOULSENSE_DIFFERENTIAL"]
    (shell.folder / "pyproject.toml").write_text("[tool.soulsense-db]\ndifferential = true\n")
    shell.ok("create")
    (shell.folder / "pyproject.toml").unlink()
    (shell.folder / "alembic.ini").write_text("[alembic]\nsoulsense_differential = true\n")
    shell.ok("create")
    assert "soulsense_differential" in shell.ok("config")
    of_options = ["differential", "differential", "plain", "plain"]
    assert _forms(shell) == ["plain", *of_options, "differential", "differential"]


def test_recipients_are_set_by_option_variable_and_file(shell: Shell, key: Key) -> None:
    """Each of them encrypts for its keys, several of them too, and 'none' switches it off once."""
    other = Key(shell.folder, "other.txt")
    both = f"{key.public}, {other.public}"
    shell.env["SOULSENSE_IDENTITY_FILE"] = str(key.path)
    shell.ok("create", "--recipient", other.public, "--recipient", key.public)
    shell.env["SOULSENSE_RECIPIENT"] = both
    shell.ok("create")
    shell.ok("create", "--recipient", "none")
    shell.env["SOULSENSE_RECIPIENT"] = f"{other.public} {key.public}"
    shell.ok("create")
    del shell.env["SOULSENSE_RECIPIENT"]
    table = f'[tool.soulsense-db]\nrecipient = ["{other.public}", "{key.public}"]\n'
    (shell.folder / "pyproject.toml").write_text(table)
    shell.ok("create")
    table = f'[tool.alembic]\nsoulsense_recipients = ["{other.public}", "{key.public}"]\n'
    (shell.folder / "pyproject.toml").write_text(table)
    shell.ok("create")
    (shell.folder / "pyproject.toml").unlink()
    (shell.folder / "alembic.ini").write_text(
        f"[alembic]\nsoulsense_recipients =\n  {other.public}\n  {key.public}\n"
    )
    shell.ok("create")
    sealed = ["encrypted"] * 2
    assert _forms(shell) == [*sealed, "plain", *["encrypted"] * 4]
    del shell.env["SOULSENSE_IDENTITY_FILE"]
    for ref in ("latest", "latest~1", "latest~2", "latest~3", "latest~5", "latest~6"):
        shell.ok("verify", ref, "--identity-file", "other.txt")


@needs_ssh
def test_a_public_key_of_ssh_has_spaces(shell: Shell, tmp_path: Path) -> None:
    """It is one recipient in a variable and in a file, as it is on the command line."""
    ssh = tmp_path / "id_ed25519"
    make_ssh_key(ssh, "ed25519")
    public = ssh.with_suffix(".pub").read_text().strip()
    shell.env["SOULSENSE_IDENTITY_FILE"] = str(ssh)
    shell.ok("create", "--recipient", public)
    shell.env["SOULSENSE_RECIPIENT"] = public
    shell.ok("create")
    del shell.env["SOULSENSE_RECIPIENT"]
    (shell.folder / "alembic.ini").write_text(f"[alembic]\nsoulsense_recipients = {public}\n")
    shell.ok("create")
    for ref in ("latest", "latest~1", "latest~2"):
        shell.ok("verify", ref)


def test_a_key_is_found_in_each_of_its_places(shell: Shell, key: Key, tmp_path: Path) -> None:
    """The command line says before the environment, and that before the files, where it is."""
    wrong = Key(tmp_path, "wrong.txt")
    BackupManager.from_url(f"sqlite:///{shell.database}", recipients=[key.public]).create()
    ini = shell.folder / "alembic.ini"
    shell.fails(errors.IdentityError, "verify", "latest")
    ini.write_text("[alembic]\nsoulsense_identity_file = %(here)s/mine.txt\n")
    shell.ok("verify", "latest")
    ini.write_text(f"[alembic]\nsoulsense_identity_command = cat '{key.path}'\n")
    shell.ok("verify", "latest")
    assert str(key.path) not in shell.ok("config")
    ini.write_text(f"[alembic]\nsoulsense_identity_file = {wrong.path}\n")
    shell.fails(errors.IdentityError, "verify", "latest")
    shell.env["SOULSENSE_IDENTITY"] = key.secret
    shell.ok("verify", "latest")
    assert key.secret not in shell.ok("config")
    told = shell.fails(errors.IdentityError, "verify", "latest", "--identity-file", str(wrong.path))
    assert "wrong.txt" in told
    shell.env["SOULSENSE_IDENTITY"] = wrong.secret
    shell.ok("verify", "latest", "--identity-file", str(key.path))
    table = f'[tool.soulsense-db]\nidentity-file = "{key.path}"\n'
    (shell.folder / "pyproject.toml").write_text(table)
    shell.fails(errors.IdentityError, "verify", "latest")
    del shell.env["SOULSENSE_IDENTITY"]
    shell.ok("verify", "latest")


def test_a_secret_in_the_wrong_place_is_shown_nowhere(shell: Shell, key: Key) -> None:
    """A private key as a recipient or the name of a file is an error that does not have it."""
    for error, arguments in (
        (errors.OptionError, ("create", "--recipient", key.secret)),
        (errors.IdentityError, ("list", "--identity-file", key.secret)),
    ):
        assert key.secret not in shell.fails(error, *arguments)
    assert key.secret not in shell.ok("config", "--recipient", key.secret)
    assert not (shell.folder / "data" / "backups").exists()


def test_the_work_directory_is_used(shell: Shell, key: Key, tmp_path: Path) -> None:
    """One that is not there is an error of the disk, and no other place is taken."""
    where = str(tmp_path / "absent")
    arguments = ("create", "--recipient", key.public)
    shell.fails(errors.StorageError, *arguments, "--work-directory", where)
    (shell.folder / "alembic.ini").write_text(f"[alembic]\nsoulsense_work_directory = {where}\n")
    shell.fails(errors.StorageError, *arguments)
    (tmp_path / "absent").mkdir()
    shell.env["SOULSENSE_IDENTITY_FILE"] = str(key.path)
    shell.ok(*arguments)


def test_compression_off_and_differentials_contradict_each_other(shell: Shell) -> None:
    """Both on one command line are an error, and nothing is made."""
    told = shell.fails(errors.OptionError, "create", "--compression", "none", "--differential")
    assert "Leave out" in told
    assert not (shell.folder / "data" / "backups").exists()


# What is said


def test_the_form_is_told(shell: Shell, key: Key) -> None:
    """Of a new backup, in a list where not all are plain, and of one backup with its base."""
    shell.ok("create")
    assert "FORM" not in shell.ok("list")
    shell.env |= {"SOULSENSE_IDENTITY_FILE": str(key.path), "SOULSENSE_RECIPIENT": key.public}
    shell.ok("create", "--compression", "zstd")
    _change(shell)
    told = shell.ok("create", "--differential")
    assert "(differential, encrypted; decompressed " in told
    listed = shell.ok("list").splitlines()
    assert "FORM" in listed[0]
    assert [
        form in line
        for form, line in zip(
            ("differential, encrypted", "zstd, encrypted", "plain"), listed[1:], strict=True
        )
    ] == [True] * 3
    newest, base, _ = shell.backups()
    shown = shell.ok("show", "latest")
    assert f"base          {base.filename} ({base.size_display})" in shown
    assert f"size          {newest.size_display} ({newest.size_bytes:,} bytes)" in shown
    needed = f"needed by     1 differential backup(s), {newest.size_display} together"
    assert needed in shell.ok("show", base.id)
    assert shell.json("show", base.id)["dependents"] == [newest.filename]
    assert shell.json("show", "latest")["backup"]["form"] == "differential, encrypted"
    Path(base.path).unlink()
    assert f"{base.filename} is MISSING" in shell.ok("show", "latest")


def test_an_encrypted_description_is_shown_to_who_has_the_key(shell: Shell, key: Key) -> None:
    """Of one backup with the key; else, and in a list, it is said that it is encrypted."""
    with_key = ("--identity-file", str(key.path))
    shell.ok("create", "a quiet word", "--recipient", key.public, *with_key)
    directory = shell.folder / "data" / "backups"
    assert not any("quiet" in path.name for path in directory.iterdir())
    for command in (("list",), ("list", *with_key), ("show", "latest")):
        said = shell.ok(*command)
        assert "(encrypted)" in said
        assert "quiet" not in said
    assert "description  a quiet word" in shell.ok("show", "latest", *with_key)
    assert shell.json("show", "latest", *with_key)["backup"]["description"] == "a quiet word"
    assert "quiet" in shell.ok("restore", "latest", "--yes", *with_key)
    openly = ("--describe-openly", "--recipient", key.public, *with_key)
    shell.ok("create", "a loud word", *openly)
    assert "a loud word" in shell.ok("list")


def test_a_base_is_deleted_with_what_needs_it_or_not_at_all(shell: Shell) -> None:
    """Without --cascade the error names the command; with it, all of them go."""
    shell.ok("create", "--differential")
    base = shell.backups()[0]
    for _ in range(2):
        _change(shell)
        shell.ok("create", "--differential")
    told = shell.fails(errors.ProtectedBackupError, "delete", base.id, "--yes")
    assert f"delete {base.filename} --cascade" in told
    with_key = ("--identity-file", "key.txt")
    told = shell.fails(errors.ProtectedBackupError, "delete", base.id, *with_key)
    assert "--cascade --identity-file key.txt" in told
    newest = shell.backups()[0]
    shell.ok("pin", "latest")
    told = shell.fails(errors.ProtectedBackupError, "delete", base.id, "--cascade", "--yes")
    assert newest.filename in told
    shell.ok("unpin", "latest")
    asked = shell.run("delete", base.id, "--cascade")
    assert asked.returncode == errors.NotConfirmedError.exit_code
    assert all(info.id[:8] in asked.stdout for info in shell.backups())
    assert len(shell.backups()) == 3
    gone = shell.json("delete", base.id, "--cascade", "--yes")
    assert len(gone["dependents"]) == 2
    assert shell.backups() == []


def test_an_export_takes_the_base_along_and_says_so(shell: Shell, tmp_path: Path) -> None:
    """Both are named, and can be restored from there; with --plain there is no base."""
    shell.ok("create", "--differential")
    _change(shell)
    shell.ok("create", "--differential")
    usb = tmp_path / "usb"
    usb.mkdir()
    told = shell.ok("export", "latest", str(usb))
    base = shell.backups()[1]
    assert f"and its base, without which it cannot be restored, to {usb / base.filename}" in told
    assert len(list(usb.iterdir())) == 4
    exported = next(usb.glob("*.diff"))
    assert read_backup(exported).base_name == base.filename
    plain = shell.json("export", "latest", str(usb / "copy.db"))
    assert plain["base"] is None
    assert digest(usb / "copy.db") == digest(shell.database)


def test_an_encrypted_backup_is_exported_as_it_is_or_decrypted(shell: Shell, key: Key) -> None:
    """A name of a plain file alone decrypts nothing; --plain does."""
    shell.env["SOULSENSE_IDENTITY_FILE"] = str(key.path)
    shell.ok("create", "--recipient", key.public)
    assert "--plain" in shell.fails(errors.StorageError, "export", "latest", "copy.db")
    shell.ok("export", "latest", "copy.db", "--plain")
    assert digest(shell.folder / "copy.db") == digest(shell.database)


def test_a_machine_without_the_key_makes_backups(shell: Shell, key: Key) -> None:
    """Each run of auto makes one, and verifies what can be verified; the key verifies it all."""
    shell.env["SOULSENSE_RECIPIENT"] = key.public
    for count in (1, 2):
        done = shell.run("auto", "--keep-last", "9")
        assert done.returncode == 0
        assert "its checksum verified" in done.stdout
        assert len(shell.backups()) == count
    newest = Path(shell.backups()[0].path)
    newest.write_bytes(newest.read_bytes()[:-1])
    assert "is DAMAGED" in shell.run("auto").stdout
    assert len(shell.backups()) == 3
    shell.env["SOULSENSE_IDENTITY_FILE"] = str(key.path)
    assert "nothing has changed" in shell.ok("auto")
    assert ", verified," in shell.ok("auto")


# Passphrases


def test_a_passphrase_comes_from_the_environment(shell: Shell) -> None:
    """It encrypts and opens; without it, and without a terminal, nothing is made."""
    told = shell.fails(errors.IdentityError, "create", "--recipient", "passphrase")
    assert "SOULSENSE_PASSPHRASE" in told
    assert shell.backups() == []
    shell.env["SOULSENSE_PASSPHRASE"] = WORDS
    shell.ok("create", "--recipient", "passphrase")
    assert WORDS not in shell.ok("config")
    execute(shell.database, "DELETE FROM child")
    del shell.env["SOULSENSE_PASSPHRASE"]
    shell.fails(errors.IdentityError, "restore", "latest", "--yes")
    assert scalar(shell.database, "SELECT count(*) FROM child") == 0
    shell.env["SOULSENSE_PASSPHRASE"] = WORDS[:-1]
    shell.fails(errors.IdentityError, "restore", "latest", "--yes")
    assert scalar(shell.database, "SELECT count(*) FROM child") == 0
    shell.env["SOULSENSE_PASSPHRASE"] = WORDS
    shell.ok("restore", "latest", "--yes")
    with closing(sqlite3.connect(shell.database)) as connection:
        assert connection.execute("SELECT count(*) FROM child").fetchone()[0] > 0
