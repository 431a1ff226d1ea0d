"""A rehearsal's report, as a terminal shows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from soulsense_db.backup_info import display_size
from soulsense_db.cli.output import print_table, say

if TYPE_CHECKING:
    from soulsense_db.alembic import Finding, RehearsalReport, RehearsedStep

_LINES = 10
# Less than this is no figure to think about, unless the disk is nearly full.
_NOTABLE_GROWTH = 10 * 1024 * 1024
_NOTABLE_SPACE = 100 * 1024 * 1024
_TIGHT = 10
_BREAKS = {"reference", "constraint", "integrity", "round_trip", "not_saved"}
_WORDS = {"error": "Fails", "loss": "Loses data", "warning": "Warning", "notice": "Note"}


def print_report(report: RehearsalReport) -> None:
    """Print all of it."""
    say(f"{rehearsed_on(report)}.")
    if report.steps:
        say("")
        several = len({step.database for step in report.steps}) > 1
        names = ("STEP", *(("DATABASE",) if several else ()), ">TIME", ">WRITERS WAIT", "WHAT")
        print_table(names, list(_rows(report, several=several)))
    if report.findings:
        say("")
    _print_findings(list(report.findings))
    if report.failure and report.output:
        say("")
        say("The last lines that it printed:")
        for line in report.output.splitlines()[-_LINES:]:
            say(f"  {line}")
    say("")
    if report.steps and report.failure is None and (text := figures(report)):
        say(text)
    say(report.verdict)
    if report.acceptance:
        say(report.acceptance)


def print_problem(report: RehearsalReport) -> None:
    """Print what speaks against the real run, and the verdict; nothing where nothing does."""
    if report.ok:
        return
    _print_findings(list(report.of_severity("error", "loss")))
    say(report.verdict)


def _print_findings(findings: list[Finding]) -> None:
    for finding in findings:
        say(f"{word_of(finding)}: {finding.sentence}")
        if finding.remedy:
            say("")
            for line in finding.remedy.splitlines():
                say(f"    {line}".rstrip())
            if finding is not findings[-1]:
                say("")


def word_of(finding: Finding) -> str:
    """Return the word that says what a finding means."""
    if finding.kind in _BREAKS and finding.severity == "error":
        return "Breaks"
    return _WORDS[finding.severity]


def rehearsed_on(report: RehearsalReport) -> str:
    """Return what was copied, as the beginning of a sentence."""
    main = report.databases[0]
    what = f"the backup {report.backup}" if report.backup else f"the live database {main.path}"
    return f"Rehearsed on a copy of {what}, {display_size(main.size_before)}"


def _rows(report: RehearsalReport, *, several: bool) -> Iterator[tuple[str, ...]]:
    for step in report.steps:
        database = (step.database.name if step.database else "-",) if several else ()
        wait = seconds_text(step.locked_seconds)
        yield (step_name(step), *database, step_time(step), wait, step.message or "-")


def step_name(step: RehearsedStep) -> str:
    """Return the revision of a step, and its direction where that is not the usual one."""
    return step.revision if step.direction == "upgrade" else f"{step.revision} (down)"


def step_time(step: RehearsedStep) -> str:
    """Return how long a step took."""
    return seconds_text(step.seconds) if step.seconds is not None else "failed"


def figures(report: RehearsalReport) -> str:
    """Return what the real run would take that is worth a thought, as a sentence; it may be ""."""
    main = report.databases[0]
    parts = []
    if report.writers_wait_seconds is not None:
        # Longer than at any step of the table, which counts what is within the step.
        wait = seconds_text(report.writers_wait_seconds)
        parts.append(
            f"writers would wait for up to {wait} (to the end of the transaction, with what "
            "Alembic itself writes)"
        )
    if abs(main.size_after - main.size_before) >= _NOTABLE_GROWTH:
        grows = "grows" if main.size_after > main.size_before else "shrinks"
        parts.append(
            f"the database {grows} from {display_size(main.size_before)} to "
            f"{display_size(main.size_after)}"
        )
    needed, free = report.space_needed, report.space_free
    if needed >= _NOTABLE_SPACE or (free is not None and needed * _TIGHT > free):
        there = f" ({display_size(free)} are free)" if free is not None else ""
        parts.append(
            f"up to {display_size(needed)} of disk are needed, backup and journal included{there}"
        )
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def seconds_text(seconds: float | None) -> str:
    """Return a time as a person says it."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{max(1, round(seconds * 1000))} ms" if seconds else "0 ms"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
