"""The passphrase that a person at a terminal is asked for, once in a run, when it is needed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from soulsense_db.cli import output
from soulsense_db.codecs import Secret
from soulsense_db.errors import IdentityError, NotConfirmedError

_NO_TEXT = "\udc80"  # a byte that is none


class Passphrase:
    """The passphrase of this run; what was typed stays in its memory alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # what is decrypted is read in threads
        self._typed: str | None = None
        self._may_ask = True

    @property
    def is_typed(self) -> bool:
        """Whether it was asked for already."""
        return self._typed is not None

    @property
    def secret(self) -> Secret:
        """What asks for it when it is read for the first time."""
        return Secret("your input", lambda: self._asked().encode())

    @contextmanager
    def not_asking(self) -> Iterator[None]:
        """Ask for nothing in the block: what needs it raises :class:`IdentityError`."""
        self._may_ask = False
        try:
            yield
        finally:
            self._may_ask = True

    def ask_for_new(self) -> None:
        """Ask for the one that new backups are encrypted with, twice: nobody sees a slip."""
        with self._lock:
            if self._typed is None:
                self._typed = _typed("Passphrase for the new backup", is_new=True)

    def _asked(self) -> str:
        with self._lock:
            if self._typed is None:
                if not self._may_ask:
                    raise IdentityError("It is encrypted, and no passphrase was asked for.")
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
        except UnicodeDecodeError:
            answer = _NO_TEXT
    try:
        answer.encode()
    except UnicodeEncodeError:
        pass
    else:
        return answer
    # Outside: the errors hold the passphrase.
    raise IdentityError(
        "The passphrase that was typed is no text.",
        hint="Set the terminal to UTF-8, as the locale says it is.",
    )
