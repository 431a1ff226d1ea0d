"""The question before a restore: the backup is checked, and shown is what would change."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from dataclasses import dataclass
from tkinter import ttk

from soulsense_db.backup_info import BackupInfo
from soulsense_db.dialog import formatting, texts
from soulsense_db.dialog.jobs import Job, Workers
from soulsense_db.dialog.number_table import make_room, number_table
from soulsense_db.dialog.question import Question
from soulsense_db.dialog.theme import BAD_STYLE
from soulsense_db.dialog.translation import _
from soulsense_db.drivers import DatabaseDiff, RowCounts
from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    DatabaseDamagedError,
    DatabaseFileNotFoundError,
    InvalidBackupError,
    MetaFileError,
    OutsideDirectoryError,
)
from soulsense_db.manager import BackupManager

_COLUMNS = texts.TABLE, texts.GAINED, texts.LOST, texts.NEWER, texts.CHANGED
_COUNTED = texts.TABLE, texts.ROWS_IN_BACKUP, texts.ROWS_NOW


@dataclass(frozen=True, slots=True)
class Preview:
    """What a restore would change.

    ``comparison``: None where nothing can be compared, for the reason ``problem``; ``rows``: of all
    tables, for a backup of unknown origin.
    """

    comparison: DatabaseDiff | None
    problem: BackupError | None = None
    rows: tuple[RowCounts, ...] = ()

    def may_change_revision(self, info: BackupInfo) -> bool:
        """Whether the database may get another Alembic revision than the application knows."""
        found = self.comparison
        return found is None or found.alembic_heads != info.alembic_heads


def preview(manager: BackupManager, info: BackupInfo, job: Job[Preview]) -> Preview:
    """Compare ``info`` with the database, in a thread.

    Raises what is wrong with the backup; what is wrong with the database is part of the answer,
    for a restore may be what mends it.
    """
    rows = manager.row_counts(info) if info.of_unknown_origin else ()
    try:
        return Preview(manager.compare(info, progress=job.progress), rows=rows)
    except (BackupNotFoundError, InvalidBackupError, MetaFileError, OutsideDirectoryError):
        raise
    except BackupError as error:
        return Preview(None, error, rows)


class RestoreQuestion(Question):
    """Asks whether ``info`` may replace the database.

    ``is_undo``: it is the safety backup, which is checked as it is restored. ``agreed`` is called
    with the preview after a yes, ``failed`` with what is wrong with the backup.
    """

    def __init__(
        self,
        parent: tk.Toplevel,
        manager: BackupManager,
        info: BackupInfo,
        *,
        is_undo: bool,
        agreed: Callable[[Preview], object],
        failed: Callable[[BaseException], object],
    ) -> None:
        headline = _(texts.UNDO_QUESTION if is_undo else texts.RESTORE_QUESTION)
        headline = headline.format(database=formatting.plain(manager.live.short_name))
        super().__init__(
            parent,
            title=headline,
            yes=_(texts.UNDO_YES if is_undo else texts.RESTORE_YES),
            no=_(texts.CANCEL),
            answered=self._answered,
        )
        self._manager, self._info, self._is_undo = manager, info, is_undo
        self._agreed, self._failed = agreed, failed
        self._preview: Preview | None = None
        self._workers = Workers(self)
        self._tables: list[ttk.Treeview] = []
        self.set_ready(ready=False)
        self.headline(headline)
        self.describe(info)
        self._waiting = self.say(_(texts.COMPARING if is_undo else texts.CHECKING))
        self._bar = ttk.Progressbar(self.body, mode="indeterminate")
        self._bar.grid(sticky="ew", pady=(self.look.pad, 0))
        self._bar.start()

    def open(self) -> None:
        """Show the window, and have a thread find out what would change."""
        super().open()
        self._compare() if self._is_undo else self._verify()

    def _verify(self) -> None:
        def work(job: Job[None]) -> None:
            self._manager.verify(self._info, progress=job.progress)

        def ended(job: Job[None]) -> None:
            if job.error is None:
                self._compare()
            else:
                self._fail(job.error)

        self._workers.start(work, ended=ended, reached=self._advance)

    def _compare(self) -> None:
        self._waiting.configure(text=_(texts.COMPARING))
        self._bar.configure(mode="indeterminate", maximum=100, value=0)
        self._bar.start()
        self._workers.start(
            lambda job: preview(self._manager, self._info, job),
            ended=self._compared,
            reached=self._advance,
            may_be_left=True,
        )

    def _advance(self, job: Job[None] | Job[Preview]) -> None:
        if job.reached is not None:
            done, total = job.reached
            self._bar.stop()
            self._bar.configure(mode="determinate", maximum=max(1, total), value=done)

    def _compared(self, job: Job[Preview]) -> None:
        if job.error is not None:
            self._fail(job.error)
            return
        self._preview = job.result
        self._bar.destroy()
        self._waiting.destroy()
        self._show(self._preview)
        make_room(self, self.look.em, self._tables)
        self.fit()
        self.set_ready(ready=True)

    def _fail(self, error: BaseException) -> None:
        self.answer(yes=False)
        self._failed(error)

    def _answered(self, yes: bool) -> None:
        if yes and self._preview is not None:
            self._agreed(self._preview)

    # What would change

    def _show(self, found: Preview) -> None:
        if self._info.of_unknown_origin and not self._is_undo:
            self.say(_(texts.UNKNOWN_ORIGIN), style=BAD_STYLE)
            counted = formatting.entries(found.rows, self._heads(found))
            self._tables.append(
                number_table(self.body, self.look, _COUNTED, formatting.count_rows(counted))
            )
        if found.comparison is None:
            self._show_problem(found.problem)
            return
        tables = formatting.entries(found.comparison.tables, self._heads(found))
        if tables:
            self.say(_(texts.CHANGES)).configure(font=self.look.bold)
            self._tables.append(
                number_table(self.body, self.look, _COLUMNS, formatting.change_rows(tables))
            )
        self.say(formatting.change_summary(found.comparison, tables))
        if found.may_change_revision(self._info):
            version = formatting.revision(self._info.alembic_heads)
            now = formatting.revision(found.comparison.alembic_heads)
            self.say(_(texts.VERSION_CHANGES).format(version=version, now=now), style=BAD_STYLE)
        self.say(_(texts.SAFETY))

    def _heads(self, found: Preview) -> tuple[str, ...]:
        """Return Alembic's revisions on either side."""
        now = found.comparison.alembic_heads if found.comparison is not None else ()
        return (*self._info.alembic_heads, *now)

    def _show_problem(self, problem: BackupError | None) -> None:
        if isinstance(problem, DatabaseFileNotFoundError):
            self.say(_(texts.NO_SAFETY_MISSING))
        elif isinstance(problem, DatabaseDamagedError):
            self.say(_(texts.NO_SAFETY_DAMAGED), style=BAD_STYLE)
        elif problem is not None:
            reason = formatting.plain(problem.what)
            self.say(_(texts.NOT_COMPARED).format(reason=reason), style=BAD_STYLE)
            self.say(_(texts.SAFETY))
