"""The question before a restore: the backup is checked, and shown is what would change."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from tkinter import ttk

from soulsense_db.backup_info import BackupInfo
from soulsense_db.dialog import formatting, texts
from soulsense_db.dialog.jobs import Job, Workers
from soulsense_db.dialog.question import Question
from soulsense_db.dialog.texts import _
from soulsense_db.dialog.theme import (
    BAD_STYLE,
    CELL_INSET,
    ROW_STYLE,
    AutoScrollbar,
    Tooltip,
)
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

_MOST_TABLES, _LEAST_TABLES = 8, 2  # that are seen without scrolling
_NAME_CHARACTERS, _MOST_NAME_CHARACTERS = 22, 40
_NUMBER_CHARACTERS = 11
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
        name = manager.database.name if manager.database else ""
        headline = _(texts.UNDO_QUESTION if is_undo else texts.RESTORE_QUESTION)
        headline = headline.format(database=formatting.plain(name))
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
        self._make_room()
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
            self._show_table(_COUNTED, formatting.count_rows(counted))
        if found.comparison is None:
            self._show_problem(found.problem)
            return
        tables = formatting.entries(found.comparison.tables, self._heads(found))
        if tables:
            self.say(_(texts.CHANGES)).configure(font=self.look.bold)
            self._show_table(_COLUMNS, formatting.change_rows(tables))
        self.say(formatting.change_summary(found.comparison, tables))
        if found.may_change_revision(self._info):
            version = formatting.revision(self._info.alembic_heads)
            now = formatting.revision(found.comparison.alembic_heads)
            self.say(_(texts.VERSION_CHANGES).format(version=version, now=now), style=BAD_STYLE)
        self.say(_(texts.SAFETY))

    def _make_room(self) -> None:
        """Let the tables show fewer rows where the buttons would not be on the screen."""
        room = self.winfo_screenheight() - 3 * self.look.em  # for the frame of the window
        self.update_idletasks()
        while self._tables and self.winfo_reqheight() > room:
            longest = max(self._tables, key=_rows_seen)
            if _rows_seen(longest) <= _LEAST_TABLES:
                return
            longest.configure(height=_rows_seen(longest) - 1, takefocus=True)
            self.update_idletasks()

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

    def _show_table(self, headings: tuple[str, ...], rows: Sequence[Sequence[str]]) -> None:
        """Show a table; the first column has the names of tables, the others have numbers."""
        look = self.look
        frame = ttk.Frame(self.body)
        frame.grid(sticky="nsew", pady=(look.pad // 2, 0))
        frame.columnconfigure(0, weight=1)
        tree = ttk.Treeview(
            frame,
            columns=headings,
            show="headings",
            selectmode="none",
            style=ROW_STYLE,
            height=min(len(rows), _MOST_TABLES),
            takefocus=len(rows) > _MOST_TABLES,
        )
        beside = 2 * (look.pad + CELL_INSET)
        for place, heading in enumerate(headings):
            first = place == 0
            least = look.characters(_NAME_CHARACTERS if first else _NUMBER_CHARACTERS)
            widest = max(look.width(row[place], look.row_font) for row in rows) if rows else 0
            if first:
                widest = min(widest, look.characters(_MOST_NAME_CHARACTERS))
            width = max(least, widest, look.width(_(heading), look.bold))
            tree.heading(heading, text=_(heading), anchor="w" if first else "e")
            tree.column(heading, width=width + beside, anchor="w" if first else "e", stretch=first)
        names = [row[0] for row in rows]

        def fit(_event: object) -> None:
            room = int(tree.column(headings[0], "width")) - beside
            for name, row in zip(names, tree.get_children(), strict=True):
                tree.set(row, headings[0], look.fitted(name, room, look.row_font))

        def name_at(_x: int, y: int) -> str:
            row = tree.identify_row(y)
            name = names[tree.index(row)] if row else ""
            return "" if not row or tree.set(row, headings[0]) == name else name

        for row in rows:
            tree.insert("", "end", values=list(row))
        tree.bind("<Configure>", fit, add=True)
        Tooltip(tree, look, name_at)
        tree.grid(row=0, column=0, sticky="nsew")
        AutoScrollbar(frame, tree).grid(row=0, column=1, sticky="ns")
        self._tables.append(tree)


def _rows_seen(tree: ttk.Treeview) -> int:
    return int(tree.cget("height"))
