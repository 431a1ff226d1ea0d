"""One Alembic command at a time in a process: ``context`` and ``op`` are the same in all threads.

A second thread that entered an ``EnvironmentContext`` would take ``context`` away from the first,
whose env.py would then run the second one's steps; one that begins its steps would take ``op`` away
from steps that run, which would then be done on the second one's connection. Light to import.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# env.py itself may start a thread with a command of its own, and wait for it: not for ever.
_SECONDS = 120.0
_WORTH_SAYING_SECONDS = 0.5
_local = threading.local()


def take_turn(environment: Any) -> None:
    """Wait until no other command runs; only where protection may be switched on.

    Raises :class:`~soulsense_db.alembic.errors.MigrationRefusedError` when that takes too long.
    """
    entered = _entered()
    entered.append((environment, _begin(environment, environment.config)))


def end_turn(environment: Any) -> None:
    """Let the next command have its turn."""
    entered = _entered()
    for position in range(len(entered) - 1, -1, -1):
        if entered[position][0] is environment:
            if entered.pop(position)[1]:
                _turn.release()
            return


@contextmanager
def turn(owner: Any, config: Any) -> Iterator[None]:
    """Run the block, of the command or context ``owner``, as :func:`take_turn` says."""
    has_turn = _begin(owner, config)
    try:
        yield
    finally:
        if has_turn:
            _turn.release()


def current_environment() -> Any:
    """Return the environment that this thread entered last and has not left, None without one."""
    entered = _entered()
    return entered[-1][0] if entered else None


def is_wanted(config: Any) -> bool:
    """Whether the switch is there in any place, without reading what it says."""
    if os.environ.get("SOULSENSE_BACKUP"):
        return True
    if config is None:
        return False
    names = set(getattr(config, "toml_alembic_config", ()))
    for section in {"alembic", config.config_ini_section}:
        if config.file_config.has_section(section):
            names.update(config.file_config.options(section))
    return any(name.lower().startswith("soulsense_") for name in names)


def _entered() -> list[tuple[Any, bool]]:
    if not hasattr(_local, "entered"):
        _local.entered = []
    return _local.entered  # type: ignore[no-any-return]


def _begin(owner: Any, config: Any) -> bool:
    """Wait for the turn; False where nothing is wanted of us."""
    if not is_wanted(config):
        return False
    if _turn.acquire(owner, timeout=_WORTH_SAYING_SECONDS):
        return True
    from soulsense_db.alembic.telling import say

    say("Another thread of this program is running an Alembic command. Waiting for it.")
    if _turn.acquire(owner, timeout=_SECONDS):
        return True
    from soulsense_db.alembic.errors import other_thread

    raise other_thread(_SECONDS)


class _Turn:
    """Whose turn it is: a command's, in whatever threads, and what its own thread begins meanwhile.

    In the child of a fork it is free: the other threads are not there.
    """

    def __init__(self) -> None:
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._owner: Any = None
        self._thread = 0
        self._depth = 0

    def acquire(self, owner: Any, *, timeout: float) -> bool:
        """Take it, or one more level of it; False after ``timeout`` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._may_begin(owner), timeout):
                return False
            if not self._depth:
                self._owner, self._thread = owner, threading.get_ident()
            self._depth += 1
            return True

    def release(self) -> None:
        """Give one level back."""
        with self._changed:
            self._depth = max(0, self._depth - 1)  # it may have been taken before a fork
            if not self._depth:
                self._owner = None
                self._changed.notify_all()

    def _may_begin(self, owner: Any) -> bool:
        return not self._depth or self._owner is owner or self._thread == threading.get_ident()


_turn = _Turn()
