"""One Alembic command, from before env.py to after it.

One run's state belongs to its ``Config``, not to a context variable: env.py may migrate in a thread
of its own. Light to import: it is for every Alembic project in the environment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soulsense_db.alembic.guard import CommandGuard

COMMAND_ATTRIBUTE = "soulsense_db.command"


class Command:
    """What both doors know of the command that runs.

    ``environment``: its ``EnvironmentContext``; ``ends_after_env``: whether :func:`running` is
    around env.py, so that failures are put back after env.py has closed its connections.
    """

    def __init__(self, environment: Any, *, ends_after_env: bool) -> None:
        self.environment = environment
        self.ends_after_env = ends_after_env
        self._guard: CommandGuard | None = None

    def guard(self) -> CommandGuard:
        """Return the guard of this command, made when first needed."""
        if self._guard is None:
            from soulsense_db.alembic.guard import CommandGuard
            from soulsense_db.alembic.options import read_settings

            self._guard = CommandGuard(read_settings(self.environment.config))
        return self._guard

    def failed(self, error: BaseException) -> None:
        """Put back what the guard protects, if anything."""
        if self._guard is not None:
            self._guard.failed(error)

    def succeeded(self) -> None:
        """End the protection, if there was any."""
        if self._guard is not None:
            self._guard.succeeded()


@contextmanager
def running(environment: Any) -> Iterator[None]:
    """Run env.py in the block; at its end, well or not, the guard of the command has its turn."""
    attributes = environment.config.attributes
    outer = attributes.get(COMMAND_ATTRIBUTE)
    command = attributes[COMMAND_ATTRIBUTE] = Command(environment, ends_after_env=True)
    try:
        yield
    except BaseException as error:
        command.failed(error)
        raise
    else:
        command.succeeded()
    finally:
        attributes[COMMAND_ATTRIBUTE] = outer
