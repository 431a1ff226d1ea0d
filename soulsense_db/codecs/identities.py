"""Identities: what opens sealed streams. Nothing is read before one is to be opened."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from soulsense_db.codecs.age_library import pyrage, reason_of
from soulsense_db.codecs.age_plugins import Callbacks
from soulsense_db.codecs.age_secrets import Secret
from soulsense_db.codecs.errors import (
    identity_failed,
    line_is_no_key,
    no_identity,
    no_key_in,
    no_passphrase,
    ssh_key_unusable,
    wrong_passphrase,
)

_SEALED: Final = (b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----")

_KEYS: Final = ("AGE-SECRET-KEY-1", "AGE-PLUGIN-")


@dataclass(frozen=True, slots=True, init=False)
class Identities:
    """What opens sealed streams: where private keys are, and a passphrase.

    Making one reads nothing. The keys are read when a stream is opened, and are not kept.

    Args:
        sources: Each holds private keys as ``age-keygen`` writes them, or one SSH private key. A
            text that ``age -p`` has sealed is opened with the passphrase.
        passphrase: Opens what is sealed with a passphrase: private keys, or the stream itself.

    Example:
        >>> Identities(Secret.from_file("/etc/app/key.txt"))
        Identities(the file /etc/app/key.txt)
    """

    sources: tuple[Secret, ...]
    passphrase: Secret | None

    def __init__(self, *sources: Secret, passphrase: Secret | None = None) -> None:
        object.__setattr__(self, "sources", sources)
        object.__setattr__(self, "passphrase", passphrase)

    @classmethod
    def of(cls, given: object) -> Identities:
        """Return what ``given`` means, as an option has it; nothing is read.

        Args:
            given: None for none; the name of a key file, a function that returns the key, or a
                :class:`Secret`; several of them; or identities already.

        Returns:
            The identities.

        Raises:
            TypeError: It means nothing; the message has its type only.
            IdentityError: A secret key is given in the place of a file's name.

        Example:
            >>> Identities.of("/etc/app/key.txt")
            Identities(the file /etc/app/key.txt)
        """
        if isinstance(given, Identities):
            return given
        if given is None:
            return cls()
        if isinstance(given, Secret | str | os.PathLike) or callable(given):
            return cls(_secret_of(given))
        if isinstance(given, Iterable):
            return cls(*map(_secret_of, given))
        raise _not_identities(given)

    def require_passphrase(self, what: str) -> Secret:
        """Return where the passphrase is, for ``what`` it is to open."""
        if self.passphrase is None:
            raise no_passphrase(what)
        return self.passphrase

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.sources or self.passphrase)

    def __repr__(self) -> str:
        return f"Identities({self.described})"

    @property
    def described(self) -> str:
        """Where the keys come from, in the words of a message."""
        return " and ".join(source.source for source in self.sources) or "none"

    def for_library(self) -> list[Any]:
        """Return the private keys as pyrage takes them. Raises IdentityError if one is missing."""
        if not self.sources:
            raise no_identity()
        found: list[Any] = []
        for source in self.sources:
            found += self._keys_of(source)
        return found

    def passphrase_for(self, what: str) -> str:
        """Return the passphrase, for ``what`` it is to open."""
        return self.require_passphrase(what).read_line()

    def _keys_of(self, source: Secret) -> Iterator[Any]:
        data = source.read().lstrip()
        if data.startswith(_SEALED):
            data = self._unsealed(data, source.source)
        if b"PRIVATE KEY-----" in data.partition(b"\n")[0]:
            yield _ssh_key(data, source.source)
            return
        plugins: dict[str, list[Any]] = {}
        lines = data.decode(errors="replace").splitlines()
        keys = 0
        for number, line in enumerate(map(str.strip, lines), start=1):
            if not line or line.startswith("#"):
                continue
            keys += 1
            key = _key_of(line, source.source, number)
            if line.upper().startswith("AGE-PLUGIN-"):
                plugins.setdefault(key.plugin(), []).append(key)
            else:
                yield key
        if not keys:
            raise no_key_in(source.source)
        for name, of_plugin in plugins.items():
            yield self._plugin(name, of_plugin)

    def _unsealed(self, data: bytes, source: str) -> bytes:
        what = f"the private keys in {source}"
        passphrase = self.passphrase_for(what)
        library = pyrage()
        try:
            return bytes(library.passphrase.decrypt(data, passphrase))
        except library.DecryptError:
            assert self.passphrase is not None
            raise wrong_passphrase(what, self.passphrase.source) from None

    def _plugin(self, name: str, keys: list[Any]) -> Any:
        library = pyrage()
        try:
            return library.plugin.IdentityPluginV1(name, keys, Callbacks(self.passphrase))
        except library.DecryptError as error:
            raise identity_failed(f"age-plugin-{name}: {reason_of(error)}") from None


def _secret_of(given: object) -> Secret:
    if isinstance(given, Secret):
        return given
    if isinstance(given, str | os.PathLike):
        return Secret.from_file(given)
    if callable(given):
        return Secret.from_callable(given)
    raise _not_identities(given)


def _not_identities(given: object) -> TypeError:
    return TypeError(
        "identities must be names of key files, functions, Secret objects or Identities, not "
        f"{type(given).__name__}"
    )


def _ssh_key(data: bytes, source: str) -> Any:
    library = pyrage()
    try:
        return library.ssh.Identity.from_buffer(data)
    except library.IdentityError as error:
        raise ssh_key_unusable(source, reason_of(error)) from None


def _key_of(line: str, source: str, number: int) -> Any:
    library = pyrage()
    if line.startswith("age1"):
        raise line_is_no_key(source, number, "it is a public key")
    if not line.upper().startswith(_KEYS):
        raise line_is_no_key(source, number, "its kind is unknown")
    kind = library.plugin if line.upper().startswith("AGE-PLUGIN-") else library.x25519
    try:
        return kind.Identity.from_str(line)
    except library.IdentityError as error:
        raise line_is_no_key(source, number, reason_of(error)) from None
