"""Commands for a machine that looks after itself: prune, auto, status."""

from __future__ import annotations

import re
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from soulsense_db.cli import commands
from soulsense_db.cli.drills import UpgradeToo, drill_checks, drill_upgrade
from soulsense_db.cli.grammar import KEEPING, UNATTENDED
from soulsense_db.cli.mirror_output import check_json, sync_json, synced
from soulsense_db.cli.notify import Note, NotifyUrls, notifying
from soulsense_db.cli.output import backup_json, error_json, print_error, print_table, say
from soulsense_db.cli.ping import PingUrl, pinging
from soulsense_db.cli.policy_options import chosen_policy, mirror_policy_options, policy_options
from soulsense_db.cli.pruning import prune, prune_json
from soulsense_db.cli.session import Session
from soulsense_db.errors import BackupError, OptionError, Remedy
from soulsense_db.health import HealthCheck, HealthReport, State, Thresholds, check_health
from soulsense_db.notices import ignoring
from soulsense_db.retention import Period, RetentionPolicy
from soulsense_db.scheduled import AutoReport, MirrorDrill, drill_mirrors, run_auto

_TO_STDOUT = "-"
_SHORT = re.compile(r"(\d{1,9})(s|min)", re.ASCII)
_UNITS = {"s": "seconds", "min": "minutes"}


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    example = "prune --keep-daily 7 --dry-run"
    commands.add(app, prune, panel=KEEPING, example=example, policy=policy_options)
    commands.add(
        app,
        auto,
        panel=UNATTENDED,
        example="auto --keep-daily 7",
        policy=policy_options,
        mirror_policy=mirror_policy_options,
    )
    example = "status --warning-age 26h"
    commands.add(app, status, panel=UNATTENDED, example=example, thresholds=_thresholds)


def auto(  # noqa: PLR0917 - Typer gives them by name
    session: Session,
    policy: RetentionPolicy | None,
    mirror_policy: RetentionPolicy | None,
    drill: Annotated[
        bool,
        typer.Option(
            "--drill/--no-drill",
            help="Restore some backups to a scratch folder, or to a scratch database of the "
            "server, each day, so that all are within 30 days, those at the mirrors too.",
        ),
    ] = False,
    upgrade: UpgradeToo = False,
    ping: PingUrl = None,
    notify: NotifyUrls = None,
) -> dict[str, Any]:
    """Do what a schedule needs: back up if the database has changed, verify, prune, mirror.

    Only automatic backups are removed, never those created by hand, imported or taken before a
    migration. Without a policy, nothing is removed. You can run it as often as you like: if runs
    overlap, only the first one does the work.
    """
    session.keep_at_mirrors(mirror_policy)
    with pinging(ping, session), notifying(notify, "auto", session) as note:
        return _auto(session, policy, note, drills=drill, upgrades=upgrade)


