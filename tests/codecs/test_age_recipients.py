"""Recipients: public keys of every kind, from texts and files, and what is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from age_keys import (
    Key,
    age,
    bech32,
    install_plugin,
    make_ssh_key,
    needs_age,
    needs_ssh,
    sealed,
    text_of,
    unsealed,
    write_private,
)
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from soulsense_db.codecs import DamagedStreamError, Identities, Recipients, Secret
from soulsense_db.errors import OptionError

_DATA = b"dear diary " * 10_000
_DEMO = bech32("age1demo", b"public")
_NO_SUCH = bech32("age1nosuch", b"public")


@needs_age
@needs_ssh
@pytest.mark.parametrize(("kind", "options"), [("ed25519", ()), ("rsa", ("-b", "2048"))])
def test_ssh_keys_seal_and_open(tmp_path: Path, kind: str, options: tuple[str, ...]) -> None:
    """A line of an SSH public key file is a recipient, and the private key opens it; age agrees."""
    path = make_ssh_key(tmp_path / "id", kind, "", *options)
    public = path.with_suffix(".pub").read_text()
    identities = Identities(Secret.from_file(path))
    assert unsealed(sealed(_DATA, Recipients.of([public])), identities) == _DATA
    assert age("-d", "-i", path, data=sealed(_DATA, Recipients.of([public]))) == _DATA
    assert unsealed(age("-r", public.strip(), data=_DATA), identities) == _DATA


@needs_ssh
def test_damage_beside_an_ssh_key_is_damage(tmp_path: Path) -> None:
    """A header names SSH keys: one that is named and does not open it is the right one."""
    path = make_ssh_key(tmp_path / "id", "ed25519")
    data = sealed(_DATA, Recipients.of(files=[path.with_suffix(".pub")]))
    start = data.index(b"\n", data.index(b"ssh-ed25519 ")) + 1
    for at in range(start, start + 42):
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises(DamagedStreamError):
            unsealed(bytes(changed), Identities(Secret.from_file(path)))


def _point(form: PublicFormat) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(Encoding.X962, form)


def test_keys_of_devices_and_post_quantum_ones_seal() -> None:
    """Both kinds that the library has; only a device opens them."""
    device = bech32("age1tag", _point(PublicFormat.CompressedPoint))
    assert b"-> p256tag " in sealed(_DATA, Recipients.of([device]))
    both_keys = bytes(1184) + _point(PublicFormat.UncompressedPoint)
    post_quantum = bech32("age1tagpq", both_keys)
    assert b"-> mlkem768p256tag " in sealed(_DATA, Recipients.of([post_quantum]))


def test_a_plugin_seals_and_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that a program of its own holds, which may ask for a PIN: the passphrase answers."""
    install_plugin(tmp_path, monkeypatch, "demo")
    key = write_private(tmp_path / "key.txt", bech32("age-plugin-demo-", b"secret").upper())
    data = sealed(_DATA, Recipients.of([_DEMO]))
    assert b"-> demo\n" in data
    with_pin = Identities(Secret.from_file(key), passphrase=text_of("1234"))
    assert unsealed(data, with_pin) == _DATA


