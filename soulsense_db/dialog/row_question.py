"""The question before rows come back: what would be written, and what belongs to it."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from dataclasses import dataclass, replace
from tkinter import ttk

from soulsense_db.backup_info import BackupInfo
from soulsense_db.dialog import formatting, texts
from soulsense_db.dialog.jobs import Job, Workers
from soulsense_db.dialog.number_table import make_room, number_table
from soulsense_db.dialog.question import Question
from soulsense_db.dialog.theme import BAD_STYLE, NOTE_STYLE, CheckBox
from soulsense_db.dialog.translation import _, plural
from soulsense_db.drivers import MissingParent, Progress, RowKey, RowsPlan
from soulsense_db.manager import BackupManager
from soulsense_db.operations import RowsReport

_MOST_LISTED = 5
_COLUMNS = (
    texts.TABLE,
    texts.ROWS_INSERTED,
    texts.ROWS_REPLACED,
    texts.ROWS_SAME,
    texts.ROWS_KEPT,
)


@dataclass(frozen=True, slots=True)
class RowChoice:
    """Which rows of a table come back, with what, and the plan that was agreed to."""

    table: str
    keys: tuple[RowKey, ...]
    replace: bool
    with_parents: bool = False
    with_children: bool = False
    plan: RowsPlan | None = None

    def preview(self, manager: BackupManager, info: BackupInfo, progress: Progress) -> RowsPlan:
        """Return what :meth:`restore` would do."""
        return manager.preview_rows(
            info,
            self.table,
            keys=self.keys,
            replace=self.replace,
            with_parents=self.with_parents,
            with_children=self.with_children,
            samples=0,
            progress=progress,
        )

    def restore(
        self, manager: BackupManager, info: BackupInfo, *, progress: Progress
    ) -> RowsReport:
        """Bring the rows back, unless it would be something else than what was agreed to."""
        return manager.restore_rows(
            info,
            self.table,
            keys=self.keys,
            replace=self.replace,
            with_parents=self.with_parents,
            with_children=self.with_children,
            expected=self.plan,
            progress=progress,
        )


class RowQuestion(Question):
    """Asks whether the rows of ``choice`` may come back.

    ``agreed``: called with the choice and its plan after a yes; ``failed``: with what is wrong.
    """

    def __init__(
        self,
        parent: tk.Toplevel,
        manager: BackupManager,
        info: BackupInfo,
        choice: RowChoice,
        *,
        agreed: Callable[[RowChoice], object],
        failed: Callable[[BaseException], object],
    ) -> None:
        table = formatting.plain(choice.table)
        headline = plural(texts.ROWS_SURE, len(choice.keys), table=table)
        super().__init__(
            parent,
            title=headline,
            yes=_(texts.ROWS_AGREED),
            no=_(texts.CANCEL),
            answered=self._answered,
        )
        self._manager, self._info, self._choice = manager, info, choice
        self._agreed, self._failed = agreed, failed
        self._workers = Workers(self)
        self._job: Job[RowsPlan] | None = None
        self._replaces = choice.replace
        self.headline(headline)
        # What comes and goes has rows of its own: tkinter would give one away meanwhile.
        self._waiting, self._found, options = (ttk.Frame(self.body) for _ in range(3))
        for row, part in enumerate((self._waiting, self._found, options), start=1):
            part.grid(row=row, sticky="nsew")
            part.columnconfigure(0, weight=1)
        self.say(_(texts.ROWS_PLANNING), place=self._waiting)
        self._bar = ttk.Progressbar(self._waiting, mode="indeterminate")
        self._bar.grid(sticky="ew", pady=(self.look.pad, 0))
        self._parents = self._option(options, 0, texts.ROWS_WITH_PARENTS)
        self._children = self._option(options, 1, texts.ROWS_WITH_CHILDREN)
        self._safety = self.say(_(texts.SAFETY), place=options)
        self._safety.grid(row=2)
        self._safety.grid_remove()

    def open(self) -> None:
        """Show the window, and have a thread find out what would change."""
        super().open()
        self._look()

    def _option(self, place: ttk.Frame, row: int, text: str) -> CheckBox:
        box = CheckBox(place, text=_(text), command=self._look)
        box.grid(row=row, sticky="w", pady=(self.look.pad, 0))
        box.grid_remove()
        return box

    # What would change

    def _look(self) -> None:
        """Find out anew."""
        self.set_ready(ready=False)
        if self._job is not None:
            self._job.cancel()
        plan = self._choice.plan
        brings = self._parents.is_on
        differ = plan is not None and any(one.differs for one in plan.missing_parents)
        self._choice = replace(
            self._choice,
            with_parents=brings,
            with_children=self._children.is_on,
            replace=self._replaces or (brings and (differ or self._choice.replace)),
        )
        self._bar.configure(mode="indeterminate", maximum=100, value=0)
        self._bar.start()
        self._waiting.grid()
        choice = self._choice
        self._job = self._workers.start(
            lambda job: choice.preview(self._manager, self._info, job.go_on),
            ended=self._looked,
            may_be_left=True,
        )

    def _looked(self, job: Job[RowsPlan]) -> None:
        if job is not self._job:
            return
        self._bar.stop()
        self._waiting.grid_remove()
        if job.error is not None:
            self.answer(yes=False)
            self._failed(job.error)
            return
        self._choice = replace(self._choice, plan=job.result)
        self._show(job.result)
        self.set_ready(ready=self._is_possible(job.result))

    @staticmethod
    def _is_possible(plan: RowsPlan) -> bool:
        return plan.problem is None and plan.writes > 0

    def _show(self, plan: RowsPlan) -> None:
        for child in self._found.winfo_children():
            child.destroy()
        rows = [
            (
                formatting.plain(one.table),
                *(f"{count:,}" for count in (one.inserted, one.replaced, one.same, one.kept)),
            )
            for one in plan.tables
        ]
        used = [0, *(at for at in range(1, 5) if at == 1 or any(row[at] != "0" for row in rows))]
        headings = tuple(_COLUMNS[at] for at in used)
        table = number_table(
            self._found, self.look, headings, [[row[at] for at in used] for row in rows]
        )
        blocking = [one for one in plan.missing_parents if one.blocks]
        if blocking:
            self._tell(_(texts.ROWS_PARENTS), style=BAD_STYLE)
            self._tell("\n".join(_listed(blocking)), gap=False)
            if not all(one.in_backup for one in blocking):
                self._tell(_(texts.ROWS_PARENTS_GONE))
        if plan.missing_children:
            count = sum(one.rows for one in plan.missing_children)
            tables = ", ".join(
                dict.fromkeys(formatting.plain(one.table) for one in plan.missing_children)
            )
            self._tell(plural(texts.ROWS_CHILDREN, count, tables=tables))
        for note in plan.notes:
            self._tell(formatting.plain(note), style=NOTE_STYLE)
        triggers = dict.fromkeys(name for one in plan.tables for name in one.triggers)
        if triggers and plan.writes:
            names = ", ".join(map(formatting.plain, triggers))
            self._tell(_(texts.ROWS_TRIGGERS).format(names=names), style=NOTE_STYLE)
        if not plan.writes and not blocking:
            self._tell(_(texts.ROWS_NO_WRITES))
        # Once it was offered it can be taken back.
        if blocking and all(one.in_backup for one in blocking):
            self._parents.grid()
        if plan.missing_children:
            self._children.grid()
        if self._is_possible(plan):
            self._safety.grid()
        else:
            self._safety.grid_remove()
        make_room(self, self.look.em, [table])
        self.fit()

    def _tell(self, text: str, *, style: str = "TLabel", gap: bool = True) -> None:
        self.say(text, style=style, gap=gap, place=self._found)

    def _answered(self, yes: bool) -> None:
        if yes and self._choice.plan is not None:
            self._agreed(self._choice)


def _listed(missing: list[MissingParent]) -> list[str]:
    """Return the first of the rows that are referred to, a line each."""
    lines = [
        _(texts.ROWS_LISTED).format(
            table=formatting.plain(one.parent),
            key=", ".join(f"{name} {formatting.plain(value)}" for name, value in one.key),
        )
        for one in missing[:_MOST_LISTED]
    ]
    if (more := len(missing) - _MOST_LISTED) > 0:
        lines.append(plural(texts.MORE_REMARKS, more))
    return [f"• {line}" for line in lines]
