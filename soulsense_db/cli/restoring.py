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
from soulsense_db.cli.grammar import EVERYDAY
from soulsense_db.cli.mirror_options import MirrorSource
from soulsense_db.cli.output import backup_json, warn
from soulsense_db.cli.restore_text import (
    comparison_json,
    interrupted_migration,
    preview,
    reported,
    require_possible,
    say_which,
    show_tables,
    warn_of_alarm,
    warn_of_half_run,
    warn_of_way,
)
from soulsense_db.cli.restoring_rows import restore_rows
from soulsense_db.cli.row_options import NO_ROWS, GivenRows, row_options
from soulsense_db.cli.session import RefOrChoice, Session
from soulsense_db.cli.undoing import undo
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
    WrongDatabaseError,
)
from soulsense_db.fs import require_trusted_directory
from soulsense_db.notices import ignoring
from soulsense_db.operations import RestoreCheck, Upgrade, UpgradeReport

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
        say_which(session, info)
        warn_of_half_run(info, "its rows may be half migrated")
        return restore_rows(session, info, rows, trust_directory=trust_directory)
    comparison, tried = _show(session, info, upgrade, dry_run=rows.dry_run)
    if rows.dry_run:
        if upgrade is None:  # else a copy was migrated, and tried with all that
            require_possible(session, info, trust_directory=trust_directory)
        if from_ is not None:
            session.say(f"The backup that was downloaded stays in {manager.directory}.")
        session.say("Nothing was changed: this was a dry run.")
        return {
            "backup": backup_json(info),
            "dry_run": True,
            "comparison": comparison_json(comparison),
            "upgrade": upgrade_json(tried),
        }
    which = "this backup of unknown origin" if info.of_unknown_origin else "this backup"
    which += ", migrated" * (upgrade is not None)
    session.confirm(f"Replace {manager.live.name} with {which}?")
    interrupted = interrupted_migration(session)
    with session.progress("Restoring") as progress:
        report = manager.restore(
            info, upgrade=upgrade, progress=progress, trust_directory=trust_directory
        )
    if report.upgrade is not None and not _is_as_tried(report.upgrade, tried):
        session.say(upgraded_sentence(report.upgrade))
    result = reported(session, report, comparison, then="undo", interrupted=interrupted)
    if report.upgrade is not None and comparison is None:
        _say_what_changed(session, report.upgrade)
    return {**result, "upgrade": upgrade_json(report.upgrade)}


def _show(
    session: Session, info: BackupInfo, upgrade: Upgrade | None, *, dry_run: bool
) -> tuple[DatabaseDiff | None, UpgradeReport | None]:
    """Say what a restore of ``info`` means; return what it changes, and what migrations did."""
    comparison, tried = None, None
    if upgrade is None:
        comparison = preview(session, info)
    elif (check := _try_upgrade(session, info, upgrade, dry_run=dry_run)) is not None:
        comparison, tried = check.comparison, check.upgrade
    warn_of_way(session)
    try:
        session.manager.live.require_server_of(info)
    except WrongDatabaseError as error:  # that one may be lost, and this the new one
        warn(error.what)
    warn_of_half_run(info)
    warn_of_alarm(session, info)
    if info.drill_result == "failed":
        warn(f"{info.filename} failed its last drill: see {session.command('show', info.filename)}")
    if info.of_unknown_origin:
        show_tables(session, info)
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
    say_which(session, info)
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
