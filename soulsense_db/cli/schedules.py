"""Commands for a machine that looks after itself: prune, auto, status."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from soulsense_db.backup_info import KINDS, display_size
from soulsense_db.cli import session as shared
from soulsense_db.cli.grammar import KEEPING, UNATTENDED
from soulsense_db.cli.output import SHORT_ID, backup_json, print_error, print_table, say
from soulsense_db.cli.session import Session
from soulsense_db.errors import BackupError, NotConfirmedError, OptionError
from soulsense_db.health import HealthCheck, HealthReport, State, Thresholds, check_health
from soulsense_db.retention import (
    COUNTS,
    Period,
    PruneDecision,
    PruneReport,
    RetentionPolicy,
    parse_size,
)
from soulsense_db.scheduled import AutoReport, run_auto
from soulsense_db.settings import with_rules

_ALL_KINDS = "all"
_PANEL = "What to keep (of each kind; a backup stays if any rule keeps it)"


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    shared.add(app, prune, panel=KEEPING, example="prune --keep-daily 7 --dry-run", policy=_policy)
    shared.add(app, auto, panel=UNATTENDED, example="auto --keep-daily 7", policy=_policy)
    shared.add(app, status, panel=UNATTENDED, example="status --warning-age 26h")


def _count(flag: str, what: str) -> Any:
    return typer.Option(flag, metavar="N", help=what, rich_help_panel=_PANEL)


def _policy(  # noqa: PLR0917 - Typer gives them by name
    keep_last: Annotated[
        int | None, _count("--keep-last", "The newest N backups; here and below, -1 means all.")
    ] = None,
    keep_hourly: Annotated[
        int | None,
        _count("--keep-hourly", "The newest of each hour, for the last N hours with a backup."),
    ] = None,
    keep_daily: Annotated[
        int | None,
        _count("--keep-daily", "The newest of each day, for the last N days with a backup."),
    ] = None,
    keep_weekly: Annotated[
        int | None,
        _count("--keep-weekly", "The newest of each ISO week, for the last N weeks with a backup."),
    ] = None,
    keep_monthly: Annotated[
        int | None,
        _count("--keep-monthly", "The newest of each month, for the last N months with a backup."),
    ] = None,
    keep_yearly: Annotated[
        int | None,
        _count("--keep-yearly", "The newest of each year, for the last N years with a backup."),
    ] = None,
    keep_within: Annotated[
        str | None,
        typer.Option(
            "--keep-within",
            metavar="PERIOD",
            help="All backups at most this much (1y6m, 14d, 12h) older than the newest.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    max_total_size: Annotated[
        str | None,
        typer.Option(
            "--max-total-size",
            metavar="SIZE",
            help="At most this much in total (500MB, 10GB), the newest first.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    allow_empty: Annotated[
        bool,
        typer.Option(
            "--allow-empty",
            help="Let --max-total-size remove the last backup of a kind.",
            rich_help_panel=_PANEL,
        ),
    ] = False,
) -> RetentionPolicy | None:
    """Declare the options of a policy; None when none of them is given."""
    rules: dict[str, Any] = {
        "keep_last": keep_last,
        "keep_hourly": keep_hourly,
        "keep_daily": keep_daily,
        "keep_weekly": keep_weekly,
        "keep_monthly": keep_monthly,
        "keep_yearly": keep_yearly,
        "keep_within": None if keep_within is None else Period.parse(keep_within),
        "max_total_size": None if max_total_size is None else parse_size(max_total_size),
    }
    given = {name: rule for name, rule in rules.items() if rule is not None}
    if not given:
        return RetentionPolicy(allow_empty=True) if allow_empty else None
    return with_rules(RetentionPolicy(**given, allow_empty=allow_empty))


def _chosen(session: Session, policy: RetentionPolicy | None) -> RetentionPolicy | None:
    """Return the policy of the options, else of the configuration; ``--allow-empty`` adds to it."""
    if policy is None or not policy.is_empty:
        return policy or session.retention
    configured = session.retention
    return replace(configured, allow_empty=True) if configured else None


def prune(
    session: Session,
    policy: RetentionPolicy | None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind", metavar="KIND", help=f"Only this kind: {', '.join(KINDS)}; or {_ALL_KINDS}."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", "-n", help="Remove nothing; show what would be removed, and why."
        ),
    ] = False,
) -> dict[str, Any]:
    """Remove the backups that a retention policy does not keep."""
    chosen = _chosen(session, policy)
    if chosen is None:
        raise OptionError(
            "There is no retention policy.",
            hint="Give one, such as --keep-daily 7 --keep-monthly 12, or set soulsense_keep_daily "
            "in alembic.ini.",
        )
    named = kind or []
    kinds = [] if _ALL_KINDS in named else shared.known_kinds(named)
    manager = session.found_manager
    report = manager.prune(chosen, kinds=kinds, dry_run=True)
    _print_plan(session, report)
    if report.removed and not dry_run:
        session.say(f"To be removed: {_by_kind(report)}.")
        session.confirm(
            f"Remove {len(report.removed)} backup(s) ({display_size(report.removed_bytes)}) "
            "permanently?",
            hint=_lines_without_question(session, policy, named),
        )
        if not session.yes:  # the question may have stood there for hours
            _require_shown(report, manager.prune(chosen, kinds=kinds, dry_run=True))
        report = manager.prune(chosen, kinds=kinds)
        for decision in report.removed:
            session.say(f"Removed {decision.backup.filename}")
        session.say(_pruned(report))
    elif not report.removed:
        session.say("Nothing to remove.")
    else:
        session.say(f"Would remove {len(report.removed)}, keep {len(report.kept)}.")
    return {"dry_run": dry_run, "policy": str(chosen), **_prune_json(report)}


def _by_kind(report: PruneReport) -> str:
    counts: Counter[str] = Counter(decision.backup.kind for decision in report.removed)
    return ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind])


def _lines_without_question(
    session: Session, policy: RetentionPolicy | None, named: Sequence[str]
) -> str:
    """Say how to write the command for a script, which has to say of which kinds it means."""
    rules = _options_of(policy) if policy else ()

    def line(kinds: Sequence[str]) -> str:
        words = (word for kind in kinds for word in ("--kind", kind))
        return session.command("prune", *words, *rules, "--yes")

    if named:
        return f"To remove them without a question: {line(named)}"
    return (
        f"To remove only what schedules created: {line(['automatic'])}   "
        f"To remove backups created by hand and imported ones as well: {line([_ALL_KINDS])}"
    )


def _options_of(policy: RetentionPolicy) -> list[str]:
    """Return the options that :func:`_policy` makes ``policy`` of."""
    rules = {name: getattr(policy, name) for name in (*COUNTS, "keep_within", "max_total_size")}
    given = {name: rule for name, rule in rules.items() if rule}
    words = [word for name, rule in given.items() for word in (_flag(name), str(rule))]
    return [*words, "--allow-empty"] if policy.allow_empty else words


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _require_shown(shown: PruneReport, now: PruneReport) -> None:
    """Raise when more would be removed now than what was shown."""
    names = {decision.backup.filename for decision in shown.removed}
    if any(decision.backup.filename not in names for decision in now.removed):
        raise NotConfirmedError(
            "The backups have changed: others would be removed than were shown.",
            hint="Run the command again.",
        )


def _print_plan(session: Session, report: PruneReport) -> None:
    if not session.talks:
        return
    rows = [
        (
            word,
            decision.backup.id[:SHORT_ID],
            decision.backup.timestamp_display[:16],
            decision.backup.kind,
            "; ".join(decision.reasons),
        )
        for word, decisions in (("keep", report.kept), ("remove", report.removed))
        for decision in decisions
    ]
    if rows:
        print_table(("", "ID", "TAKEN", "KIND", "WHY"), rows, fold=True)


def _pruned(report: PruneReport) -> str:
    return (
        f"Removed {len(report.removed)} ({display_size(report.removed_bytes)}), "
        f"kept {len(report.kept)}."
    )


def _prune_json(report: PruneReport) -> dict[str, Any]:
    def decisions(of: Sequence[PruneDecision]) -> list[dict[str, Any]]:
        return [{"backup": backup_json(d.backup), "reasons": list(d.reasons)} for d in of]

    return {"kept": decisions(report.kept), "removed": decisions(report.removed)}


def auto(session: Session, policy: RetentionPolicy | None) -> dict[str, Any]:
    """Do what a schedule needs: back up if the database has changed, verify, prune.

    Only automatic backups are removed, never those created by hand, imported or taken before a
    migration. Without a policy, nothing is removed. You can run it as often as you like: if runs
    overlap, only the first one does the work.
    """
    chosen = _chosen(session, policy)
    with session.progress("Backing up") as progress:
        report = run_auto(session.manager, chosen, progress=progress)
    if report is None:
        session.say("auto: another run is in progress; nothing was done")
        return {"ran": False}
    session.say(_summary(report))
    for decision in report.pruned.removed if report.pruned else ():
        session.say(f"auto: removed {decision.backup.filename}")
    if report.damaged and not session.as_json:  # also with --quiet: cron mails what is printed
        say(f"{report.damaged.filename} is damaged; another backup was created.", to=sys.stderr)
    if report.half_run:
        if not session.as_json:
            print_error(report.half_run)
        session.exit_code = report.half_run.exit_code
    if report.prune_error:
        if not session.as_json:
            print_error(report.prune_error)
        session.exit_code = report.prune_error.exit_code
    return {
        "ran": True,
        "half_run_migration": report.half_run.message if report.half_run else None,
        "created": backup_json(report.created) if report.created else None,
        "newest": backup_json(report.verified.backup),
        "damaged": backup_json(report.damaged) if report.damaged else None,
        "warnings": list(report.verified.warnings),
        "remarks": list(report.verified.warnings),  # its old name
        "pruned": _prune_json(report.pruned) if report.pruned else None,
        "prune_error": report.prune_error.message if report.prune_error else None,
    }


def _summary(report: AutoReport) -> str:
    newest = report.verified.backup
    parts = [
        f"created {newest.filename} ({newest.size_display})"
        if report.created
        else f"nothing has changed since {newest.filename}"
    ]
    parts.append("verified")
    if report.damaged:
        parts.append(f"{report.damaged.filename} is DAMAGED")
    if report.half_run:
        parts.append("a migration was INTERRUPTED: nothing removed")
    elif report.prune_error:
        parts.append("old backups COULD NOT be removed")
    elif report.pruned is None:
        parts.append("no retention policy: nothing removed")
    else:
        parts.append(f"removed {len(report.pruned.removed)}, kept {len(report.pruned.kept)}")
    return f"auto: {', '.join(parts)}"


def status(
    session: Session,
    warning_age: Annotated[
        str,
        typer.Option(
            "--warning-age",
            metavar="PERIOD",
            help="Warn when the newest backup is older than this.",
        ),
    ] = "26h",
    critical_age: Annotated[
        str,
        typer.Option(
            "--critical-age", metavar="PERIOD", help="Critical when it is older than this."
        ),
    ] = "50h",
    warning_free: Annotated[
        float,
        typer.Option(
            "--warning-free",
            metavar="TIMES",
            help="Warn when the free space is less than the database's size times this.",
        ),
    ] = 3.0,
    critical_free: Annotated[
        float,
        typer.Option(
            "--critical-free",
            metavar="TIMES",
            help="Critical when the free space is less than this many times.",
        ),
    ] = 1.0,
) -> dict[str, Any]:
    """Report the state to monitoring: exit code 0 for OK, 1 for a warning, 2 for critical."""
    thresholds = Thresholds(
        warning_age=_length(warning_age),
        critical_age=_length(critical_age),
        warning_free=_not_negative("--warning-free", warning_free),
        critical_free=_not_negative("--critical-free", critical_free),
    )
    if thresholds.warning_age > thresholds.critical_age:
        raise OptionError(
            f"--warning-age ({warning_age}) is greater than --critical-age ({critical_age}).",
            hint="Give both, the warning age being the smaller one.",
        )
    report = _examine(session, thresholds)
    session.exit_code = int(report.state)
    if session.talks:
        _print_health(report, thresholds)
    return {
        "state": report.state.name,
        "checks": [
            {"name": check.name, "state": check.state.name, "message": check.message}
            for check in report.checks
        ],
        "numbers": report.numbers,
    }


def _examine(session: Session, thresholds: Thresholds) -> HealthReport:
    """Look; what keeps us from looking is critical as well, and no exit code of its own."""
    try:
        return check_health(session.manager, thresholds)
    except BackupError as error:
        check = HealthCheck(name="error", state=State.CRITICAL, message=str(error))
        return HealthReport(checks=(check,))


def _print_health(report: HealthReport, thresholds: Thresholds) -> None:
    """Print one line for the monitor, in the form of Nagios plugins, and then every check."""
    worst = [check for check in report.checks if check.state is report.state]
    first = worst if report.state else report.checks[:1]
    line = f"SOULSENSE_DB {report.state.name}"
    line += " - " + "; ".join(f"{check.name}: {check.message}" for check in first)
    if not sys.stdout.isatty():  # what a monitor draws, and a person need not see
        drawn = _performance(report, thresholds)
        line = line.replace("|", " ") + (f" | {drawn}" if drawn else "")
    say(line)
    rows = [(check.state.name, check.name, check.message) for check in report.checks]
    print_table(("", "", ""), rows, fold=True)


def _performance(report: HealthReport, thresholds: Thresholds) -> str:
    warning = int(thresholds.warning_age.total_seconds())
    critical = int(thresholds.critical_age.total_seconds())
    labels = {
        "backups": ("backups", ""),
        "newest_age_seconds": ("age", f"s;{warning};{critical}"),
        "free_bytes": ("free", "B"),
    }
    return " ".join(
        f"{label}={number:.0f}{unit}"
        for name, (label, unit) in labels.items()
        if (number := report.numbers.get(name)) is not None
    )


def _length(text: str) -> timedelta:
    """Return how long the period ``text`` is, ending now."""
    now = datetime.now()
    start = Period.parse(text).before(now)
    return timedelta.max if start is None else now - start


def _not_negative(flag: str, number: float) -> float:
    if not number >= 0:
        raise OptionError(f"{flag} is {number:g}.", hint="Give 0 or more.")
    return number
