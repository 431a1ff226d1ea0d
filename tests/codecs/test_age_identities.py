"""Identities: where private keys come from, and what is wrong with a source."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest
from age_keys import (
    Key,
    bech32,
    install_plugin,
    make_ssh_key,
    needs_ssh,
    sealed,
    text_of,
    unsealed,
    write_private,
)

from soulsense_db.codecs import Identities, Recipients, Secret
from soulsense_db.errors import BackupError, IdentityError, NotConfirmedError

_DATA = b"dear diary " * 10_000


@pytest.fixture
def key(tmp_path: Path) -> Key:
    """Return a key pair of this test."""
    return Key(tmp_path)


@pytest.fixture
def data(key: Key) -> bytes:
    """Return what is sealed for ``key``."""
    return sealed(_DATA, key.recipients)


def _printing(text: str) -> list[str]:
    return [sys.executable, "-c", f"print({text!r})"]


def test_each_source_opens_it(
    tmp_path: Path, key: Key, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file, a variable, a command's output and a function."""
    monkeypatch.setenv("APP_KEY", key.secret)
    for source in (
        Secret.from_file(key.path),
        Secret.from_file(str(key.path)),
        Secret.from_environment("APP_KEY"),
        Secret.from_command(["cat", str(key.path)]),
        Secret.from_callable(lambda: key.secret),
    ):
        assert unsealed(data, Identities(source)) == _DATA


