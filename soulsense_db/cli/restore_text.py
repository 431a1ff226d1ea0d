"""What the commands that replace the database show before it, and tell after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from soulsense_db.backup_info import BackupInfo
from soulsense_db.cli.comparison_text import show_comparison
from soulsense_db.cli.output import age_of, backup_json, print_table, shown_description, warn
from soulsense_db.cli.session import Session
from soulsense_db.drivers import DatabaseDiff
from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    DatabaseDamagedError,
    DatabaseFileNotFoundError,
    InvalidBackupError,
    UntrustedDirectoryError,
)
from soulsense_db.notices import ignoring
from soulsense_db.operations import RestoreReport
from soulsense_db.sidecars import MigrationMarker, is_its_backup


def preview(session: Session, info: BackupInfo) -> DatabaseDiff | None:
    """Say what a restore of ``info`` means, and return it; None where nothing can be compared.

    Nor is it compared for nobody: that takes longer than a restore.
    """
    if session.quiet and not session.as_json:
        return None
    say_which(session, info)
    try:
        with session.progress("Comparing"):
            found = session.manager.compare(info)
    except (DatabaseFileNotFoundError, DatabaseDamagedError) as error:
        session.say(f"  database  {error.what}")
        if isinstance(error, DatabaseDamagedError):
            session.say("            The damaged files are moved aside, not deleted.")
        elif session.manager.live.path is None:  # a wrong name is easily overlooked
            session.say("            A restore makes it on the server.")
        return None
    except (BackupNotFoundError, InvalidBackupError):
        raise
    except BackupError as error:  # whether a restore is possible, it finds out by itself
        session.say(f"  rows      could not be compared: {error.what}")
        return None
    show_comparison(session, info.alembic_heads, found)
    return found


def say_which(session: Session, info: BackupInfo) -> None:
    """Say which backup is meant."""
    session.say(info.filename)
    if description := shown_description(session.with_description(info)):
        session.say(f"  for       {description}")
    session.say(f"  taken     {info.timestamp_display} ({age_of(info.created_at)} ago)")


def show_tables(session: Session, info: BackupInfo) -> None:
    """Show what is in a backup of which nothing says that it is one of this database."""
    session.say("  origin    unknown: nothing says that it belongs to this database. It contains:")
    counted = session.manager.row_counts(info)
    if session.talks:
        rows = [
            (
                table.table,
                f"{table.backup:,}" if table.backup is not None else "-",
                f"{table.live:,}" if table.live is not None else "-",
            )
            for table in counted
        ]
        print_table(("TABLE", ">IN BACKUP", ">NOW"), rows, indent=12)


def warn_of_way(session: Session) -> None:
    """Warn where the database is replaced in another way than usual."""
    with ignoring(BackupError, what="How it would be restored cannot be told"):
        if unusual := session.manager.live.way_of_restore():
            warn(unusual)


def warn_of_half_run(
    info: BackupInfo, meaning: str = "it is half migrated, and the database will be, too"
) -> None:
    """Warn of a backup that a migration had not finished in."""
    if info.half_run:
        warn(f"{info.filename} was taken before a migration had finished: {meaning}.")


def interrupted_migration(session: Session) -> MigrationMarker | None:
    """Return the marker of a migration that died, None without one that can be read."""
    with ignoring(BackupError, what="Whether a migration died is not known"):
        return session.manager.alarm.marker()
    return None


def warn_of_alarm(session: Session, info: BackupInfo) -> None:
    """Warn before a restore that does not end the alarm of a migration that died."""
    marker = interrupted_migration(session)
    if marker is not None and not info.half_run and not is_its_backup(marker, info):
        before = Path(marker.backup).name if marker.backup else "one of kind pre_migration"
        warn(
            "A migration was interrupted, and this is not the backup from before it "
            f"({before}): migrations may stay refused."
        )


def require_possible(session: Session, info: BackupInfo, *, trust_directory: bool) -> None:
    """Raise the first thing that a restore of ``info`` would raise here and now."""
    with session.progress("Verifying") as progress:
        check = session.manager.can_restore(info, progress=progress)
    for problem in check.problems:
        if not (trust_directory and isinstance(problem, UntrustedDirectoryError)):
            raise problem


def reported(
    session: Session,
    report: RestoreReport,
    found: DatabaseDiff | None,
    *,
    then: str,
    interrupted: MigrationMarker | None,
) -> dict[str, Any]:
    """Say what was done, and how to take it back (``then``); return what ``--json`` has of it.

    ``interrupted``: the migration that had died before.
    """
    database = session.manager.live.name
    source = report.source
    session.say(f"Restored {database} as of {source.timestamp_display}.")
    if report.safety_backup is not None:
        session.say(f"Safety backup of the previous database: {report.safety_backup}")
        session.say(f"To {then} the restore: {session.command('undo')}")
    if not report.verified:
        session.say("Note: It could not be read back. Check it with your application.")
    for warning in report.warnings:
        session.say(f"Note: {warning}")
    for path in report.moved_aside:
        session.say(f"Moved aside: {path}")
    if report.safety_backup is None and session.manager.live.path is not None:
        session.say(
            "The database is a new file. Restart programs that had the old one open, and check"
        )
        session.say("that the application's user can read and write it.")
    # Something else may be in the place of the marker: it is restored all the same.
    with ignoring(BackupError, what="Whether a migration died is not known"):
        half_run = session.manager.alarm.error()
        if half_run is not None:
            warn(f"Migrations are refused now. {half_run.message} {half_run.hint}")
        elif interrupted is not None:
            session.say("The interrupted migration is undone: migrations may run again.")
    return {
        "backup": backup_json(source),
        "comparison": comparison_json(found),
        "safety_backup": report.safety_backup,
        "moved_aside": list(report.moved_aside),
        "verified": report.verified,
        "read_back": report.verified,  # its old name
        "catalog_rebuilt": report.catalog_rebuilt,
        "warnings": list(report.warnings),
        "remarks": list(report.warnings),  # its old name
        "duration_seconds": report.duration_seconds,
    }


def comparison_json(found: DatabaseDiff | None) -> dict[str, Any] | None:
    """Return what ``--json`` has of a comparison."""
    if found is None:
        return None
    return {
        "identical": found.identical,
        "same_schema": found.same_schema,
        "alembic_heads": list(found.alembic_heads),
        "tables": [
            {
                "table": t.table,
                "gained": t.gained,
                "lost": t.lost,
                "changed": t.changed,
                "newer": t.newer,
            }
            for t in found.tables
        ],
    }
