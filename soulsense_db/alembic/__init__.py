"""Alembic, protected: a safety backup before every migration, put back when one fails.

Two doors lead to the same guard. In env.py, on every version of Alembic::

    from soulsense_db.alembic import safe_migrations
    ...
    with safe_migrations(context):        # was: with context.begin_transaction():
        context.run_migrations()

Or, on Alembic 1.18 and later with env.py untouched, ``soulsense_backup = true`` in the
``[alembic]`` section of alembic.ini (``[tool.alembic]`` of pyproject.toml), or
``SOULSENSE_BACKUP=1`` in the environment. ``SOULSENSE_BACKUP=0`` shuts both doors.

What a migration will do to the data, :func:`rehearse` finds out on a copy. An old backup comes back
to today's code with :func:`restore_and_upgrade`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soulsense_db.alembic.rehearsal import (
        Failure,
        Finding,
        RehearsalReport,
        RehearsedDatabase,
        RehearsedStep,
        TableRows,
        rehearse,
        restore_and_upgrade,
        upgrade_to,
    )

__all__ = [
    "Failure",
    "Finding",
    "RehearsalReport",
    "RehearsedDatabase",
    "RehearsedStep",
    "TableRows",
    "rehearse",
    "restore_and_upgrade",
    "safe_migrations",
    "upgrade_to",
]

_HOMES = {name: "soulsense_db.alembic.rehearsal" for name in __all__ if name != "safe_migrations"}

if not TYPE_CHECKING:  # else a misspelt name would pass the type checker

    def __getattr__(name: str) -> Any:
        """Return what the rehearsal hands out, which is imported when it is first asked for."""
        from soulsense_db._lazy import names_from

        return names_from(_HOMES, __name__)(name)


# This module is imported with Alembic itself half imported (by the plugin beside it): whatever
# needs Alembic is imported when it is called.
@contextmanager
def safe_migrations(context: Any) -> Iterator[None]:
    """Run the migrations of the block in Alembic's transaction, with a safety backup around it.

    It stands where ``context.begin_transaction()`` stood, also in offline mode. For commands that
    run no steps it does nothing more. When a step fails, the database is put back, and the error
    goes on.

    Args:
        context: ``alembic.context`` as env.py imports it, configured.

    Yields:
        Nothing; the block runs the migrations.

    Raises:
        MigrationRefusedError: The database cannot be protected; no step was run.
        MigrationFailedError: The block ended without an error, but not all steps were run and
            committed.

    Example:
        >>> from alembic import context
        >>> with safe_migrations(context):
        ...     context.run_migrations()
    """
    from soulsense_db.alembic.guard import guarded

    with guarded(context.get_context()), context.begin_transaction():
        yield
