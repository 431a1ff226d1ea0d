"""The ``alembic.plugins`` entry point (Alembic 1.18 and later): env.py stays untouched.

It is loaded for every Alembic project in the environment, with Alembic half imported, so it does as
little as it can: two wrappers, which do nothing where nobody switched the protection on.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

log = logging.getLogger("alembic.soulsense_db")


def setup(plugin: Any) -> None:
    """Wrap the hook before the steps, and the call around env.py.

    Never raises: an error here would break ``import alembic`` for everybody.
    """
    try:
        _install()
    except Exception:  # whatever it is; there is no user to raise it to yet
        log.exception("soulsense_db could not hook into this Alembic: it does NOT protect it")


def _install() -> None:
    from alembic.ddl.impl import DefaultImpl
    from alembic.script import ScriptDirectory

    start_migrations = DefaultImpl.start_migrations
    run_env = ScriptDirectory.run_env
    if hasattr(run_env, "soulsense_db"):
        return

    def protected_start_migrations(self: DefaultImpl) -> None:
        from alembic import context

        start_migrations(self)
        # Absent where a MigrationContext is used by itself: that is no command.
        if getattr(context, "_proxy", None) is not None and context.get_context().impl is self:
            _before_steps(context.get_context())

    def protected_run_env(self: ScriptDirectory) -> None:
        from alembic import context

        from soulsense_db.alembic.command import running

        with running(context._proxy):  # type: ignore[attr-defined]
            run_env(self)

    protected_run_env.soulsense_db = True  # type: ignore[attr-defined]
    DefaultImpl.start_migrations = protected_start_migrations  # type: ignore[method-assign]
    ScriptDirectory.run_env = protected_run_env  # type: ignore[method-assign]


def _before_steps(context: Any) -> None:
    from soulsense_db.alembic.guard import before_steps

    before_steps(context)


class _IterableModule(ModuleType):
    """Alembic 1.18.0 to 1.20.0 iterate what the entry point names."""

    def __iter__(self) -> Iterator[ModuleType]:
        yield self


sys.modules[__name__].__class__ = _IterableModule
