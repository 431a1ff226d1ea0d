"""How the facts of backups are shown, sorted and searched: words and numbers, no window."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Protocol, TypeVar

from soulsense_db.backup_info import BackupInfo, display_size, local_time
from soulsense_db.dialog import texts
from soulsense_db.dialog.translation import _, plural
from soulsense_db.drivers import DatabaseDiff, RowCounts, TableDiff
from soulsense_db.errors import BackupError, Remedy, presentable
from soulsense_db.operations import doubts_about
from soulsense_db.shown_text import printable

_WEEK = 7
# Alembic's own table: nothing in it is of the person's making.
_VERSION_TABLE = "alembic_version"
# As Alembic makes them, and room for a name that somebody gave.
_REVISION_DIGITS = 15
_DESCRIPTION_DIGITS = 24


def plain(text: str) -> str:
    """Return ``text`` on one line, without characters that act instead of being seen."""
    return printable(text).strip()


def shortened(text: str, length: int = 400) -> str:
    """Return ``text``, or its beginning where it is longer than anybody wants to read here."""
    return text if len(text) <= length else f"{text[:length]}…"


def when(moment: datetime, today: date) -> str:
    """Return the naive local ``moment`` as a person says it: ``today 14:30``."""
    days = (today - moment.date()).days
    time = f"{moment:%H:%M}"
    if days == 0:
        return _(texts.TODAY).format(time=time)
    if days == 1:
        return _(texts.YESTERDAY).format(time=time)
    if 0 < days < _WEEK:
        return _(texts.ON_WEEKDAY).format(weekday=_(texts.WEEKDAYS[moment.weekday()]), time=time)
    return f"{moment:%Y-%m-%d %H:%M}"


def full_date(moment: datetime) -> str:
    """Return the naive local ``moment`` with weekday, date and seconds."""
    weekday = _(texts.WEEKDAYS[moment.weekday()])
    return _(texts.FULL_DATE).format(weekday=weekday, date=f"{moment:%Y-%m-%d %H:%M:%S}")


def revision(heads: Sequence[str]) -> str:
    """Return Alembic revisions on one line."""
    return ", ".join(map(plain, heads)) or _(texts.FACT_NO_VERSION)


def kind(info: BackupInfo) -> str:
    """Return what kind of backup it is, in the user's words."""
    return _(texts.KIND_NAMES[info.kind])


def verified(info: BackupInfo, today: date) -> str:
    """Return when a backup last passed its checks."""
    if info.verified_at is None:
        return _(texts.NEVER)
    return when(local_time(info.verified_at), today)


def drilled(info: BackupInfo, today: date) -> str:
    """Return when a backup was last drilled, and that it failed, if so; empty for never."""
    if info.drilled_at is None:
        return ""
    moment = when(local_time(info.drilled_at), today)
    return _(texts.DRILL_FAILED).format(when=moment) if drill_failed(info) else moment


def drill_failed(info: BackupInfo) -> bool:
    """Whether the last drill found that the backup does not come back."""
    return info.drill_result == "failed"


def doubts(info: BackupInfo) -> str:
    """Return why the program never chooses this backup by itself; empty where it may."""
    return ", ".join(_(texts.DOUBTS[doubt]) for doubt in doubts_about(info))


def form(info: BackupInfo) -> str:
    """Return what was done to a backup when it was stored; empty for a plain database file."""
    words = (
        (info.form.is_encrypted, texts.ENCRYPTED),
        (info.form.is_differential, texts.DIFFERENTIAL),
        (info.form.is_compressed, texts.COMPRESSED),
    )
    return ", ".join(_(word) for is_so, word in words if is_so)


def description(info: BackupInfo) -> str:
    """Return a backup's description on one line, marked when it is pinned, encrypted, in doubt.

    The lock is here, in words, as this is seen in the smallest window too.
    """
    text = plain(info.description)
    is_locked = info.form.is_encrypted
    if info.sealed_description is not None:
        text, is_locked = _(texts.SEALED), False
    found = (
        _(texts.PINNED) if info.pinned else "",
        _(texts.ENCRYPTED) if is_locked else "",
        doubts(info),
    )
    marks = ", ".join(filter(None, found))
    marks = marks[:1].upper() + marks[1:]
    if marks and text:
        return _(texts.MARKED).format(marks=marks, description=text)
    return marks or text


class _OfTable(Protocol):
    @property
    def table(self) -> str: ...


Counts = TypeVar("Counts", bound=_OfTable)


