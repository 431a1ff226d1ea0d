"""Commands that replace the database: restore, undo."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Any, Literal

import typer

from soulsense_db.backup_info import BackupInfo
from soulsense_db.cli import commands
from soulsense_db.cli.choosing import chosen, fetched, require_terminal
from soulsense_db.cli.comparison_text import print_changes, show_comparison, tables_of
from soulsense_db.cli.dry_run import require_possible
from soulsense_db.cli.grammar import EVERYDAY
from soulsense_db.cli.mirror_options import MirrorSource
from soulsense_db.cli.output import age_of, backup_json, print_table, shown_description, warn
from soulsense_db.cli.restoring_rows import restore_rows
from soulsense_db.cli.row_options import NO_ROWS, GivenRows, row_options
from soulsense_db.cli.session import RefOrChoice, Session
from soulsense_db.cli.upgrading import (
    NO_UPGRADE,
    GivenUpgrade,
    new_columns_sentence,
    upgrade_json,
    upgrade_of,
    upgrade_options,
    upgraded_sentence,
)
from soulsense_db.drivers import DatabaseDiff
from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    DatabaseDamagedError,
    DatabaseFileNotFoundError,
    InvalidBackupError,
    NotConfirmedError,
    NothingToUndoError,
    WrongDatabaseError,
)
from soulsense_db.fs import require_trusted_directory
from soulsense_db.notices import ignoring
from soulsense_db.operations import RestoreCheck, RestoreReport, Upgrade, UpgradeReport
from soulsense_db.sidecars import FAILED_MIGRATION, newest_safety_backup

# The other way round, what a table is only in.
_OTHER_SIDE: dict[Literal["backup", "live"] | None, Literal["backup", "live"] | None] = {
    None: None,
    "backup": "live",
    "live": "backup",
}


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    commands.add(
        app,
        restore,
        panel=EVERYDAY,
        example="restore latest",
        rows=row_options,
        migrations=upgrade_options,
    )
    commands.add(app, undo, panel=EVERYDAY, example="undo")


def restore(
    session: Session,
    ref: RefOrChoice = None,
    from_: MirrorSource = None,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept",
            help="Restore nothing: accept the database as an interrupted migration left it.",
        ),
    ] = False,
    trust_directory: Annotated[
        bool,
        typer.Option(
            "--trust-directory",
            help="Restore even from a directory that another user owns or could replace.",
        ),
    ] = False,
    *,
    rows: GivenRows = NO_ROWS,
    migrations: GivenUpgrade = NO_UPGRADE,
) -> dict[str, Any]:
    """Replace the database with a backup. 'undo' brings the previous database back.

    With --table, only chosen rows come back, and all else stays as it is. With --upgrade, an old
    backup is migrated to today's code first.

    With --from, the backup is downloaded from a mirror first; nothing else need be on this machine.
    """
    if accept and (ref is not None or from_ is not None or rows.table is not None):
        raise typer.BadParameter("give either a REF or --accept", param_hint="REF")
    _require_sense(rows, migrations, accept=accept)
    if ref is None and not accept:
        require_terminal(session)
    manager = session.manager
    if accept:
        session.require_database_or_backups(warns=False)
        return _accept(session)
    if not trust_directory:  # before anything is asked
        require_trusted_directory(manager.directory, live=manager.database)
    if from_ is not None:
        info = fetched(session, ref, from_, "Restore", requires_key=True)
    else:
        info = chosen(session, ref, "Restore", warns=False)  # the preview tells of a missing one
    session.prepare_to_read(info)
    upgrade = upgrade_of(session, migrations)
    with session.progress("Verifying") as progress:  # a damaged one is nothing to ask about
        manager.verify(info, progress=progress)
    if rows.table is not None:
        _say_which(session, info)
        _warn_of_half_run(info, "its rows may be half migrated")
        return restore_rows(session, info, rows, trust_directory=trust_directory)
    comparison, tried = _show(session, info, upgrade, dry_run=rows.dry_run)
    if rows.dry_run:
        if upgrade is None:  # else a copy was migrated, and tried with all that
            require_possible(session, info, trust_directory=trust_directory)
        session.say("Nothing was changed: this was a dry run.")
        return {
            "backup": backup_json(info),
            "dry_run": True,
            "comparison": _comparison_json(comparison),
            "upgrade": upgrade_json(tried),
        }
    which = "this backup of unknown origin" if info.of_unknown_origin else "this backup"
    which += ", migrated" * (upgrade is not None)
    session.confirm(f"Replace {manager.live.name} with {which}?")
    with session.progress("Restoring") as progress:
        report = manager.restore(
            info, upgrade=upgrade, progress=progress, trust_directory=trust_directory
        )
    if report.upgrade is not None and not _is_as_tried(report.upgrade, tried):
        session.say(upgraded_sentence(report.upgrade))
    result = _reported(session, report, comparison, then="undo")
    if report.upgrade is not None and comparison is None:
        _say_what_changed(session, report.upgrade)
    return {**result, "upgrade": upgrade_json(report.upgrade)}


def _show(
    session: Session, info: BackupInfo, upgrade: Upgrade | None, *, dry_run: bool
) -> tuple[DatabaseDiff | None, UpgradeReport | None]:
    """Say what a restore of ``info`` means; return what it changes, and what migrations did."""
    comparison, tried = None, None
    if upgrade is None:
        comparison = _preview(session, info)
    elif (check := _try_upgrade(session, info, upgrade, dry_run=dry_run)) is not None:
        comparison, tried = check.comparison, check.upgrade
    with ignoring(BackupError, what="How it would be restored cannot be told"):
        if unusual := session.manager.live.way_of_restore():
            warn(unusual)
    try:
        session.manager.live.require_server_of(info)
    except WrongDatabaseError as error:  # that one may be lost, and this the new one
        warn(error.what)
    _warn_of_half_run(info)
    if info.drill_result == "failed":
        warn(f"{info.filename} failed its last drill: see {session.command('show', info.filename)}")
    if info.of_unknown_origin:
        _show_tables(session, info)
    return comparison, tried


def _say_what_changed(session: Session, upgrade: UpgradeReport) -> None:
    """Say what a restore did that showed nothing before, by the safety backup that it made."""
    found = None
    with (
        ignoring(BackupError, what="What was restored could not be compared"),
        suppress(KeyboardInterrupt),  # all is done and said
    ):
        before = session.manager.safety_backup() if session.talks else None
        if before is not None:
            with session.progress("Comparing"):
                found = session.manager.compare(before)
    if found is None:
        return
    # The other way round: what is only in the safety backup is gone from the database.
    tables = [
        replace(one, gained=one.lost, lost=one.gained, only_in=_OTHER_SIDE[one.only_in])
        for one in tables_of(found)
    ]
    if not tables:
        session.say("The rows are the same as in the previous database.")
        return
    session.say("What changed in the database:")
    print_changes(tables)
    if sentence := new_columns_sentence(upgrade, [table.table for table in tables]):
        session.say(sentence)


def _is_as_tried(done: UpgradeReport, tried: UpgradeReport | None) -> bool:
    """Whether the migrations did what was shown before the question."""
    facts = (done.steps, done.alembic_heads, done.fewer_rows)
    return tried is not None and facts == (tried.steps, tried.alembic_heads, tried.fewer_rows)


def _try_upgrade(
    session: Session, info: BackupInfo, upgrade: Upgrade, *, dry_run: bool
) -> RestoreCheck | None:
    """Migrate a copy that is thrown away, and say what that means; raise what is in the way.

    Where nobody is asked, the migrations run once only, for the restore itself: None.
    """
    if not dry_run:  # before the migrations run
        session.require_answer()
    _say_which(session, info)
    if session.yes and not dry_run:
        return None
    with session.progress("Migrating a copy") as progress:
        check = session.manager.can_restore(info, upgrade=upgrade, progress=progress)
    for problem in check.problems:
        raise problem
    if check.upgrade is not None:
        session.say(f"  upgrade   {upgraded_sentence(check.upgrade, would=True)}")
        if check.comparison is not None:
            show_comparison(session, check.upgrade.alembic_heads, check.comparison)
            tables = [table.table for table in check.comparison.tables]
            if sentence := new_columns_sentence(check.upgrade, tables):
                session.say(f"  columns   {sentence}")
        else:
            session.say("  rows      could not be compared with the database")
        for warning in check.upgrade.warnings:
            warn(warning)
    return check


def _require_sense(rows: GivenRows, migrations: GivenUpgrade, *, accept: bool) -> None:
    """Raise a usage error for options that say nothing together."""
    if accept and rows.dry_run:
        raise typer.BadParameter("--accept asks before it does anything", param_hint="--dry-run")
    if migrations.wanted and (accept or rows.table is not None):
        raise typer.BadParameter("it is for a whole backup", param_hint="--upgrade")


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
    comparison = _preview(session, info)
    _say_what_it_undoes(session, info, comparison)
    _warn_of_half_run(info)
    if dry_run:
        session.say("Nothing was changed: this was a dry run.")
        found = _comparison_json(comparison)
        return {"backup": backup_json(info), "dry_run": True, "comparison": found}
    session.confirm(f"Replace {database} with this safety backup?")
    with session.progress("Restoring") as progress, session.manager.exclusive() as lock:
        if session.manager.safety_backup() != info:  # the question may have stood there for hours
            raise NotConfirmedError(
                "Another restore has changed the safety backup since it was shown.",
                hint="Run the command again.",
            )
        report = lock.undo(progress=progress)
    return _reported(session, report, comparison, then="redo")


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


def _warn_of_half_run(
    info: BackupInfo, meaning: str = "it is half migrated, and the database will be, too"
) -> None:
    if info.half_run:
        warn(f"{info.filename} was taken before a migration had finished: {meaning}.")


def _say_what_it_undoes(session: Session, info: BackupInfo, found: DatabaseDiff | None) -> None:
    """Say what an undo goes back to, and what that does to the rows that there are now."""
    session.say(
        f"This goes back to the database as of {info.timestamp_display} "
        f"({age_of(info.created_at)} ago), before the last restore."
    )
    if found is not None and not found.identical:
        lost = sum(table.lost for table in tables_of(found))
        changed = sum(table.changed or 0 for table in tables_of(found))
        gained = sum(table.gained for table in tables_of(found))
        counts = {"are removed": lost, "change back": changed, "come back": gained}
        what = ", ".join(f"{count:,} row(s) {did}" for did, count in counts.items() if count)
        if others := [table.table for table in tables_of(found) if table.changed is None]:
            session.say(
                f"Tables that had other columns then: {', '.join(others)}. What is in columns that "
                "were added since goes, in all rows."
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


def _accept(session: Session) -> dict[str, Any]:
    manager = session.manager
    database = manager.live.name
    session.confirm(f"Accept {database} as it is? It may be half migrated.")
    accepted = manager.alarm.accept()
    if accepted:
        session.say(f"{manager.live.name} stays as it is; migrations can run again.")
    else:
        session.say(f"No migration of {manager.live.name} was interrupted: nothing to accept.")
    return {"accepted": accepted}


def _preview(session: Session, info: BackupInfo) -> DatabaseDiff | None:
    """Say what a restore of ``info`` means, and return it; None where nothing can be compared."""
    _say_which(session, info)
    try:
        with session.progress("Comparing"):
            found = session.manager.compare(info)
    except (DatabaseFileNotFoundError, DatabaseDamagedError) as error:
        session.say(f"  database  {error.what}")
        if isinstance(error, DatabaseDamagedError):
            session.say("            The damaged files are moved aside, not deleted.")
        return None
    except (BackupNotFoundError, InvalidBackupError):
        raise
    except BackupError as error:  # whether a restore is possible, it finds out by itself
        session.say(f"  rows      could not be compared: {error.what}")
        return None
    show_comparison(session, info.alembic_heads, found)
    return found


def _say_which(session: Session, info: BackupInfo) -> None:
    session.say(info.filename)
    if description := shown_description(session.with_description(info)):
        session.say(f"  for       {description}")
    session.say(f"  taken     {info.timestamp_display} ({age_of(info.created_at)} ago)")


def _show_tables(session: Session, info: BackupInfo) -> None:
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


def _reported(
    session: Session, report: RestoreReport, found: DatabaseDiff | None, *, then: str
) -> dict[str, Any]:
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
    half_run = None
    # Something else may be in the place of the marker: it is restored all the same.
    with ignoring(BackupError, what="Whether a migration died is not known"):
        half_run = session.manager.alarm.error()
    if half_run is not None:
        warn(f"Migrations are still refused. {half_run.message} {half_run.hint}")
    return {
        "backup": backup_json(source),
        "comparison": _comparison_json(found),
        "safety_backup": report.safety_backup,
        "moved_aside": list(report.moved_aside),
        "verified": report.verified,
        "read_back": report.verified,  # its old name
        "catalog_rebuilt": report.catalog_rebuilt,
        "warnings": list(report.warnings),
        "remarks": list(report.warnings),  # its old name
        "duration_seconds": report.duration_seconds,
    }


def _comparison_json(found: DatabaseDiff | None) -> dict[str, Any] | None:
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
