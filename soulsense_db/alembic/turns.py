"""One Alembic command at a time in a process: Alembic's ``context`` is the same in all threads.

A second thread that entered an ``EnvironmentContext`` would take it away from the first, whose
env.py would then run the second one's steps, or fail in the middle. Light to import.
"""

from __future__ import annotations

import os
import threading
from typing import Any

# env.py itself may start a thread with a command of its own, and wait for it: not for ever.
_SECONDS = 600.0
_WORTH_SAYING_SECONDS = 0.5
_turn = threading.RLock()
_local = threading.local()


def take_turn(environment: Any) -> None:
    """Wait until no other thread runs a command; only where protection may be switched on.

    Raises :class:`~soulsense_db.alembic.guard.MigrationRefusedError` when that takes too long.
    """
    entered = _entered()
    has_turn = is_wanted(environment.config)
    if has_turn and not _acquire():
        from soulsense_db.alembic.guard import MigrationRefusedError

        raise MigrationRefusedError(
            "Another thread of this program has been running an Alembic command for "
            f"{_SECONDS:.0f} s. No migration was run.",
            hint="Run one command after the other.",
        )
    entered.append((environment, has_turn))


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


def _forget_in_child() -> None:
    """After a fork the child has one thread, and no other whose turn it could be."""
    global _turn  # noqa: PLW0603 - the lock may be another thread's, which is not in the child
    _turn = threading.RLock()
    if hasattr(_local, "entered"):
        _local.entered = [(environment, False) for environment, _ in _local.entered]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
