"""What the buttons do: each asks where it must, has a thread do it, and tells what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tkinter import filedialog

from soulsense_db.backup_info import BackupInfo, Form
from soulsense_db.dialog import formatting, texts
from soulsense_db.dialog.chosen import chosen, with_opened
from soulsense_db.dialog.deletion import ask_to_delete
from soulsense_db.dialog.file_dialogs import ask_for_path
from soulsense_db.dialog.folder import open_folder
from soulsense_db.dialog.jobs import Job
from soulsense_db.dialog.key_question import KeyQuestion
from soulsense_db.dialog.question import Question
from soulsense_db.dialog.restoring import Restoring
from soulsense_db.dialog.row_menu import Entry, open_menu
from soulsense_db.dialog.theme import NOTE_STYLE
from soulsense_db.dialog.translation import _, plural
from soulsense_db.errors import IdentityError
from soulsense_db.manager import BackupManager
from soulsense_db.notices import collected_warnings
from soulsense_db.operations import VerificationReport

_MOST_REMARKS = 10
_Made = tuple[BackupInfo, list[str]]


class Actions(Restoring):
    """What can be done in ``window``; what is given ``info`` does it with that, not the selected.

    Nothing is begun while something else is done, asked or told.
    """

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
        with_opened(self._window, info, self._verify)

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
        if (found := self._chosen_here(info)) is not None:
            ask_to_delete(self._window, found)

    def pin(self, info: BackupInfo | None = None) -> None:
        """Pin a backup, or unpin it."""
        if (found := self._chosen_here(info)) is None:
            return
        change = self._manager.unpin if found.pinned else self._manager.pin
        text = texts.UNPINNED_NOW if found.pinned else texts.PINNED_NOW
        self._window.task.run(
            "pin",
            texts.PINNING,
            lambda _job: change(found),
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
        with_opened(self._window, info, self._export)

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

    # The menu of a row

    def menu(self, x: int, y: int) -> None:
        """Show what can be done with the selected backup, at a place of the screen."""
        info = chosen(self._window, None)
        if info is None:
            return
        absent = texts.PLACE_MIRROR if self.why_not(info) else ""
        entries = (
            Entry(texts.RESTORE, partial(self.restore, info)),
            Entry(texts.ROWS, partial(self.bring_back_rows, info)),
            Entry(texts.VERIFY, partial(self.verify, info)),
            Entry(texts.UNPIN if info.pinned else texts.PIN, partial(self.pin, info), absent),
            Entry(texts.EXPORT, partial(self.export, info)),
            Entry(texts.DELETE, partial(self.delete, info), absent),
        )
        open_menu(self._window, entries, x, y)

    # What several of them do

    def _chosen_here(self, info: BackupInfo | None) -> BackupInfo | None:
        """Return what was chosen if it is here; else say why nothing is done with it."""
        found = chosen(self._window, info)
        if why := self.why_not(found):
            self._window.status.tell(why)
            return None
        return found

    def why_not(self, info: BackupInfo | None) -> str:
        """Return why ``info`` can be neither pinned nor deleted; empty where it can."""
        absent = info is not None and self._window.table.elsewhere.has_only(info)
        return _(texts.NOT_HERE) if absent else ""

    def _have_new(self, info: BackupInfo, warnings: Sequence[str], text: str) -> None:
        """Select the new backup in the list, and tell of it."""
        self._window.clear_search()  # it might not fit
        self._window.table.select(info.path)
        self._tell(text, info, *warnings)

    def _tell(self, text: str, info: BackupInfo, *more: str) -> None:
        line = _(text).format(file=formatting.plain(info.filename), size=info.size_display)
        self._window.status.tell(" ".join((line, *map(formatting.plain, more))))
