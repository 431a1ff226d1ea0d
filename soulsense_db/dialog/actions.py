"""What the buttons do: each asks where it must, has a thread do it, and tells what came of it."""

from __future__ import annotations

import os
import subprocess
import sys
import tkinter as tk
from collections.abc import Callable
from datetime import date
from pathlib import Path
from tkinter import filedialog
from typing import TYPE_CHECKING

from soulsense_db.backup_info import BackupInfo
from soulsense_db.dialog import showing, texts
from soulsense_db.dialog.asking import Question
from soulsense_db.dialog.look import NOTE_STYLE
from soulsense_db.dialog.restore_question import Preview, RestoreQuestion
from soulsense_db.dialog.texts import _, plural
from soulsense_db.dialog.work import Job
from soulsense_db.errors import BackupError, RestoreError, StorageError
from soulsense_db.manager import BackupManager
from soulsense_db.restoring import RestoreReport
from soulsense_db.verification import VerificationReport

if TYPE_CHECKING:
    from soulsense_db.dialog.window import AfterRestore, BackupWindow, BeforeRestore

_OPENER_SECONDS = 5
_Restored = tuple[RestoreReport, BackupInfo | None]


class Actions:
    """What can be done in ``window``."""

    def __init__(
        self,
        window: BackupWindow,
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

        def work(job: Job[BackupInfo]) -> BackupInfo:
            return manager.create(description, progress=job.progress)

        def then(info: BackupInfo) -> None:
            window.create_bar.clear()
            self._have(info, texts.CREATED)

        window.run("create", texts.CREATING, work, then=then, afterwards=texts.CHECKING_COPY)

    def verify(self) -> None:
        """Check the selected backup."""
        if (info := self._chosen()) is None:
            return
        self._window.run(
            "verify",
            texts.VERIFYING,
            lambda job: self._manager.verify(info, progress=job.progress),
            then=self._verified,
            afterwards=texts.CHECKING,
        )

    def _verified(self, report: VerificationReport) -> None:
        self._window.status.tell(_(texts.VERIFIED_NOW).format(file=report.backup.filename))
        if report.remarks:
            window = Question(self._window, title=_(texts.VERIFY), yes=None, no=_(texts.OK))
            window.headline(showing.plain(report.backup.filename))
            window.say(plural(texts.VERIFIED_REMARKS, len(report.remarks)))
            for remark in report.remarks:
                window.say(f"• {showing.plain(remark)}")
            window.open()

    def delete(self) -> None:
        """Delete the selected backup, after a question."""
        if (info := self._chosen()) is None:
            return

        def answered(yes: bool) -> None:
            if yes:
                self._window.run(
                    "delete",
                    texts.DELETING,
                    lambda _job: self._manager.delete(info),
                    then=lambda _: self._window.status.tell(deleted),
                )

        deleted = _(texts.DELETED).format(file=info.filename)
        question = Question(
            self._window,
            title=_(texts.DELETE_QUESTION),
            yes=_(texts.DELETE_YES),
            no=_(texts.CANCEL),
            answered=answered,
        )
        question.headline(_(texts.DELETE_QUESTION))
        self._describe(question, info)
        question.say(_(texts.DELETE_MEANING))
        question.open()

    def pin(self) -> None:
        """Keep the selected backup whatever a policy says, or let it go again."""
        if (info := self._chosen()) is None:
            return
        manager, told = self._manager, texts.UNPINNED_NOW if info.pinned else texts.PINNED_NOW

        def work(_job: object) -> BackupInfo:
            return manager.unpin(info) if info.pinned else manager.pin(info)

        self._window.run("pin", texts.PINNING, work, then=lambda done: self._have(done, told))

    # In and out

    def import_file(self) -> None:
        """Copy a database file from anywhere into the directory."""
        if self._window.is_busy:
            return
        kinds = [(_(texts.DATABASE_FILES), "*.db *.sqlite *.sqlite3"), (_(texts.ALL_FILES), "*")]
        path = filedialog.askopenfilename(
            parent=self._window, title=_(texts.IMPORT).rstrip("…"), filetypes=kinds
        )
        if not path:
            return
        self._window.run(
            "import",
            texts.IMPORTING,
            lambda job: self._manager.import_file(path, progress=job.progress),
            then=lambda info: self._have(info, texts.IMPORTED),
            afterwards=texts.CHECKING_COPY,
        )

    def export(self) -> None:
        """Copy the selected backup to a place of the user's choice."""
        if (info := self._chosen()) is None:
            return
        path = filedialog.asksaveasfilename(
            parent=self._window,
            title=_(texts.EXPORT).rstrip("…"),
            initialfile=info.filename,
            initialdir=Path.home(),
            confirmoverwrite=False,  # nothing is overwritten, whatever the answer
        )
        if not path:
            return

        def then(copy: Path) -> None:
            self._window.status.tell(_(texts.EXPORTED).format(path=copy))

        self._window.run(
            "export",
            texts.EXPORTING,
            lambda job: self._manager.export(info, path, progress=job.progress),
            then=then,
        )

    def open_folder(self) -> None:
        """Show the backup directory in the file manager."""
        directory = self._manager.directory

        def work(_job: object) -> None:
            open_folder(directory)

        self._window.in_background(work)

    # Restore and undo

    def restore(self) -> None:
        """Replace the database by the selected backup, after a question."""
        if (info := self._chosen()) is None:
            return
        self._ask_to_restore(info, is_undo=False)

    def undo(self) -> None:
        """Go back to the database of before the last restore, after a question."""
        info = self._window.undo_source
        if info is not None and not self._window.is_busy:
            self._ask_to_restore(info, is_undo=True)

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
        if not self._host_is_ready():
            return

        def work(job: Job[_Restored]) -> _Restored:
            if is_undo:
                report = manager.undo_restore(progress=job.progress_until_done)
            else:
                report = manager.restore(info, progress=job.progress_until_done)
            return report, _safety_backup(manager)

        def then(done: _Restored) -> None:
            report, undo = done
            error = self._tell_host(report)
            if not self._window.is_gone:
                self._window.undo_source = undo
                self._restored(report, found)
                if error is not None:
                    self._window.show_error(error)

        self._window.run(
            "restore",
            texts.RESTORING,
            work,
            then=then,
            before=texts.KEEPING,
            failed=lambda: self._tell_host(None),
        )

    def _restored(self, report: RestoreReport, found: Preview) -> None:
        database = self._manager.database
        when = showing.when(report.source.timestamp, date.today())
        name = showing.plain(database.name if database else "")
        said = [_(texts.RESTORED).format(database=name, when=when)]
        if not report.read_back:
            said.append(_(texts.NOT_READ_BACK))
        if report.safety_backup is None:
            said.append(_(texts.RESTART_NEW_FILE))
        elif self._after_restore is None or found.changes_revision(report.source):
            said.append(_(texts.RESTART))
        else:
            said.append(_(texts.RESTART_NONE))
        offer = _(texts.UNDO) if report.safety_backup else ""
        self._window.status.tell(" ".join(said), offer=offer, command=self.undo)

    def _host_is_ready(self) -> bool:
        """Let the application close its sessions; False when it could not."""
        try:
            if self._before_restore is not None:
                self._before_restore()
        except Exception as error:  # noqa: BLE001 - the application's own, of any kind
            self._window.show_error(_because(RestoreError(_(texts.HOST_NOT_READY)), error))
            return False
        return True

    def _tell_host(self, report: RestoreReport | None) -> RestoreError | None:
        """Let the application load its data again; return why it could not."""
        try:
            if self._after_restore is not None:
                self._after_restore(report)
        except Exception as error:  # noqa: BLE001 - the application's own, of any kind
            told = RestoreError(_(texts.HOST_NOT_RELOADED), hint=_(texts.HOST_NOT_RELOADED_HINT))
            return _because(told, error)
        return None

    # The menu of a row

    def menu(self, x: int, y: int) -> None:
        """Show what can be done with the selected backup, at a place of the screen."""
        info, look = self._chosen(), self._window.look
        if info is None:
            return
        menu = tk.Menu(self._window, tearoff=False)
        look.dress_menu(menu)
        entries: tuple[tuple[str, Callable[[], object]], ...] = (
            (texts.RESTORE, self.restore),
            (texts.VERIFY, self.verify),
            (texts.UNPIN if info.pinned else texts.PIN, self.pin),
            (texts.EXPORT, self.export),
            (texts.DELETE, self.delete),
        )
        for text, command in entries:
            menu.add_command(label=_(text), command=command)
        menu.bind("<Unmap>", lambda _: menu.after_idle(menu.destroy))
        menu.tk_popup(x, y)

    # What several of them do

    def _chosen(self) -> BackupInfo | None:
        """Return the selected backup, unless something else is being done."""
        return None if self._window.is_busy else self._window.table.selection

    def _have(self, info: BackupInfo, text: str) -> None:
        """Select ``info`` in the list, and tell what was done with it."""
        self._window.table.select(info.path)
        self._window.status.tell(_(text).format(file=info.filename, size=info.size_display))

    def _describe(self, question: Question, info: BackupInfo) -> None:
        about = (showing.full_date(info.timestamp), info.size_display, showing.kind(info))
        if info.description:
            question.say(f"“{showing.description(info)}”")
        question.say(" · ".join(about), style=NOTE_STYLE, gap=not info.description)
        question.say(info.filename, style=NOTE_STYLE, gap=False)


def _safety_backup(manager: BackupManager) -> BackupInfo | None:
    """Return what an undo goes back to; a restore that is done is none that failed."""
    try:
        return manager.safety_backup()
    except BackupError:  # the list, which is read next, tells of it
        return None


def _because(told: RestoreError, error: Exception) -> RestoreError:
    told.__cause__ = error
    return told


def open_folder(path: Path) -> None:
    """Open ``path`` in the file manager; raises :class:`StorageError` where none could be."""
    if not path.is_dir():
        message = _(texts.NO_FOLDER).format(path=path)
        raise StorageError(message, hint=_(texts.NO_FOLDER_HINT))
    try:
        if sys.platform == "win32":
            os.startfile(path)  # noqa: S606 - a folder, which the system opens
            return
        program = "open" if sys.platform == "darwin" else "xdg-open"
        opener = subprocess.Popen(
            [program, str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        code = opener.wait(_OPENER_SECONDS)
        problem = f"{program}: exit code {code}" if code else ""
    except subprocess.TimeoutExpired:  # the file manager itself: it stays
        return
    except OSError as error:
        problem = f"{error.strerror}: {error.filename}"
    if problem:
        message = _(texts.NOT_OPENED).format(path=path, reason=problem)
        raise StorageError(message, hint=_(texts.NOT_OPENED_HINT))