def _auto(
    session: Session, policy: RetentionPolicy | None, note: Note, *, drills: bool, upgrades: bool
) -> dict[str, Any]:
    chosen = chosen_policy(session, policy)
    checks = drill_checks(session) if drills else []
    upgrade = drill_upgrade(session, wanted=upgrades) if drills else None
    session.prepare_new()
    with session.progress("Backing up") as progress:
        report = run_auto(
            session.manager,
            chosen,
            progress=progress,
            mirrors=False,
            drill=drills,
            drill_checks=checks,
            drill_upgrade=upgrade,
        )
    if report is None:
        session.say("auto: another run is in progress; nothing was done")
        return {"ran": False}
    session.say(_summary(report))
    if drills and not (report.drilled or report.drill_errors):
        session.say("auto: no drill was due")
    for decision in report.pruned.removed if report.pruned else ():
        session.say(f"auto: removed {decision.backup.filename}")
    if report.damaged:
        damage = f"{report.damaged.filename} is damaged; another backup was created."
        note(damage)
        if not session.as_json:  # also with --quiet: cron mails what is printed
            say(damage, to=sys.stderr)
    for error in (report.half_run, report.prune_error):
        if error is not None:
            note(error.message)
            if not session.as_json:
                print_error(error)
            session.exit_code = error.exit_code
    for info, failure in report.drill_errors:
        _tell_failed_drill(session, note, info.filename, failure)
    reports = synced(session, if_not_paused=True)
    there = list(drill_mirrors(session.manager, reports, checks, upgrade)) if drills else []
    for one in there:
        _tell_mirror_drill(session, note, one)
    return {
        "ran": True,
        "half_run_migration": report.half_run.message if report.half_run else None,
        "created": backup_json(report.created) if report.created else None,
        "newest": backup_json(report.verified.backup),
        "damaged": backup_json(report.damaged) if report.damaged else None,
        "warnings": list(report.verified.warnings),
        "remarks": list(report.verified.warnings),  # its old name
        "pruned": prune_json(report.pruned) if report.pruned else None,
        "prune_error": report.prune_error.message if report.prune_error else None,
        "mirrors": list(map(sync_json, reports)),
        "drilled": [backup_json(passed.backup) for passed in report.drilled],
        "drill_errors": [
            {"name": info.filename, "error": error_json(error)}
            for info, error in report.drill_errors
        ],
        "mirror_drills": list(map(_mirror_drill_json, there)),
    }


def _tell_failed_drill(session: Session, note: Note, name: str, error: BackupError) -> None:
    """Tell of one, with --quiet as well: cron mails what is printed."""
    note(f"The drill of {name} failed: {error.message}")
    if not session.as_json:
        print_error(error)
    session.exit_code = session.exit_code or error.exit_code


def _tell_mirror_drill(session: Session, note: Note, found: MirrorDrill) -> None:
    if found.error is not None:
        _tell_failed_drill(session, note, f"backups at {found.address}", found.error)
    if found.check is None:
        return
    if found.check.verified:
        session.say(f"{found.address}: drilled {len(found.check.verified)}")
    for name, error in found.check.damaged:
        _tell_failed_drill(session, note, f"{found.address}/{found.check.folder}/{name}", error)


def _mirror_drill_json(found: MirrorDrill) -> dict[str, Any]:
    return {
        "address": found.address,
        "check": check_json(found.check) if found.check else None,
        "error": error_json(found.error) if found.error else None,
    }


def _summary(report: AutoReport) -> str:
    newest = report.verified.backup
    parts = [
        f"created {newest.filename} ({newest.size_display})"
        if report.created
        else f"nothing has changed since {newest.filename}"
    ]
    parts.append("verified" if report.verified.level == "full" else "its checksum verified")
    if report.damaged:
        parts.append(f"{report.damaged.filename} is DAMAGED")
    if report.half_run:
        parts.append("a migration was INTERRUPTED: nothing removed")
    elif report.prune_error:
        parts.append("old backups COULD NOT be removed")
    elif report.pruned is None:
        parts.append("no retention policy: nothing removed")
    else:
        removed, kept = len(report.pruned.removed), len(report.pruned.kept)
        parts.append(f"removed {removed} and kept {kept} automatic backup(s)")
    if report.drilled:
        parts.append(f"drilled {len(report.drilled)}")
    if report.drill_errors:
        parts.append(f"{len(report.drill_errors)} drill(s) FAILED")
    return f"auto: {', '.join(parts)}"


def _thresholds(
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
            help="Critical when the free space is less than the database's size times this.",
        ),
    ] = 1.0,
    critical_drill: Annotated[
        str,
        typer.Option(
            "--critical-drill",
            metavar="PERIOD",
            help="Once a backup was drilled, critical when no drill has passed for longer than "
            "this.",
        ),
    ] = "35d",
) -> Thresholds:
    """Declare from when on something is a warning, or critical."""
    thresholds = Thresholds(
        warning_age=_length(warning_age),
        critical_age=_length(critical_age),
        warning_free=_not_negative("--warning-free", warning_free),
        critical_free=_not_negative("--critical-free", critical_free),
        critical_drill=_length(critical_drill),
    )
    if thresholds.warning_age > thresholds.critical_age:
        raise OptionError(
            f"--warning-age ({warning_age}) is greater than --critical-age ({critical_age}).",
            hint="Give both, the warning age being the smaller one.",
        )
    return thresholds


