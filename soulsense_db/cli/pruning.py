"""The command prune: remove what a retention policy does not keep, once a person has agreed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from soulsense_db.backup_info import KINDS, display_size
from soulsense_db.cli import session as shared
from soulsense_db.cli.output import SHORT_ID, backup_json, print_table
from soulsense_db.cli.policy_options import chosen_policy, options_of
from soulsense_db.cli.session import Session
from soulsense_db.errors import NotConfirmedError, OptionError
from soulsense_db.retention import PruneDecision, PruneReport, RetentionPolicy

_ALL_KINDS = "all"
# With it a prune removes what killed processes left, and no backup that came since the question.
_KEEP_ALL = RetentionPolicy(keep_last=-1)


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
    chosen = chosen_policy(session, policy)
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
        if not dry_run:
            manager.prune(_KEEP_ALL)
        session.say("Nothing to remove.")
    else:
        session.say(f"Would remove {len(report.removed)}, keep {len(report.kept)}.")
    return {"dry_run": dry_run, "policy": str(chosen), **prune_json(report)}


def _by_kind(report: PruneReport) -> str:
    counts: Counter[str] = Counter(decision.backup.kind for decision in report.removed)
    return ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind])


def _lines_without_question(
    session: Session, policy: RetentionPolicy | None, named: Sequence[str]
) -> str:
    """Say how to write the command for a script, which had better say of which kinds it means."""
    rules = options_of(policy) if policy else ()

    def line(kinds: Sequence[str]) -> str:
        words = (word for kind in kinds for word in ("--kind", kind))
        return session.command("prune", *words, *rules, "--yes")

    if named:
        return f"To remove them without a question: {line(named)}"
    return (
        f"To remove only what schedules created: {line(['automatic'])}   "
        "To remove all that is listed, also backups created by hand and imported ones: "
        f"{line([_ALL_KINDS])}"
    )


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


def prune_json(report: PruneReport) -> dict[str, Any]:
    """Return what ``--json`` has of a prune."""

    def decisions(of: Sequence[PruneDecision]) -> list[dict[str, Any]]:
        return [{"backup": backup_json(d.backup), "reasons": list(d.reasons)} for d in of]

    return {"kept": decisions(report.kept), "removed": decisions(report.removed)}
