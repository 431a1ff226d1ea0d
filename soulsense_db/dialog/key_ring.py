"""What opens encrypted backups: the keys of the manager, and those given in the window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from soulsense_db.backup_info import BackupInfo
from soulsense_db.codecs import Identities, Secret
from soulsense_db.dialog import texts
from soulsense_db.dialog.translation import _
from soulsense_db.errors import BackupError, IdentityError
from soulsense_db.manager import BackupManager
from soulsense_db.notices import log_ignored


class KeyRing:
    """Finds what opens a backup of ``manager``.

    What is given is kept for as long as this is, which is the life of a window.
    """

    def __init__(self, manager: BackupManager) -> None:
        self._manager = manager
        self._given: list[Identities] = []
        self.is_searched = False
        """Whether a thread is looking for what opens something."""

    @property
    def manager(self) -> BackupManager:
        """The manager with all that is at hand, for what may need any of it."""
        return self.manager_with(self._given[-1]) if self._given else self._manager

    @property
    def manager_for_new(self) -> BackupManager:
        """The manager with all private keys: a base may need one, and what is made is read back.

        No passphrase that was given is there: a new backup might be encrypted with it.
        """
        if not self._given:
            return self._manager
        own = self._manager.identities
        sources = self._with_others(own).sources
        return self._manager.with_identities(Identities(*sources, passphrase=own.passphrase))

    def manager_with(self, identities: Identities) -> BackupManager:
        """Return the manager with ``identities``, and all else that is at hand; it keeps none."""
        return self._manager.with_identities(self._with_others(identities))

    def keep(self, identities: Identities) -> None:
        """Have ``identities`` at hand from now on."""
        self._given.append(identities)

    def manager_for(self, info: BackupInfo) -> BackupManager | None:
        """Return a manager that opens ``info``, and its base; None where nothing at hand does.

        It reads files. What is wrong with them, apart from a key, is found by who reads all.
        """
        if not (info.form.is_encrypted or info.form.is_differential):
            return self._manager
        for manager in self._managers():
            try:
                manager.require_key(info)
            except IdentityError as error:
                log_ignored("A key at hand does not open the backup", error)
            except BackupError as error:
                log_ignored("Whether a key opens the backup could not be found out", error)
                return manager
            else:
                return manager
        return None

    def opened_with(self, info: BackupInfo, identities: Identities) -> BackupManager:
        """Return a manager that opens ``info`` with ``identities``, and keep these.

        It reads files. Raises :class:`~soulsense_db.errors.IdentityError` where they do not fit.
        """
        manager = self._manager.with_identities(identities)
        try:
            manager.require_key(info)
        except IdentityError as error:
            # A differential and its base may need a key each.
            manager = self.manager_with(identities)
            try:
                manager.require_key(info)
            except IdentityError:
                raise error from error.__cause__
        self.keep(identities)
        return manager

    def _managers(self) -> Iterator[BackupManager]:
        """Yield managers in the order in which their keys are tried."""
        yield self._manager
        for identities in reversed(self._given):
            yield self._manager.with_identities(identities)
        if self._given:
            yield self.manager

    def _with_others(self, identities: Identities) -> Identities:
        """Return ``identities`` and the private keys of all others; there is one passphrase."""
        known = (self._manager.identities, *self._given)
        sources = (source for one in (identities, *known) for source in one.sources)
        passphrases = (one.passphrase for one in (identities, *known) if one.passphrase)
        return Identities(*dict.fromkeys(sources), passphrase=next(passphrases, None))


def identities_of(passphrase: str, key_file: Path | None) -> Identities:
    """Return what a person has given, each of which may be missing."""
    files = () if key_file is None else (Secret.from_file(key_file),)
    secret = Secret(_(texts.THIS_WINDOW), passphrase.encode) if passphrase else None
    return Identities(*files, passphrase=secret)
