"""One database of an Alembic command: its lock, its safety backup, its marker.

They outlive the command where its caller has a transaction open: until that ends.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from weakref import WeakValueDictionary

from alembic.runtime.migration import MigrationContext
from sqlalchemy import event
from sqlalchemy.engine import Connection

from soulsense_db.alembic.autogenerate import is_in_host_metadata
from soulsense_db.alembic.chain import chain_of, require_whole
from soulsense_db.alembic.errors import own_transaction
from soulsense_db.alembic.steps import Pending, Run, pending_steps
from soulsense_db.alembic.telling import log, say
from soulsense_db.backup_info import BackupInfo
from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    DatabaseLockedError,
    InvalidBackupError,
    restore_command,
)
from soulsense_db.manager import BackupManager
from soulsense_db.notices import cleaning_up, reason_of
from soulsense_db.operations import DatabaseLock
from soulsense_db.retention import RetentionPolicy
from soulsense_db.settings import Settings
from soulsense_db.shown_text import printable
from soulsense_db.sidecars import (
    MigrationMarker,
    add_markers,
    new_marker,
    read_markers,
    remove_markers,
)

# A second upgrade waits for the first, however long its steps take, but not for ever.
_WAIT_SECONDS = 3600.0
_WORTH_SAYING_SECONDS = 0.5
# Of the backups made here, when no soulsense_keep_... option says otherwise.
_RETENTION = RetentionPolicy(keep_last=10)
# The note of a pin that a success takes off again.
_FAILED = "before a migration that failed and was left as it is"


class GuardedDatabase:
    """One database of a command: its lock, its safety backup, its marker."""

    def __init__(self, manager: BackupManager, path: Path, settings: Settings) -> None:
        self._manager = manager
        self.path = path
        self._process = os.getpid()
        self._settings = settings
        self._access: DatabaseLock | None = None
        self._backup: BackupInfo | None = None
        self._runs: list[Run] = []
        self._attached: set[str] = set()
        self._markers: list[MigrationMarker] = []
        self.awaits_commit = False  # finished by the end of a transaction, not by the guard
        self._thread = 0  # in which it awaits that

    @property
    def finished(self) -> bool:
        """Whether it is neither locked nor marked any more."""
        return self._access is None

    def begin(self, context: MigrationContext, connection: Connection) -> bool:
        """Lock, look, back up, mark; False when there is nothing to run."""
        # Locked before the first read: a transaction begun while another upgrade runs would show
        # the old heads after it.
        was_finished = self.finished
        if was_finished:
            self._access = self._wait_for_lock()
        try:
            pending = pending_steps(context, connection, self._manager)
            if was_finished:
                self._look_for_a_marker()
            if pending.steps:
                self._warn_of_attached(context, pending)
                self._mark(context, pending)
                self.awaits_commit = False  # a commit between the steps is not the end
        except BaseException:
            if was_finished:  # else its earlier run has still to be ended, well or not
                with cleaning_up(f"The marker of {self.path} could not be removed"):
                    self._forget()  # no step was run
                self.release()
            raise
        if not pending.steps and was_finished:
            self.release()
        return bool(pending.steps)

    def _warn_of_attached(self, context: MigrationContext, pending: Pending) -> None:
        require_whole(context, pending.attached, ignore=self._settings.ignores_attached)
        for file in pending.attached.values():
            log.warning("%s is attached: it is not backed up, nor put back.", printable(file))

    @property
    def has_steps_left(self) -> bool:
        """Whether a run of it ended before its last step."""
        return any(run.remaining for run in self._runs)

    @property
    def was_given_up(self) -> bool:
        """Whether its steps were run and not committed: others do not see the last revision.

        A transaction that is still open, its caller's, decides that later.
        """
        connection = self._runs[-1].connection
        if not connection.closed and connection.in_transaction():
            return False
        try:
            self._close_idle_connections()
            return not self._are_targets_seen()
        except Exception as error:  # noqa: BLE001 - locked, say: nobody can tell
            log.debug("Whether %s was migrated cannot be told: %s", self.path, error)
            return False

    def cut_off(self) -> str:
        """Return what to say when the program ends before the migration, or its way back, does."""
        assert self._backup is not None
        return (
            f"The migration of {self.path} was cut off: it may be half migrated. "
            f"Put it back with: {self._command_back(self._backup)}"
        )

    def _command_back(self, backup: BackupInfo) -> str:
        return restore_command("", self._manager.address, Path(backup.path)).line

    def way_back(self) -> list[str]:
        """Return what to say, a line each, when putting it back may be cut short."""
        assert self._backup is not None
        if not self._settings.restores:
            return []
        return [
            f"{self.path} is being put back from {self._backup.path}; please wait. "
            "Another interrupt leaves it half migrated.",
            f"Then put it back with: {self._command_back(self._backup)}",
        ]

    def is_awaited_on(self, connection: Connection) -> bool:
        """Whether the transaction it awaits is the one that is open on ``connection``.

        Raises :class:`~soulsense_db.errors.DatabaseLockedError` when it is another one of this
        very thread, which would wait for itself.
        """
        own = self._runs[-1].connection
        if own is not connection and self._thread == threading.get_ident():
            raise own_transaction(self.path)
        return own is connection

    def _wait_for_lock(self) -> DatabaseLock:
        try:
            return self._exclusive(_WORTH_SAYING_SECONDS)
        except DatabaseLockedError:
            say(f"Another migration or restore of {self.path} is running: waiting for it.")
            return self._exclusive(_WAIT_SECONDS)

    def _exclusive(self, timeout: float) -> DatabaseLock:
        return self._manager.exclusive(timeout=timeout, make_table=False)

    def _look_for_a_marker(self) -> None:
        """Refuse a database that a dead migration left; one that had reached its end is whole."""
        assert self._access is not None
        markers = read_markers(self.path)
        ended = [marker for marker in markers if self._access.is_migration_done(marker)]
        for marker in markers:
            if marker not in ended:
                raise marker.error(self.path, self._manager.address)
        if ended:
            self._end(ended)
            say(f"A migration of {self.path} had ended, but was killed before it could say so.")

    def _mark(self, context: MigrationContext, pending: Pending) -> None:
        chain = chain_of(context)
        target = ",".join(pending.target) or None
        if self._backup is None:  # met twice in one command: what it was before the first
            if problems := self._manager.can_restore().problems:
                raise problems[0]  # now, while it costs nothing
            assert self._access is not None
            connection = context.connection
            if connection is not None and not connection.in_transaction():
                self._access.require_way_back()
            self._backup = self._manager.create(
                f"Before {target or 'downgrade to base'}"[:200],
                kind="pre_migration",
                alembic_heads=pending.heads,
                target_revision=target,
                # A write now would make a transaction that env.py has open a stale one.
                record=False,
            )
            log.info("Safety backup before the migration: %s", self._backup.path)
        earlier = [marker for marker in self._markers if marker.chain == chain]
        marker = new_marker(
            backup=self._backup.path,
            backup_id=self._backup.id,
            backup_sha256=self._backup.sha256,
            alembic_heads=earlier[0].alembic_heads if earlier else pending.heads,
            target_heads=pending.target,
            chain=chain,
        )
        self._markers.append(marker)  # before it is there: an interrupt may come right after
        add_markers(self.path, [marker])
        remove_markers(self.path, {one.id for one in earlier})
        self._markers = [one for one in self._markers if one not in earlier]
        # One more of the same chain takes up what an earlier one left.
        self._runs = [r for r in self._runs if not (r.remaining and chain_of(r.context) == chain)]
        self._runs.append(Run(context, pending))

    def _end(self, markers: list[MigrationMarker]) -> None:
        assert self._access is not None
        self._access.end_migration({marker.id for marker in markers})

    def _forget(self) -> None:
        """Remove the entries of this command alone: a person chose, or nothing was changed."""
        remove_markers(self.path, {marker.id for marker in self._markers})

    def end_transaction(self) -> None:
        """Take the locks of env.py's connections off the database."""
        self.awaits_commit = False
        self.note_attached()
        for run in self._runs:
            if not run.connection.closed:
                run.end_transaction()
        self._close_idle_connections()

    def note_attached(self) -> None:
        """Remember the files that are attached now, which are not put back: a step did that."""
        for run in self._runs:
            if not run.connection.closed:
                self._attached |= run.attached(self._manager)

    def after_failure(self) -> list[str]:
        """Put the database back; return what to tell the user, a line each."""
        assert self._backup is not None
        if self._is_committed():
            left = f"{self.path} had finished its migration: it was left as it is."
            return [left, *self._after_success()]
        if not self._settings.restores:
            self._forget()
            first = self._backup
            with cleaning_up(f"{first.filename} could not be pinned"):
                first = self._pin_first_of_failures(first)
            self._finish()
            return [
                f"The migration of {self.path} failed and was left as it is "
                f"(soulsense_on_failure = keep). The backup from before: {self._backup.path}",
                *([f"Before the first failure: {first.path}"] if first != self._backup else []),
            ]
        return self._put_back()

    def _after_success(self) -> list[str]:
        """Keep what the steps did."""
        unsure = self._end_migration()
        # Only now: a table made before the steps could be in the way of one of theirs.
        owned = any(is_in_host_metadata(run.context, self._settings.catalog) for run in self._runs)
        self._manager.sync_catalog(make_table=not owned)
        if not self._settings.restores:
            self._unpin_failures()
        self._finish()
        return unsure

    def _end_migration(self) -> list[str]:
        try:
            self._end(self._markers)
        except BackupError as error:
            return [
                f"The migration of {self.path} is done, but whether it would outlast a power cut "
                f"is not sure ({error.cause}). The next upgrade looks again."
            ]
        return []

    def finish_when_committed(self) -> list[str]:
        """Finish now, or when the transaction that env.py or its caller holds comes to an end.

        Returns what to tell the user, a line each.
        """
        connection = self._runs[-1].connection
        if connection.closed or not connection.in_transaction():
            return self._after_success()

        self.awaits_commit = True
        self._thread = threading.get_ident()
        _awaiting_commit[self.path] = self
        event.listen(connection, "commit", self._on_commit)
        event.listen(connection, "rollback", self._on_rollback)
        return []

    def _on_commit(self, connection: Connection) -> None:
        """End the protection with the COMMIT that SQLAlchemy is about to send."""
        if self.awaits_commit and self._is_own():
            # Done here, to see whether it can be: the one that follows has nothing left to do, or
            # raises the same to the caller.
            with suppress(connection.dialect.loaded_dbapi.Error):
                connection.dialect.do_commit(connection.connection)
            self.end_with_transaction()

    def _on_rollback(self, _: Connection) -> None:
        if self.awaits_commit and self._is_own():
            self.end_with_transaction()

    def _is_own(self) -> bool:
        """Whether this process made it, and not one that a fork left it to."""
        return self._process == os.getpid()

    def end_with_transaction(self) -> None:
        """End the protection of a database whose transaction is over, or will be rolled back."""
        self.awaits_commit = False
        for line in messages_of(self._after_transaction, self):
            say(line)

    def _after_transaction(self) -> list[str]:
        assert self._backup is not None
        # The catalog is brought in step by the next backup.
        if self._is_committed():
            unsure = self._end_migration()
            self._finish()
            return unsure
        if self._is_unchanged(self._backup):
            self._forget()
            self._finish()
            return []
        return [
            f"The transaction around the migration of {self.path} did not end well, and SQLite "
            "may have committed steps before: the database may be half migrated. "
            f"{self._markers[-1].error(self.path, self._manager.address).hint}"
        ]

    def _is_unchanged(self, backup: BackupInfo) -> bool:
        """Whether other connections see what was there before the first step."""
        try:
            return self._manager.compare(backup).identical
        except BackupError:
            return False

    def _is_committed(self) -> bool:
        try:
            return not self.has_steps_left and self._are_targets_seen()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not what was wanted
            log.debug("Whether %s was migrated cannot be told: %s", self.path, error)
            return False

    def _are_targets_seen(self) -> bool:
        """Whether others see where the last run of each chain led; earlier ones were on its way."""
        last = {run.version_table: run for run in self._runs}
        return all(run.is_committed(self._manager) for run in last.values())

    def _close_idle_connections(self) -> None:
        """Close what env.py gave back to its pool: a lock that a step took may live on in it."""
        if self._access is not None and all(run.connection.closed for run in self._runs):
            self._access.close_idle_connections()

    def _pin_first_of_failures(self, backup: BackupInfo) -> BackupInfo:
        """Keep, and return, the backup from before a row of failures.

        Those that follow are of what they left, and would push it out where a service is restarted
        all the time.
        """
        made = [info for info in self._manager.list() if info.kind == "pre_migration"]
        first = next((info for info in made if info.pinned and info.pin_note == _FAILED), None)
        if first is not None:
            return first
        self._manager.pin(backup, _FAILED)
        return backup

    def _unpin_failures(self) -> None:
        for info in self._manager.list():
            if info.kind == "pre_migration" and info.pinned and info.pin_note == _FAILED:
                self._manager.unpin(info)

    def _put_back(self) -> list[str]:
        assert self._backup is not None
        assert self._access is not None
        try:
            report = self._access.put_back(self._backup)
        except Exception as error:  # noqa: BLE001 - of the application too, when it connects
            self._finish()  # the marker stays: the next upgrade refuses and says how to go on
            why = error.what if isinstance(error, BackupError) else reason_of(error)
            told = [
                f"The migration of {self.path} failed and the database could NOT be put back: "
                f"{why}",
            ]
            if isinstance(error, InvalidBackupError | BackupNotFoundError):
                return [*told, "It may be half migrated. Restore an earlier backup."]
            return [
                *told,
                f"It may be half migrated. The backup from before it is safe: {self._backup.path}",
                f"Put it back with: {self._command_back(self._backup)}",
            ]
        first = self._runs[0]
        try:
            heads = self._manager.alembic_heads(first.version_table)
        except Exception as error:  # noqa: BLE001 - put back it is; the application's events may fail
            self._finish()
            return [
                f"The migration failed. {self.path} was put back from {self._backup.filename}.",
                f"Its revision could not be read ({reason_of(error)}).",
                *report.remarks,
            ]
        self._delete_of_earlier_try(self._backup)
        self._finish()
        at = ", ".join(heads) or "no revision"
        told = [
            *(f"{file} was attached: it was NOT put back." for file in sorted(self._attached)),
            f"The migration failed. {self.path} was put back, at {at}, "
            f"from {self._backup.filename}.",
            *report.remarks,
        ]
        if heads != tuple(sorted(first.heads)):
            told.append(f"It should be at {', '.join(sorted(first.heads)) or 'no revision'}.")
        return told

    def _delete_of_earlier_try(self, backup: BackupInfo) -> None:
        """Delete the backup of an earlier try with the same content.

        A service that is restarted all the time would push out those of other migrations.
        """
        made = [info for info in self._manager.list() if info.kind == "pre_migration"]
        for info in made:
            same = (info.alembic_heads, info.target_revision) == (
                backup.alembic_heads,
                backup.target_revision,
            )
            if same and info.created_at < backup.created_at and not info.pinned:
                if self._is_unchanged(info):
                    with cleaning_up(f"{info.filename} could not be deleted"):
                        self._manager.delete(info)
                return

    def _finish(self) -> None:
        self.release()
        self._prune()

    def release(self) -> None:
        """Let others in, if that was not done yet."""
        if self._access is not None:
            self._access.release()
            self._access = None

    def _prune(self) -> None:
        """Bound the pre-migration backups, also after a failure: a restart loop fills disks."""
        try:
            self._manager.prune(self._settings.retention or _RETENTION, kinds=("pre_migration",))
        except BackupError as error:  # the migration itself is done: say it, fail nothing
            say(f"Old backups could not be pruned: {error}")


# Weak: a connection that is forgotten takes its transaction with it.
_awaiting_commit: WeakValueDictionary[Path, GuardedDatabase] = WeakValueDictionary()


def awaiting_transaction(path: Path, connection: Connection) -> GuardedDatabase | None:
    """Return the database that an earlier command left to the open transaction, to go on with it.

    Both commands then are one: they are committed together, and put back together.
    """
    database = _awaiting_commit.get(path)
    if database is None or not database.awaits_commit or not database.is_awaited_on(connection):
        return None
    return database


def messages_of(ending: Callable[[], list[str]], database: GuardedDatabase) -> list[str]:
    """Return what ``ending`` has to tell.

    A failure of its own is told as well: it must not keep the other databases from theirs, nor hide
    the error of the migration.
    """
    try:
        return [printable(line) for line in ending()]
    except Exception as error:  # noqa: BLE001 - of the application too, when it connects
        said = str(error) if isinstance(error, BackupError) else f"{reason_of(error)}."
        return [printable(f"{database.path}: {said}")]
    finally:
        if not database.awaits_commit:
            database.release()
