"""No secret is in a message, a repr, a traceback or a line of the log, whatever goes wrong."""

from __future__ import annotations

import logging
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pyrage
import pytest
from age_keys import (
    Key,
    bech32,
    install_plugin,
    sealed,
    sealed_with,
    text_of,
    unsealed,
    write_private,
)

from soulsense_db.codecs import Identities, Recipients, Secret, StreamError, require_age
from soulsense_db.errors import BackupError, IdentityError, MissingExtraError

_PASSPHRASE = "pw-7141-correct-horse"  # noqa: S105
_DATA = b"dear diary " * 1000


def _texts(error: BaseException) -> Iterator[str]:
    """Yield all that an error shows, to whomever: its causes and what is hidden included."""
    yield "".join(traceback.format_exception(error))
    chain: list[BaseException] = [error]
    while chain:
        one = chain.pop()
        yield from (str(one), repr(one), repr(one.args), repr(vars(one)))
        chain += [other for other in (one.__cause__, one.__context__) if other is not None]
    if isinstance(error, BackupError):
        yield repr(pickle.dumps(error))


def _sources(key: Key, directory: Path) -> Iterator[Secret]:
    """Yield sources that hold the secret of ``key``, each in a way that is of no use."""
    yield key.identities.sources[0]  # of another key
    locked = pyrage.passphrase.encrypt(key.secret.encode(), _PASSPHRASE)
    files: dict[str, str | bytes] = {
        "locked": locked,
        "cut": locked[:150],
        "typo": f"{key.secret[:-3]}\n",
        "prose": f"my key: {key.secret}\n",
        "ssh": f"-----BEGIN OPENSSH PRIVATE KEY-----\n{key.secret}\n",
        "binary": key.secret.encode() + b"\xff\xfe",
    }
    for name, content in files.items():
        yield Secret.from_file(write_private(directory / name, content))
    readable = write_private(directory / "readable", key.secret)
    readable.chmod(0o644)
    yield Secret.from_file(readable)
    yield Secret.from_environment("APP_KEY")
    for end in ("sys.exit(3)", "print()"):
        script = f"import sys; print({key.secret!r}); print({key.secret!r}, file=sys.stderr); {end}"
        path = write_private(directory / f"script{len(end)}.py", script)
        yield Secret.from_command([sys.executable, str(path)])

    def failing() -> str:
        raise ValueError(key.secret)

    for function in (failing, lambda: f"{key.secret}\udcff", lambda: [key.secret]):
        yield Secret.from_callable(function)  # type: ignore[arg-type]


def _opened(stream: bytes, identities: Identities) -> Callable[[], object]:
    return lambda: unsealed(stream, identities)


def _failures(key: Key, other: Key, directory: Path) -> Iterator[Callable[[], object]]:
    """Yield calls that meet a secret and fail."""
    data, with_passphrase = sealed(_DATA, key.recipients), sealed_with(_PASSPHRASE, _DATA)
    wrong = text_of(f"{_PASSPHRASE}!")
    for source in _sources(other, directory):
        for identities in (Identities(source), Identities(source, passphrase=wrong)):
            for stream in (data, data[:100], with_passphrase):
                yield _opened(stream, identities)
        yield _opened(with_passphrase, Identities(passphrase=source))
    yield lambda: Recipients.of([other.secret])
    yield lambda: Recipients.of(files=[other.path])
    yield lambda: Recipients.of([_PASSPHRASE])
    yield lambda: Recipients.of(files=[other.secret])
    yield lambda: Secret.from_file(other.secret)
    yield lambda: Secret.from_environment(other.secret)
    yield lambda: Secret.from_command(["age", "-i", other.secret])