def entries(tables: Iterable[Counts], heads: Iterable[str]) -> list[Counts]:
    """Return the tables that hold what a person has written.

    The catalog is not among ``tables``, and Alembic's table goes; ``heads``: its revisions, on
    either side. Without any, a table of that name is somebody else's.
    """
    is_alembic = any(heads)
    return [one for one in tables if not (is_alembic and one.table == _VERSION_TABLE)]


def count_rows(rows: Iterable[RowCounts]) -> list[tuple[str, str, str]]:
    """Return the cells of each table: its name, its rows in the backup and now."""
    return [(plain(row.table), number(row.backup), number(row.live)) for row in rows]


def number(count: int | None) -> str:
    """Return a number of rows; a dash where there is no such table."""
    return _(texts.ABSENT) if count is None else f"{count:,}"


# The list


@dataclass(frozen=True, slots=True)
class Column:
    """One column: name in the program, heading, what has to fit in, cell, what it sorts by.

    ``right``: numbers stand on the right. ``stretches``: it has the room that is left, and what
    has to fit in is the least.
    ``tells``: what it tells of a backup; it is shown only where they differ in that, or from what
    is ``usual``.
    """

    name: str
    heading: str
    widest: Callable[[], Iterable[str]]
    cell: Callable[[BackupInfo, date], str]
    key: Callable[[BackupInfo], Any]
    right: bool = False
    stretches: bool = False
    tells: Callable[[BackupInfo], object] | None = None
    usual: object = None


def _widest_when() -> list[str]:
    days = [_(texts.ON_WEEKDAY).format(weekday=_(day), time="00:00") for day in texts.WEEKDAYS]
    return [*days, _(texts.YESTERDAY).format(time="00:00"), "0000-00-00 00:00"]


def _widest_form() -> list[str]:
    return [
        ", ".join(map(_, (texts.ENCRYPTED, other)))
        for other in (texts.DIFFERENTIAL, texts.COMPRESSED)
    ]


# What matters most comes first: it is seen without scrolling.
COLUMNS = (
    Column("when", texts.WHEN, _widest_when, lambda i, t: when(i.timestamp, t), lambda i: i.order),
    Column(
        "description",
        texts.ABOUT,
        lambda: ["0" * _DESCRIPTION_DIGITS],
        lambda i, _t: description(i),
        lambda i: plain(i.description).casefold(),
        stretches=True,
    ),
    Column(
        "size",
        texts.SIZE,
        lambda: ["0000.0 MB"],
        lambda i, _t: i.size_display,
        lambda i: i.size_bytes,
        right=True,
    ),
    Column(
        "form",
        texts.FORM,
        _widest_form,
        lambda i, _t: form(i),
        form,
        # That it is compressed is told by its size.
        tells=lambda i: (i.form.is_encrypted, i.form.is_differential),
        usual=(False, False),
    ),
    Column(
        "verified",
        texts.VERIFIED,
        _widest_when,
        verified,
        lambda i: i.verified_at.timestamp() if i.verified_at else float("-inf"),
    ),
    Column(
        "drilled",
        texts.DRILLED,
        lambda: [_(texts.DRILL_FAILED).format(when=moment) for moment in _widest_when()],
        drilled,
        lambda i: (drill_failed(i), i.drilled_at.timestamp() if i.drilled_at else float("-inf")),
        tells=lambda i: i.drilled_at is not None,
        usual=False,
    ),
    Column(
        "kind",
        texts.KIND,
        lambda: map(_, texts.KIND_NAMES.values()),
        lambda i, _t: kind(i),
        kind,
        tells=lambda i: i.kind,
    ),
    Column(
        "revision",
        texts.VERSION,
        lambda: ["0" * _REVISION_DIGITS],
        lambda i, _t: revision(i.alembic_heads) if i.alembic_heads else "",
        lambda i: i.alembic_heads,
        tells=lambda i: i.alembic_heads,
    ),
)


def columns_for(backups: Collection[BackupInfo], columns: Iterable[Column]) -> tuple[Column, ...]:
    """Return those of ``columns`` that have something to tell of ``backups``."""
    return tuple(
        column
        for column in columns
        if column.tells is None or _differ(map(column.tells, backups), column.usual)
    )


def _differ(told: Iterable[object], usual: object) -> bool:
    return len({*told} if usual is None else {*told, usual}) > 1


