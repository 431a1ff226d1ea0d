"""What ``diff --html`` writes: one file, without anything from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from soulsense_db.backup_info import BackupInfo
from soulsense_db.cli.diff_text import (
    shown_count,
    shown_name,
    summary,
    tables_with_other_rows,
    values_of,
)
from soulsense_db.cli.page import html_text, number_cell, page, page_start
from soulsense_db.cli.report_files import require_report_file, write_report_file
from soulsense_db.cli.shown_values import shown
from soulsense_db.drivers import DiffReport, TableChange

_MARKS = {"added": "+ added", "removed": "− removed", "changed": "~ changed"}


def require_page_file(path: Path) -> None:
    """Raise as :func:`require_report_file` does."""
    require_report_file(path, "--html", page_start("diff"))


def write_page(
    path: Path, first: BackupInfo, second: BackupInfo | None, database: str, report: DiffReport
) -> None:
    """Write the page to ``path``, as :func:`write_report_file` does."""
    title = f"{first.filename} → {second.filename if second else 'live database'}"
    parts = _parts(first, second, database, report)
    write_report_file(path, page("diff", title=title, heading="What differs", parts=parts))


def _parts(
    first: BackupInfo, second: BackupInfo | None, database: str, report: DiffReport
) -> Iterator[str]:
    yield "".join(_sides(first, second, database, report))
    yield f"<p><strong>{html_text(summary(report))}</strong></p>\n"
    if report.schema:
        yield "<h2>Schema</h2>\n<ul>\n"
        for change in report.schema:
            yield f'<li class="{change.kind}">{html_text(change.sentence)}</li>\n'
        yield "</ul>\n"
    tables = tables_with_other_rows(report)
    if tables:
        yield "<h2>Rows</h2>\n"
        yield from _rows(tables)
        own = [table for table in tables if table.part_of is None]
        yield from _values(own)
        if any(table.samples for table in own):
            yield "<h2>Samples</h2>\n"
        for table in own:
            yield from _samples(table)


def _sides(
    first: BackupInfo, second: BackupInfo | None, database: str, report: DiffReport
) -> Iterator[str]:
    def told(name: str, when: str, heads: Sequence[str]) -> str:
        revision = f", revision {', '.join(heads)}" if heads else ""
        return f"<code>{html_text(name)}</code> <span>{html_text(when + revision)}</span>"

    yield "<table>\n<tr><th>Before</th><td>"
    yield told(first.filename, f"taken {first.timestamp_display}", report.alembic_heads_before)
    yield "</td></tr>\n<tr><th>After</th><td>"
    if second is None:
        yield told(database, "the live database", report.alembic_heads_after)
    else:
        when = f"taken {second.timestamp_display}"
        yield told(second.filename, when, report.alembic_heads_after)
    yield "</td></tr>\n</table>\n"


def _rows(tables: Sequence[TableChange]) -> Iterator[str]:
    head = ("Before", "After", "Added", "Removed", "Changed")
    yield '<div class="wide"><table>\n<tr><th>Table</th>'
    yield "".join(f'<th class="number">{name}</th>' for name in head) + "</tr>\n"
    for table in tables:
        note = f'<br><span class="note">{html_text(table.note)}</span>' if table.note else ""
        yield f"<tr><td><code>{html_text(shown_name(table))}</code>{note}</td>"
        yield number_cell(shown_count(table.rows_before)) + number_cell(
            shown_count(table.rows_after)
        )
        yield number_cell(f"{table.added:,}", "added" * bool(table.added))
        yield number_cell(f"{table.removed:,}", "removed" * bool(table.removed))
        changed = "not known" if table.changed is None else f"{table.changed:,}"
        yield number_cell(changed, "changed" * bool(table.changed)) + "</tr>\n"
    yield "</table></div>\n"


def _values(tables: Sequence[TableChange]) -> Iterator[str]:
    columns = [(table, column) for table in tables for column in table.columns]
    if not columns:
        return
    yield '<h2>Values, in the rows that changed</h2>\n<div class="wide"><table>\n'
    yield '<tr><th>Column</th><th class="number">Differ</th><th class="number">Now NULL</th>'
    yield '<th class="number">Shorter</th><th class="number">Less exact</th></tr>\n'
    for table, column in columns:
        yield f"<tr><td><code>{html_text(f'{table.table}.{column.column}')}</code></td>"
        for number in (
            column.differing,
            column.became_null,
            column.became_shorter,
            column.became_inexact,
        ):
            yield number_cell(f"{number:,}")
        yield "</tr>\n"
    yield "</table></div>\n"


def _samples(table: TableChange) -> Iterator[str]:
    if not table.samples:
        return
    yield f"<details open><summary><code>{html_text(shown_name(table))}</code></summary>\n"
    names = table.key or ("rowid",)
    for sample in table.samples:
        key = ", ".join(
            f"{name} = {shown(value)}" for name, value in zip(names, sample.key, strict=False)
        )
        yield '<div class="wide"><table>\n'
        yield f'<caption class="{sample.kind}">{_MARKS[sample.kind]} {html_text(key)}</caption>\n'
        yield "<tr><th>Column</th><th>Before</th><th>After</th></tr>\n"
        for column, before, after in values_of(table, sample):
            yield f"<tr><td><code>{html_text(column)}</code></td>"
            for value in (before, after):
                yield f'<td class="value">{html_text(value)}</td>'
            yield "</tr>\n"
        yield "</table></div>\n"
    yield "</details>\n"
