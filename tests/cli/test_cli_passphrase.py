"""A person at a terminal is asked for a passphrase that is needed and set nowhere."""

from __future__ import annotations

import os
from typing import Any

import pexpect
import pytest
from age_keys import Key
from helpers import digest, execute
from shell import Shell
from terminal import end_of, terminal

from soulsense_db import errors

pytestmark = pytest.mark.slow

WORDS = "correct horse battery staple"


@pytest.fixture
def sealed(shell: Shell) -> Shell:
    """Return a shell whose one backup is encrypted with the passphrase."""
    shell.env["SOULSENSE_PASSPHRASE"] = WORDS
    shell.ok("create", "--recipient", "passphrase", "Before the import")
    del shell.env["SOULSENSE_PASSPHRASE"]
    return shell


def _type(child: Any, question: str, answer: str) -> None:
    child.expect(question)
    child.waitnoecho()
    child.sendline(answer)


def test_a_new_one_is_asked_for_twice(shell: Shell) -> None:
    """Two that differ are asked for again; what is typed is shown nowhere, and opens the backup."""
    with terminal(shell, "create", "--recipient", "passphrase") as child:
        _type(child, "Passphrase for the new backup: ", WORDS)
        _type(child, "The same again: ", WORDS[:-1])
        child.expect("do not match")
        _type(child, "Passphrase for the new backup: ", WORDS)
        _type(child, "The same again: ", WORDS)
        child.expect("Created")
        assert "could not be proven" not in child.before
        assert WORDS not in child.before
        assert end_of(child) == 0
    shell.env["SOULSENSE_PASSPHRASE"] = WORDS
    shell.ok("verify", "latest")


def test_it_is_asked_for_once_in_a_restore(sealed: Shell) -> None:
    """A restore verifies, compares, and restores, with one question before all of it."""
    before = digest(sealed.database)
    execute(sealed.database, "DELETE FROM child")
    with terminal(sealed, "restore", "latest") as child:
        _type(child, "Passphrase: ", WORDS)
        child.expect("Before the import")
        child.expect(r"\[y/N\]")
        child.sendline("y")
        child.expect("Restored")
        assert end_of(child) == 0
        assert "Passphrase" not in child.before
    assert digest(sealed.database) == before


def test_a_wrong_one_is_an_error(sealed: Shell) -> None:
    """It is said at once, before anything else was done."""
    with terminal(sealed, "verify", "latest") as child:
        _type(child, "Passphrase: ", "something else")
        child.expect("Error: .* cannot be opened")
        assert end_of(child) == errors.IdentityError.exit_code


@pytest.mark.parametrize("ends", ["\x03", "\x04"])
def test_who_does_not_answer_has_changed_nothing(shell: Shell, ends: str) -> None:
    """Ctrl-C interrupts the program, the end of the input is a no: no backup is made."""
    with terminal(shell, "create", "--recipient", "passphrase") as child:
        child.expect("Passphrase for the new backup: ")
        child.waitnoecho()
        child.send(ends)
        code = end_of(child)
        assert "Traceback" not in child.before
    assert code == (130 if ends == "\x03" else errors.NotConfirmedError.exit_code)
    assert shell.backups() == []


def test_bytes_that_are_no_text_are_an_error(shell: Shell) -> None:
    """A terminal of another encoding than the locale's is told of, and nothing typed is shown."""
    with terminal(shell, "create", "--recipient", "passphrase") as child:
        child.expect("Passphrase for the new backup: ")
        child.waitnoecho()
        os.write(child.child_fd, b"horse\xff\n")
        child.expect("Error: The passphrase that was typed is no text")
        assert end_of(child) == errors.IdentityError.exit_code
        assert "horse" not in child.before
    assert shell.backups() == []


def test_nobody_is_asked_for_what_is_not_needed(sealed: Shell) -> None:
    """What reads no data asks nothing, and neither does a backup for a public key."""
    key = Key(sealed.folder)
    with_key = ("--recipient", key.public, "--identity-file", "key.txt")
    for command in (("list",), ("show", "latest"), ("create", *with_key), ("verify", "latest")):
        sealed.env |= {"SOULSENSE_IDENTITY_FILE": "key.txt"}
        with terminal(sealed, *command) as child:
            child.expect(pexpect.EOF)
            assert "Passphrase" not in child.before
            assert end_of(child) == 0


def test_a_program_that_reads_json_is_not_asked(sealed: Shell) -> None:
    """With --json there is an error, as where there is no terminal."""
    with terminal(sealed, "verify", "latest", "--json") as child:
        child.expect("IdentityError")
        assert end_of(child) == errors.IdentityError.exit_code
