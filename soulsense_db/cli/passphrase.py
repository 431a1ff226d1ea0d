"""The passphrase that a person at a terminal is asked for, once in a run, when it is needed."""

from __future__ import annotations

import threading

import typer

from soulsense_db.cli import output
from soulsense_db.codecs import Secret
from soulsense_db.errors import NotConfirmedError


class Passphrase:
    """The passphrase of this run; what was typed stays in its memory alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # what is decrypted is read in threads
        self._typed: str | None = None

    @property
    def secret(self) -> Secret:
        """What asks for it when it is read for the first time."""
        return Secret("your input", lambda: self._asked().encode())

    def ask_for_new(self) -> None:
        """Ask for the one that new backups are encrypted with, twice: nobody sees a slip."""
        with self._lock:
            if self._typed is None:
                self._typed = _typed("Passphrase for the new backup", is_new=True)

    def _asked(self) -> str:
        with self._lock:
            if self._typed is None:
                self._typed = _typed("Passphrase", is_new=False)
            return self._typed


def _typed(question: str, *, is_new: bool) -> str:
    with output.without_progress_bar():
        try:
            answer: str = typer.prompt(
                question,
                hide_input=True,
                confirmation_prompt="The same again" if is_new else False,
                err=True,
            )
        except typer.Abort as error:
            if isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise NotConfirmedError("No passphrase was typed.") from None
    return answer
