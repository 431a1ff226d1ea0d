"""Loaded by Python at its start: makes a step of the next Alembic command go wrong.

``REAL_FAULT`` says how, and after which of the statements that change something in the steps of the
migration: ``kill 12``, ``error 12`` or ``interrupt 12``. ``count FILE`` writes into that file how
many of them there are, and how many steps. Nothing of the application is changed on disk.
"""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.runtime.migration import RevisionStep

_READING = ("SELECT", "PRAGMA", "EXPLAIN", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")


class InjectedError(Exception):
    """What a step of a migration raises, on purpose."""


class Fault:
    """Count the statements of all steps; at the chosen one, do what was asked for."""

    def __init__(self, kind: str, argument: str) -> None:
        self._kind = kind
        self._argument = argument
        self._in_a_step = False
        self._statements = 0
        self._steps = 0

    def watch(self) -> None:
        """Look at the steps of every migration, and at every statement of every engine."""
        original = RevisionStep.__init__

        @functools.wraps(original)
        def make(step: Any, *arguments: Any, **options: Any) -> None:
            original(step, *arguments, **options)
            step.migration_fn = self._watched(step.migration_fn)

        RevisionStep.__init__ = make  # type: ignore[method-assign, assignment]
        sa.event.listen(sa.Engine, "after_cursor_execute", self._after)

    def _watched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def step(*arguments: Any, **options: Any) -> Any:
            self._in_a_step = True
            self._steps += 1
            try:
                return function(*arguments, **options)
            finally:
                self._in_a_step = False

        return step

    def _after(self, _connection: Any, _cursor: Any, statement: str, *_others: Any) -> None:
        if not self._in_a_step or statement.lstrip().upper().startswith(_READING):
            return
        self._statements += 1
        if self._kind == "count":
            Path(self._argument).write_text(f"{self._statements} {self._steps}")
        elif self._statements == int(self._argument):
            self._happen()

    def _happen(self) -> None:
        if self._kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self._kind == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        else:
            raise InjectedError(f"after statement {self._argument}, on purpose")


if asked := os.environ.get("REAL_FAULT"):
    Fault(*asked.split(maxsplit=1)).watch()
