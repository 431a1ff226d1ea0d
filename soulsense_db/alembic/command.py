"""One Alembic command, from before env.py to after it.

What is known of it belongs to its environment, not to a context variable: env.py may migrate in a
thread of its own. Light to import: it is for every Alembic project in the environment.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soulsense_db.alembic.command_guard import CommandGuard

_ATTRIBUTE = "soulsense_db_command"


class Command:
    """What both doors know of the command that runs.

    ``config``: Alembic's, None where a program uses a ``MigrationContext`` without any. Each thread
    has a guard of its own: Alembic's ``context`` is one for all threads of a process, so that one
    may come to run what is another's.
    """

    def __init__(self, config: Any) -> None:
        self.config = config
        self._guards: dict[int, CommandGuard] = {}
        self._scopes: dict[int, int] = {}

    def guard(self) -> CommandGuard:
        """Return the guard of this command in this thread, made when first needed."""
        thread = threading.get_ident()
        if thread not in self._guards:
            from soulsense_db.alembic.command_guard import CommandGuard
            from soulsense_db.alembic.options import read_settings

            self._guards[thread] = CommandGuard(read_settings(self.config), self.config)
        return self._guards[thread]

    @property
    def has_scope(self) -> bool:
        """Whether a block around the steps, in this thread, ends what the guard began."""
        return threading.get_ident() in self._scopes

    @contextmanager
    def scope(self, *, is_all: bool = True) -> Iterator[None]:
        """At the end of the block, well or not, the guard has its turn; of several, the outermost.

        Not in the child of a fork within the block: what it does ends nothing of its parent's.
        ``is_all``: whether the command ends with the block, else its next one goes on with the same
        databases: what they were before its first.
        """
        thread, process = threading.get_ident(), os.getpid()
        self._scopes[thread] = self._scopes.get(thread, 0) + 1
        try:
            yield
        except BaseException as error:
            if self._is_outermost(thread, process):
                self._failed(error)
            raise
        else:
            if self._is_outermost(thread, process):
                self._succeeded()
        finally:
            self._scopes[thread] -= 1
            if not self._scopes[thread]:
                del self._scopes[thread]
                if is_all:
                    self._guards.pop(thread, None)

    def _is_outermost(self, thread: int, process: int) -> bool:
        return self._scopes[thread] == 1 and process == os.getpid()

    def _failed(self, error: BaseException) -> None:
        guard = self._guards.get(threading.get_ident())
        if guard is not None:
            guard.failed(error)

    def _succeeded(self) -> None:
        guard = self._guards.get(threading.get_ident())
        if guard is not None:
            guard.succeeded()


def command_of(owner: Any, config: Any) -> Command:
    """Return the command of ``owner``, an ``EnvironmentContext`` or a ``MigrationContext``."""
    command = owner.__dict__.get(_ATTRIBUTE)
    if command is None:
        command = owner.__dict__[_ATTRIBUTE] = Command(config)
    return command  # type: ignore[no-any-return]


@contextmanager
def running(environment: Any) -> Iterator[None]:
    """Run env.py in the block: failures are put back after it has closed its connections."""
    with command_of(environment, environment.config).scope():
        yield