def test_a_tilde_is_the_home(
    tmp_path: Path, key: Key, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No shell is between a configuration file and us; a user that there is not is a name."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "public.txt").write_text(key.public)
    assert Recipients.of(files=["~/public.txt"]).keys == (key.public,)
    assert unsealed(data, Identities(Secret.from_file(f"~/{key.path.name}"))) == _DATA
    with pytest.raises(IdentityError, match=r"key file ~nobody-at-all/key\.txt cannot be read"):
        unsealed(data, Identities(Secret.from_file("~nobody-at-all/key.txt")))


def test_several_keys_in_a_file(tmp_path: Path, key: Key, data: bytes) -> None:
    """Comments, empty lines and other keys are beside the one that opens it."""
    other = Key(tmp_path, "other.txt")
    write_private(key.path, f"\n# old\n{other.secret}\r\n\n# new\n  {key.secret}  \n")
    assert unsealed(data, key.identities) == _DATA


def test_nothing_is_read_before_it_is_needed(key: Key, data: bytes) -> None:
    """To name a key needs no key; each opening reads it anew, and keeps nothing."""
    times: list[str] = []

    def asked() -> str:
        times.append("")
        return key.secret

    identities = Identities(
        Secret.from_callable(asked), Secret.from_file("/nonexistent"), passphrase=text_of("")
    )
    assert identities
    assert not Identities()
    assert repr(identities)
    assert not times
    identities = Identities(Secret.from_callable(asked))
    assert unsealed(data, identities) == unsealed(data, identities) == _DATA
    assert len(times) == 2


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620])
def test_a_file_that_others_can_read_is_refused(key: Key, data: bytes, mode: int) -> None:
    """And the error says what mends it."""
    key.path.chmod(mode)
    with pytest.raises(IdentityError, match=f"mode {mode:04o}") as caught:
        unsealed(data, key.identities)
    assert f"chmod 600 {key.path}" in caught.value.hint
    assert caught.value.path == key.path
    key.path.chmod(0o400)
    assert unsealed(data, key.identities) == _DATA


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, data: bytes) -> None:
    """One that is missing, or is none."""
    for path in (tmp_path / "missing", tmp_path, tmp_path / "a\0b"):
        with pytest.raises(IdentityError, match="cannot be read"):
            unsealed(data, Identities(Secret.from_file(path)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("# public key: age1...\n", "no private key in"),
        ("", "nothing in"),
        (" \n", "nothing in"),
        ("AGE-SECRET-KEY-1QQQQQQ", "Line 1 of .* is no private key"),
        ("# x\nhello", "Line 2 of .* is no private key .*kind is unknown"),
        ("\xff\xfe" * 10, "Line 1 of"),
        ("x" * 2_000_000, "more in"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", "SSH key in .* cannot be used"),
        (bech32("age-secret-key-pq-", b"s" * 32).upper(), "kind is unknown"),
        ("age1qqqqqqqqqqqqqqqq", "it is a public key"),
    ],
)
def test_a_file_without_a_key_is_told(tmp_path: Path, data: bytes, content: str, said: str) -> None:
    """The error says what is wrong with it, and shows nothing that is in it."""
    path = write_private(tmp_path / "bad.txt", content)
    with pytest.raises(IdentityError, match=said) as caught:
        unsealed(data, Identities(Secret.from_file(path)))
    assert not content.strip() or content[-12:] not in str(caught.value)


@needs_ssh
@pytest.mark.parametrize(("kind", "passphrase"), [("ecdsa", ""), ("ed25519", "hunter2")])
def test_an_ssh_key_that_age_cannot_use_is_told(
    tmp_path: Path, data: bytes, kind: str, passphrase: str
) -> None:
    """Another type, or one with a passphrase."""
    path = make_ssh_key(tmp_path / "id", kind, passphrase)
    with pytest.raises(IdentityError, match=r"SSH key in the file .* cannot be used"):
        unsealed(data, Identities(Secret.from_file(path)))


@pytest.fixture
def locked(key: Key) -> Path:
    """Seal the key file itself with a passphrase, as `age -p` does."""
    content = key.path.read_bytes()
    return write_private(key.path, pyrage.passphrase.encrypt(content, "hunter2", armored=True))


def test_a_key_file_with_a_passphrase(locked: Path, data: bytes) -> None:
    """It is opened with the passphrase; a wrong one, or none, is told."""
    source = Secret.from_file(locked)
    assert unsealed(data, Identities(source, passphrase=text_of("hunter2\n"))) == _DATA
    with pytest.raises(IdentityError, match="does not open the private keys in the file"):
        unsealed(data, Identities(source, passphrase=text_of("wrong")))
    with pytest.raises(IdentityError, match="A passphrase opens the private keys in the file"):
        unsealed(data, Identities(source))


def test_a_variable_that_is_not_set_is_told(data: bytes) -> None:
    """By its name."""
    with pytest.raises(IdentityError, match="nothing in the environment variable NO_SUCH_KEY"):
        unsealed(data, Identities(Secret.from_environment("NO_SUCH_KEY")))


def test_a_variable_of_any_bytes_is_read(key: Key, data: bytes) -> None:
    """Bytes that are no text do not keep the other lines of it from being keys."""
    name = b"SOULSENSE_TEST_KEY"
    os.environb[name] = b"# \xff\n" + key.secret.encode()
    try:
        assert unsealed(data, Identities(Secret.from_environment(name.decode()))) == _DATA
    finally:
        del os.environb[name]


def test_a_passphrase_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """Else several of them would open the same, and the program age could be given none."""
    path = write_private(tmp_path / "passphrase", b"caf\xe9")
    with pytest.raises(IdentityError, match="is no text") as caught:
        sealed(_DATA, Recipients.with_passphrase(Secret.from_file(path)))
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["false"], "failed .exit code 1"),
        (["sh", "-c", "kill -9 $$"], "failed .exit code -9"),
        (["true"], "nothing in the command true"),
        (["/nonexistent/pass"], "command pass for the private key cannot be run"),
        ([], "cannot be run"),
        ("pass show --token=hunter2", "command pass for the private key cannot be run"),
        ([""], "cannot be run"),
        (["a\0b"], "cannot be run"),
        (["yes"], "more in the command yes"),
        (["sh", "-c", "exec cat /dev/zero"], "more in the command sh"),
    ],
)
def test_a_command_that_gives_no_key_is_told(
    data: bytes, command: list[str] | str, said: str
) -> None:
    """It fails, is missing, or prints nothing or without end."""
    with pytest.raises(IdentityError, match=said):
        unsealed(data, Identities(Secret.from_command(command)))


