"""What protects one database of a command: its lock, its safety backup, its marker."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from soulsense_db.alembic.autogenerate import is_in_host_metadata
from soulsense_db.alembic.steps import Run
from soulsense_db.alembic.telling import log, say
from soulsense_db.backup_info import BackupInfo
from soulsense_db.errors import BackupError, restore_command
from soulsense_db.manager import BackupManager
from soulsense_db.notices import cleaning_up, log_ignored, reason_of
from soulsense_db.operations import DatabaseLock
from soulsense_db.retention import RetentionPolicy
from soulsense_db.settings import Settings
from soulsense_db.shown_text import printable
from soulsense_db.sidecars import MigrationMarker

# Of the backups made here, when no soulsense_keep_... option says otherwise.
_RETENTION = RetentionPolicy(keep_last=10)
# The note of a pin that a success takes off again.
BEFORE_FAILURE = "before a migration that failed and was left as it is"


class Protection:
    """The state of one database, and how its protection ends.

    ``place``: what its sidecars are named after, its file where it has one; ``lock``: its own, None
    where it is finished; ``backup``: from before the first step; ``markers``: the entries of this
    command; ``attached``: files that are not put back.
    """

    def __init__(self, manager: BackupManager, place: Path, settings: Settings) -> None:
        self.manager = manager
        self.place = place
        self.settings = settings
        self.process = os.getpid()
        self.lock: DatabaseLock | None = None
        self.backup: BackupInfo | None = None
        self.runs: list[Run] = []
        self.markers: list[MigrationMarker] = []
        self.attached: set[str] = set()
        self.awaits_commit = False
        """Whether the end of a transaction finishes it, and not the guard."""

    @property
    def named(self) -> Path | str:
        """The database's file, or its name on a server."""
        return self.manager.database or self.manager.live.name

    @property
    def name(self) -> str:
        """What messages call the database."""
        return self.manager.live.name

    @property
    def finished(self) -> bool:
        """Whether it is neither locked nor marked any more."""
        return self.lock is None

    @property
    def has_steps_left(self) -> bool:
        """Whether a run of it ended before its last step."""
        return any(run.remaining for run in self.runs)

    def is_committed(self) -> bool:
        """Whether all steps were run, and others see that; not, where nobody can tell."""
        try:
            return not self.has_steps_left and self.are_targets_seen()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not what was wanted
            log.debug("Whether %s was migrated cannot be told: %s", self.name, error)
            return False

    def are_targets_seen(self) -> bool:
        """Whether others see where the last run of each chain led; earlier ones were on its way."""
        last = {run.version_table: run for run in self.runs}
        return all(run.is_committed(self.manager) for run in last.values())

    def is_unchanged(self, backup: BackupInfo) -> bool:
        """Whether other connections see what was there before the first step."""
        try:
            return self.manager.compare(backup).identical
        except BackupError as error:
            log_ignored(f"Whether {self.name} is what it was cannot be told", error)
            return False

    def was_rolled_back(self) -> bool:
        """Whether the database took all of it back, as one that has its DDL in transactions does.

        Believed only where nothing was committed on a connection of a run, where others see the
        revisions of before, and the schema that the backup has.
        """
        live = self.manager.live
        if not live.rolls_back_schema or self.backup is None or self.lock is None:
            return False
        try:
            if any(run.was_committed() for run in self.runs):
                return False
            first = {run.version_table: run for run in reversed(self.runs)}
            return all(
                run.heads_are_as_before(self.manager) for run in first.values()
            ) and self.lock.has_schema_of(self.backup)
        except Exception as error:  # noqa: BLE001 - whatever it is, then it is put back
            log.debug("Whether %s rolled back cannot be told: %s", self.name, error)
            return False

    def command_back(self) -> str:
        """Return the command that puts it back."""
        assert self.backup is not None
        return restore_command("", self.manager.live.address, Path(self.backup.path)).line

    def close_idle_connections(self) -> None:
        """Close what env.py gave back to its pool: a lock that a step took may live on in it."""
        if self.lock is not None and all(run.connection.closed for run in self.runs):
            self.lock.close_idle_connections()

    # How it ends

    def after_success(self) -> list[str]:
        """Let stand what the steps did; return what to tell the user, a line each."""
        unsure = self.end_migration()
        # Only now: a table made before the steps could be in the way of one of theirs.
        owned = any(is_in_host_metadata(run.context, self.settings.catalog) for run in self.runs)
        self.manager.catalog.sync(make_table=not owned)
        if not self.settings.restores:
            self._unpin_failures()
        self.finish()
        return unsure

    def sync_catalog(self) -> None:
        """After a failure, list the backup in the database's table, if there is one.

        It was not while the steps were to come: a write would have made a transaction that env.py
        had open a stale one.
        """
        with cleaning_up("The table of backups could not be updated"):
            self.manager.catalog.sync(make_table=False)

    def _unpin_failures(self) -> None:
        for info in self.manager.list():
            if info.kind == "pre_migration" and info.pinned and info.pin_note == BEFORE_FAILURE:
                self.manager.unpin(info)

    def end_migration(self) -> list[str]:
        """Remove the entries of this command, which is done; return what to tell the user."""
        try:
            self.end(self.markers)
        except BackupError as error:
            return [
                f"The migration of {self.name} is complete, but it may not survive a power cut "
                f"({error.cause}). The next upgrade checks again."
            ]
        return []

    def end(self, markers: list[MigrationMarker]) -> None:
        """Remove entries of migrations that are done, once all of that is on the disk."""
        assert self.lock is not None
        self.lock.end_migration({marker.id for marker in markers})

    def forget(self) -> None:
        """Remove the entries of this command alone: a person chose, or nothing was changed."""
        assert self.lock is not None
        self.lock.markers.remove({marker.id for marker in self.markers})

    def finish(self) -> None:
        """Let others in, and remove what the policy lets go."""
        self.release()
        self._prune()

    def release(self) -> None:
        """Let others in, if that was not done yet."""
        if self.lock is not None:
            self.lock.release()
            self.lock = None

    def _prune(self) -> None:
        """Bound the pre-migration backups, also after a failure: a restart loop fills disks."""
        try:
            self.manager.prune(self.settings.retention or _RETENTION, kinds=("pre_migration",))
        except BackupError as error:  # the migration itself is done: say it, fail nothing
            say(f"Old backups could not be pruned: {error}")


def messages_of(ending: Callable[[], list[str]], protection: Protection) -> list[str]:
    """Return what ``ending`` has to tell.

    A failure of its own is told as well: it must not keep the other databases from theirs, nor hide
    the error of the migration.
    """
    try:
        return [printable(line) for line in ending()]
    except Exception as error:  # noqa: BLE001 - of the application too, when it connects
        said = str(error) if isinstance(error, BackupError) else f"{reason_of(error)}."
        return [printable(f"{protection.name}: {said}")]
    finally:
        if not protection.awaits_commit:
            protection.release()