def test_no_secret_is_shown_whatever_goes_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each way to fail with a key or passphrase that is there, with the log at DEBUG."""
    caplog.set_level(logging.DEBUG)
    key, other = Key(tmp_path, "key"), Key(tmp_path, "other")
    monkeypatch.setenv("APP_KEY", other.secret)
    secrets = (other.secret[17:40], other.secret[17:40].lower(), _PASSPHRASE)
    classes: set[str] = set()
    for failure in _failures(key, other, tmp_path):
        with pytest.raises((BackupError, StreamError)) as caught:
            failure()
        classes.add(type(caught.value).__name__)
        for text in _texts(caught.value):
            assert not [secret for secret in secrets if secret in text], text
    assert classes >= {"IdentityError", "OptionError", "TruncatedStreamError"}
    assert "raised ValueError" in caplog.text
    for record in caplog.records:
        assert not [secret for secret in secrets if secret in repr(vars(record))]


def test_what_a_plugin_is_told_is_not_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What it says to the person is in the log; the passphrase that answers it is not."""
    caplog.set_level(logging.DEBUG)
    install_plugin(tmp_path, monkeypatch, "demo")
    path = write_private(tmp_path / "plugin.txt", bech32("age-plugin-demo-", b"secret").upper())
    data = sealed(_DATA, Recipients.of([bech32("age1demo", b"public")]))
    identities = Identities(Secret.from_file(path), passphrase=text_of(_PASSPHRASE))
    with pytest.raises(IdentityError):
        unsealed(data, identities)
    assert "says: Touch the device." in caplog.text
    assert "nobody to answer: Is it you? (Yes or No)" in caplog.text
    assert "nobody to answer: Your name" in caplog.text
    assert _PASSPHRASE not in caplog.text


def test_no_secret_is_in_a_repr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one comes from is; of a command, its name alone."""
    key = Key(tmp_path)
    monkeypatch.setenv("APP_KEY", key.secret)
    identities = Identities(
        key.identities.sources[0],
        Secret.from_environment("APP_KEY"),
        Secret.from_command(["/usr/bin/vault", "read", "--token", "hunter2"]),
        passphrase=text_of(_PASSPHRASE),
    )
    assert unsealed(sealed(_DATA, key.recipients), key.identities) == _DATA
    shown = repr(
        (identities, identities.passphrase, Recipients.with_passphrase(text_of(_PASSPHRASE)))
    )
    assert str(key.path) in shown
    assert "APP_KEY" in shown
    assert "vault" in shown
    for secret in (key.secret[17:], "hunter2", _PASSPHRASE):
        assert secret not in shown


@pytest.mark.parametrize("missing", ["pyrage", "cryptography.hazmat.primitives.ciphers.aead"])
def test_a_missing_library_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """Whoever encrypts or opens without it reads how it is installed."""
    key = Key(tmp_path)
    passphrase = text_of(_PASSPHRASE)
    data, with_passphrase = sealed(_DATA, key.recipients), sealed_with(_PASSPHRASE, _DATA)
    monkeypatch.setitem(sys.modules, missing, None)
    calls: list[Callable[[], object]] = [require_age]
    if missing == "pyrage":
        calls += [
            lambda: sealed(_DATA, Recipients((key.public,))),
            lambda: Recipients.of([key.public]),
            lambda: unsealed(data, key.identities),
        ]
    else:
        calls += [
            lambda: sealed(_DATA, Recipients.with_passphrase(passphrase)),
            lambda: unsealed(with_passphrase, Identities(passphrase=passphrase)),
        ]
    for call in calls:
        with pytest.raises(MissingExtraError) as caught:
            call()
        assert '"soulsense-db[age]"' in caught.value.hint


def test_the_libraries_are_imported_when_they_are_needed() -> None:
    """Who does not encrypt loads neither of them."""
    program = (
        "import sys; from soulsense_db import codecs; codecs.encrypt, codecs.Identities; "
        "codecs.Recipients.with_passphrase(codecs.Secret.from_environment('X')); "
        "print([name for name in ('pyrage', 'cryptography') if name in sys.modules])"
    )
    command = [sys.executable, "-c", program]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == "[]\n"
