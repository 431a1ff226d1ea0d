"""What a plugin of age asks the person whose key it holds."""

from __future__ import annotations

import logging

from soulsense_db.codecs.age_secrets import Secret
from soulsense_db.errors import BackupError
from soulsense_db.notices import log_event


class Callbacks:
    """Answers a plugin. None of them may raise: the library would abort with a panic."""

    def __init__(self, passphrase: Secret | None = None) -> None:
        self._passphrase = passphrase

    def display_message(self, message: str) -> None:
        """Say what is to be done, such as to touch a device."""
        log_event(logging.WARNING, f"The plugin for a key of age says: {message}")

    def confirm(self, message: str, yes: str, no: str | None) -> bool | None:
        """Return that nobody can be asked."""
        _refuse(f"{message} ({yes} or {no})")
        return None

    def request_public_string(self, description: str) -> str | None:
        """Return that nobody can be asked."""
        _refuse(description)
        return None

    def request_passphrase(self, description: str) -> str | None:
        """Return the passphrase, such as the PIN of a device, if there is one."""
        if self._passphrase is not None:
            try:
                return self._passphrase.read_line()
            except BackupError as error:
                _refuse(str(error))
        _refuse(description)
        return None


def _refuse(question: str) -> None:
    log_event(logging.DEBUG, f"A plugin of age asks, and there is nobody to answer: {question}")