def test_a_plugin_beside_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of several recipients opens it, whatever its kind."""
    install_plugin(tmp_path, monkeypatch, "demo")
    key = Key(tmp_path)
    data = sealed(_DATA, Recipients.of([_DEMO, key.public]))
    assert unsealed(data, key.identities) == _DATA


def test_a_plugin_that_is_missing_is_named() -> None:
    """A recipient of a plugin is one, but nothing is sealed without the plugin."""
    recipients = Recipients.of([_NO_SUCH])
    with pytest.raises(OptionError, match=r"Could not find 'age-plugin-nosuch' on the PATH\)"):
        sealed(_DATA, recipients)


def test_keys_that_do_not_go_together_are_told() -> None:
    """Post-quantum beside another: the other one would be what is broken."""
    post_quantum = bech32("age1tagpq", bytes(1184) + _point(PublicFormat.UncompressedPoint))
    device = bech32("age1tag", _point(PublicFormat.CompressedPoint))
    with pytest.raises(OptionError, match="postquantum"):
        sealed(_DATA, Recipients.of([post_quantum, device]))


def test_a_file_of_recipients(tmp_path: Path) -> None:
    """As of `age -R`: one on a line, comments and empty lines between, each counted once."""
    first, second = Key(tmp_path, "a"), Key(tmp_path, "b")
    path = tmp_path / "recipients.txt"
    path.write_text(f"# the team\n\n{first.public}\r\n  {second.public}  \n")
    recipients = Recipients.of([second.public], files=[path])
    assert set(recipients.keys) == {first.public, second.public}
    assert len(recipients.keys) == 2
    data = sealed(_DATA, recipients)
    assert unsealed(data, first.identities) == unsealed(data, second.identities) == _DATA


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("age1qqqq", r"Recipient 2, age1qqqq, is no public key \(invalid Bech32"),
        ("ssh-ed25519 AAAA", "Recipient 2, ssh-ed25519 AAAA, is no public key"),
        ("ecdsa-sha2-nistp256 AAAA", "Recipient 2, ecdsa-sha2-nistp256 AAAA, is no public key"),
        ("", "Recipient 2 is no public key"),
        ("my passphrase", "Recipient 2 is no public key"),
    ],
)
def test_the_error_names_which_one_is_none(tmp_path: Path, text: str, shown: str) -> None:
    """By its number, and by its text where that cannot be a secret."""
    with pytest.raises(OptionError, match=shown) as caught:
        Recipients.of([Key(tmp_path).public, text])
    assert "my passphrase" not in str(caught.value)


def test_the_error_names_the_line_of_a_file(tmp_path: Path) -> None:
    """With the file's name."""
    path = tmp_path / "recipients.txt"
    path.write_text(f"# comment\n{Key(tmp_path).public}\nage1nonsense\n")
    with pytest.raises(OptionError, match=rf"Line 3 of {path}, age1nonsense, is no public key"):
        Recipients.of(files=[path])


def test_a_secret_key_is_not_taken_and_not_shown(tmp_path: Path) -> None:
    """Who gives a secret key by mistake is told so, and it is in no message."""
    key = Key(tmp_path)
    path = tmp_path / "recipients.txt"
    plugin = bech32("age-plugin-demo-", b"secret, and longer than a piece").upper()
    pasted = (key.secret, key.secret.lower(), f" {key.secret[4:]}", f"x{key.secret}", plugin)
    for text in pasted:
        path.write_text(text)
        for texts, files in (([text], []), ([], [path])):
            with pytest.raises(OptionError, match="is a secret key") as caught:
                Recipients.of(texts, files=files)
            assert text[20:].lower() not in repr(caught.value).lower()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        (b"", "no public key in"),
        (b"# nobody\n", "no public key in"),
        (b"\xff\xfe\x00", "no public key"),
        (b"\n" * 2_000_000, "too large"),
    ],
)
def test_a_file_without_a_recipient_is_told(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    """One that is missing, empty, too large or no text."""
    path = tmp_path / "recipients.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OptionError, match=said) as caught:
        Recipients.of(files=[path])
    assert str(path) in caught.value.what
    with pytest.raises(OptionError):
        Recipients.of(files=[tmp_path])


def test_one_text_is_one_recipient(tmp_path: Path) -> None:
    """Who forgets the brackets means what they say, not each letter."""
    key = Key(tmp_path)
    assert Recipients.of(key.public).keys == (key.public,)


@needs_ssh
def test_a_comment_may_have_any_words(tmp_path: Path) -> None:
    """What follows an SSH key is no secret, whatever it is called."""
    public = make_ssh_key(tmp_path / "id", "ed25519").with_suffix(".pub").read_text().split()
    text = f"{public[0]} {public[1]} my-secret-key-1"
    assert Recipients.of([text]).keys == (text,)


def test_nobody_is_no_recipient() -> None:
    """What is sealed for nobody is lost."""
    for call in (lambda: Recipients.of([]), lambda: sealed(_DATA, Recipients())):
        with pytest.raises(OptionError, match="no public key in what is given"):
            call()
