"""What a rehearsal cannot begin with, and what it found, as errors of the tree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from soulsense_db.errors import (
    DataLossError,
    OptionError,
    RehearsalFailedError,
    UnsupportedDatabaseError,
)

_UNTOUCHED = "It ran on a copy. The live database was not touched."


def failed(sentences: Sequence[str]) -> RehearsalFailedError:
    """Return the error for a migration that fails, or breaks what is there."""
    return RehearsalFailedError(
        _first(sentences),
        state=_UNTOUCHED,
        hint="Correct the migration, or env.py, and rehearse it again.",
    )


def loses_data(sentences: Sequence[str]) -> DataLossError:
    """Return the error for a migration that ends well and loses data."""
    return DataLossError(
        _first(sentences),
        state=_UNTOUCHED,
        hint="Correct the migration, and rehearse it again. If the loss is what it is for, run it: "
        "the backup before it has what it removes.",
    )


def no_file(database: str) -> UnsupportedDatabaseError:
    """Return the error for a database that is no file of its own."""
    return UnsupportedDatabaseError(
        f"{database} is in memory: there is nothing to rehearse on.",
        hint="Name a database file.",
    )


def cannot_run_on_a_copy(revision: str, what: str) -> UnsupportedDatabaseError:
    """Return the error for migrations that would do more than can be done to a copy."""
    who = f"Step {revision}" if revision else "env.py, or a module that it imports,"
    return UnsupportedDatabaseError(
        f"These migrations cannot run on a copy: {who} {what}.",
        state=_UNTOUCHED,
        hint="Do that outside of the migrations; or leave it out where the environment has "
        "SOULSENSE_REHEARSAL=1, as a rehearsal and a drill set it.",
        reason=what,
    )


def no_process(reason: str) -> RehearsalFailedError:
    """Return the error for a process of Python that does not start."""
    return RehearsalFailedError(
        f"No process could be started for the rehearsal ({reason}).",
        state=_UNTOUCHED,
        hint="Free memory, or raise the limit of processes.",
        reason=reason,
    )


def not_run(database: Path, what: str) -> RehearsalFailedError:
    """Return the error for migrations that do not come to the data at all; it says why."""
    return RehearsalFailedError(
        f"The migrations of {database} could not be run: {what}",
        state=_UNTOUCHED,
        hint="Run 'alembic current' to see whether env.py works here, and for which database. It "
        "says nothing of the backup.",
        path=database,
        reason=what,
    )


def not_found(what: str) -> RehearsalFailedError:
    """Return the error for an env.py that does not say which database it migrates."""
    return RehearsalFailedError(
        f"Which database the migrations are for could not be found: {what}",
        state=_UNTOUCHED,
        hint="Pass the manager of the database: rehearse(config, manager=BackupManager(engine)).",
    )


def several(databases: Sequence[str]) -> OptionError:
    """Return the error for migrations of several databases, where none was named."""
    return OptionError(
        "The migrations are for several databases. Nothing says which one is to be backed up.",
        hint="Pass the manager of one of them: rehearse(config, manager=BackupManager(engine)). "
        "The others are copied as well.",
        candidates=databases,
    )


def no_timeout(seconds: float) -> OptionError:
    """Return the error for a time that is none."""
    return OptionError(
        f"{seconds:g} seconds are no time limit.",
        hint="Give a number of seconds above 0.",
    )


def no_revision() -> OptionError:
    """Return the error for an empty name of a revision."""
    return OptionError("No revision is named: the name is empty.", hint="Name one, such as head.")


def _first(sentences: Sequence[str]) -> str:
    """Return the first of them, and how many more there are."""
    more = len(sentences) - 1
    first = sentences[0] if sentences else ""
    return f"{first} And {more} more." if more > 0 else first
