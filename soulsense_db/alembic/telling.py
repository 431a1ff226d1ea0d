"""Tell the user of a command what became of the database."""

from __future__ import annotations

import logging
import sys

from soulsense_db.shown_text import logger_of, printable

# Below Alembic's own logger: env.py's fileConfig disables loggers that it does not name.
log = logger_of("alembic.soulsense_db")


def say(line: str) -> None:
    """Tell the user on stderr, for a CommandError shows no notes, and in Alembic's log."""
    line = printable(line)
    log.warning("soulsense_db: %s", line)
    if not _log_is_on_stderr():
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
