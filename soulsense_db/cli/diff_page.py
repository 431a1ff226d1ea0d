"""What ``diff --html`` writes: one file, without anything from elsewhere."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path

from soulsense_db import fs
from soulsense_db.backup_info import BackupInfo
from soulsense_db.cli.diff_text import (
    has_other_rows,
    shown_count,
    shown_name,
    summary,
    values_of,
)
from soulsense_db.cli.shown_values import shown
from soulsense_db.drivers import DiffReport, TableChange
from soulsense_db.errors import OptionError
from soulsense_db.shown_text import printable

_START = "<!doctype html>\n<!-- soulsense-db diff -->\n"
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --added: #1a7f37; --removed: #cf222e;
  --changed: #9a6700; }
@media (prefers-color-scheme: dark) { :root { --added: #3fb950; --removed: #f85149;
  --changed: #d29922; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; } caption { text-align: left; padding: .3rem 0; }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .8rem .25rem 0; text-align: left;
  vertical-align: top; }
th.number, td.number { text-align: right; font-variant-numeric: tabular-nums; }
code, td.value { font-family: ui-monospace, monospace; font-size: .9em; overflow-wrap: anywhere; }
.added { color: var(--added); } .removed { color: var(--removed); }
.changed { color: var(--changed); }
summary { cursor: pointer; padding: .4rem 0; } details { margin-bottom: .5rem; }
.note { opacity: .75; }
"""
_MARKS = {"added": "+ added", "removed": "− removed", "changed": "~ changed"}


def require_page_file(path: Path) -> None:
    """Raise where a page could not be written, or would replace something else.

    Raises :class:`~soulsense_db.errors.StorageError`, :class:`~soulsense_db.errors.OptionError`.
    """
    with fs.storage_errors("write", path):
        fs.require_directory(path.absolute().parent)
        # The name may be that of the database.
        if fs.exists(path) and not (path.is_file() and _is_ours(path)):
            raise OptionError(
                f"--html would replace {path}, which is no page of this program.",
                hint="Name another file, such as diff.html.",
                path=path,
            )


def _is_ours(path: Path) -> bool:
    return path.stat().st_size == 0 or fs.start_of(path).startswith(_START.encode())


def write_page(
    path: Path, first: BackupInfo, second: BackupInfo | None, database: str, report: DiffReport
) -> None:
    """Write the page to ``path``, whole or not at all; for its owner to read: it has rows in it."""
    text = "".join(_page(first, second, database, report))
    with fs.storage_errors("write", path):
        descriptor, name = tempfile.mkstemp(prefix=".soulsense_diff.", dir=path.absolute().parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode("utf-8", errors="replace"))
            Path(name).replace(path)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(name).unlink()
            raise


def _page(
    first: BackupInfo, second: BackupInfo | None, database: str, report: DiffReport
) -> Iterator[str]:
    title = f"{first.filename} → {second.filename if second else 'live database'}"
    yield f'{_START}<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    yield (
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
    )
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
    yield "<h1>What differs</h1>\n"
    yield "".join(_sides(first, second, database, report))
    yield f"<p><strong>{_text(summary(report))}</strong></p>\n"
    if report.schema:
        yield "<h2>Schema</h2>\n<ul>\n"
        for change in report.schema:
            yield f'<li class="{change.kind}">{_text(change.sentence)}</li>\n'
        yield "</ul>\n"
    tables = [table for table in report.changed_tables if has_other_rows(table)]
    if tables:
        yield "<h2>Rows</h2>\n"
        yield from _rows(tables)
        own = [table for table in tables if table.part_of is None]
        yield from _values(own)
        if any(table.samples for table in own):
            yield "<h2>Samples</h2>\n"
        for table in own:
            yield from _samples(table)
    yield "</body>\n</html>\n"


def _sides(
    first: BackupInfo, second: BackupInfo | None, database: str, report: DiffReport
) -> Iterator[str]:
    def told(name: str, when: str, heads: Sequence[str]) -> str:
        revision = f", revision {', '.join(heads)}" if heads else ""
        return f"<code>{_text(name)}</code> <span>{_text(when + revision)}</span>"

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
        note = f'<br><span class="note">{_text(table.note)}</span>' if table.note else ""
        yield f"<tr><td><code>{_text(shown_name(table))}</code>{note}</td>"
        yield _number(shown_count(table.rows_before)) + _number(shown_count(table.rows_after))
        yield _number(f"{table.added:,}", "added" * bool(table.added))
        yield _number(f"{table.removed:,}", "removed" * bool(table.removed))
        changed = "not known" if table.changed is None else f"{table.changed:,}"
        yield _number(changed, "changed" * bool(table.changed)) + "</tr>\n"
    yield "</table></div>\n"


def _values(tables: Sequence[TableChange]) -> Iterator[str]:
    columns = [(table, column) for table in tables for column in table.columns]
    if not columns:
        return
    yield '<h2>Values, in the rows that changed</h2>\n<div class="wide"><table>\n'
    yield '<tr><th>Column</th><th class="number">Differ</th><th class="number">Now NULL</th>'
    yield '<th class="number">Shorter</th></tr>\n'
    for table, column in columns:
        yield f"<tr><td><code>{_text(f'{table.table}.{column.column}')}</code></td>"
        for number in (column.differing, column.became_null, column.became_shorter):
            yield _number(f"{number:,}")
        yield "</tr>\n"
    yield "</table></div>\n"


def _samples(table: TableChange) -> Iterator[str]:
    if not table.samples:
        return
    yield f"<details open><summary><code>{_text(shown_name(table))}</code></summary>\n"
    names = table.key or ("rowid",)
    for sample in table.samples:
        key = ", ".join(
            f"{name} = {shown(value)}" for name, value in zip(names, sample.key, strict=False)
        )
        yield '<div class="wide"><table>\n'
        yield f'<caption class="{sample.kind}">{_MARKS[sample.kind]} {_text(key)}</caption>\n'
        yield "<tr><th>Column</th><th>Before</th><th>After</th></tr>\n"
        for column, before, after in values_of(table, sample):
            yield f"<tr><td><code>{_text(column)}</code></td>"
            yield f'<td class="value">{_text(before)}</td><td class="value">{_text(after)}</td>'
            yield "</tr>\n"
        yield "</table></div>\n"
    yield "</details>\n"


def _number(text: str, kind: str = "") -> str:
    return f'<td class="number {kind}">{text}</td>' if kind else f'<td class="number">{text}</td>'


def _text(text: str) -> str:
    """Return ``text`` such that nothing in it is HTML, or turns the direction of writing."""
    return escape(printable(text))
