"""The way back: whole backups, chosen rows, the undo; the application is told of each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import partial

from soulsense_db.backup_info import BackupInfo
from soulsense_db.dialog import formatting, texts
from soulsense_db.dialog.base_window import BaseWindow
from soulsense_db.dialog.chosen import with_opened
from soulsense_db.dialog.jobs import Cancelled, Job
from soulsense_db.dialog.restore_question import Preview, RestoreQuestion
from soulsense_db.dialog.row_chooser import RowChooser
from soulsense_db.dialog.row_question import RowChoice
from soulsense_db.dialog.row_values import rows_told
from soulsense_db.dialog.translation import _
from soulsense_db.dialog.watcher import safety_backup
from soulsense_db.errors import (
    BackupError,
    NothingToUndoError,
    Outcome,
    RestoreError,
)
from soulsense_db.manager import BackupManager
from soulsense_db.operations import RestoreReport, RowsReport

BeforeRestore = Callable[[], object]
AfterRestore = Callable[[RestoreReport | None], object]


class Restoring:
    """Brings back, in ``window``, what is chosen there; see :func:`~soulsense_db.dialog`."""

    def __init__(
        self,
        window: BaseWindow,
        *,
        before_restore: BeforeRestore | None,
        after_restore: AfterRestore | None,
    ) -> None:
        self._window = window
        self._manager = window.manager
        self._before_restore = before_restore
        self._after_restore = after_restore

    def restore(self, info: BackupInfo | None = None) -> None:
        """Replace the database with a backup, after a question."""
        with_opened(self._window, info, partial(self._ask_to_restore, is_undo=False))

    def undo(self) -> None:
        """Go back to the database from before the last restore, after a question."""

        def then(info: BackupInfo | None) -> None:
            if self._window.is_busy:
                return
            if info is None:
                self._window.fail(NothingToUndoError(_(texts.NO_UNDO)))
            else:
                self._ask_to_restore(info, self._manager, is_undo=True)

        if not self._window.is_busy:  # that of now, whoever has restored meanwhile
            self._window.in_background(self._manager.safety_backup, then=then)

    def _ask_to_restore(self, info: BackupInfo, manager: BackupManager, *, is_undo: bool) -> None:
        RestoreQuestion(
            self._window,
            manager,
            info,
            is_undo=is_undo,
            agreed=lambda found: self._restore(info, manager, found, is_undo=is_undo),
            failed=self._window.fail,
        ).open()

    def _restore(
        self, info: BackupInfo, manager: BackupManager, found: Preview, *, is_undo: bool
    ) -> None:
        def work(job: Job[RestoreReport]) -> RestoreReport:
            if not is_undo:
                return manager.restore(info, progress=job.progress_until_done)
            with manager.exclusive() as access:
                if safety_backup(manager) != info:  # not what was shown
                    raise NothingToUndoError(_(texts.UNDO_CHANGED), hint=_(texts.UNDO_CHANGED_HINT))
                return access.undo(progress=job.progress_until_done)

        def then(report: RestoreReport) -> None:
            error = self._tell_host(report, outcome=Outcome.DONE)
            if not self._window.is_gone:
                self._restored(report, found, loaded=error is None)
                if error is not None:
                    self._window.show_error(error)

        self._window.task.run(
            "restore",
            texts.RESTORING,
            work,
            then=then,
            prepare=self._host_is_ready,
            before=texts.SAVING,
            failed=self._failed,
        )

    def _restored(self, report: RestoreReport, found: Preview, *, loaded: bool) -> None:
        when = formatting.when(report.source.timestamp, date.today())
        name = formatting.plain(self._manager.live.short_name)
        said = [_(texts.RESTORED).format(database=name, when=when)]
        if not report.verified:
            said.append(_(texts.NOT_READ_BACK))
        said.extend(formatting.plain(warning) for warning in report.warnings)
        is_current = self._after_restore is not None and loaded
        if report.safety_backup is None and self._manager.live.path is not None:
            said.append(_(texts.RESTART_NEW_FILE))
        elif is_current and not found.may_change_revision(report.source):
            said.append(_(texts.RESTART_NONE))
        else:
            said.append(_(texts.RESTART))
        offer = _(texts.UNDO) if report.safety_backup else ""
        self._window.status.tell(" ".join(said), offer=offer, command=self.undo)

    # Rows

    def bring_back_rows(self, info: BackupInfo | None = None) -> None:
        """Bring chosen rows of a backup back, after a question."""
        with_opened(self._window, info, self._choose_rows)

    def _choose_rows(self, info: BackupInfo, manager: BackupManager) -> None:
        RowChooser(
            self._window,
            manager,
            info,
            agreed=lambda choice: self._bring_back(info, manager, choice),
            failed=self._window.fail,
        ).open()

    def _bring_back(self, info: BackupInfo, manager: BackupManager, choice: RowChoice) -> None:
        def work(job: Job[RowsReport]) -> RowsReport:
            return choice.restore(manager, info, progress=job.go_on)

        def then(report: RowsReport) -> None:
            # No whole database came back: to the application it is a reason to read anew.
            error = self._tell_host(None, outcome=Outcome.DONE)
            if not self._window.is_gone:
                self._brought_back(report, loaded=error is None)
                if error is not None:
                    self._window.show_error(error)

        self._window.task.run(
            "rows",
            texts.ROWS_RETURNING,
            work,
            then=then,
            prepare=self._host_is_ready,
            failed=self._failed,
        )

    def _brought_back(self, report: RowsReport, *, loaded: bool) -> None:
        said = rows_told(report, date.today())
        said.extend(formatting.plain(warning) for warning in report.warnings)
        is_current = self._after_restore is not None and loaded
        said.append(_(texts.RESTART_NONE if is_current else texts.ROWS_RELOAD))
        offer = _(texts.UNDO) if report.safety_backup else ""
        self._window.status.tell(" ".join(said), offer=offer, command=self.undo)

    # The application

    def _failed(self, cause: BaseException | None) -> None:
        error = self._tell_host(None, outcome=_outcome_of(cause))
        if error is not None and not self._window.is_gone:
            self._window.show_error(error)

    def _host_is_ready(self) -> bool:
        """Let the application close its sessions; False when it could not."""
        try:
            if self._before_restore is not None:
                self._before_restore()
        except Exception as error:  # noqa: BLE001 - the application's own, of any kind
            if not self._window.is_gone:
                self._window.show_error(_because(RestoreError(_(texts.HOST_NOT_READY)), error))
            return False
        return True

    def _tell_host(self, report: RestoreReport | None, *, outcome: Outcome) -> RestoreError | None:
        """Let the application load its data again; return why it could not.

        ``outcome``: of the restore.
        """
        try:
            if self._after_restore is not None:
                self._after_restore(report)
        except Exception as error:  # noqa: BLE001 - the application's own, of any kind
            failure = RestoreError(
                _(texts.HOST_NOT_RELOADED),
                outcome=outcome,
                hint=_(texts.HOST_NOT_RELOADED_HINT),
                state=_(texts.WAS_RESTORED) if outcome is Outcome.DONE else "",
            )
            return _because(failure, error)
        return None


def _outcome_of(error: BaseException | None) -> Outcome:
    """Return what a restore that ended with ``error`` did to the data; None: it was not begun."""
    if isinstance(error, BackupError):
        return error.outcome
    return Outcome.UNCHANGED if error is None or isinstance(error, Cancelled) else Outcome.UNSURE


def _because(failure: RestoreError, error: Exception) -> RestoreError:
    failure.__cause__ = error
    return failure