@pytest.mark.parametrize("script", ["exec cat {0}", "cat {0}; true", "exec >&-; read text < {0}"])
def test_a_command_that_hangs_is_ended(tmp_path: Path, data: bytes, script: str) -> None:
    """It is not waited for, nor is what it has started, nor one that has closed its output."""
    never = tmp_path / "never"
    os.mkfifo(never)
    command = Secret.from_command(["sh", "-c", script.format(never)], timeout=0.3)
    since = time.monotonic()
    held = os.open(never, os.O_RDWR)  # what waits for it ends with the test
    try:
        with pytest.raises(IdentityError, match=r"did not end within 0\.3 s"):
            unsealed(data, Identities(command))
        assert time.monotonic() - since < 5
    finally:
        os.close(held)


def test_a_function_that_fails_is_told(data: bytes) -> None:
    """By the kind of its error; an error of ours, such as that somebody said no, stays."""

    def failing() -> str:
        raise RuntimeError("hunter2")

    def declined() -> str:
        raise NotConfirmedError("No.")

    with pytest.raises(IdentityError, match="failed with RuntimeError"):
        unsealed(data, Identities(Secret.from_callable(failing)))
    with pytest.raises(NotConfirmedError):
        unsealed(data, Identities(Secret.from_callable(declined)))


@pytest.mark.parametrize(
    "name", [Secret.from_file, Secret.from_environment, lambda text: Secret.from_command([text])]
)
def test_a_secret_in_the_place_of_a_name_is_refused(
    key: Key, name: Callable[[str], Secret]
) -> None:
    """A key is never an argument: who gives it as one is told so, and it is not repeated."""
    with pytest.raises(IdentityError, match="secret key is given in the place of") as caught:
        name(key.secret)
    assert key.secret not in str(caught.value)


def test_a_name_may_have_any_words(tmp_path: Path, key: Key, data: bytes) -> None:
    """Those of a file or a program may be like the beginning of a key."""
    for name in ("app-secret-key-1.txt", "age-plugin-demo-1.txt", "AGE-SECRET-KEY"):
        path = write_private(tmp_path / name, key.secret)
        assert unsealed(data, Identities(Secret.from_file(path))) == _DATA
        assert unsealed(data, Identities(Secret.from_command(["cat", str(path)]))) == _DATA


def test_a_plugin_that_refuses_or_is_missing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong PIN, no PIN, a function for it that fails, one that dies, and no plugin."""
    install_plugin(tmp_path, monkeypatch, "demo")
    path = write_private(tmp_path / "plugin.txt", bech32("age-plugin-demo-", b"secret").upper())
    data = sealed(_DATA, Recipients.of([bech32("age1demo", b"public")]))

    def failing() -> str:
        raise RuntimeError("hunter2")

    for passphrase in (text_of("9999"), None, Secret.from_callable(failing)):
        with pytest.raises(IdentityError):
            unsealed(data, Identities(Secret.from_file(path), passphrase=passphrase))
    with pytest.raises(IdentityError, match="private key could not be used"):
        unsealed(data, Identities(Secret.from_file(path), passphrase=text_of("0000")))
    monkeypatch.setenv("PATH", os.defpath)
    with pytest.raises(IdentityError, match="Could not find 'age-plugin-demo'"):
        unsealed(data, Identities(Secret.from_file(path), passphrase=text_of("1234")))


def test_every_error_of_a_key_has_one_class_and_exit_code() -> None:
    """A script can tell a missing key from a damaged backup."""
    assert issubclass(IdentityError, BackupError)
    assert IdentityError.exit_code == 35


def test_a_pipe_is_no_key_file(tmp_path: Path) -> None:
    """It could be read once only; one that nobody writes to is not waited for."""
    os.mkfifo(tmp_path / "key", 0o600)
    with pytest.raises(IdentityError, match="is a pipe"):
        Secret.from_file(tmp_path / "key").read()
