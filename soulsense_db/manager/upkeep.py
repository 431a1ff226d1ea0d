"""What keeps backups good and few: checks, pins, removal."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Iterable
from datetime import UTC, datetime

from soulsense_db import operations
from soulsense_db.backup_info import BackupInfo, check_note
from soulsense_db.drivers import Progress
from soulsense_db.manager.listing import ManagerListing
from soulsense_db.operations import (
    DrillCheck,
    Reference,
    Upgrade,
    VerificationReport,
    VerifyLevel,
)
from soulsense_db.retention import PruneReport, RetentionPolicy


class ManagerUpkeep(ManagerListing):
    """What keeps backups good and few: checks, pins, removal."""

    def verify(
        self,
        ref: Reference,
        *,
        level: VerifyLevel = "full",
        checks: Iterable[DrillCheck] = (),
        upgrade: Upgrade | None = None,
        progress: Progress | None = None,
    ) -> VerificationReport:
        """Check a backup by reading it, or by restoring it; its data file is never written to.

        Where there is a checksum, the meta file records whether the backup passed. A drill restores
        it to a private folder that is gone at the end; the live database is not touched.

        Args:
            ref: The backup, as for :meth:`get`.
            level: ``quick`` checks size, SHA-256 and header (of a compressed backup, size and
                SHA-256); ``full`` decompresses it, and also does SQLite's
                ``integrity_check`` and ``foreign_key_check``. ``drill`` restores it as a new
                machine would, then does these checks with what was restored, and compares the rows
                of each table, the Alembic revisions and the number of broken references with what
                was recorded.
            checks: Of a drill, what you require yourself of the restored database: a ``SELECT``
                that must be true; a mapping with ``sql`` and one of ``is``, ``at-least`` and
                ``at-most``; or a function that is called with an engine, and raises or returns
                False if something is wrong. No time limit ends a function.
            upgrade: Of a drill, what migrates what was restored before ``checks`` look at it; see
                :func:`soulsense_db.alembic.upgrade_to`.
            progress: Told how many bytes of how many were read; what it raises cancels.

        Returns:
            What was checked. Broken references are among its warnings, for a faithful backup may
            have them.

        Raises:
            InvalidBackupError: The backup fails a check; each check has a class of its own.
            DrillError: What was restored is not what was backed up, does not migrate, or fails one
                of ``checks``.
            RehearsalFailedError: The migrations cannot be run here, whatever the backup is.
            IdentityError: Nothing at hand decrypts it.
            NotEnoughSpaceError: There is no room to restore it to.
            OptionError: One of ``checks`` says nothing.
            MetaFileError: Its meta file cannot be trusted.
            StorageError: It cannot be read.
            ValueError: There is no such level; or there are ``checks`` or an ``upgrade``, and it
                is no drill.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> report = manager.verify("latest")
            >>> report.checksum, report.warnings
            (True, ())
            >>> enough = {"sql": "SELECT count(*) FROM entries", "at-least": 1}
            >>> manager.verify("latest", level="drill", checks=[enough]).drill.checks
            ('SELECT count(*) FROM entries',)
        """
        if level == "drill":
            return operations.drill_and_record(
                self._repository, ref, checks=checks, upgrade=upgrade, progress=progress
            )
        if checks or upgrade is not None:
            raise ValueError("checks and upgrade are for level='drill'")
        return operations.verify_and_record(self._repository, ref, level=level, progress=progress)

    def drills_due(self) -> builtins.list[BackupInfo]:
        """Return the backups whose turn it is to be drilled, so that all are within 30 days.

        First those that waited longest; a new one waits as one that was drilled when it was taken.
        What was drilled since yesterday counts, so that several runs a day do no more than one.

        Returns:
            They, and none where today's share is done.

        Raises:
            StorageError: The directory cannot be read.

        Example:
            >>> [info.description for info in manager.drills_due()]
            ['Before the import']
            >>> report = manager.verify("latest", level="drill")
            >>> manager.drills_due()
            []
        """
        # Those that can be told from another one's, and whose facts say what they were.
        own = [info for info in self.list() if info.sha256 and not info.of_unknown_origin]
        drilled = {info.filename: info.drilled_at for info in own if info.drilled_at is not None}
        return operations.drill_turn(own, drilled, now=datetime.now(UTC))

    def last_drill(self) -> datetime | None:
        """Return when a drill of any backup of this database last passed, here or at a mirror.

        Returns:
            The moment, aware, UTC; None when none ever has.

        Raises:
            StorageError: The directory cannot be read.

        Example:
            >>> report = manager.verify("latest", level="drill")
            >>> manager.last_drill() == manager.get("latest").drilled_at
            True
        """
        moments = [info.drilled_at for info in self.list() if info.drill_result == "passed"]
        moments.append(operations.DrillRecordFile.of(self._repository).passed_at())
        return max(filter(None, moments), default=None)

    def pin(self, ref: Reference, note: str = "") -> BackupInfo:
        """Keep a backup: no policy removes it, and :meth:`delete` refuses to.

        Args:
            ref: The backup, as for :meth:`get`.
            note: Why it is kept.

        Returns:
            Its new facts.

        Raises:
            InvalidDescriptionError: The note is too long, or no text.
            MetaFileError: Its meta file cannot be trusted.
            StorageError: The file system refused it.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> manager.pin("latest", "for the auditors").pin_note
            'for the auditors'
        """
        check_note(note)
        return self._repository.directory.amend(self.get(ref), pinned=True, pin_note=note)

    def unpin(self, ref: Reference) -> BackupInfo:
        """Undo :meth:`pin`: the backup is kept as long as any other.

        Args:
            ref: The backup, as for :meth:`get`.

        Returns:
            Its new facts.

        Raises:
            MetaFileError: Its meta file cannot be trusted.
            StorageError: The file system refused it.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> manager.unpin("latest").pinned
            False
        """
        return self._repository.directory.amend(self.get(ref), pinned=False, pin_note="")

    def adopt(self, ref: Reference, *, progress: Progress | None = None) -> BackupInfo:
        """Make a backup of unknown origin one of this database.

        It is verified in full, and keeps its time and description. A meta file, with a new id and
        its checksum of now, takes the place of one that is missing, damaged, or an older program's
        description. From then on ``latest`` can mean it, unless it is dated in the future.

        Args:
            ref: The backup, as for :meth:`get`.
            progress: As for :meth:`verify`.

        Returns:
            Its new facts.

        Raises:
            WrongDatabaseError: It is a backup of another database.
            BackupError: It is of this database already, or there is a log beside it.
            InvalidBackupError: It fails a check.
            MetaFileError: A newer version of this package wrote its meta file.
            StorageError: The file system refused something.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> import shutil
            >>> found = shutil.copy("app.db", "backups/soulsense_backup_20240129_143052.db")
            >>> manager.get(found).of_unknown_origin
            True
            >>> manager.adopt(found).of_unknown_origin
            False
        """
        return operations.adopt_backup(self._repository, ref, progress=progress)

    def delete(self, ref: Reference, *, cascade: bool = False) -> None:
        """Delete a backup, its meta file and its row.

        Args:
            ref: The backup, as for :meth:`get`.
            cascade: Whether to delete with it the differentials that need it, see
                :meth:`dependents`.

        Raises:
            ProtectedBackupError: It is pinned, or a migration that has not ended needs it, or a
                differential does.
            BackupError: It is of unknown origin, and there is a log beside it.
            StorageError: The file system refused it.
            BackupNotFoundError: There is no such backup; and the other errors of :meth:`get`.

        Example:
            >>> manager.delete("latest")
            >>> manager.list()
            []
        """
        operations.delete_backup(self._repository, ref, cascade=cascade)

    def prune(
        self,
        policy: RetentionPolicy | None = None,
        *,
        kinds: Collection[str] = (),
        dry_run: bool = False,
    ) -> PruneReport:
        """Remove the backups that a policy does not keep.

        Before any backup of a kind is removed, the newest one of that kind is checked again
        (``quick``). When it fails, the newest one that passes stays as well; when none passes, none
        is removed. A backup also stays when its meta file is missing or damaged, or when a
        migration that has not ended needs it.

        Args:
            policy: What to keep, by default the manager's own policy. Without either, nothing is
                removed.
            kinds: Only backups of these kinds; by default of all.
            dry_run: True removes and checks nothing.

        Returns:
            What stays and what goes, and why.

        Raises:
            StorageError: The file system refused something. What was not removed yet is still
                there.

        Example:
            >>> report = manager.prune(RetentionPolicy(keep_last=7, keep_daily=14), dry_run=True)
            >>> len(report.kept), len(report.removed)
            (1, 0)
        """
        policy = policy or self._retention or RetentionPolicy()
        return operations.prune_backups(self._repository, policy, kinds=kinds, dry_run=dry_run)
