"""What the actions use of the window that they are in."""

from __future__ import annotations

import tkinter as tk
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from soulsense_db.dialog.bars import CreateBar, StatusBar
from soulsense_db.dialog.jobs import Job, Workers
from soulsense_db.dialog.key_ring import KeyRing
from soulsense_db.dialog.question import ErrorWindow, Question
from soulsense_db.dialog.table import BackupTable
from soulsense_db.dialog.task import Task
from soulsense_db.dialog.theme import Look
from soulsense_db.manager import BackupManager

T = TypeVar("T")


class BaseWindow(tk.Toplevel, ABC):
    """A window with a list of the backups of ``manager`` and one task at a time."""

    create_bar: CreateBar
    status: StatusBar
    table: BackupTable

    def __init__(self, parent: tk.Misc, manager: BackupManager) -> None:
        super().__init__(parent)
        self.withdraw()  # until all is in it, and it has its place
        self.manager = manager
        self.key_ring = KeyRing(manager)
        self.workers = Workers(self)
        self.task = Task(self, self.workers)
        self.look = Look(self)
        self.is_gone = False
        """Whether it was closed."""

    @property
    def is_busy(self) -> bool:
        """Whether work is under way, or something is asked or told."""
        asks = any(isinstance(child, Question) for child in self.winfo_children())
        return bool(self.task.name) or asks

    @abstractmethod
    def refresh(self) -> None:
        """Read the directory anew."""

    @abstractmethod
    def clear_search(self) -> None:
        """Show all backups again."""

    @abstractmethod
    def allow(self) -> None:
        """Let be pressed what makes sense now."""

    @abstractmethod
    def work_ended(self, *, may_close: bool) -> None:
        """Show what has changed; or close, if that was wished and nothing is left to be told."""

    def in_background(
        self, work: Callable[[], T], *, then: Callable[[T], object] = lambda _: None
    ) -> None:
        """Do ``work``, which only reads, in a thread beside all else; an error is told."""

        def ended(job: Job[T]) -> None:
            if job.error is not None:
                self.show_error(job.error)
            else:
                then(job.result)

        self.workers.start(lambda _job: work(), ended=ended, may_be_left=True)

    def fail(self, error: BaseException) -> None:
        """Tell of ``error``, and read the list anew: it may be about a backup that is gone."""
        self.refresh()
        self.show_error(error)

    def show_error(self, error: BaseException) -> None:
        """Tell of ``error`` in a window of its own."""
        ErrorWindow(self, error).open()