def _length(text: str) -> timedelta:
    """Return how long the period ``text`` is, ending now: one of hours and more, or a short one."""
    if short := _SHORT.fullmatch(text.strip()):
        return timedelta(**{_UNITS[short[2]]: int(short[1])})
    now = datetime.now()
    try:
        start = Period.parse(text).before(now)
    except OptionError as error:
        error.remedy = Remedy(f"{error.hint} Or minutes, or seconds: 90min, 30s.")
        raise
    return timedelta.max if start is None else now - start


def _not_negative(flag: str, number: float) -> float:
    if not number >= 0:
        raise OptionError(f"{flag} is {number:g}.", hint="Give 0 or more.")
    return number


def status(
    session: Session,
    thresholds: Thresholds,
    ping: PingUrl = None,
    notify: NotifyUrls = None,
    prometheus: Annotated[
        str | None,
        typer.Option(
            "--prometheus",
            metavar="FILE",
            help="Write metrics for node_exporter's textfile collector, or to stdout: -",
        ),
    ] = None,
) -> dict[str, Any]:
    """Report the state to monitoring: exit code 0 for OK, 1 for a warning, 2 for critical."""
    if prometheus is not None and not prometheus.strip():
        raise OptionError("--prometheus is empty.", hint="Name a file, or - for stdout.")
    if prometheus == _TO_STDOUT and session.as_json:
        raise OptionError(
            "--prometheus - and --json would both be on stdout.", hint="Name a file for one."
        )
    with pinging(ping, session), notifying(notify, "status", session) as note:
        report = _examine(session, thresholds)
        session.exit_code = int(report.state) or session.exit_code
        if report.state is not State.OK:
            note(_first_line(report))
    if prometheus is not None:
        _tell_prometheus(session, report, prometheus)
    if session.talks and prometheus != _TO_STDOUT:
        _print_health(report, thresholds)
    return {
        "state": report.state.name,
        "checks": [
            {"name": check.name, "state": check.state.name, "message": check.message}
            for check in report.checks
        ],
        "numbers": report.numbers,
    }


def _tell_prometheus(session: Session, report: HealthReport, target: str) -> None:
    from soulsense_db.cli.prometheus import metrics_of, write_metrics

    database = None
    with ignoring(BackupError, what="The metrics do not name the database"):
        database = session.manager.live.name
    text = metrics_of(report, database)
    if target != _TO_STDOUT:
        write_metrics(text, Path(target))
        return
    for line in text.splitlines():
        say(line)


def _examine(session: Session, thresholds: Thresholds) -> HealthReport:
    """Look; what keeps us from looking is critical as well, and no exit code of its own."""
    try:
        return check_health(session.manager, thresholds)
    except BackupError as error:
        check = HealthCheck(name="error", state=State.CRITICAL, message=str(error))
        return HealthReport(checks=(check,))


def _print_health(report: HealthReport, thresholds: Thresholds) -> None:
    """Print one line for the monitor, in the form of Nagios plugins, and then every check."""
    line = _first_line(report)
    if not sys.stdout.isatty():  # what a monitor draws, and a person need not see
        drawn = _performance(report, thresholds)
        line = line.replace("|", " ") + (f" | {drawn}" if drawn else "")
    say(line)
    rows = [(check.state.name, check.name, check.message) for check in report.checks]
    if rows[1:]:  # else the line has said it
        print_table(("", "", ""), rows, fold=True)


def _first_line(report: HealthReport) -> str:
    worst = [check for check in report.checks if check.state is report.state]
    first = worst if report.state else report.checks[:1]
    found = "; ".join(f"{check.name}: {check.message}" for check in first)
    return f"SOULSENSE_DB {report.state.name} - {found}"


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
