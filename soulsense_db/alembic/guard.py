"""The doors: what happens around the steps of one Alembic command.

Before the first step of each database: its lock, a look for a half-run migration, a safety backup,
a marker on disk. After the last: the marker goes. When a step fails: every database of the command
whose work is not committed is put back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from alembic.runtime.migration import MigrationContext

from soulsense_db.alembic.autogenerate import hide_catalog
from soulsense_db.alembic.command import Command, command_of
from soulsense_db.alembic.errors import (
    MigrationFailedError,
    MigrationRefusedError,
    refused,
    rehearsal_without_backup,
)
from soulsense_db.alembic.options import is_switched_off, is_switched_on, read_settings
from soulsense_db.alembic.steps import may_have_steps
from soulsense_db.alembic.telling import say
from soulsense_db.errors import BackupError

# The errors were defined here, and are caught by that name.
__all__ = [
    "MigrationFailedError",
    "MigrationRefusedError",
    "around_steps",
    "before_steps",
    "guarded",
]


@contextmanager
def guarded(context: MigrationContext) -> Iterator[None]:
    """Guard the block in which env.py runs the migrations of ``context`` (the first door)."""
    environment = context.environment_context
    if environment is None:
        raise TypeError("safe_migrations() takes alembic.context of a running command")
    with refusing():
        command = command_of(environment, environment.config)
        switched_off = is_switched_off()
        if switched_off:
            hide_catalog(context, command.guard().settings.catalog)
    if switched_off:
        yield
        return
    # With a call around env.py, the restore waits until env.py has closed its connections.
    with command.scope(is_all=False):
        with refusing():
            command.guard().protect(context)
        with command.guard().noting_attached():
            yield


@contextmanager
def around_steps(context: MigrationContext, newest_config: Callable[[], Any]) -> Iterator[None]:
    """Protect the ``run_migrations`` in the block, if the user switched that on (the second door).

    Whoever calls it: env.py, or a program that uses Alembic's contexts by itself. Without an
    environment ``newest_config`` says which configuration counts.
    """
    with refusing():
        command = _command_around(context, newest_config)
        protects = is_switched_on(command.config)
        if not protects and context.environment_context is not None:
            # An application may use BackupManager alone.
            hide_catalog(context, command.guard().settings.catalog)
    if not protects:
        with refusing():
            _require_protection(command, context)
        yield
        return
    with command.scope():
        with refusing():
            command.guard().protect(context)
        with command.guard().noting_attached():
            yield


def _require_protection(command: Command, context: MigrationContext) -> None:
    """Raise where the steps of ``context`` are to be rehearsed, and no door is open."""
    if not read_settings(command.config).rehearses or is_switched_off():
        return
    if may_have_steps(context) and not command.guard().is_protecting(context):
        raise rehearsal_without_backup()


def _command_around(context: MigrationContext, newest_config: Callable[[], Any]) -> Command:
    environment = context.environment_context
    if environment is not None:
        return command_of(environment, environment.config)
    return command_of(context, newest_config())


def before_steps(context: MigrationContext) -> None:
    """Say so when the steps of ``context`` begin without protection that is switched on."""
    environment = context.environment_context
    if environment is None or not may_have_steps(context):
        return
    command = command_of(environment, environment.config)
    with refusing():
        if not is_switched_on(command.config):
            return
        if command.has_scope:
            command.guard().protect(context)
            return
    say(
        "These migrations are NOT protected: the program runs them in a way of its own. Put "
        "'with safe_migrations(context):' around them."
    )


@contextmanager
def refusing() -> Iterator[None]:
    """Turn errors of the tree into the one that Alembic prints without a traceback."""
    try:
        yield
    except MigrationRefusedError:
        raise
    except BackupError as error:
        raise refused(error) from error
