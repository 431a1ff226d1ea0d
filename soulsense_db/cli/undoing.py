"""The command that takes the last restore back."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from soulsense_db.backup_info import BackupInfo
from soulsense_db.cli.comparison_text import tables_of
from soulsense_db.cli.output import age_of, backup_json, warn
from soulsense_db.cli.restore_text import (
    comparison_json,
    interrupted_migration,
    preview,
    reported,
    warn_of_alarm,
    warn_of_half_run,
    warn_of_way,
)
from soulsense_db.cli.session import Session
from soulsense_db.drivers import DatabaseDiff
from soulsense_db.errors import BackupError, NotConfirmedError, NothingToUndoError
from soulsense_db.notices import ignoring
from soulsense_db.sidecars import FAILED_MIGRATION, newest_safety_backup


def undo(
    session: Session,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show what would be done, and stop."),
    ] = False,
) -> dict[str, Any]:
    """Undo the last restore. A second undo redoes the restore."""
    info = session.manager.safety_backup()
    if info is None:
        raise NothingToUndoError("There is no restore to undo.", hint=_instead_of_undo(session))
    session.manager.live.require_server_of(info)
    database = session.manager.live.name
    comparison = preview(session, info)
    _say_what_it_undoes(session, info, comparison)
    warn_of_way(session)
    warn_of_half_run(info)
    warn_of_alarm(session, info)
    if dry_run:
        for problem in session.manager.can_restore().problems:
            raise problem
        session.say("Nothing was changed: this was a dry run.")
        found = comparison_json(comparison)
        return {"backup": backup_json(info), "dry_run": True, "comparison": found}
    session.confirm(f"Replace {database} with this safety backup?")
    with session.progress("Restoring") as progress, session.manager.exclusive() as lock:
        if session.manager.safety_backup() != info:  # the question may have stood there for hours
            raise NotConfirmedError(
                "Another restore has changed the safety backup since it was shown.",
                hint="Run the command again.",
            )
        interrupted = interrupted_migration(session)
        report = lock.undo(progress=progress)
    return reported(session, report, comparison, then="redo", interrupted=interrupted)


def _instead_of_undo(session: Session) -> str:
    """Say what to do where nothing can be undone."""
    latest = None
    with ignoring(BackupError, what="Which backups there are is not known"):
        latest = next(iter(session.manager.candidates()), None)
    if latest is None:
        return "Only a restore can be undone, and there is no backup to restore."
    return (
        f"Only a restore can be undone. To go back to the newest backup, taken "
        f"{latest.timestamp_display}: {session.command('restore', 'latest')}   "
        f"To see the others: {session.command('list')}"
    )


def _say_what_it_undoes(session: Session, info: BackupInfo, found: DatabaseDiff | None) -> None:
    """Say what an undo goes back to, and what that does to the rows that there are now."""
    # Of a server's database, another machine may have restored something since.
    where = "" if session.manager.live.path else " from this backup directory"
    session.say(
        f"This goes back to the database as of {info.timestamp_display} "
        f"({age_of(info.created_at)} ago), before the last restore{where}."
    )
    if found is not None and not found.identical:
        lost = sum(table.lost for table in tables_of(found))
        changed = sum(table.changed or 0 for table in tables_of(found))
        gained = sum(table.gained for table in tables_of(found))
        counts = {"are removed": lost, "change back": changed, "come back": gained}
        what = ", ".join(f"{count:,} row(s) {did}" for did, count in counts.items() if count)
        if others := [table.table for table in tables_of(found) if table.changed is None]:
            session.say(
                f"Other columns then: {', '.join(others)}. Columns that were added since are "
                "removed, with their values."
            )
        session.say(
            f"{what}{'. ' * bool(what)}The new safety backup contains the database as it is now."
        )
    place = session.manager.live.marker_place
    failed = newest_safety_backup(place, name=FAILED_MIGRATION) if place else None
    if failed is not None and failed.created_at > info.created_at:
        warn(
            f"After that restore, a migration failed and was put back on "
            f"{failed.timestamp_display}. This undoes the restore, not the migration: it goes back "
            f"{age_of(info.created_at)}."
        )
