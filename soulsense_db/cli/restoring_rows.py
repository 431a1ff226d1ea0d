"""Bring chosen rows of a backup back: what ``restore --table`` shows, asks and does."""

from __future__ import annotations

from typing import Any

from soulsense_db.backup_info import BackupInfo
from soulsense_db.cli.output import backup_json, print_table
from soulsense_db.cli.row_options import GivenRows, TriggerChoice
from soulsense_db.cli.session import Session
from soulsense_db.drivers import RowSample, RowsPlan
from soulsense_db.operations import RowsReport

_SAMPLES = 5
_MOST_COLUMNS = 6
_INDENT = " " * 12


def restore_rows(
    session: Session, info: BackupInfo, rows: GivenRows, *, trust_directory: bool
) -> dict[str, Any]:
    """Show what would come back of ``info``, ask, and bring it back."""
    assert rows.table is not None
    manager = session.manager
    database = manager.live.name
    with session.progress("Looking for the rows") as progress:
        plan = manager.preview_rows(
            info, rows.table, **rows.options, samples=_SAMPLES, progress=progress
        )
    _show_revisions(session, info)
    _show(session, plan, rows)
    if plan.problem is not None:
        raise plan.problem
    if not plan.writes:
        session.say(_nothing_to_do(plan))
        return _json(info, plan, None, rows)
    if rows.dry_run:
        session.say("Nothing was changed: this was a dry run.")
        return _json(info, plan, None, rows)
    which = "this backup of unknown origin" if info.of_unknown_origin else "this backup"
    session.confirm(f"Bring {_counted(plan)} of {which} back into {database}?")
    with session.progress("Restoring") as progress:
        report = manager.restore_rows(
            info,
            rows.table,
            **rows.options,
            expected=plan,
            progress=progress,
            trust_directory=trust_directory,
        )
    _say_done(session, report)
    return _json(report.source, report.plan, report, rows)


def _show_revisions(session: Session, info: BackupInfo) -> None:
    """Say where the tables may have changed since; for all else the preview speaks."""
    now = session.manager.live.alembic_heads()
    if info.alembic_heads and now and info.alembic_heads != now:
        then = ", ".join(info.alembic_heads)
        session.say(f"  revision  {then}; the database is at {', '.join(now)}")


def _show(session: Session, plan: RowsPlan, rows: GivenRows) -> None:
    if session.talks:
        session.say("  rows      what comes back:")
        print_table(
            ("TABLE", ">INSERTED", ">REPLACED", ">ALREADY THERE", ">DIFFERENT"),
            [
                (t.table, f"{t.inserted:,}", f"{t.replaced:,}", f"{t.same:,}", f"{t.kept:,}")
                for t in plan.tables
            ],
            indent=len(_INDENT),
        )
        for sample in plan.samples:
            session.say(f"{_INDENT}{_line_of(sample)}")
        if plan.samples and plan.writes > len(plan.samples):
            session.say(f"{_INDENT}and {plan.writes - len(plan.samples):,} more")
    if any(t.kept for t in plan.tables) and not rows.replace:
        session.say(
            "  different rows have other values in the database now, and stay as they are. To "
            "overwrite them: --replace"
        )
    if names := [name for t in plan.tables if t.inserted + t.replaced for name in t.triggers]:
        session.say(f"  triggers  {_of_triggers(', '.join(names), rows)}")
    for parent in plan.missing_parents:
        session.say(f"  missing   {parent}")
    for child in plan.missing_children:
        session.say(
            f"  children  {child.rows:,} row(s) of {child.table} refer to these rows of "
            f"{child.parent}, and are only in the backup. To bring them back too: --with-children"
        )
    for note in plan.notes:
        session.say(f"  note      {note}")


def _of_triggers(names: str, rows: GivenRows) -> str:
    if rows.triggers is TriggerChoice.run:
        return f"{names}: they run, and may change what is written"
    return (
        f"{names}: not run, so that what they keep up to date, such as a full-text index, is not. "
        "To run them: --triggers run"
    )


def _line_of(sample: RowSample) -> str:
    """Return one row: ``+`` for one that is inserted, ``~`` with what changes for another."""
    key = " ".join(f"{name} {value}" for name, value in sample.key)
    keyed = {name for name, _ in sample.key}
    before = dict(sample.before)
    values = [
        f"{name} {before[name]} becomes {value}" if name in before else f"{name} {value}"
        for name, value in sample.values
        if name not in keyed or name in before
    ]
    more = len(values) - _MOST_COLUMNS
    values = [*values[:_MOST_COLUMNS], *([f"{more} more column(s)"] if more > 0 else [])]
    mark = "~" if sample.action == "replace" else "+"
    head = f"{mark} {sample.table} {key}".rstrip()
    return f"{head}: {', '.join(values)}" if values else head


def _counted(plan: RowsPlan) -> str:
    return f"{plan.writes:,} row{'s' if plan.writes != 1 else ''}"


def _nothing_to_do(plan: RowsPlan) -> str:
    if any(t.kept for t in plan.tables):
        return "Nothing to bring back: all of these rows are there, some with other values."
    return "Nothing to bring back: all of these rows are there, just as they are in the backup."


def _say_done(session: Session, report: RowsReport) -> None:
    database = session.manager.live.name
    session.say(
        f"Brought back into {database}: {report.inserted:,} row(s) inserted, "
        f"{report.replaced:,} replaced."
    )
    session.say(f"Safety backup of the previous database: {report.safety_backup}")
    session.say(f"To undo it: {session.command('undo')}")
    for warning in report.warnings:
        session.say(f"Note: {warning}")


def _json(
    info: BackupInfo, plan: RowsPlan, report: RowsReport | None, rows: GivenRows
) -> dict[str, Any]:
    return {
        "backup": backup_json(info),
        "dry_run": rows.dry_run,
        "tables": [
            {
                "table": t.table,
                "role": t.role,
                "inserted": t.inserted,
                "replaced": t.replaced,
                "same": t.same,
                "kept": t.kept,
                "triggers": list(t.triggers),
            }
            for t in plan.tables
        ],
        "missing_parents": [
            {
                "table": one.table,
                "columns": list(one.columns),
                "parent": one.parent,
                "key": dict(one.key),
                "rows": one.rows,
            }
            for one in plan.missing_parents
        ],
        "missing_children": [
            {"table": one.table, "parent": one.parent, "rows": one.rows}
            for one in plan.missing_children
        ],
        "notes": list(plan.notes),
        "safety_backup": report.safety_backup if report else None,
        "duration_seconds": report.duration_seconds if report else None,
        "warnings": list(report.warnings) if report else [],
    }
