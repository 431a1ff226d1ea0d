"""What ``rehearse --html`` writes: one file to attach to a review."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING

from soulsense_db.backup_info import display_size
from soulsense_db.cli.page import html_text, number_cell, page
from soulsense_db.cli.rehearsal_text import (
    figures,
    rehearsed_on,
    seconds_text,
    step_name,
    step_time,
    word_of,
)

if TYPE_CHECKING:
    from soulsense_db.alembic import (
        Failure,
        Finding,
        RehearsalReport,
        RehearsedDatabase,
        TableRows,
    )

_STYLE = """
.verdict { border-left: .3rem solid; padding: .5rem 1rem; font-size: 1.1rem; font-weight: 600; }
.verdict.good { border-color: var(--added); } .verdict.bad { border-color: var(--removed); }
.verdict.warned { border-color: var(--changed); }
.findings { padding-left: 1.2rem; } .findings li { margin-bottom: .5rem; }
.word { font-weight: 600; } .error, .loss { color: var(--removed); }
.warning { color: var(--changed); }
pre { overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85em;
  border: 1px solid var(--line); padding: .6rem .8rem; }
th[scope=row] { white-space: nowrap; }
"""


def rehearsal_page(report: RehearsalReport) -> str:
    """Return the page of a report."""
    title = f"Rehearsal: upgrade to {report.revision}"
    return page("rehearse", title=title, heading=title, parts=_parts(report), style=_STYLE)


def _parts(report: RehearsalReport) -> Iterator[str]:
    kind = "good" if report.ok else "bad"
    if report.ok and any(report.of_severity("warning")):
        kind = "warned"
    yield f'<p class="verdict {kind}">{html_text(report.verdict)}</p>\n'
    yield f"<p>{html_text(rehearsed_on(report))}, on {datetime.now():%Y-%m-%d at %H:%M}. "
    yield f"It took {seconds_text(report.seconds)}.</p>\n"
    if report.acceptance:
        yield f"<p>{html_text(report.acceptance)}</p>\n"
    if report.findings:
        yield "<h2>Findings</h2>\n"
        yield from _findings(report.findings)
    if report.failure is not None:
        yield from _failure(report.failure)
    if report.steps:
        yield "<h2>Steps</h2>\n"
        yield from _steps(report)
        if report.failure is None and (text := figures(report)):
            yield f"<p>{html_text(text)}</p>\n"
    yield f"<h2>{'Database' if report.failure else 'Rows'}</h2>\n"
    wrong = {finding.table for finding in report.of_severity("error", "loss")}
    for database in report.databases:
        yield from _database(database, wrong, is_known=report.failure is None)
    if report.output:
        yield "<h2>What the migrations printed</h2>\n<details><summary>The last lines</summary>\n"
        yield _block(report.output) + "</details>\n"


def _findings(findings: Sequence[Finding]) -> Iterator[str]:
    yield '<ul class="findings">\n'
    for finding in findings:
        word = f'<span class="word {finding.severity}">{word_of(finding)}:</span>'
        lines = f"\n{_block(finding.remedy)}" if finding.remedy else ""
        yield f"<li>{word} {html_text(finding.sentence)}{lines}</li>\n"
    yield "</ul>\n"


def _failure(failure: Failure) -> Iterator[str]:
    if failure.statement:
        yield "<h2>The statement that failed</h2>\n"
        yield _block(failure.statement)
    if failure.traceback:
        yield "<details><summary>Traceback</summary>\n"
        yield _block(failure.traceback) + "</details>\n"


def _steps(report: RehearsalReport) -> Iterator[str]:
    several = len({step.database for step in report.steps}) > 1
    yield '<div class="wide"><table>\n<tr><th>Step</th>'
    yield "<th>Database</th>" * several
    yield '<th class="number">Time</th><th class="number">Writers wait</th><th>What</th></tr>\n'
    for step in report.steps:
        yield f"<tr><td><code>{html_text(step_name(step))}</code></td>"
        if several:
            yield f"<td>{html_text(step.database.name if step.database else '')}</td>"
        yield number_cell(step_time(step), "removed" * (step.seconds is None))
        yield number_cell(seconds_text(step.locked_seconds))
        yield f"<td>{html_text(step.message or '-')}</td></tr>\n"
    yield "</table></div>\n"


def _database(
    database: RehearsedDatabase, wrong: Collection[str], *, is_known: bool
) -> Iterator[str]:
    before, after = (
        ", ".join(heads) or "no revision"
        for heads in (database.heads_before, database.alembic_heads)
    )
    yield f"<p><code>{html_text(str(database.path))}</code><br>"
    yield html_text(f"{display_size(database.size_before)}, revision {before}")
    if is_known:
        yield html_text(f" → {display_size(database.size_after)}, revision {after}")
    yield "</p>\n"
    if not is_known:  # the rows of a copy that is half migrated
        return

    def is_quiet(one: TableRows) -> bool:
        return one.before == one.after and one.table not in wrong

    for is_same, tables in groupby(sorted(database.tables, key=is_quiet), key=is_quiet):
        found = list(tables)
        if is_same:
            count = f"{len(found)} table{'' if len(found) == 1 else 's'}"
            yield f"<details><summary>{count} with as many rows as before</summary>\n"
        yield from _tables(found)
        if is_same:
            yield "</details>\n"


def _tables(tables: Sequence[TableRows]) -> Iterator[str]:
    yield '<div class="wide"><table>\n<tr><th>Table</th><th class="number">Before</th>'
    yield '<th class="number">After</th></tr>\n'
    for table in tables:
        yield f"<tr><td><code>{html_text(table.table)}</code></td>"
        yield number_cell(_count(table.before))
        kind = ""
        if table.before != table.after:
            kind = "removed" if (table.after or 0) < (table.before or 0) else "added"
        yield number_cell(_count(table.after), kind) + "</tr>\n"
    yield "</table></div>\n"


def _count(rows: int | None) -> str:
    return "-" if rows is None else f"{rows:,}"


def _block(text: str) -> str:
    """Return lines as they are; each is made harmless by itself."""
    lines = "\n".join(map(html_text, text.splitlines()))
    return f"<pre>{lines}</pre>\n"
