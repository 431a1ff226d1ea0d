"""One database of an Alembic command: its lock, its safety backup, its marker.

They outlive the command where its caller has a transaction open: until that ends.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from weakref import WeakValueDictionary

from alembic.runtime.migration import MigrationContext
from sqlalchemy.engine import Connection

from soulsense_db.alembic.awaited_transaction import AwaitedTransaction
from soulsense_db.alembic.chain import chain_of, require_whole
from soulsense_db.alembic.errors import not_loadable, require_identities
from soulsense_db.alembic.protection import Protection
from soulsense_db.alembic.put_back import leave_as_it_is, let_stand_as_rolled_back, put_back
from soulsense_db.alembic.steps import Pending, Run, pending_steps
from soulsense_db.alembic.telling import log, say
from soulsense_db.backup_info import BackupInfo
from soulsense_db.errors import DatabaseLockedError, MissingRightError, UnsupportedDatabaseError
from soulsense_db.manager import BackupManager
from soulsense_db.notices import cleaning_up, log_ignored, reason_of
from soulsense_db.operations import DatabaseLock
from soulsense_db.settings import Settings
from soulsense_db.shown_text import printable
from soulsense_db.sidecars import new_marker

# A second upgrade waits for the first, however long its steps take, but not for ever.
_WAIT_SECONDS = 3600.0
_WORTH_SAYING_SECONDS = 0.5


class GuardedDatabase(Protection):
    """One database of a command, from before its first step to after its last."""

    def __init__(self, manager: BackupManager, place: Path, settings: Settings) -> None:
        super().__init__(manager, place, settings)
        self._awaited: AwaitedTransaction | None = None

    def begin(
        self,
        context: MigrationContext,
        connection: Connection,
        *,
        before_backup: Callable[[MigrationContext, Pending, BackupManager], None],
    ) -> bool:
        """Lock, look, back up, mark; False when there is nothing to run.

        ``before_backup`` is called before the first backup of this database, with its lock held:
        what it raises refuses the migration.
        """
        # Locked before the first read: a transaction begun while another upgrade runs would show
        # the old heads after it.
        was_finished = self.finished
        if was_finished:
            self.lock = self._wait_for_lock()
        try:
            pending = pending_steps(context, connection, self.manager)
            if was_finished:
                self._look_for_a_marker()
            if pending.steps:
                self._warn_of_attached(context, pending)
                if self.backup is None:
                    before_backup(context, pending, self.manager)
                self._mark(context, pending)
                self.awaits_commit = False  # a commit between the steps is not the end
        except BaseException:
            if was_finished:  # else its earlier run has still to be ended, well or not
                with cleaning_up(f"The marker of {self.name} could not be removed"):
                    self.forget()  # no step was run
                self.release()
            raise
        if not pending.steps and was_finished:
            self.release()
        return bool(pending.steps)

    def _warn_of_attached(self, context: MigrationContext, pending: Pending) -> None:
        require_whole(
            context,
            pending.attached,
            self.manager.live,
            ignore=self.settings.ignores_attached,
        )
        for file in pending.attached.values():
            log.warning("%s is attached: it is neither backed up nor put back.", printable(file))

    @property
    def was_given_up(self) -> bool:
        """Whether its steps were run and not committed: others do not see the last revision.

        A transaction that is still open, its caller's, decides that later.
        """
        connection = self.runs[-1].connection
        if not connection.closed and connection.in_transaction():
            return False
        try:
            self.close_idle_connections()
            return not self.are_targets_seen()
        except Exception as error:  # noqa: BLE001 - locked, say: nobody can tell
            log.debug("Whether %s was migrated cannot be told: %s", self.name, error)
            return False

    def cut_off(self) -> str:
        """Return what to say when the program ends before the migration, or its way back, does."""
        assert self.backup is not None
        return (
            f"The migration of {self.name} was interrupted: the database may be half migrated. "
            f"To put it back: {self.command_back()}"
        )

    def way_back(self) -> list[str]:
        """Return what to say, a line each, when putting it back may be cut short."""
        assert self.backup is not None
        if not self.settings.restores:
            return []
        return [
            f"{self.name} is being put back from {self.backup.path}; please wait. "
            "A second interrupt leaves it half migrated.",
            f"In that case, put it back with: {self.command_back()}",
        ]

    def is_awaited_on(self, connection: Connection) -> bool:
        """Whether the transaction it awaits is the one that is open on ``connection``.

        Raises errors as :meth:`AwaitedTransaction.is_on`.
        """
        return self.awaits_commit and self._awaited is not None and self._awaited.is_on(connection)

    def _wait_for_lock(self) -> DatabaseLock:
        try:
            return self._exclusive(_WORTH_SAYING_SECONDS)
        except DatabaseLockedError:
            say(
                f"Another migration or restore of {self.name} is running. Waiting for it to finish."
            )
            return self._exclusive(_WAIT_SECONDS)

    def _exclusive(self, timeout: float) -> DatabaseLock:
        return self.manager.exclusive(timeout=timeout, make_table=False)

    def _look_for_a_marker(self) -> None:
        """Refuse a database that a dead migration left; one that had reached its end is whole."""
        assert self.lock is not None
        markers = self.lock.markers.read()
        if not markers:
            return
        if (error := self.manager.alarm.error()) is not None:
            raise error
        self.end(list(markers))
        say(
            f"An earlier migration of {self.name} had finished, but was killed before it could "
            "record that."
        )

    def _mark(self, context: MigrationContext, pending: Pending) -> None:
        chain = chain_of(context)
        target = ",".join(pending.target) or None
        if self.backup is None:  # met twice in one command: what it was before the first
            self._require_way_back(context.connection)
            if self.settings.restores:
                require_identities(self.settings.form_options())
            self.backup = self.manager.create(
                _description(pending, target)[:200],
                kind="pre_migration",
                alembic_heads=pending.heads,
                target_revision=target,
                # A write now would make a transaction that env.py has open a stale one.
                record=False,
            )
            self._require_use_of(self.backup)
            log.info("Backup before the migration: %s", self.backup.path)
        earlier = [marker for marker in self.markers if marker.chain == chain]
        marker = new_marker(
            backup=self.backup.path,
            backup_id=self.backup.id,
            backup_sha256=self.backup.sha256,
            alembic_heads=earlier[0].alembic_heads if earlier else pending.heads,
            target_heads=pending.target,
            chain=chain,
        )
        self.markers.append(marker)  # before it is there: an interrupt may come right after
        assert self.lock is not None
        self.lock.markers.add([marker])
        self.lock.markers.remove({one.id for one in earlier})
        self.markers = [one for one in self.markers if one not in earlier]
        # One more of the same chain takes up what an earlier one left.
        self.runs = [r for r in self.runs if not (r.remaining and chain_of(r.context) == chain)]
        self.runs.append(Run(context, pending, self.lock))

    def _require_way_back(self, connection: Connection | None) -> None:
        """Raise what would keep it from being put back: now, while it costs nothing."""
        assert self.lock is not None
        try:
            if problems := self.manager.can_restore().problems:
                raise problems[0]
            if connection is not None and not connection.in_transaction():
                self.lock.require_way_back()
        except MissingRightError as error:
            if self.settings.restores:
                raise
            # It is not put back anyway; somebody else may restore the backup.
            log_ignored("Who migrates it may not restore it", error)

    def _require_use_of(self, backup: BackupInfo) -> None:
        """Raise if ``backup`` could not be put back, or does not reach a mirror where it has to.

        Now that costs nothing. It is deleted then: a service that is restarted all the time would
        fill the disk. Raises :class:`~soulsense_db.errors.IdentityError`,
        :class:`~soulsense_db.errors.MirrorError`.
        """
        assert self.lock is not None
        try:
            if self.settings.restores:
                self.manager.require_key(backup)
                self._require_loadable(backup)
            if self.settings.mirrors_before_upgrade:
                address = self.manager.mirrors.require_uploaded(backup)
                log.info("The backup before the migration is at %s", address)
        except BaseException as error:
            self.backup = None
            with cleaning_up(f"{backup.filename} could not be deleted"):
                self.lock.delete(backup, reason=f"the migration was refused ({reason_of(error)})")
            raise

    def _require_loadable(self, backup: BackupInfo) -> None:
        assert self.lock is not None
        try:
            self.lock.require_loadable(backup)
        except UnsupportedDatabaseError as error:
            raise not_loadable(error) from error

    def end_transaction(self) -> None:
        """Take the locks of env.py's connections off the database."""
        self.awaits_commit = False
        self.note_attached()
        for run in self.runs:
            if not run.connection.closed:
                run.end_transaction()
        self.close_idle_connections()

    def note_attached(self) -> None:
        """Remember the files that are attached now, which are not put back: a step did that."""
        for run in self.runs:
            if not run.connection.closed:
                self.attached |= run.attached(self.manager)

    def after_failure(self) -> list[str]:
        """Put the database back; return what to tell the user, a line each."""
        assert self.backup is not None
        if self.is_committed():
            left = f"{self.name} had finished its migration and was left as it is."
            return [left, *self.after_success()]
        if self.was_rolled_back():
            return let_stand_as_rolled_back(self)
        return put_back(self) if self.settings.restores else leave_as_it_is(self)

    def finish_when_committed(self) -> list[str]:
        """Finish now, or when the transaction that env.py or its caller holds comes to an end.

        Returns what to tell the user, a line each.
        """
        connection = self.runs[-1].connection
        if connection.closed or not connection.in_transaction():
            return self.after_success()

        self._awaited = AwaitedTransaction(self, connection)
        _awaiting_commit[self.place] = self
        return []


def _description(pending: Pending, target: str | None) -> str:
    """Return what the backup is for: one upgrade and one downgrade may lead to one revision."""
    if all(getattr(step, "is_downgrade", False) for step in pending.steps):
        return f"Before downgrade to {target or 'base'}"
    return f"Before {target or 'base'}"


# Weak: a connection that is forgotten takes its transaction with it.
_awaiting_commit: WeakValueDictionary[Path, GuardedDatabase] = WeakValueDictionary()


def awaiting_transaction(place: Path, connection: Connection) -> GuardedDatabase | None:
    """Return the database that an earlier command left to the open transaction, to go on with it.

    Both commands then are one: they are committed together, and put back together.
    """
    database = _awaiting_commit.get(place)
    if database is None or not database.is_awaited_on(connection):
        return None
    return database
