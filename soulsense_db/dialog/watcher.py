"""Notice when backups come or go, whoever does it, and read the list then."""

from __future__ import annotations

import os
import time
import tkinter as tk
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date

from soulsense_db.backup_info import BackupInfo
from soulsense_db.dialog.elsewhere import Elsewhere
from soulsense_db.dialog.jobs import Job, Workers
from soulsense_db.errors import BackupError
from soulsense_db.manager import BackupManager
from soulsense_db.notices import log_ignored

_LOOK_EVERY_MS = 1000
# Two changes of a directory may have the same time of change, as its file system counts.
_SURE_AFTER_NS = 2_000_000_000

_Mark = tuple[int, int, date]
Changed = Callable[["Seen", BaseException | None], object]


@dataclass(frozen=True, slots=True)
class Seen:
    """The backups, what an undo goes back to, and the directory's mark from before that."""

    backups: Sequence[BackupInfo] = ()
    elsewhere: Elsewhere = field(default_factory=Elsewhere)
    undo: BackupInfo | None = None
    mark: _Mark | None = None


def safety_backup(manager: BackupManager) -> BackupInfo | None:
    """Return what an undo goes back to; None also where that cannot be read just now."""
    try:
        return manager.safety_backup()
    except BackupError as error:  # whoever wants to undo is told
        log_ignored("The safety backup cannot be read", error)
        return None


class Watcher:
    """Reads the list of ``manager`` now and whenever its directory has changed.

    ``changed``: called with what there is, and what kept the list from being read, if anything did.
    """

    def __init__(
        self, window: tk.Misc, manager: BackupManager, workers: Workers, *, changed: Changed
    ) -> None:
        self._window = window
        self._manager = manager
        self._workers = workers
        self._changed = changed
        self._mark: _Mark | None = None
        self._reading = False
        self._again = False
        self._timer: str | None = None
        self._error = ""
        window.bind("<Destroy>", self._gone, add=True)

    def read(self) -> None:
        """Read the list now."""
        if self._reading:
            self._again = True
            return
        self._begin(self._read)

    def _look(self) -> None:
        self._timer = None
        if not self._reading:
            self._begin(self._read_if_changed)

    def _begin(self, work: Callable[[Job[Seen | None]], Seen | None]) -> None:
        self._reading = True
        self._workers.start(work, ended=self._ended, may_be_left=True)

    def _read(self, _job: object) -> Seen:
        mark = self._mark_now()
        backups = self._manager.list()
        elsewhere = Elsewhere.of(self._manager)
        return Seen(backups, elsewhere, safety_backup(self._manager), mark)

    def _read_if_changed(self, job: object) -> Seen | None:
        mark = self._mark_now()
        same = mark is not None and mark == self._mark and not self._error
        return None if same else self._read(job)

    def _mark_now(self) -> _Mark | None:
        """Return what is another one when the list has to be; None when it is not sure."""
        today = date.today()  # what was "today" is "yesterday" then
        try:
            status = os.stat(self._manager.directory)
        except OSError:  # absent: that too is a state, which may change
            return 0, 0, today
        if abs(time.time_ns() - status.st_mtime_ns) < _SURE_AFTER_NS:
            return None
        return status.st_mtime_ns, status.st_ino, today

    def _ended(self, job: Job[Seen | None]) -> None:
        self._reading = False
        if job.error is not None:
            previous, self._error = self._error, str(job.error)
            if previous != self._error:
                self._changed(Seen(), job.error)
        elif job.result is not None:
            self._error = ""
            self._mark = job.result.mark
            self._changed(job.result, None)
        if self._again:
            self._again = False
            self.read()
        elif self._timer is None:
            self._timer = self._window.after(_LOOK_EVERY_MS, self._look)

    def _gone(self, event: tk.Event[tk.Misc]) -> None:
        if event.widget is self._window and self._timer is not None:
            self._window.after_cancel(self._timer)
            self._timer = None
