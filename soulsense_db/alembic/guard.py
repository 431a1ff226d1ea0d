"""The guard: what happens around the steps of one Alembic command.

Before the first step of each database: its lock, a look for a half-run migration, a safety backup,
a marker on disk. After the last: the marker goes. When a step fails: every database of the command
whose work is not committed is put back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError

from soulsense_db.alembic.autogenerate import hide_catalog
from soulsense_db.alembic.command import COMMAND_ATTRIBUTE, Command
from soulsense_db.alembic.guarded_database import GuardedDatabase, left_open, lines_of
from soulsense_db.alembic.options import is_switched_off, is_switched_on
from soulsense_db.alembic.steps import may_have_steps
from soulsense_db.alembic.telling import log, say
from soulsense_db.errors import BackupError
from soulsense_db.manager import BackupManager
from soulsense_db.settings import Settings


class MigrationRefusedError(BackupError, CommandError):
    """The database cannot be protected, so no step was run; Alembic prints it as one line."""

    exit_code = 72


@contextmanager
def guarded(context: MigrationContext) -> Iterator[None]:
    """Guard the block in which env.py runs the migrations of ``context`` (the first door)."""
    with refusing():
        command = command_of(context)
        switched_off = is_switched_off()
        if switched_off:
            hide_catalog(context, command.guard().settings.catalog)
    if switched_off:
        yield
        return
    try:
        with refusing():
            command.guard().protect(context)
        yield
    except BaseException as error:
        # With a call around env.py, the restore waits until env.py has closed its connections.
        if not command.ends_after_env:
            command.failed(error)
        raise
    if not command.ends_after_env:
        command.succeeded()


def before_steps(context: MigrationContext) -> None:
    """Protect the database of ``context`` if the user switched that on (the second door)."""
    with refusing():
        command = command_of(context)
        guard = command.guard()
        if is_switched_on(command.environment.config):
            guard.protect(context)
        else:  # an application may use BackupManager alone
            hide_catalog(context, guard.settings.catalog)


@contextmanager
def refusing(consequence: str = "No migration was run.") -> Iterator[None]:
    """Turn errors of the tree into the one that Alembic prints without a traceback."""
    try:
        yield
    except MigrationRefusedError:
        raise
    except BackupError as error:
        raise MigrationRefusedError(f"{error.message} {consequence}", hint=error.hint) from error


def command_of(context: MigrationContext) -> Command:
    """Return the command that ``context`` belongs to."""
    environment = context.environment_context
    if environment is None:
        raise TypeError("safe_migrations() takes alembic.context of a running command")
    attributes = environment.config.attributes
    command = attributes.get(COMMAND_ATTRIBUTE)
    # A Config may serve several commands, one after the other.
    if not isinstance(command, Command) or command.environment is not environment:
        command = attributes[COMMAND_ATTRIBUTE] = Command(environment, ends_after_env=False)
    return command


class CommandGuard:
    """The databases of one command, in the order in which it came to them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._contexts: list[MigrationContext] = []
        self._databases: dict[Path, GuardedDatabase] = {}

    def protect(self, context: MigrationContext) -> None:
        """Back up the database of ``context`` if it has steps to run; once per context."""
        if context in self._contexts:  # both doors are open
            return
        self._contexts.append(context)
        hide_catalog(context, self.settings.catalog)
        connection = context.connection
        if connection is None or not may_have_steps(context):
            return
        manager = BackupManager(
            connection.engine, self.settings.directory, catalog=self.settings.catalog
        )
        path = manager.database
        if path is None:
            log.info("The database is in memory: no safety backup, it ends with the process.")
            return
        known = self._databases.get(path) or left_open(path, connection)
        database = known or GuardedDatabase(manager, path, self.settings)
        if database.begin(context, connection):
            self._databases[path] = database

    def failed(self, error: BaseException) -> None:
        """Put back every database whose work is not committed, and say so."""
        unfinished = [database for database in self._databases.values() if not database.finished]
        for database in unfinished:  # first all of them: they may share locks
            database.end_transaction()
        for database in reversed(unfinished):
            for line in lines_of(database.after_failure, database):
                say(line)
                error.add_note(line)

    def succeeded(self) -> None:
        """End the protection of every database, as soon as its work is committed."""
        for database in self._databases.values():
            if not database.finished:
                for line in lines_of(database.finish_when_committed, database):
                    say(line)
