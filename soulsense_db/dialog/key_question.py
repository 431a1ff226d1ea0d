"""The question for what opens an encrypted backup: a passphrase, or the file with its key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tkinter import filedialog, ttk

from soulsense_db.backup_info import BackupInfo
from soulsense_db.codecs import Identities
from soulsense_db.dialog import formatting, texts
from soulsense_db.dialog.base_window import BaseWindow
from soulsense_db.dialog.file_dialogs import ask_for_path
from soulsense_db.dialog.jobs import Job, Workers
from soulsense_db.dialog.key_ring import identities_of
from soulsense_db.dialog.question import Question, on_key
from soulsense_db.dialog.theme import BAD_STYLE, bind_select_all
from soulsense_db.dialog.translation import _
from soulsense_db.errors import IdentityError
from soulsense_db.manager import BackupManager
from soulsense_db.notices import log_ignored


def with_key(window: BaseWindow, info: BackupInfo, then: Callable[[BackupManager], object]) -> None:
    """Call ``then`` with a manager that opens ``info``; ask where nothing at hand does.

    A no changes nothing: ``then`` is not called.
    """
    if not (info.form.is_encrypted or info.form.is_differential):
        then(window.manager)
        return

    key_ring = window.key_ring

    def ended(job: Job[BackupManager | None]) -> None:
        key_ring.is_searched = False
        if window.is_busy:  # something else was begun meanwhile
            return
        if job.error is not None:
            window.show_error(job.error)
        elif job.result is not None:
            then(job.result)
        else:
            question = KeyQuestion(
                window, lambda identities: key_ring.opened_with(info, identities), then
            )
            question.describe(info)
            question.open()

    if not key_ring.is_searched:  # else it was a double click
        key_ring.is_searched = True
        window.workers.start(lambda _job: key_ring.manager_for(info), ended=ended, may_be_left=True)


class KeyQuestion(Question):
    """Asks until what is given opens something, or the answer is no.

    ``open_with``: returns a manager that opens it, in a thread, or raises
    :class:`~soulsense_db.errors.IdentityError`. ``then`` is called with that manager.
    """

    def __init__(
        self,
        window: BaseWindow,
        open_with: Callable[[Identities], BackupManager],
        then: Callable[[BackupManager], object],
    ) -> None:
        super().__init__(
            window,
            title=_(texts.KEY_QUESTION),
            yes=_(texts.KEY_YES),
            no=_(texts.CANCEL),
            answered=self._answered_with,
        )
        self._window, self._open_with, self._then = window, open_with, then
        self._opened: BackupManager | None = None
        self._key_file: Path | None = None
        self._workers = Workers(self)
        self._is_trying = False
        self.headline(_(texts.KEY_QUESTION))
        self.set_ready(ready=False)

    def open(self) -> None:
        """Show the window, ready to be typed in."""
        self.say(_(texts.KEY_MEANING))
        self._entry = self._make_entry()
        self._chosen = self.say("")
        self._chosen.grid_remove()
        self._problem = self.say("")
        self._problem.grid_remove()
        file = ttk.Button(self.buttons, text=_(texts.KEY_FILE), command=self._choose_file)
        file.grid(row=0, column=0, sticky="w")
        file.lower(self.buttons.winfo_children()[0])  # the order of the Tab key: as they stand
        super().open()
        self._entry.focus_set()

    def answer(self, *, yes: bool) -> None:
        """Close the window with a no; with a yes only once something is opened."""
        if yes and self._opened is None:
            self._try()
        else:
            super().answer(yes=yes)

    def tell(self, error: IdentityError) -> None:
        """Say that what was given does not fit, and why."""
        cause = error.__cause__ if isinstance(error.__cause__, IdentityError) else error
        shown = formatting.explain(cause)
        parts = filter(None, (_(texts.KEY_WRONG), shown.happened, shown.hint))
        self._show(self._problem, "\n".join(map(formatting.shortened, parts)), style=BAD_STYLE)

    def _make_entry(self) -> ttk.Entry:
        row = ttk.Frame(self.body)
        row.grid(sticky="ew", pady=(self.look.pad, 0))
        row.columnconfigure(1, weight=1)
        ttk.Label(row, text=_(texts.PASSPHRASE)).grid(row=0, column=0)
        entry = ttk.Entry(row, show=self.look.sign("•", "*"), validate="key")
        entry.configure(validatecommand=(self.register(self._typed), "%P"))
        entry.grid(row=0, column=1, sticky="ew", padx=(self.look.pad, 0))
        bind_select_all(entry)
        for key in ("<Return>", "<KP_Enter>"):
            on_key(entry, key, lambda: self.answer(yes=True))
        return entry

    def _typed(self, text: str) -> bool:
        self._allow(passphrase=text)
        return True

    def _allow(self, *, passphrase: str) -> None:
        given = bool(passphrase or self._key_file)
        self.set_ready(ready=given and not self._is_trying)

    def _choose_file(self) -> None:
        path = ask_for_path(self, filedialog.askopenfilename, texts.KEY_FILE)
        if path:
            self._key_file = Path(path)
            chosen = _(texts.KEY_FILE_CHOSEN).format(path=formatting.plain(path))
            self._show(self._chosen, chosen)
            self._try()

    def _try(self) -> None:
        passphrase, file = self._entry.get(), self._key_file
        if self._is_trying or not (passphrase or file):
            return
        self._is_trying = True
        self._allow(passphrase=passphrase)
        self._show(self._problem, _(texts.KEY_TRYING))

        def work(_job: object) -> BackupManager:
            return self._open_with(identities_of(passphrase, file))

        self._workers.start(work, ended=self._tried, may_be_left=True)

    def _tried(self, job: Job[BackupManager]) -> None:
        self._is_trying = False
        if job.error is None:
            self._opened = job.result
            self.answer(yes=True)
        elif isinstance(job.error, IdentityError):
            log_ignored("What was given does not open the backup", job.error)
            self.tell(job.error)
            self._allow(passphrase=self._entry.get())
            self._entry.focus_set()
            self._entry.selection_range(0, "end")
        else:
            self.answer(yes=False)
            self._window.fail(job.error)

    def _show(self, label: ttk.Label, text: str, *, style: str = "TLabel") -> None:
        label.configure(text=text, style=style)
        label.grid()
        self.fit()

    def _answered_with(self, yes: bool) -> None:
        if yes and self._opened is not None:
            self._window.refresh()  # the details have more to tell now
            self._then(self._opened)
