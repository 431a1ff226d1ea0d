"""What the buttons do: each asks where it must, has a thread do it, and tells what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from tkinter import filedialog

from soulsense_db.backup_info import BackupInfo, Form
from soulsense_db.dialog import formatting, texts
from soulsense_db.dialog.base_window import BaseWindow
from soulsense_db.dialog.deletion import ask_to_delete
from soulsense_db.dialog.download import bring_here
from soulsense_db.dialog.file_dialogs import ask_for_path
from soulsense_db.dialog.folder import open_folder
from soulsense_db.dialog.jobs import Cancelled, Job
from soulsense_db.dialog.key_question import KeyQuestion, with_key
from soulsense_db.dialog.question import Question
from soulsense_db.dialog.restore_question import Preview, RestoreQuestion
from soulsense_db.dialog.row_menu import Entry, open_menu
from soulsense_db.dialog.texts import _, plural
from soulsense_db.dialog.theme import NOTE_STYLE
from soulsense_db.dialog.watcher import safety_backup
from soulsense_db.errors import (
    BackupError,
    IdentityError,
    NothingToUndoError,
    Outcome,
    RestoreError,
)
from soulsense_db.manager import BackupManager
from soulsense_db.notices import collected_warnings
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
        window = self._window
        if window.is_busy:
            return
        manager = window.key_ring.manager_for_new

        def work(job: Job[_Made]) -> _Made:
            with collected_warnings() as warnings:
                return manager.create(description, progress=job.progress), warnings

        def then(made: _Made) -> None:
            window.create_bar.clear(description)
            self._have_new(*made, texts.CREATED)

        window.task.run("create", texts.CREATING, work, then=then, afterwards=texts.CHECKING_COPY)

    def verify(self, info: BackupInfo | None = None) -> None:
        """Check a backup."""
        self._with_opened(info, self._verify)

    def _verify(self, info: BackupInfo, manager: BackupManager) -> None:
        self._window.task.run(
            "verify",
            texts.VERIFYING,
            lambda job: manager.verify(info, progress=job.progress),
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
        if (chosen := self._chosen_here(info)) is not None:
            ask_to_delete(self._window, chosen)

    def pin(self, info: BackupInfo | None = None) -> None:
        """Pin a backup, or unpin it."""
        if (chosen := self._chosen_here(info)) is None:
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
        window = self._window
        if window.is_busy:
            return
        kinds = [
            (_(texts.DATABASE_FILES), "*.db *.sqlite *.sqlite3 *.zst *.diff *.age"),
            (_(texts.ALL_FILES), "*"),
        ]
        path = ask_for_path(window, filedialog.askopenfilename, texts.IMPORT, filetypes=kinds)
        if path and not window.is_busy:
            self._import(path, window.key_ring.manager)

    def _import(self, path: str, manager: BackupManager, *, has_key: bool = False) -> None:
        """Import the file at ``path``; ``has_key``: ``manager`` has what was given for it."""

        def work(job: Job[_Made | IdentityError]) -> _Made | IdentityError:
            with collected_warnings() as warnings:
                try:
                    return manager.import_file(path, progress=job.progress), warnings
                except IdentityError as error:
                    return error

        def then(made: _Made | IdentityError) -> None:
            if isinstance(made, IdentityError):
                self._ask_for_key_of(path, made if has_key else None)
                return
            if has_key:
                self._window.key_ring.keep(manager.identities)
            self._have_new(*made, texts.IMPORTED)

        self._window.task.run(
            "import", texts.IMPORTING, work, then=then, afterwards=texts.CHECKING_COPY
        )

    def _ask_for_key_of(self, path: str, error: IdentityError | None) -> None:
        """Ask for what opens a file from outside; only the import finds out whether it does."""
        question = KeyQuestion(
            self._window,
            self._window.key_ring.manager_with,
            lambda manager: self._import(path, manager, has_key=True),
        )
        question.say(formatting.plain(Path(path).name), style=NOTE_STYLE)
        question.open()
        if error is not None:
            question.tell(error)

    def export(self, info: BackupInfo | None = None) -> None:
        """Copy a backup to a place of the user's choice."""
        self._with_opened(info, self._export)

    def _export(self, info: BackupInfo, manager: BackupManager) -> None:
        window = self._window
        path = ask_for_path(
            window,
            filedialog.asksaveasfilename,
            texts.EXPORT,
            initialfile=info.filename,
            confirmoverwrite=False,  # nothing is overwritten, whatever the answer
        )
        if not path or window.is_busy:
            return
        if not (info.form.is_encrypted and Form.of(path).is_plain):
            self._copy_out(info, manager, path, plain=False)
            return
        question = Question(
            window,
            title=_(texts.DECRYPT_QUESTION),
            yes=_(texts.DECRYPT_YES),
            no=_(texts.CANCEL),
            answered=lambda yes: self._copy_out(info, manager, path, plain=True) if yes else None,
        )
        question.headline(_(texts.DECRYPT_QUESTION))
        question.say(formatting.plain(path), style=NOTE_STYLE, gap=False)
        question.say(_(texts.DECRYPT_MEANING).format(ending=info.form.ending))
        question.open()

    def _copy_out(
        self, info: BackupInfo, manager: BackupManager, path: str, *, plain: bool
    ) -> None:
        def then(copy: Path) -> None:
            text = _(texts.EXPORTED).format(path=formatting.plain(str(copy)))
            self._window.status.tell(text)

        self._window.task.run(
            "export",
            texts.EXPORTING,
            lambda job: manager.export(info, path, plain=plain, progress=job.progress),
            then=then,
        )

    def open_folder(self) -> None:
        """Show the backup directory in the file manager."""
        self._window.in_background(partial(open_folder, self._manager.directory))

    # Restore and undo

    def restore(self, info: BackupInfo | None = None) -> None:
        """Replace the database with a backup, after a question."""
        self._with_opened(info, partial(self._ask_to_restore, is_undo=False))

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
        absent = texts.PLACE_MIRROR if self.why_not(info) else ""
        entries = (
            Entry(texts.RESTORE, partial(self.restore, info)),
            Entry(texts.VERIFY, partial(self.verify, info)),
            Entry(texts.UNPIN if info.pinned else texts.PIN, partial(self.pin, info), absent),
            Entry(texts.EXPORT, partial(self.export, info)),
            Entry(texts.DELETE, partial(self.delete, info), absent),
        )
        open_menu(self._window, entries, x, y)

    # What several of them do

    def _chosen(self, info: BackupInfo | None) -> BackupInfo | None:
        """Return ``info``, or the selected backup; None while something else is done or asked."""
        return None if self._window.is_busy else info or self._window.table.selection

    def _chosen_here(self, info: BackupInfo | None) -> BackupInfo | None:
        """Return what was chosen if it is here; else say why nothing is done with it."""
        chosen = self._chosen(info)
        if why := self.why_not(chosen):
            self._window.status.tell(why)
            return None
        return chosen

    def why_not(self, info: BackupInfo | None) -> str:
        """Return why ``info`` can be neither pinned nor deleted; empty where it can."""
        absent = info is not None and self._window.table.elsewhere.has_only(info)
        return _(texts.NOT_HERE) if absent else ""

    def _with_opened(
        self, info: BackupInfo | None, then: Callable[[BackupInfo, BackupManager], object]
    ) -> None:
        """Call ``then`` with what was chosen, once it is here, and a manager that opens it."""

        def with_here(here: BackupInfo) -> None:
            with_key(self._window, here, lambda manager: then(here, manager))

        if (chosen := self._chosen(info)) is not None:
            bring_here(self._window, chosen, with_here)

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
