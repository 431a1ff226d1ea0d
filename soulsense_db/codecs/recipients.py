"""Recipients: for whom a stream is sealed, as public keys or as a passphrase."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from soulsense_db.codecs.age_library import pyrage, reason_of
from soulsense_db.codecs.age_plugins import Callbacks
from soulsense_db.codecs.age_secrets import Secret, expanded, holds_secret
from soulsense_db.codecs.errors import (
    cannot_seal,
    no_recipient,
    no_recipients,
    recipients_unreadable,
    secret_as_recipient,
)

PASSPHRASE: Final = "passphrase"  # noqa: S105 - the word for one, which is no secret
"""What stands in a list of recipients, alone, for a passphrase."""
_LARGEST_FILE: Final = 1024 * 1024
_SHOWN: Final = 40  # characters of a public key, which tell one from another
_SECRET_PREFIXES: Final = ("AGE-SECRET-KEY-", "AGE-PLUGIN-")
_PREFIXES: Final = ("age1", "ssh-", "ecdsa-", "sk-")  # what begins like this is no secret


@dataclass(frozen=True, slots=True)
class Recipients:
    """For whom a stream is sealed; nothing secret is needed to seal it for public keys.

    Attributes:
        keys: Public keys: ``age1...``, those of plugins among them, ``ssh-ed25519 ...`` or
            ``ssh-rsa ...``.
        passphrase: A passphrase in the place of keys.

    Example:
        >>> key = "age1el2rhq5rlg4pmjgq772u7gak8nhzganklzltrprd6lj2rzmd23nsr8hfxt"
        >>> Recipients.of([key, key]).keys == (key,)
        True
    """

    keys: tuple[str, ...] = ()
    passphrase: Secret | None = None

    @classmethod
    def of(
        cls, texts: Iterable[str] = (), *, files: Iterable[str | os.PathLike[str]] = ()
    ) -> Recipients:
        """Return those that ``texts`` and the lines of ``files`` are, each once.

        Files are as of ``age -R``: one key on a line; lines that are empty or begin with # are
        none. Raises :class:`~soulsense_db.errors.OptionError`, which says which one is no key.
        """
        texts = [texts] if isinstance(texts, str) else texts
        named = [(f"Recipient {number}", text) for number, text in enumerate(texts, start=1)]
        for path in files:
            named += _in_file(expanded(path))
        if not named:
            raise no_recipients("what is given")
        keys = dict.fromkeys(_checked(which, text.strip()) for which, text in named)
        return cls(tuple(keys))

    @classmethod
    def with_passphrase(cls, passphrase: Secret) -> Recipients:
        """Return who knows ``passphrase``; there can be no keys beside it."""
        return cls(passphrase=passphrase)

    @property
    def sha256(self) -> str:
        """What tells them from others, as 64 hexadecimal digits; nothing of a passphrase."""
        lines = sorted(self.keys) or [PASSPHRASE]
        return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()

    def for_library(self) -> list[Any]:
        """Return the keys as pyrage takes them."""
        if not self.keys:
            raise no_recipients("what is given")
        plugins: dict[str, list[Any]] = {}
        found: list[Any] = []
        for key in self.keys:
            kind = _kind(key)
            if isinstance(kind, _Plugin):
                plugins.setdefault(kind.name, []).append(_parsed(key))
            else:
                found.append(_parsed(key))
        library = pyrage()
        for name, keys in plugins.items():
            try:
                found.append(library.plugin.RecipientPluginV1(name, keys, [], Callbacks()))
            except library.EncryptError as error:
                raise cannot_seal(f"age-plugin-{name}: {reason_of(error)}") from None
        return found


@dataclass(frozen=True, slots=True)
class _Plugin:
    name: str


def _kind(key: str) -> str | _Plugin:
    """Return the module of pyrage for a key, or its plugin."""
    if not key.startswith("age1"):
        return "ssh"
    prefix = key.rpartition("1")[0]  # what is behind the last 1 is the key itself
    names = {"age": "x25519", "age1tag": "tag", "age1tagpq": "tagpq"}
    return names.get(prefix) or _Plugin(prefix.removeprefix("age1"))


def _parsed(key: str) -> Any:
    kind = _kind(key)
    module = getattr(pyrage(), "plugin" if isinstance(kind, _Plugin) else kind)
    return module.Recipient.from_str(key)


def _checked(which: str, text: str) -> str:
    if holds_secret(text) or text.upper().startswith(_SECRET_PREFIXES):
        raise secret_as_recipient(which)
    if not text.startswith(_PREFIXES):  # not shown: it may be a passphrase
        raise no_recipient(which, "it begins with neither age1 nor ssh-")
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    try:
        _parsed(text)
    except pyrage().RecipientError as error:
        raise no_recipient(f"{which}, {shown},", reason_of(error)) from None
    return text


def _in_file(path: Path) -> Iterator[tuple[str, str]]:
    if holds_secret(str(path)):
        raise secret_as_recipient("The name of a file")
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no file can have this name"
        raise recipients_unreadable(path, reason) from None
    if len(data) > _LARGEST_FILE:
        raise recipients_unreadable(path, "it is too large")
    found = False
    for number, line in enumerate(data.decode(errors="replace").splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            found = True
            yield f"Line {number} of {path}", line
    if not found:
        raise no_recipients(str(path))
