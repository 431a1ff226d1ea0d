"""Put a verified backup in the place of the live database, with a way back at every moment."""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Final

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo
from soulsense_db.completion import Completion
from soulsense_db.drivers import ConcurrentCommitError, Progress, WriteLock
from soulsense_db.errors import (
    BackupError,
    Command,
    DatabaseDamagedError,
    DatabaseFileNotFoundError,
    Outcome,
    RestoreError,
    StorageError,
)
from soulsense_db.meta_file import not_found_if_deleted, read_backup, trusted_meta
from soulsense_db.notices import cleaning_up, log_ignored
from soulsense_db.operations.repository import Repository
from soulsense_db.operations.restore_errors import (
    changed_since,
    disk_failed,
    not_put_back,
    nothing_to_undo,
    restored_is_damaged,
    too_many_writers,
    undo_command,
)
from soulsense_db.operations.restore_report import RestoreReport
from soulsense_db.operations.restore_source import Source, opened_to_restore
from soulsense_db.operations.safety_copy import (
    Replaced,
    finish_safety_copy,
    new_staging_file,
    place_copy_of_replaced,
    removed_on_error,
    stage_safety_copy,
    warn_if_plain,
)
from soulsense_db.operations.stored_form import OpenedBackup
from soulsense_db.operations.verify import VerificationReport, verify_opened
from soulsense_db.sidecars import (
    FAILED_MIGRATION,
    SAFETY_BACKUP,
    SafetyFiles,
    standing_for_a_copy,
)

_UNKNOWN: Final = Exception()
"""In the place of a problem, as long as nobody has looked for one."""


