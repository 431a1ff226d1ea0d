"""The steps of one ``run_migrations``: which are pending, how many are left, who sees their end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from alembic.runtime.migration import MigrationContext
from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.pool import StaticPool

from soulsense_db.alembic.chain import target_heads
from soulsense_db.manager import BackupManager
from soulsense_db.notices import log_ignored
from soulsense_db.operations import DatabaseLock


@dataclass(frozen=True, kw_only=True)
class Pending:
    """What one ``run_migrations`` is about to do.

    ``heads``: the revisions now; ``target``: those after all ``steps``, sorted; ``attached``: other
    files of the connection, by schema name.
    """

    connection: Connection
    heads: tuple[str, ...]
    steps: Sequence[Any]
    target: tuple[str, ...]
    attached: dict[str, str]


class Run:
    """One ``run_migrations`` of a database: which steps it has, how many are left."""

    def __init__(self, context: MigrationContext, pending: Pending, lock: DatabaseLock) -> None:
        self.context = context
        self._lock = lock
        self._marks: list[str] = []
        self.connection = connection = pending.connection
        self._in_callers_transaction = connection.in_transaction()
        self.heads = pending.heads
        self.remaining = len(pending.steps)
        self._target: set[str] = set()
        # What is committed at once, or was on the way, no rollback takes back.
        self.may_have_committed = connection._is_autocommit_isolation()
        event.listen(connection, "commit", self._committed)
        # A step may send COMMIT as text, or through the library: of that SQLAlchemy knows nothing.
        event.listen(connection, "before_cursor_execute", self._executed)
        event.listen(connection, "begin", self._begun)
        if self._in_callers_transaction and not self.may_have_committed:
            self._begun(connection)
        context.on_version_apply_callbacks = (*context.on_version_apply_callbacks, self._applied)

    def attached(self, manager: BackupManager) -> set[str]:
        """Return the files that are attached now, by a step perhaps."""
        if self.connection.dialect.is_async:  # it answers in its own event loop only
            return set()
        try:
            return set(manager.live.attached_files(self.connection).values())
        except Exception as error:  # noqa: BLE001 - the connection is what a failed step left
            log_ignored("What is attached cannot be told", error)
            return set()

    def end_transaction(self) -> None:
        """Roll back, and close the connection unless others share it."""
        connection = self.connection
        if not self._in_callers_transaction:
            connection.rollback()
        elif isinstance(connection.engine.pool, StaticPool):
            # The Transaction object is the caller's to end.
            connection.connection.rollback()
        if not isinstance(connection.engine.pool, StaticPool):
            connection.invalidate()

    @property
    def version_table(self) -> str:
        """Name of the table that Alembic keeps the revision in."""
        return str(self.context.version_table)

    def _committed(self, _: Connection) -> None:
        self.may_have_committed = True

    def _begun(self, connection: Connection) -> None:
        try:
            self._marks.append(self._lock.mark_transaction(connection))
        except Exception as error:  # noqa: BLE001 - of the application's library
            log_ignored("What its transaction commits cannot be told", error)
            self.may_have_committed = True

    def _executed(self, _: Connection, __: Any, statement: str, *___: Any) -> None:
        # With it ends the transaction that has a mark: the next one may be committed.
        if _ROLLBACK.search(statement):
            self.may_have_committed = True

    def was_committed(self) -> bool:
        """Whether something was, or may have been, on its connection."""
        return self.may_have_committed or self._lock.has_committed(self._marks)

    def _applied(self, *, heads: set[str], **_: Any) -> None:
        self.remaining -= 1
        self._target = heads

    def heads_are_as_before(self, manager: BackupManager) -> bool:
        """Whether another connection sees the revisions from before this run."""
        return self._seen(manager) == tuple(sorted(self.heads))

    def is_committed(self, manager: BackupManager) -> bool:
        """Whether another connection sees the end of this run."""
        if self.remaining:
            return False
        return self._seen(manager) == tuple(sorted(self._target))

    def _seen(self, manager: BackupManager) -> tuple[str, ...]:
        schema = self.context.version_table_schema
        return manager.live.alembic_heads(self.version_table, str(schema) if schema else None)


_ROLLBACK = re.compile(r"\b(?:ROLLBACK(?!\s+TO\b)|ABORT)\b", re.IGNORECASE)

# What Alembic's own commands that run no steps give as ``fn``: they have effects of their own.
_WITHOUT_STEPS = frozenset(
    {
        "display_version",
        "do_ensure_version",
        "edit_current",
        "nothing",
        "retrieve_migrations",
        "show_current",
        "_display_current_history",
    }
)

_UPGRADE = ("alembic.command", "upgrade")


def may_have_steps(context: MigrationContext) -> bool:
    """Whether the command may run steps: upgrade, downgrade, or a program's own (or stamp)."""
    options = context.opts
    fn = options.get("fn")
    if fn is None or context.as_sql or options.get("purge"):
        return False
    of_alembic = getattr(fn, "__module__", "") == "alembic.command"
    return not (of_alembic and fn.__name__ in _WITHOUT_STEPS)


def upgrade_target(context: MigrationContext) -> str | None:
    """Return where ``alembic upgrade`` was told to go, as the user wrote it.

    None for any other command, and for a program's own way to run steps.
    """
    fn = context.opts.get("fn")
    if (getattr(fn, "__module__", ""), getattr(fn, "__name__", "")) != _UPGRADE:
        return None
    target = context.opts.get("destination_rev")
    return None if target is None else str(target)


def pending_steps(
    context: MigrationContext, connection: Connection, manager: BackupManager
) -> Pending:
    """Return what ``context`` is about to run. No transaction is left open."""
    was_in_transaction = connection.in_transaction()
    try:
        with manager.live.explained():  # it may be damaged, or locked
            heads = context.get_current_heads()
        steps = [step for step in context.opts["fn"](heads, context) if not step.info.is_stamp]
        attached = manager.live.attached_files(connection)
    finally:
        if not was_in_transaction:
            connection.rollback()
    return Pending(
        connection=connection,
        heads=heads,
        steps=steps,
        target=target_heads(context, heads, steps),
        attached=attached,
    )
