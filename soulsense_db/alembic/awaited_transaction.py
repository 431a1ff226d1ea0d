"""A protection that outlives its command: the transaction around the steps is its caller's."""

from __future__ import annotations

import os
import threading

from sqlalchemy import event
from sqlalchemy.engine import Connection

from soulsense_db.alembic.errors import own_transaction
from soulsense_db.alembic.protection import Protection, messages_of
from soulsense_db.alembic.telling import say
from soulsense_db.notices import ignoring


class AwaitedTransaction:
    """The open transaction on ``connection``, with the end of which ``protection`` ends."""

    def __init__(self, protection: Protection, connection: Connection) -> None:
        self._protection = protection
        self._connection = connection
        self._thread = threading.get_ident()
        protection.awaits_commit = True
        event.listen(connection, "commit", self._on_commit)
        event.listen(connection, "rollback", self._on_rollback)

    def is_on(self, connection: Connection) -> bool:
        """Whether it is the one that is open on ``connection``.

        Raises :class:`~soulsense_db.errors.DatabaseLockedError` when it is another one of this
        very thread, which would wait for itself.
        """
        is_same = self._connection is connection
        if not is_same and self._thread == threading.get_ident():
            raise own_transaction(self._protection.named)
        return is_same

    def _on_commit(self, connection: Connection) -> None:
        """End the protection with the COMMIT that SQLAlchemy is about to send."""
        if self._is_awaited():
            # Done here, to see whether it can be: the one that follows has nothing left to do, or
            # raises the same to the caller.
            with ignoring(connection.dialect.loaded_dbapi.Error, what="The commit was refused"):
                connection.dialect.do_commit(connection.connection)
            self._end()

    def _on_rollback(self, _: Connection) -> None:
        if self._is_awaited():
            self._end()

    def _is_awaited(self) -> bool:
        """Whether it still is, in this process, and not in one that a fork left it to."""
        return self._protection.awaits_commit and self._protection.process == os.getpid()

    def _end(self) -> None:
        self._protection.awaits_commit = False
        for line in messages_of(self._after_transaction, self._protection):
            say(line)

    def _after_transaction(self) -> list[str]:
        protection = self._protection
        assert protection.backup is not None
        # The catalog is brought in step by the next backup.
        if protection.is_committed():
            unsure = protection.end_migration()
            protection.finish()
            return unsure
        if protection.is_unchanged(protection.backup):
            protection.forget()
            protection.finish()
            return []
        alarm = protection.markers[-1].error(protection.named, protection.manager.live.address)
        return [
            f"The transaction around the migration of {protection.name} did not end well, and "
            "steps before it may be committed: the database may be half migrated. "
            f"{alarm.hint}"
        ]
