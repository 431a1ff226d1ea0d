"""Tell the user of a command what became of the database."""

from __future__ import annotations

import atexit
import logging
import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from soulsense_db.shown_text import logger_of, printable

# Below Alembic's own logger: env.py's fileConfig disables loggers that it does not name.
log = logger_of("alembic.soulsense_db")


def say(line: str) -> None:
    """Tell the user on stderr, for a CommandError shows no notes, and in Alembic's log."""
    line = printable(line)
    log.warning("soulsense_db: %s", line)
    if not _log_is_on_stderr():
        _print(line)
    _last_word.said(line)


def say_at_once(line: str) -> None:
    """Tell the user on stderr from within a signal handler, where nothing else may be used."""
    # No log: a handler of it may be what was interrupted.
    with suppress(OSError, ValueError, AttributeError):
        os.write(sys.stderr.fileno(), f"soulsense_db: {line}\n".encode(errors="replace"))


def _print(line: str) -> None:
    # A stream that is closed, or none; the line is in the log already.
    with suppress(OSError, ValueError, AttributeError):
        print(f"soulsense_db: {line}", file=sys.stderr, flush=True)  # noqa: T201 - Alembic's command line


def _log_is_on_stderr() -> bool:
    """Whether the log line was seen there already, as with the logging of a stock alembic.ini."""
    logger: logging.Logger | None = log
    while logger is not None:
        for handler in logger.handlers:
            if getattr(handler, "stream", None) is sys.stderr and handler.level <= logging.WARNING:
                return log.isEnabledFor(logging.WARNING)
        logger = logger.parent if logger.propagate else None
    return False


class LastWord:
    """What the program says last of a database whose migration failed.

    A program often has a message of its own for that, which does not know that the database was put
    back. Nothing is said where the error itself, with our note, is the last thing that Python
    prints, nor where stderr is a file to which nothing was written after our own line.
    """

    def __init__(self) -> None:
        self._about: Path | None = None
        self._line = ""
        self._notes: tuple[str, ...] = ()
        self._size: int | None = None
        self._process = 0
        self._write_stamp: Callable[[], object] | None = None
        self._stamp: object = None

    def is_of(
        self,
        database: Path,
        state: str,
        *,
        notes: tuple[str, ...] = (),
        write_stamp: Callable[[], object] | None = None,
    ) -> None:
        """Make ``state`` of ``database`` the last word; ``notes``: of the error that goes on.

        ``write_stamp`` returns another value once somebody has written to the database: then
        nothing is said.
        """
        if not self._process:
            atexit.register(self._say)
        self._process = os.getpid()
        self._about, self._notes = database, notes
        self._line = f"{datetime.now():%H:%M:%S} {state}"
        self._size = _size_of_stderr()
        self._write_stamp = write_stamp
        self._stamp = write_stamp() if write_stamp is not None else None

    def said(self, line: str) -> None:
        """Note that ``line`` was just said."""
        if line in self._notes:
            self._size = _size_of_stderr()

    def withdraw(self, database: Path) -> None:
        """Say nothing of ``database``: it has been migrated since."""
        if self._about == database:
            self._about = None

    def _say(self) -> None:
        if self._about is None or self._process != os.getpid():  # that of a fork's child
            return
        if self._write_stamp is not None and self._stamp != self._write_stamp():
            return
        error = getattr(sys, "last_value", None)
        if set(self._notes) & set(getattr(error, "__notes__", ())):
            return
        if self._size is not None and self._size == _size_of_stderr():
            return
        logging.raiseExceptions = False  # a stream that a handler has may be closed by now
        log.warning("soulsense_db: %s", self._line)
        if not _log_is_on_stderr():
            _print(self._line)


_last_word = LastWord()
last_word = _last_word


def _size_of_stderr() -> int | None:
    """Return how long the file is that stderr goes to, None for a terminal or a pipe."""
    try:
        sys.stderr.flush()
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):  # closed, or none: no file for sure
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
