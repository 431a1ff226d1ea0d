"""The ``alembic.plugins`` entry point (Alembic 1.18 and later): env.py stays untouched.

It is loaded for every Alembic project in the environment, with Alembic half imported, so it does as
little as it can: a few wrappers, which do nothing where nobody switched the protection on. What is
not there yet is wrapped when the first command or context is made.
"""

from __future__ import annotations

import copy
import functools
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

log = logging.getLogger("alembic.soulsense_db")

_MARK = "soulsense_db"
# The newest configuration: a MigrationContext that a program makes by itself has none.
_newest_config: Any = None


def setup(plugin: Any) -> None:
    """Wrap the call around env.py, and the ways to the steps.

    Never raises: an error here would break ``import alembic`` for everybody.
    """
    try:
        _install()
    except Exception:  # whatever it is; there is no user to raise it to yet
        log.exception(
            "soulsense_db could not hook into this version of Alembic: migrations are NOT protected"
        )


def _install() -> None:
    from alembic.ddl.impl import DefaultImpl
    from alembic.script import ScriptDirectory

    run_env = ScriptDirectory.run_env
    start_migrations = DefaultImpl.start_migrations
    get_by_dialect = DefaultImpl.get_by_dialect.__func__  # type: ignore[attr-defined]
    from_config = ScriptDirectory.from_config.__func__  # type: ignore[attr-defined]
    if hasattr(run_env, _MARK):
        return

    @functools.wraps(get_by_dialect)
    def hooked_get_by_dialect(cls: Any, dialect: Any) -> Any:
        _wrap_contexts()  # every MigrationContext asks for its impl here
        return get_by_dialect(cls, dialect)

    @functools.wraps(from_config)
    def hooked_from_config(cls: Any, config: Any) -> Any:
        global _newest_config  # noqa: PLW0603 - one per process, as Alembic's own context
        _newest_config = _options_alone(config)
        _wrap_contexts()
        return from_config(cls, config)

    @functools.wraps(start_migrations)
    def hooked_start_migrations(self: DefaultImpl) -> None:
        start_migrations(self)
        _look_for_unprotected(self)

    @functools.wraps(run_env)
    def protected_run_env(self: ScriptDirectory) -> None:
        from soulsense_db.alembic.command import running

        with running(_environment_of(self)):
            run_env(self)

    protected_run_env.soulsense_db = True  # type: ignore[attr-defined]
    DefaultImpl.get_by_dialect = classmethod(hooked_get_by_dialect)  # type: ignore[assignment]
    DefaultImpl.start_migrations = hooked_start_migrations  # type: ignore[method-assign]
    ScriptDirectory.from_config = classmethod(hooked_from_config)  # type: ignore[assignment]
    ScriptDirectory.run_env = protected_run_env  # type: ignore[method-assign]


def _wrap_contexts() -> None:
    """Wrap the classes that were only half there during :func:`setup`."""
    from alembic.runtime.environment import EnvironmentContext
    from alembic.runtime.migration import MigrationContext

    run_migrations = MigrationContext.run_migrations
    if hasattr(run_migrations, _MARK):
        return

    @functools.wraps(run_migrations)
    def protected_run_migrations(self: MigrationContext, **kw: Any) -> None:
        from soulsense_db.alembic.turns import is_wanted

        if self.environment_context is None and not is_wanted(newest_config()):
            run_migrations(self, **kw)
            return
        from soulsense_db.alembic.guard import around_steps

        with around_steps(self, newest_config):
            run_migrations(self, **kw)

    protected_run_migrations.soulsense_db = True  # type: ignore[attr-defined]
    MigrationContext.run_migrations = protected_run_migrations  # type: ignore[method-assign]
    _wrap_environment(EnvironmentContext)
    _wrap_operations()


def _wrap_environment(environment_class: Any) -> None:
    enter, leave = environment_class.__enter__, environment_class.__exit__

    @functools.wraps(enter)
    def entered(self: Any) -> Any:
        from soulsense_db.alembic.turns import take_turn

        take_turn(self)
        return enter(self)

    @functools.wraps(leave)
    def left(self: Any, *arguments: Any, **kw: Any) -> None:
        from soulsense_db.alembic.turns import end_turn

        try:
            leave(self, *arguments, **kw)
        finally:
            end_turn(self)

    environment_class.__enter__, environment_class.__exit__ = entered, left


def _wrap_operations() -> None:
    """Keep the ``op`` of running steps from being taken over by another thread."""
    from alembic.operations.base import AbstractOperations

    context = AbstractOperations.context.__func__  # type: ignore[attr-defined]

    @contextmanager
    def in_turn(cls: Any, migration_context: Any) -> Iterator[Any]:
        from soulsense_db.alembic.turns import turn

        environment = migration_context.environment_context
        if environment is not None:
            owner, config = environment, environment.config
        else:
            owner, config = migration_context, newest_config()
        with turn(owner, config), context(cls, migration_context) as operations:
            yield operations

    AbstractOperations.context = classmethod(in_turn)  # type: ignore[assignment]


def newest_config() -> Any:
    """Return the configuration that was used last, None without one."""
    return _newest_config


def _options_alone(config: Any) -> Any:
    """Return a copy of ``config`` that keeps nothing alive, as a connection in its attributes."""
    alone = copy.copy(config)
    alone.__dict__.pop("attributes", None)
    return alone


def _environment_of(scripts: Any) -> Any:
    """Return the environment that runs the env.py of ``scripts`` in this thread."""
    from alembic import context

    from soulsense_db.alembic.turns import current_environment

    # Alembic's own is that of whichever thread came last.
    environment = current_environment()
    if environment is not None and environment.script is scripts:
        return environment
    return context._proxy  # type: ignore[attr-defined]


def _look_for_unprotected(impl: Any) -> None:
    """Say so when steps begin in a way that goes past the wrapper around them."""
    from alembic import context

    if getattr(context, "_proxy", None) is None:
        return
    current = context._proxy._migration_context  # type: ignore[attr-defined]
    if current is not None and current.impl is impl:
        from soulsense_db.alembic.guard import before_steps

        before_steps(current)


class _IterableModule(ModuleType):
    """Alembic 1.18.0 to 1.20.0 iterate what the entry point names."""

    def __iter__(self) -> Iterator[ModuleType]:
        yield self


sys.modules[__name__].__class__ = _IterableModule
