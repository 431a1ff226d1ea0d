"""The moment from which an operation is done, whatever comes after it.

Before that moment every error is the operation's. After it none is: a connect event of the
application, a callback, a lock that cannot be given back. Those become remarks on what was done.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from soulsense_db.errors import BackupError, without_passwords
from soulsense_db.shown_text import logger_of


class Completion:
    """A block in which something is done; after :meth:`reached` no error leaves it.

    An interrupt does, with a note that says what was done.
    """

    def __init__(self, done: str = "") -> None:
        self._done = done
        self._remarks: list[str] = []

    @property
    def remarks(self) -> tuple[str, ...]:
        """What went wrong after it was done, a sentence each."""
        return tuple(self._remarks)

    def reached(self, done: str) -> None:
        """From here on it is done; ``done``: a sentence that says so."""
        self._done = done

    def remark(self, what: str, error: BaseException | None = None) -> None:
        """Add a remark: ``what`` was not possible, because of ``error``."""
        self._remarks.append(f"{what} ({reason_of(error)})." if error else f"{what}.")

    @contextmanager
    def then(self, failed: str) -> Iterator[None]:
        """Do what follows; an error of the block becomes the remark that it ``failed``."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - code of the application may run in it
            self.remark(failed, error)
        except BaseException as error:
            error.add_note(self._done)
            raise

    def log(self) -> None:
        """Log each remark as a warning, for what returns no report."""
        for remark in self._remarks:
            warn(f"{self._done} {remark}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if error is None or not self._done:
            return False
        if not isinstance(error, Exception):
            error.add_note(self._done)
            return False
        self.remark("Something failed afterwards", error)
        return True


@contextmanager
def cleaning_up(failed: str) -> Iterator[None]:
    """Tidy up after an error, which is raised next: what fails of that is a warning."""
    try:
        yield
    except BackupError as error:
        warn(f"{failed} ({error.cause}).")


def reason_of(error: BaseException) -> str:
    """Return what an error says, without what it means for the data: that is not so any more."""
    if isinstance(error, BackupError):
        return error.cause
    return without_passwords(f"{type(error).__name__}: {error}".removesuffix(": ").rstrip("."))


_this_thread = threading.local()


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Yield a list of what this thread warns of in the block, for who shows it instead of a log."""
    outer = getattr(_this_thread, "warnings", None)
    found: list[str] = []
    _this_thread.warnings = found
    try:
        yield found
    finally:
        _this_thread.warnings = outer


def warn(text: str) -> None:
    """Log a warning of this package."""
    collected: list[str] | None = getattr(_this_thread, "warnings", None)
    if collected is not None:
        collected.append(text)
        return
    # Asked for now: env.py's fileConfig disables loggers that are there before it.
    logger_of("soulsense_db").warning("%s", text)