class Restorer:
    """Restores into the live database of ``repository``; the caller holds the database's lock.

    ``after_failure``: the live database is what a failed migration left; its copy gets a name of
    its own, not that of what an undo goes back to.
    """

    def __init__(self, repository: Repository, *, after_failure: bool = False) -> None:
        self._repository = repository
        self._driver = repository.driver
        self._after_failure = after_failure
        name = FAILED_MIGRATION if after_failure else SAFETY_BACKUP
        self._safety = SafetyFiles(
            repository.sidecar_base, companions=self._driver.companions, name=name
        )
        # Now: what is restored may bring an alarm of its own, which is not about what is there.
        self._markers = standing_for_a_copy(self._driver, repository.marker_place)
        self._keeps = self._driver.keeps_replaced
        self._expected: object = None
        self._problem: Exception | None = _UNKNOWN
        self.is_unchanged = True
        """Whether the live database is for sure what it was."""

    def undoes_to(self) -> BackupInfo:
        """Return the safety backup of the last restore, to :meth:`restore` as it was taken."""
        self._recover()
        if not self._safety.is_there():
            raise nothing_to_undo(self._safety.path)
        return read_backup(self._safety.path)

    def restore(
        self,
        info: BackupInfo,
        *,
        verified: VerificationReport | None = None,
        opened_before: OpenedBackup | None = None,
        accepts_source_errors: bool = False,
        progress: Progress | None,
    ) -> RestoreReport:
        """Verify ``info`` in full, back up the live database, replace it, read it back.

        ``verified`` counts if it is of this very file and its facts, and so does what was
        ``opened_before`` for it; what is changed there counts in any case.
        ``accepts_source_errors``: it is the way back, to the faults that the database had then as
        well.
        """
        started = time.monotonic()
        self._recover()
        with ExitStack() as stack:
            is_changed = opened_before is not None and opened_before.is_changed
            is_verified = is_changed or (verified is not None and verified.is_of(info))
            data = opened_before if is_verified else None
            if data is None:
                info = trusted_meta(info)
                data = stack.enter_context(opened_to_restore(self._repository, info))
            if verified is None or not is_verified:
                with not_found_if_deleted(Path(info.path), info):
                    verified = verify_opened(
                        self._driver,
                        data,
                        level="full",
                        accepts_source_errors=accepts_source_errors,
                    )
            source = Source(self._repository, data, verified, accepts_source_errors)
            return self._restore(source, started=started, progress=progress)

    def _recover(self) -> None:
        """Tidy up after a restore that was killed, and make the safety backup that it did not.

        A failed migration is put back also where that cannot be made.
        """
        self._safety.recover()
        try:
            finish_safety_copy(self._driver, self._repository.sidecar_base)
        except BackupError as error:
            if not self._after_failure:
                raise
            log_ignored("The safety backup of the last restore could not be written", error)
            self._keeps = False  # one is enough

    def _restore(
        self, source: Source, *, started: float, progress: Progress | None
    ) -> RestoreReport:
        info = source.info
        with not_found_if_deleted(source.path):
            self._expected = self._driver.schema_of(source.path)
        completion = Completion()
        moved: tuple[Path, ...] = ()
        try:
            self._driver.require_database()
            safety = self._back_up_and_replace(source, progress, completion)
        except (DatabaseFileNotFoundError, DatabaseDamagedError) as error:
            log_ignored("The live database is made anew", error)
            source.verify_again()
            moved = self._rebuild(source, completion)
            safety = None
        is_verified = self._verify_result(safety, completion)
        with completion.then(f"{self._safety.previous} could not be removed"):
            self._safety.forget_previous()  # not before: it was part of the way back
        if safety is not None:
            warn_if_plain(self._repository, safety, info, completion)
        return RestoreReport(
            source=info,
            safety_backup=safety,
            moved_aside=(*moved, *self._safety.set_aside_as),
            verified=is_verified,
            duration_seconds=round(time.monotonic() - started, 3),
            warnings=completion.warnings,
        )

    def _back_up_and_replace(
        self, source: Source, progress: Progress | None, completion: Completion
    ) -> Path | None:
        """Return where the safety backup is, if it could be made."""
        replace = self._exchange_and_back_up if self._keeps else self._replace_under_lock
        with self._driver.prepared(source.path, progress=progress):
            deadline = time.monotonic() + self._driver.lock_timeout
            while True:
                try:
                    return replace(source, progress, completion)
                except ConcurrentCommitError:
                    if time.monotonic() > deadline:
                        raise too_many_writers(self._driver.database) from None

    def _exchange_and_back_up(
        self, source: Source, progress: Progress | None, completion: Completion
    ) -> Path | None:
        driver, safety = self._driver, self._safety
        replaced = Replaced.now(self._repository.sidecar_base, safety.name, self._markers)
        created = new_staging_file(safety, size=driver.size())  # what has no room, ends here
        try:
            with completion, driver.write_locked() as write_lock:
                source.verify_again()
                self._exchange(source, replaced, write_lock, progress, completion)
        finally:
            if self.is_unchanged:
                safety.remove_staging()
        # Now, before the application changes its tables: to write the copy may take long.
        self._problem = self._check_loaded(completion)
        with completion.then(
            f"The previous database is kept on the server, and could not be copied to {safety.path}"
        ):
            problem = place_copy_of_replaced(driver, safety, replaced, created)
            if problem is not None:
                completion.warn_of(
                    "The safety backup is written, and what was left to do on the server failed; "
                    "the next restore, or undo, does it",
                    problem,
                )
            return safety.path
        return None

    def _exchange(
        self,
        source: Source,
        replaced: Replaced,
        write_lock: WriteLock,
        progress: Progress | None,
        completion: Completion,
    ) -> None:
        try:
            with not_found_if_deleted(source.path):
                self._driver.exchange(
                    source.path, purpose=str(replaced), write_lock=write_lock, progress=progress
                )
        except ConcurrentCommitError:
            raise
        except BaseException as error:
            outcome = self._outcome_of_exchange()
            self.is_unchanged = outcome is Outcome.UNCHANGED
            if outcome is not Outcome.DONE:
                if isinstance(error, BackupError):
                    error.with_outcome(outcome)
                raise
            completion.reached(done_sentence(source.info))
            if not isinstance(error, Exception):
                raise
            completion.warn_of("Something failed when it was written", error)
        self.is_unchanged = False
        completion.reached(done_sentence(source.info))

    def _outcome_of_exchange(self) -> Outcome:
        """Tell by what is there now; there was nothing without a copy before."""
        try:
            if self._driver.replaced_without_copy():
                return Outcome.DONE
            # It may have been done in part: the rest is for the next one.
            return Outcome.UNSURE if self._driver.unfinished() else Outcome.UNCHANGED
        except BackupError as error:
            log_ignored("Whether it is restored cannot be told", error)
            return Outcome.UNSURE

    def _replace_under_lock(
        self, source: Source, progress: Progress | None, completion: Completion
    ) -> Path | None:
        with completion, self._driver.write_locked() as write_lock:
            # What is committed while it is taken would be in neither of both.
            staged, created = stage_safety_copy(self._driver, self._safety, markers=self._markers)
            with removed_on_error(Path(staged.path)):
                source.verify_again()
            self._replace(
                source,
                staged,
                created,
                write_lock=write_lock,
                progress=progress,
                completion=completion,
            )
        return self._safety.path

    def _replace(
        self,
        opened_source: Source,
        staged: BackupInfo,
        created: os.stat_result,
        *,
        write_lock: WriteLock,
        progress: Progress | None,
        completion: Completion,
    ) -> None:
        info, source = opened_source.info, opened_source.path
        placed = False
        try:
            self._safety.make_room()
            if source == self._safety.path:  # an undo: what it goes back to has just moved
                source = self._safety.previous
            self._safety.place(staged, created, owner_of=self._driver.location)
            placed = True
            self._load(source, write_lock, progress, completion)
            completion.reached(done_sentence(info))
        except BaseException as error:
            with cleaning_up(f"{staged.path} could not be removed"):  # the next restore does that
                fs.remove(Path(staged.path))
            # An interrupt may come after the last step: then the new safety backup is the only
            # copy of what was there.
            if placed and not isinstance(error, ConcurrentCommitError) and write_lock.changed():
                if not isinstance(error, Exception) and self._is_in_place(source):
                    completion.reached(done_sentence(info))
                self.is_unchanged = False
                with self._cleaning_up():
                    self._safety.set_previous_aside()
                if isinstance(error, BackupError):
                    error.with_outcome(Outcome.UNSURE, backup=self._safety.path)
                raise
            if placed and write_lock.is_released and type(error) is StorageError:
                self.is_unchanged = False
                with self._cleaning_up():
                    self._safety.set_previous_aside()
                raise self._unsure(info, error) from error
            with self._cleaning_up():
                self._safety.withdraw(placed=placed)
            if isinstance(error, BackupError):  # what may not be kept is only the safety backup
                error.with_outcome(Outcome.UNCHANGED)
            raise
        self.is_unchanged = False

    def _cleaning_up(self) -> AbstractContextManager[None]:
        return cleaning_up(f"{self._safety.path} could not be given its name back")

    def _load(
        self, source: Path, write_lock: WriteLock, progress: Progress | None, completion: Completion
    ) -> None:
        try:
            with not_found_if_deleted(source):
                self._driver.load(source, write_lock=write_lock, progress=progress)
        except ConcurrentCommitError:
            raise
        except Exception as error:
            # It may come after the commit, as when the file can then not be made shorter.
            if not (write_lock.changed() and self._is_in_place(source)):
                raise
            completion.warn_of("Something failed when it was written", error)

    def _unsure(self, info: BackupInfo, error: StorageError) -> RestoreError:
        """Return the error for a disk that failed while SQLite wrote.

        In WAL mode the commit may be in the log when its flush fails: nobody sees it until all have
        closed the database, and then everybody does.
        """
        return disk_failed(info, error, self._safety.path)

    def _is_in_place(self, source: Path) -> bool:
        try:
            return self._driver.compare(source, ignore=()).identical
        except BackupError as error:
            log_ignored("Whether it is restored cannot be told", error)
            return False

    def _verify_result(self, safety: Path | None, completion: Completion) -> bool:
        """Judge what was written; False when something else than damage kept it from being read."""
        problem = self._check_loaded(completion) if self._problem is _UNKNOWN else self._problem
        if not isinstance(problem, DatabaseDamagedError):
            return problem is None
        if safety is not None and self._keeps:
            # It has been in use since: what others have committed would go with it.
            raise changed_since(problem, safety, self._undo_command(safety)) from problem
        if safety is not None:
            raise self._take_back(problem, safety) from problem
        is_kept = self._driver.replaced_without_copy() is not None
        outcome = Outcome.UNSURE if is_kept else Outcome.BROKEN
        raise restored_is_damaged(problem, outcome) from problem

    def _check_loaded(self, completion: Completion) -> Exception | None:
        """Check what was written, through a new connection; return why it is not what it should."""
        try:
            self._driver.check_loaded(self._expected)
        except DatabaseDamagedError as error:
            return error
        except Exception as error:  # noqa: BLE001 - of the application too, when it connects
            completion.warn_of("It could not be read back", error)
            return error
        except BaseException as error:
            error.add_note("The database was restored, and not read back.")
            raise
        return None

    def _take_back(self, why: DatabaseDamagedError, safety: Path) -> RestoreError:
        try:
            self._driver.load(safety)
        except BackupError as error:
            return not_put_back(why, error, safety, self._undo_command(safety))
        self.is_unchanged = True
        with self._cleaning_up():
            self._safety.withdraw(placed=True)
        return restored_is_damaged(why, Outcome.PUT_BACK)

    def _undo_command(self, safety: Path) -> Command | None:
        if self._after_failure:
            return None
        directory = None if self._driver.location else safety.parent
        return undo_command(self._driver.address, directory)

    def _rebuild(self, opened_source: Source, completion: Completion) -> tuple[Path, ...]:
        stamp = self._safety.stamp()
        info, source = opened_source.info, opened_source.path
        if source == self._safety.path:
            source = self._safety.previous
            self._safety.make_room()
        self.is_unchanged = False
        try:
            with not_found_if_deleted(source):
                stamp = f"damaged_{stamp}"
                moved = self._driver.rebuild(source, facts=info.driver_facts, stamp=stamp)
        except BackupError as error:  # it may be in place, and perhaps not for good
            self.is_unchanged = error.outcome is Outcome.UNCHANGED
            raise
        completion.reached(done_sentence(info))
        # They belong to an earlier restore: undoing this one must not go back to it.
        aside = []
        for old in (self._safety.path, self._safety.previous):
            with completion.then(f"{old} is of an earlier restore and could not be moved aside"):
                if fs.exists(old):
                    aside.append(self._safety.give_dated_name(old))
        return (*moved, *aside)


def done_sentence(info: BackupInfo) -> str:
    """Return what is true from the moment of the commit on, whatever comes after it."""
    return f"The database was restored from {info.filename}."
