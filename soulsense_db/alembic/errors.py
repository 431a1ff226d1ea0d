"""Errors that Alembic prints as one line, as its own."""

from __future__ import annotations

from alembic.util import CommandError

from soulsense_db.errors import BackupError


class MigrationRefusedError(BackupError, CommandError):
    """The database cannot be protected, so no step was run; Alembic prints it as one line."""

    exit_code = 72


class MigrationFailedError(BackupError, CommandError):
    """Not all steps were run, and env.py ended as if they had been; the message says what is."""

    exit_code = 75
