"""Warnings of this package, and what an error says where it is no error of the operation."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from soulsense_db.errors import BackupError, without_passwords
from soulsense_db.shown_text import logger_of

WAITING = "soulsense_db.waiting"
"""The logger that says what is waited for."""
TOLD_AFTER_SECONDS = 1.0

_this_thread = threading.local()


def warn(text: str) -> None:
    """Log a warning of this package."""
    collected: list[str] | None = getattr(_this_thread, "warnings", None)
    if collected is not None:
        collected.append(text)
        return
    # Asked for now: env.py's fileConfig disables loggers that are there before it.
    logger_of("soulsense_db").warning("%s", without_passwords(text))


def log_event(level: int, text: str) -> None:
    """Log what this package did, at ``level``."""
    logger_of("soulsense_db").log(level, "%s", without_passwords(text))


class Wait:
    """A wait for a lock, ``for_what``; a person is told of it after a second, once.

    Those lines are in a log of their own, ``soulsense_db.waiting``, at INFO.
    """

    def __init__(self, for_what: str) -> None:
        self._for_what = for_what
        self._since = time.monotonic()
        self._is_told = False

    def goes_on(self) -> None:
        """Say what is waited for, if it takes long and was not said before."""
        if not self._is_told and time.monotonic() - self._since >= TOLD_AFTER_SECONDS:
            self._is_told = True
            logger_of(WAITING).info("Waiting for %s...", without_passwords(self._for_what))


def renamed(old: str, new: str) -> None:
    """Warn whoever called the caller that what they used has another name now."""
    warnings.warn(
        f"{old} is called {new} now, and the old name goes with a later release.",
        DeprecationWarning,
        stacklevel=3,
    )


class LastingWarning:
    """A warning of what lasts: logged once, and again when it has changed."""

    def __init__(self) -> None:
        self._text = ""

    def warn(self, text: str) -> None:
        """Log ``text``, unless it was the last one."""
        if text != self._text:
            self._text = text
            warn(text)


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


def log_ignored(what: str, error: BaseException) -> None:
    """Log at DEBUG that ``what`` was not possible, or not known, which is no failure."""
    logger_of("soulsense_db").debug("%s: %s", what, reason_of(error))


@contextmanager
def ignoring(*kinds: type[BaseException], what: str) -> Iterator[None]:
    """Go on after an error of ``kinds``, with a line in the log at DEBUG that says ``what``."""
    try:
        yield
    except kinds as error:
        log_ignored(what, error)


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
