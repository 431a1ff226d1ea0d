"""The pane beside the list: the facts of the selected backup, and its rows against now."""

from __future__ import annotations

import shlex
import tkinter as tk
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from tkinter import ttk

from soulsense_db.backup_info import BackupInfo, bases_for, dependents, display_size, local_time
from soulsense_db.dialog import formatting, texts
from soulsense_db.dialog.elsewhere import Elsewhere
from soulsense_db.dialog.jobs import Job, Workers
from soulsense_db.dialog.key_ring import KeyRing
from soulsense_db.dialog.theme import AutoScrollbar, Look
from soulsense_db.dialog.translation import _, plural
from soulsense_db.drivers import RowCounts
from soulsense_db.errors import BackupError
from soulsense_db.manager import BackupManager
from soulsense_db.notices import log_ignored

_COUNT_AFTER_MS = 150
_MOST_CHARACTERS = 40
_NAME_CHARACTERS = 11
_NUMBER_CHARACTERS = 10
# They have no spaces to be broken at.
_UNSPACED = texts.FACT_PATH, texts.FACT_CHECKSUM, texts.FACT_ONLY_AT, texts.FACT_ALSO_AT


@dataclass(frozen=True, slots=True)
class _Counted:
    """What was found out about the backup at ``path`` against the database."""

    path: str
    heads: tuple[str, ...] | None
    rows: tuple[RowCounts, ...] | BaseException
    description: str = ""


