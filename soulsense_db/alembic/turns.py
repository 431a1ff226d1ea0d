"""One Alembic command at a time in a process: ``context`` and ``op`` are the same in all threads.

A second thread that entered an ``EnvironmentContext`` would take ``context`` away from the first,
whose env.py would then run the second one's steps; one that begins its steps would take ``op`` away
from steps that run, which would then be done on the second one's connection. Light to import.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

# env.py itself may start a thread with a command of its own, and wait for it: not for ever.
_SECONDS = 600.0
_WORTH_SAYING_SECONDS = 0.5
_local = threading.local()


def take_turn(environment: Any) -> None:
    """Wait until no other thread runs a command; only where protection may be switched on.

    Raises :class:`~soulsense_db.alembic.guard.MigrationRefusedError` when that takes too long.
    """
    entered = _entered()
    entered.append((environment, _begin(environment.config)))


@contextmanager
def turn(config: Any) -> Iterator[None]:
    """Run the block while no other thread is in one, as :func:`take_turn` does."""
    has_turn = _begin(config)
    try:
        yield
    finally:
        if has_turn:
            _turn.release()


def _begin(config: Any) -> bool:
    """Wait for the turn; False where nothing is wanted of us."""
    if not is_wanted(config):
        return False
    if not _acquire():
        from soulsense_db.alembic.guard import MigrationRefusedError

        raise MigrationRefusedError(
            "Another thread of this program has been running an Alembic command for "
            f"{_SECONDS:.0f} s. No migration was run.",
            hint="Run one command after the other.",
        )
    return True


def _acquire() -> bool:
    if _turn.acquire(timeout=_WORTH_SAYING_SECONDS):
        return True
    from soulsense_db.alembic.telling import say

    say("Another thread of this program runs an Alembic command: waiting for it.")
    return _turn.acquire(timeout=_SECONDS)


def end_turn(environment: Any) -> None:
    """Let the next thread have its turn."""
    entered = _entered()
    for position in range(len(entered) - 1, -1, -1):
        if entered[position][0] is environment:
            if entered.pop(position)[1]:
                _turn.release()
            return


def current_environment() -> Any:
    """Return the environment that this thread entered last and has not left, None without one."""
    entered = _entered()
    return entered[-1][0] if entered else None


def _entered() -> list[tuple[Any, bool]]:
    if not hasattr(_local, "entered"):
        _local.entered = []
    return _local.entered  # type: ignore[no-any-return]


def is_wanted(config: Any) -> bool:
    """Whether the switch is there in any place, without reading what it says."""
    if os.environ.get("SOULSENSE_BACKUP"):
        return True
    if config is None:
        return False
    sections = {"alembic", config.config_ini_section}
    names = set(getattr(config, "toml_alembic_config", ()))
    for section in sections:
        if config.file_config.has_section(section):
            names.update(config.file_config.options(section))
    return any(name.lower().startswith("soulsense_") for name in names)


class _Turn:
    """A lock that a thread may take again; the child of a fork has one that is free.

    There the lock may have been another thread's, which is not in the child.
    """

    def __init__(self) -> None:
        self.reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        self._lock = threading.RLock()

    def acquire(self, *, timeout: float) -> bool:
        return self._lock.acquire(timeout=timeout)

    def release(self) -> None:
        with suppress(RuntimeError):  # it was taken before a fork
            self._lock.release()


_turn = _Turn()