@dataclass(frozen=True, slots=True)
class Order:
    """By which column the list is sorted."""

    column: str = "when"
    descending: bool = True

    def by(self, column: str) -> Order:
        """Return the order after a click on the heading of ``column``."""
        if column == self.column:
            return Order(column, not self.descending)
        return Order(column, descending=column in {"when", "size", "verified", "drilled"})

    def sort(
        self, backups: Iterable[BackupInfo], columns: Iterable[Column] = COLUMNS
    ) -> list[BackupInfo]:
        """Return ``backups`` by one of ``columns``; of equal ones the newest first."""
        newest_first = sorted(backups, key=lambda info: info.order, reverse=True)
        if self.column == "when":
            return newest_first if self.descending else newest_first[::-1]
        key = next(column.key for column in columns if column.name == self.column)
        return sorted(newest_first, key=key, reverse=self.descending)


def tip(column: Column, info: BackupInfo) -> str:
    """Return what else is to be said of a cell; empty for nothing."""
    if column.name == "when":
        return full_date(info.timestamp)
    if column.name == "verified" and info.verified_at is not None:
        return full_date(local_time(info.verified_at))
    if column.name == "drilled" and info.drilled_at is not None:
        return full_date(local_time(info.drilled_at))
    return plain(info.meta_problem)


def search_text(info: BackupInfo, cells: Sequence[str]) -> str:
    """Return what a search looks in: the ``cells`` of ``info``, its whole date and file name."""
    more = (full_date(info.timestamp), plain(info.filename), plain(info.pin_note))
    return folded(" ".join([*cells, *more]))


def folded(text: str) -> str:
    """Return ``text`` such that a search finds it in any case and width."""
    return unicodedata.normalize("NFKC", text).casefold()


def counted(shown: Sequence[BackupInfo], everything: int) -> str:
    """Return how many backups are shown, of how many, and their size; nothing for none."""
    if not everything:
        return ""
    backups = plural(texts.BACKUPS, everything)
    if len(shown) != everything:
        backups = _(texts.OF_BACKUPS).format(shown=f"{len(shown):,}", all=backups)
    size = display_size(sum(info.size_bytes for info in shown))
    return _(texts.TOTAL).format(backups=backups, size=size)


# What a restore changes


def change_rows(tables: Iterable[TableDiff]) -> list[tuple[str, ...]]:
    """Return the cells of the table of changes."""
    return [
        (
            plain(table.table),
            _signed(table.gained, "+"),
            _signed(table.lost, "-"),
            _(texts.ABSENT) if table.newer is None else f"{table.newer:,}",
            _(texts.OTHER_COLUMNS) if table.changed is None else f"{table.changed:,}",
        )
        for table in tables
    ]


def _signed(count: int, sign: str) -> str:
    return f"{sign}{count:,}" if count else "0"


def change_summary(found: DatabaseDiff, tables: Sequence[TableDiff]) -> str:
    """Return what a restore changes in ``tables``, of those ``found``, in a sentence."""
    if found.identical:
        return _(texts.IDENTICAL)
    if not tables:
        return _(texts.SAME_ROWS)
    lost = sum(table.lost for table in tables)
    newer = sum(table.newer or 0 for table in tables)
    # Where the key says nothing of age, or the columns differ.
    unknown = any(table.newer is None and table.lost for table in tables)
    if newer:
        return plural(texts.NEWER_AT_LEAST if unknown else texts.NEWER_ENTRIES, newer)
    if unknown:
        return plural(texts.LOST_UNKNOWN, lost)
    if any(table.changed is None for table in tables):
        return _(texts.ONLY_COUNTED)
    return _(texts.NO_NEWER_ENTRIES if lost else texts.NO_LOSS)


# Errors


@dataclass(frozen=True, slots=True)
class Explanation:
    """An error for a person: what happened, what it means for the data, what to do."""

    happened: str
    meaning: str
    hint: str


def explain(error: BaseException) -> Explanation:
    """Return what to say about ``error``."""
    if not isinstance(error, BackupError):
        name = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return Explanation(
            _(texts.UNEXPECTED).format(error=presentable(name)),
            _(texts.UNEXPECTED_MEANING),
            _(texts.UNEXPECTED_HINT),
        )
    return Explanation(error.what, _meaning(error), "\n".join(_what_to_do(error.remedy)))


def _meaning(error: BackupError) -> str:
    meaning = error.state or _(texts.OUTCOMES[error.outcome])
    if error.way_back:
        meaning = f"{meaning} {_(texts.WAY_BACK).format(backup=presentable(str(error.backup)))}"
    return meaning


def _what_to_do(remedy: Remedy) -> Iterator[str]:
    """Yield what to do, a line each: what this window has a button for, else a command."""
    if remedy.sentence:
        yield plain(remedy.sentence)
    for command in remedy.commands:
        backup = presentable(command.arguments[0]) if command.arguments else ""
        yield _(texts.ACTIONS[command.action]).format(backup=backup, command=command.line)