class Details(ttk.Frame):
    """A text that can be scrolled, marked and copied."""

    def __init__(self, parent: tk.Misc, look: Look, keys: KeyRing, workers: Workers) -> None:
        super().__init__(parent)
        self._look = look
        self._keys = keys
        self._workers = workers
        self._info: BackupInfo | None = None
        self._backups: Collection[BackupInfo] = ()
        self._elsewhere = Elsewhere()
        self._counted: _Counted | None = None
        self._counting = False
        self._timer: str | None = None
        self._written: list[tuple[str, str]] = []
        self.text = tk.Text(self, width=_MOST_CHARACTERS, height=4, state="disabled")
        scroll = AutoScrollbar(self, self.text)
        self.text.grid(row=0, column=0, sticky="nsew")
        scroll.grid(row=0, column=1, sticky="ns")
        self.columnconfigure(0, weight=1)
        self.rowconfigure(0, weight=1)
        # In a text that is only read, Tab goes on to what is next.
        self.text.bind("<Tab>", lambda _: _go_to(self.text.tk_focusNext()))
        self.text.bind("<Shift-Tab>", lambda _: _go_to(self.text.tk_focusPrev()))
        self.text.bind("<Button-1>", lambda _: self.text.focus_set(), add=True)
        self.text.bind("<Destroy>", self._gone, add=True)
        look.when_changed(self._dress)
        self.show(None, (), self._elsewhere)

    def show(
        self, info: BackupInfo | None, backups: Collection[BackupInfo], elsewhere: Elsewhere
    ) -> None:
        """Show the facts of ``info``, one of ``backups``; count its rows once the choice rests."""
        self._gone()
        self._info, self._backups, self._elsewhere = info, backups, elsewhere
        if info is None:
            self._write([(_(texts.NOTHING_SELECTED), "name")])
            return
        known = self._counted if self._counted and self._counted.path == info.path else None
        heads, rows = (known.heads, known.rows) if known else (None, None)
        if rows is not None and not isinstance(rows, BaseException):
            rows = tuple(formatting.entries(rows, (*info.alembic_heads, *(heads or ()))))
        description = known.description if known else ""
        is_here = not elsewhere.has_only(info)
        counted = self._row_parts(rows) if is_here else _instead_of_rows(texts.ROWS_NOT_HERE)
        parts = [*self._facts(info, heads, description), *counted]
        # What few want to know comes last.
        parts += [("\n\n", "fact"), *self._pairs(self._file_facts(info))]
        self._write(parts)
        if known is None and is_here:
            self._timer = self.after(_COUNT_AFTER_MS, self._count)

    def forget(self) -> None:
        """Count anew: the database or the backup may be another one now."""
        self._counted = None
        self._show_again()

    def _show_again(self) -> None:
        self.show(self._info, self._backups, self._elsewhere)

    # Counting

    def _count(self) -> None:
        self._timer = None
        if self._info is None or self._counting:  # its end asks again
            return
        self._counting = True
        info = self._info

        def ended(job: Job[_Counted]) -> None:
            self._counting = False
            self._counted = (
                job.result if job.error is None else _Counted(info.path, None, job.error)
            )
            self._show_again()

        self._workers.start(lambda _job: find_out(self._keys, info), ended=ended, may_be_left=True)

    def _gone(self, _event: object = None) -> None:
        if self._timer is not None:
            self.after_cancel(self._timer)
            self._timer = None

    # Writing

    def _facts(
        self, info: BackupInfo, heads: Sequence[str] | None, opened_description: str
    ) -> list[tuple[str, str]]:
        version = formatting.revision(info.alembic_heads) if info.alembic_heads or heads else ""
        if heads is not None and tuple(heads) != info.alembic_heads:
            now = formatting.revision(heads)
            version = _(texts.FACT_VERSION_NOW).format(version=version, now=now)
        verified = _(texts.FACT_NOT_VERIFIED)
        if info.verified_at is not None:
            verified = formatting.full_date(local_time(info.verified_at))
        failed = formatting.drill_failed(info)
        facts = [
            (texts.ABOUT, opened_description or info.description.strip() or _sealed(info)),
            (texts.FACT_DOUBTS, formatting.doubts(info)),
            (
                texts.FACT_DATABASE,
                _(texts.FACT_UNKNOWN_ORIGIN) if info.of_unknown_origin else "",
            ),
            (texts.FACT_PINNED, (info.pin_note or _(texts.FACT_YES)) if info.pinned else ""),
            (texts.FACT_WHEN, formatting.full_date(info.timestamp)),
            (
                texts.FACT_ONLY_AT if self._elsewhere.has_only(info) else texts.FACT_ALSO_AT,
                "\n".join(self._elsewhere.addresses_of(info)),
            ),
            (texts.SIZE, _size(info)),
            (texts.FORM, formatting.form(info)),
            (texts.FACT_BASE, _base(info, self._backups)),
            (texts.FACT_NEEDED, _needed_by(info, self._backups)),
            (texts.KIND, formatting.kind(info)),
            (texts.VERIFIED, verified),
            (texts.DRILLED, "" if failed else _drilled(info)),
            (texts.VERSION, version),
        ]
        problem = [(_problem(info), "bad")] if info.meta_problem else []
        if failed:
            problem.append((f"{_drilled(info)}\n", "bad"))
        return [*problem, *self._pairs(facts)]

    def _file_facts(self, info: BackupInfo) -> list[tuple[str, str]]:
        checksum = info.sha256 or _(texts.FACT_NO_CHECKSUM)
        return [(texts.FACT_PATH, info.path), (texts.FACT_CHECKSUM, checksum)]

    def _pairs(self, facts: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return the parts of the text for names and values; nothing for a value that is empty."""
        parts: list[tuple[str, str]] = []
        for name, value in facts:
            if value:
                tag = "unspaced" if name in _UNSPACED else "fact"
                first, *more = [formatting.plain(line) for line in value.splitlines()]
                parts.append((f"{_(name)}\t", f"name {tag}"))
                parts.append((f"{first}\n", tag))
                parts += [(f"{line}\n", "next_line") for line in more]
        return parts

    def _row_parts(self, rows: Sequence[RowCounts] | BaseException | None) -> list[tuple[str, str]]:
        if rows is None:
            return _instead_of_rows(texts.ROWS_COUNTING)
        if isinstance(rows, BaseException):
            reason = formatting.plain(formatting.explain(rows).happened)
            return [_rows_heading(), (f"\n{_(texts.ROWS_UNKNOWN).format(reason=reason)}", "bad")]
        if not rows:
            return _instead_of_rows(texts.ROWS_NONE)
        parts = [_rows_heading(), (f"\t{_(texts.ROWS_IN_BACKUP)}\t{_(texts.ROWS_NOW)}", "row")]
        look = self._look
        room = look.characters(_MOST_CHARACTERS - 2 * _NUMBER_CHARACTERS + 2)
        for row in rows:
            cells = (
                look.fitted(formatting.plain(row.table), room, look.bold),
                formatting.number(row.backup),
                formatting.number(row.live),
            )
            same = row.backup == row.live
            parts.append(("\n" + "\t".join(cells), "row" if same else "other_row"))
        return parts

    def _write(self, parts: list[tuple[str, str]]) -> None:
        if parts == self._written:  # else what somebody has marked would be lost
            return
        self._written = parts
        place = self.text.yview()[0]
        self.text.configure(state="normal")
        self.text.delete("1.0", "end")
        for text, tag in parts:
            self.text.insert("end", text, tag)
        self.text.configure(state="disabled")
        self.text.yview_moveto(place)

    def _dress(self) -> None:
        look = self._look
        look.dress_text(self.text)
        indent = look.characters(_NAME_CHARACTERS)
        for tag in ("fact", "unspaced"):
            self.text.tag_configure(
                tag,
                wrap="word" if tag == "fact" else "char",
                tabs=indent,
                lmargin2=indent,
                spacing3=round(look.em * 0.2),
            )
        self.text.tag_configure("next_line", wrap="word", lmargin1=indent, lmargin2=indent)
        self.text.tag_configure("bad", spacing3=look.pad)
        width = look.characters(_MOST_CHARACTERS) - look.pad * 2
        stops = (width - look.characters(_NUMBER_CHARACTERS), "right", width, "right")
        for tag, font in (("row", look.font), ("other_row", look.bold), ("heading", look.bold)):
            self.text.tag_configure(tag, tabs=stops, wrap="none", font=font)


def find_out(keys: KeyRing, info: BackupInfo) -> _Counted:
    """Count the rows of ``info`` and of the database, in a thread, and open its description."""
    manager = keys.manager_for(info)
    if manager is None:
        manager = keys.manager  # which says why it does not open it
        description = ""
    else:
        description = _opened_description(manager, info)
    try:
        rows: tuple[RowCounts, ...] | BaseException = manager.row_counts(info)
    except BackupError as error:  # shown where the rows would be
        rows = error
    try:
        heads: tuple[str, ...] | None = manager.live.alembic_heads()
    except BackupError as error:  # the rows say that the database cannot be read
        log_ignored("The revision could not be read", error)
        heads = None
    return _Counted(info.path, heads, rows, description)


def _opened_description(manager: BackupManager, info: BackupInfo) -> str:
    if info.sealed_description is None:
        return ""
    try:
        return manager.description_of(info).strip()
    except BackupError as error:  # the data may be opened all the same
        log_ignored("The description could not be decrypted", error)
        return ""


def _rows_heading() -> tuple[str, str]:
    return f"\n{_(texts.FACT_ROWS)}", "heading"


def _instead_of_rows(text: str) -> list[tuple[str, str]]:
    return [_rows_heading(), (f"\n{_(text)}", "name")]


def _sealed(info: BackupInfo) -> str:
    return "" if info.sealed_description is None else _(texts.SEALED)


def _size(info: BackupInfo) -> str:
    if info.plain_size_bytes is None:
        return info.size_display
    form = info.form
    only_compressed = form.is_compressed and not form.is_encrypted
    text = texts.FACT_COMPRESSED if only_compressed else texts.FACT_RESTORED
    return _(text).format(size=info.size_display, plain=display_size(info.plain_size_bytes))


def _base(info: BackupInfo, backups: Collection[BackupInfo]) -> str:
    """Return on which backup a differential is based; nothing for another one."""
    if info.base_sha256 is None:
        return ""
    bases = bases_for(info, backups)
    if not bases:
        return _(texts.FACT_BASE_MISSING).format(file=info.base_name or info.base_sha256)
    return f"{formatting.full_date(bases[0].timestamp)}\n{bases[0].filename}"


def _needed_by(info: BackupInfo, backups: Collection[BackupInfo]) -> str:
    """Return how many backups cannot be restored without ``info``; nothing for none."""
    needing = len(dependents(info, backups))
    return plural(texts.NEEDED_BY, needing) if needing else ""


def _drilled(info: BackupInfo) -> str:
    """Return when it was last drilled and what came of it; nothing for never."""
    if info.drilled_at is None:
        return ""
    date = formatting.full_date(local_time(info.drilled_at))
    if not formatting.drill_failed(info):
        return _(texts.FACT_DRILL_PASSED).format(date=date)
    command = f"soulsense-db verify --level drill {shlex.quote(formatting.plain(info.filename))}"
    return _(texts.FACT_DRILL_FAILED).format(date=date, command=command)


def _problem(info: BackupInfo) -> str:
    return f"{_(texts.FACT_PROBLEM)}: {formatting.plain(info.meta_problem)}\n"


def _go_to(widget: tk.Misc | None) -> str:
    if widget is not None:
        widget.focus_set()
    return "break"
