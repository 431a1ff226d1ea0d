"""Values of rows, as a person reads them in a cell."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from soulsense_db.dialog import formatting, texts
from soulsense_db.dialog.translation import _, plural
from soulsense_db.drivers import FoundRow, LongValue, Value
from soulsense_db.operations import RowsReport
from soulsense_db.shown_text import escaped

_CELL_CHARACTERS = 120
_CHARACTERS_OF_TWO = 20  # where two values share a cell
_TIP_CHARACTERS = 600


def cell(row: FoundRow, place: int) -> str:
    """Return a value of a row; and the one that is there now, where that is another one."""
    return _shown(row, place, _CELL_CHARACTERS, _CHARACTERS_OF_TWO)


def tip(row: FoundRow, place: int) -> str:
    """Return the same with more of a long text."""
    return _shown(row, place, _TIP_CHARACTERS, _TIP_CHARACTERS)


def _shown(row: FoundRow, place: int, length: int, of_two: int) -> str:
    if row.now is None or row.now[place] == row.values[place]:
        return _value(row.values[place], length)
    two = row.values[place], row.now[place]
    value, now = (_value(one, of_two) for one in two)
    if value == now:  # they may differ in what is a space here, as a line feed is
        value, now = (_value(one, of_two, escaped) for one in two)
    return _(texts.ROWS_VALUE_NOW).format(value=value, now=now)


def _value(value: Value, length: int, shown: Callable[[str], str] = formatting.plain) -> str:
    if value is None:
        return _(texts.ABSENT)
    if isinstance(value, LongValue):
        if isinstance(value.start, bytes):
            return plural(texts.ROWS_BYTES, value.length)
        return f"{shown(value.start[:length])}…"
    if isinstance(value, bytes):
        return plural(texts.ROWS_BYTES, len(value))
    if isinstance(value, str):
        return formatting.shortened(shown(value[: length + 1]), length)
    return str(value)


def rows_told(report: RowsReport, today: date) -> list[str]:
    """Return what became of rows that were to come back, in sentences."""
    if not report.plan.writes:
        return [_(texts.ROWS_NOT_NEEDED)]
    when = formatting.when(report.source.timestamp, today)
    said = [plural(texts.ROWS_BACK, report.plan.writes, when=when)]
    if report.replaced:
        said.append(plural(texts.ROWS_OVERWRITTEN, report.replaced))
    return said
