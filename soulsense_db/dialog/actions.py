"""What the buttons do: each asks where it must, has a thread do it, and tells what came of it."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from tkinter import filedialog
from typing import Any

from soulsense_db.backup_info import BackupInfo
from soulsense_db.dialog import formatting, texts
from soulsense_db.dialog.base_window import BaseWindow
from soulsense_db.dialog.folder import open_folder
from soulsense_db.dialog.jobs import Cancelled, Job
from soulsense_db.dialog.question import Question
from soulsense_db.dialog.restore_question import Preview, RestoreQuestion
from soulsense_db.dialog.texts import _, plural
from soulsense_db.dialog.watcher import safety_backup
from soulsense_db.errors import BackupError, NothingToUndoError, Outcome, RestoreError
from soulsense_db.notices import collected_warnings, ignoring
from soulsense_db.operations import RestoreReport, VerificationReport

BeforeRestore = Callable[[], object]
AfterRestore = Callable[[RestoreReport | None], object]

_MOST_REMARKS = 10
_Made = tuple[BackupInfo, list[str]]


class Actions:
    """What can be done in ``window``; what is given ``info`` does it with that, not the selected.

    Nothing is begun while something else is done, asked or told.
    """

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

    # Make, check, remove

    def create(self, description: str) -> None:
        """Take a backup."""
        window, manager = self._window, self._manager
        if window.is_busy:
            return

        def work(job: Job[_Made]) -> _Made:
            with collected_warnings() as warnings:
                return manager.create(description, progress=job.progress), warnings

        def then(made: _Made) -> None:
            window.create_bar.clear(description)
            self._have_new(*made, texts.CREATED)

        window.task.run("create", texts.CREATING, work, then=then, afterwards=texts.CHECKING_COPY)

    def verify(self, info: BackupInfo | None = None) -> None:
        """Check a backup."""
        if (chosen := self._chosen(info)) is None:
            return
        self._window.task.run(
            "verify",
            texts.VERIFYING,
            lambda job: self._manager.verify(chosen, progress=job.progress),
            then=self._verified,
            afterwards=texts.CHECKING,
        )

    def _verified(self, report: VerificationReport) -> None:
        self._tell(texts.VERIFIED_NOW, report.backup)
        if report.warnings:
            window = Question(self._window, title=_(texts.VERIFY), yes=None, no=_(texts.OK))
            window.headline(formatting.plain(report.backup.filename))
            window.say(plural(texts.VERIFIED_REMARKS, len(report.warnings)))
            for warning in report.warnings[:_MOST_REMARKS]:
                window.say(f"• {formatting.shortened(formatting.plain(warning))}")
            if (more := len(report.warnings) - _MOST_REMARKS) > 0:
                window.say(plural(texts.MORE_REMARKS, more))
            window.open()

    def delete(self, info: BackupInfo | None = None) -> None:
        """Delete a backup, after a question."""
        if (chosen := self._chosen(info)) is None:
            return

        def then(_: None) -> None:
            self._window.table.leave(chosen.path)
            self._tell(texts.DELETED, chosen)

        def answered(yes: bool) -> None:
            if yes:
                self._window.task.run(
                    "delete",
                    texts.DELETING,
                    lambda _job: self._manager.delete(chosen),
                    then=then,
                )

        question = Question(
            self._window,
            title=_(texts.DELETE_QUESTION),
            yes=_(texts.DELETE_YES),
            no=_(texts.CANCEL),
            answered=answered,
        )
        question.headline(_(texts.DELETE_QUESTION))
        question.describe(chosen)
        question.say(_(texts.DELETE_MEANING))
        question.open()

    def pin(self, info: BackupInfo | None = None) -> None:
        """Pin a backup, or unpin it."""
        if (chosen := self._chosen(info)) is None:
            return
        change = self._manager.unpin if chosen.pinned else self._manager.pin
        text = texts.UNPINNED_NOW if chosen.pinned else texts.PINNED_NOW
        self._window.task.run(
            "pin",
            texts.PINNING,
            lambda _job: change(chosen),
            then=lambda changed: self._tell(text, changed),
        )

    # In and out

    def import_file(self) -> None:
        """Copy a database file from anywhere into the directory."""
        if self._window.is_busy:
            return
        kinds = [
            (_(texts.DATABASE_FILES), "*.db *.sqlite *.sqlite3 *.zst"),
            (_(texts.ALL_FILES), "*"),
        ]
        path = self._ask_for_path(filedialog.askopenfilename, texts.IMPORT, filetypes=kinds)
        if not path:
            return

        def work(job: Job[_Made]) -> _Made:
            with collected_warnings() as warnings:
                return self._manager.import_file(path, progress=job.progress), warnings

        self._window.task.run(
            "import",
            texts.IMPORTING,
            work,
            then=lambda made: self._have_new(*made, texts.IMPORTED),
            afterwards=texts.CHECKING_COPY,
        )

    def export(self, info: BackupInfo | None = None) -> None:
        """Copy a backup to a place of the user's choice."""
        if (chosen := self._chosen(info)) is None:
            return
        path = self._ask_for_path(
            filedialog.asksaveasfilename,
            texts.EXPORT,
            initialfile=chosen.filename,
            confirmoverwrite=False,  # nothing is overwritten, whatever the answer
        )
        if not path:
            return

        def then(copy: Path) -> None:
            text = _(texts.EXPORTED).format(path=formatting.plain(str(copy)))
            self._window.status.tell(text)

        self._window.task.run(
            "export",
            texts.EXPORTING,
            lambda job: self._manager.export(chosen, path, progress=job.progress),
            then=then,
        )

    def _ask_for_path(self, ask: Callable[..., str], title: str, **options: Any) -> str:
        """Return what the user chose in a dialog for files; empty for nothing."""
        with ignoring(RuntimeError, what="There is no home directory"):
            options["initialdir"] = Path.home()
        try:
            path = ask(parent=self._window, title=_(title).rstrip("…"), **options)
        except tk.TclError:  # the application has closed it, and all that is below
            if not self._window.is_gone:
                raise
            return ""
        return "" if self._window.is_gone or self._window.is_busy else path

    def open_folder(self) -> None:
        """Show the backup directory in the file manager."""
        self._window.in_background(partial(open_folder, self._manager.directory))

    # Restore and undo

    def restore(self, info: BackupInfo | None = None) -> None:
        """Replace the database with a backup, after a question."""
        if (chosen := self._chosen(info)) is not None:
            self._ask_to_restore(chosen, is_undo=False)

    def undo(self) -> None:
        """Go back to the database from before the last restore, after a question."""

        def then(info: BackupInfo | None) -> None:
            if self._window.is_busy:
                return
            if info is None:
                self._window.fail(NothingToUndoError(_(texts.NO_UNDO)))
            else:
                self._ask_to_restore(info, is_undo=True)

        if not self._window.is_busy:  # that of now, whoever has restored meanwhile
            self._window.in_background(self._manager.safety_backup, then=then)

    def _ask_to_restore(self, info: BackupInfo, *, is_undo: bool) -> None:
        RestoreQuestion(
            self._window,
            self._manager,
            info,
            is_undo=is_undo,
            agreed=lambda found: self._restore(info, found, is_undo=is_undo),
            failed=self._window.fail,
        ).open()

    def _restore(self, info: BackupInfo, found: Preview, *, is_undo: bool) -> None:
        manager = self._manager

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

        def failed(cause: BaseException | None) -> None:
            error = self._tell_host(None, outcome=_outcome_of(cause))
            if error is not None and not self._window.is_gone:
                self._window.show_error(error)

        self._window.task.run(
            "restore",
            texts.RESTORING,
            work,
            then=then,
            prepare=self._host_is_ready,
            before=texts.SAVING,
            failed=failed,
        )

    def _restored(self, report: RestoreReport, found: Preview, *, loaded: bool) -> None:
        database = self._manager.database
        when = formatting.when(report.source.timestamp, date.today())
        name = formatting.plain(database.name if database else "")
        said = [_(texts.RESTORED).format(database=name, when=when)]
        if not report.verified:
            said.append(_(texts.NOT_READ_BACK))
        said.extend(formatting.plain(warning) for warning in report.warnings)
        is_current = self._after_restore is not None and loaded
        if report.safety_backup is None:
            said.append(_(texts.RESTART_NEW_FILE))
        elif is_current and not found.may_change_revision(report.source):
            said.append(_(texts.RESTART_NONE))
        else:
            said.append(_(texts.RESTART))
        offer = _(texts.UNDO) if report.safety_backup else ""
        self._window.status.tell(" ".join(said), offer=offer, command=self.undo)

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

    # The menu of a row

    def menu(self, x: int, y: int) -> None:
        """Show what can be done with the selected backup, at a place of the screen."""
        info = self._chosen(None)
        if info is None:
            return
        menu = tk.Menu(self._window, tearoff=False)
        self._window.look.dress_menu(menu)
        entries: tuple[tuple[str, Callable[[BackupInfo], object]], ...] = (
            (texts.RESTORE, self.restore),
            (texts.VERIFY, self.verify),
            (texts.UNPIN if info.pinned else texts.PIN, self.pin),
            (texts.EXPORT, self.export),
            (texts.DELETE, self.delete),
        )
        for text, command in entries:
            menu.add_command(label=_(text), command=partial(command, info))
        menu.bind("<Unmap>", lambda _: menu.after_idle(menu.destroy))
        menu.tk_popup(x, y)

    # What several of them do

    def _chosen(self, info: BackupInfo | None) -> BackupInfo | None:
        """Return ``info``, or the selected backup; None while something else is done or asked."""
        return None if self._window.is_busy else info or self._window.table.selection

    def _have_new(self, info: BackupInfo, warnings: Sequence[str], text: str) -> None:
        """Select the new backup in the list, and tell of it."""
        self._window.clear_search()  # it might not fit
        self._window.table.select(info.path)
        self._tell(text, info, *warnings)

    def _tell(self, text: str, info: BackupInfo, *more: str) -> None:
        line = _(text).format(file=formatting.plain(info.filename), size=info.size_display)
        self._window.status.tell(" ".join((line, *map(formatting.plain, more))))


def _outcome_of(error: BaseException | None) -> Outcome:
    """Return what a restore that ended with ``error`` did to the data; None: it was not begun."""
    if isinstance(error, BackupError):
        return error.outcome
    return Outcome.UNCHANGED if error is None or isinstance(error, Cancelled) else Outcome.UNSURE


def _because(failure: RestoreError, error: Exception) -> RestoreError:
    failure.__cause__ = error
    return failure
