"""Commands about single backups: create, list, show, verify, delete, pin."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from soulsense_db.backup_info import KINDS, BackupInfo, bases_for, without_base
from soulsense_db.cli import commands
from soulsense_db.cli import session as shared
from soulsense_db.cli.choosing import chosen
from soulsense_db.cli.drills import UpgradeToo, drill_checks, drill_json, drill_upgrade, told
from soulsense_db.cli.facts import databases_of, facts_of, print_list, size_and_form
from soulsense_db.cli.grammar import EVERYDAY, KEEPING
from soulsense_db.cli.mirror_output import set_exit_code, sync_json, synced
from soulsense_db.cli.moments import MOMENTS_HELP, Span
from soulsense_db.cli.output import backup_json, print_facts, say, warn
from soulsense_db.cli.policy_options import mirror_policy_options
from soulsense_db.cli.session import Description, Ref, RefOrChoice, Session
from soulsense_db.directory import needed_as_base
from soulsense_db.errors import BackupError, NotConfirmedError, ProtectedBackupError
from soulsense_db.notices import ignoring, log_ignored
from soulsense_db.operations import VerificationReport, VerifyLevel, doubts_about
from soulsense_db.retention import RetentionPolicy

_LEVELS: tuple[VerifyLevel, ...] = ("quick", "full", "drill")


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    commands.add(
        app,
        create,
        panel=EVERYDAY,
        example="create 'Before the import'",
        mirror_policy=mirror_policy_options,
    )
    commands.add(app, list_, "list", panel=EVERYDAY, example="list --since yesterday")
    commands.add(app, show, panel=EVERYDAY, example="show latest")
    commands.add(app, verify, panel=EVERYDAY, example="verify latest --level drill")
    commands.add(app, adopt, panel=KEEPING, example="adopt soulsense_backup_20260115_103000.db")
    commands.add(app, delete, panel=KEEPING, example="delete 6c1f0a2b")
    commands.add(app, pin, panel=KEEPING, example="pin latest 'Audit of 2026'")
    commands.add(app, unpin, panel=KEEPING, example="unpin latest")


def create(
    session: Session,
    mirror_policy: RetentionPolicy | None,
    description: Description = "",
    wait_for_mirrors: Annotated[
        bool,
        typer.Option(
            "--wait-for-mirrors/--no-wait-for-mirrors",
            help="Upload it before the command ends; if that fails, so does the command. "
            "Otherwise 'auto' or 'mirror sync' uploads it.",
        ),
    ] = False,
) -> dict[str, Any]:
    """Create a backup. The application may keep running."""
    session.keep_at_mirrors(mirror_policy)
    if wait_for_mirrors:
        session.manager.mirrors.require_any()
    session.prepare_new()
    with session.progress("Backing up") as progress:
        info = session.manager.create(description, progress=progress)
    session.say(f"Created {info.filename}")
    session.say(f"{size_and_form(info)}, id {info.id}, in {Path(info.path).parent}")
    if info.form.is_encrypted and not session.manager.identities:
        session.say("That it can be decrypted was not tried: no private key is given here.")
    if info.half_run:
        _warn_of_half_run(session)
    reports = []
    if session.manager.mirrors.addresses and not wait_for_mirrors:
        session.say("Not uploaded yet: 'auto' or 'mirror sync' does that, or --wait-for-mirrors.")
    if wait_for_mirrors:
        reports = synced(session, deadline=session.manager.mirrors.deadline)
        set_exit_code(session, reports)
    return {"backup": backup_json(info), "mirrors": list(map(sync_json, reports))}


def _warn_of_half_run(session: Session) -> None:
    # The backup is there, whatever keeps the marker from being read.
    with ignoring(BackupError, what="Whether a migration died is not known"):
        alarm = session.manager.alarm
        if error := alarm.error():
            running = "A migration is running: the backup may be of its middle."
            why = running if alarm.is_running() else f"{error.message} {error.hint}"
            warn(f"'latest' does not mean this backup. {why}")


def list_(
    session: Session,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="KIND", help=f"Only this kind: {', '.join(KINDS)}."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="WHEN", help=f"Only backups taken since: {MOMENTS_HELP}."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until", metavar="WHEN", help="Only backups taken until then; a day is included."
        ),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option("--revision", metavar="REV", help="Only backups at this Alembic revision."),
    ] = None,
) -> dict[str, Any]:
    """List the backups, newest first; with --quiet, only their ids.

    SIZE is what the file takes on disk. FORM, if any is no plain database file, is how it is
    stored. VERIFIED says how long ago the backup last passed a check. "not yet" means that it was
    never checked; "failed", that it failed its last check or that its meta file is damaged.
    DRILLED, if any was, says how long ago it was restored elsewhere to try that.
    """
    manager = session.found_manager
    now = datetime.now()
    start = Span.parse(since, now).start if since is not None else datetime.min
    end = Span.parse(until, now).end if until is not None else datetime.max
    kinds = shared.known_kinds(kind or [])
    own = manager.list()
    backups = [
        info
        for info in own
        if (not kinds or info.kind in kinds)
        and start <= info.timestamp <= end
        and (revision is None or revision in info.alembic_heads)
    ]
    if session.quiet and not session.as_json:
        for info in backups:
            say(info.id)
    elif session.talks and not backups:
        fitting = " that match" if kind or since or until or revision else ""
        missing = "" if manager.directory.exists() else ", which does not exist"
        say(f"No backups{fitting} in {manager.directory}{missing}")
    # It reads all meta files once more.
    others = manager.others() if session.talks or session.as_json else []
    if backups and session.talks:
        print_list(backups, lost={info.filename for info in without_base((*own, *others))})
    if others and session.talks:
        say(f"{len(others)} more in {manager.directory}")
        say(f"belong to other databases: {databases_of(others)}.")
        say(f"To use one of them here, import it first.{_another_spelling(session)}")
    return {
        "directory": str(manager.directory),
        "backups": [backup_json(info) for info in backups],
        "others": len(others),
    }


def _another_spelling(session: Session) -> str:
    if session.manager.live.path is not None:
        return ""
    return " If one is this database by another name of its server, name it by that address."


def show(session: Session, ref: RefOrChoice = None) -> dict[str, Any]:
    """Show everything that is known about a backup."""
    info = session.with_description(chosen(session, ref, "Show"))
    needing = session.manager.dependents(info)
    mirrors = session.manager.mirrors.places_of(info)
    if session.talks:
        facts = facts_of(info, needing, _base_of(session, info))
        print_facts([*facts, *(("also at", address) for address in mirrors)])
    return {
        "backup": backup_json(info),
        "dependents": _names(needing),
        "mirrors": list(mirrors),
    }


def _names(backups: list[BackupInfo]) -> list[str]:
    return [info.filename for info in backups]


def _base_of(session: Session, info: BackupInfo) -> BackupInfo | None:
    """Return the base of a differential, None where there is none."""
    if info.base_sha256 is None:
        return None
    bases = bases_for(info, (*session.manager.list(), *session.manager.others()))
    return next(iter(bases), None)


def verify(
    session: Session,
    ref: RefOrChoice = None,
    level: Annotated[
        str,
        typer.Option(
            "--level",
            metavar="LEVEL",
            help="quick: only size, checksum and header. full: all of it is read. drill: it is "
            "restored to a scratch folder, or to a scratch database of the server, and what comes "
            "back is checked.",
        ),
    ] = "full",
    quick: Annotated[bool, typer.Option("--quick", help="The same as --level quick.")] = False,
    upgrade: UpgradeToo = False,
) -> dict[str, Any]:
    """Check a backup by reading all of it, or by restoring it elsewhere, and record the result.

    A drill compares the rows of each table and the Alembic revision with what was recorded when the
    backup was taken, and makes the checks in pyproject.toml. The
    database is not touched.
    """
    wanted = _level_of(level, quick=quick)
    if upgrade and wanted != "drill":
        raise typer.BadParameter("it is for --level drill", param_hint="--upgrade")
    checks = drill_checks(session) if wanted == "drill" else []
    migrations = drill_upgrade(session, wanted=upgrade) if wanted == "drill" else None
    info = chosen(session, ref, "Verify")
    session.prepare_to_read(info)
    with session.progress("Verifying") as progress:
        report = session.manager.verify(
            info, level=wanted, checks=checks, upgrade=migrations, progress=progress
        )
    checksum = "checksum matches" if report.checksum else "no checksum recorded"
    session.say(f"OK {report.backup.filename}")
    session.say(f"{report.level}{' check' * (report.drill is None)}, {checksum}")
    if report.drill is not None:
        has_file = session.manager.database is not None
        for line in told(report.drill, report.backup.alembic_heads, has_file=has_file):
            session.say(line)
    for warning in report.warnings:
        session.say(f"Note: {warning}")
    return {
        "backup": backup_json(_as_verified(session, report)),
        "level": report.level,
        "checksum": report.checksum,
        "warnings": list(report.warnings),
        "remarks": list(report.warnings),  # its old name
        "recorded": report.recorded,
        "drill": drill_json(report.drill),
    }


def _level_of(level: str, *, quick: bool) -> VerifyLevel:
    """Return the level that is asked for; raises a usage error for none of the three."""
    for known in _LEVELS:
        if level == known:
            return "quick" if quick else known
    raise typer.BadParameter(
        f"{level!r} is not a level. The levels are: {', '.join(_LEVELS)}", param_hint="--level"
    )


def _as_verified(session: Session, report: VerificationReport) -> BackupInfo:
    """Return the backup as its meta file has it now; it passed, even if it is gone since."""
    try:
        return session.manager.get(report.backup)
    except BackupError as error:
        log_ignored("The meta file could not be read again", error)
        if not report.recorded:
            return report.backup
        now = datetime.now(UTC)
        if report.drill is None:
            return replace(report.backup, verified_at=now)
        return replace(report.backup, verified_at=now, drilled_at=now, drill_result="passed")


def adopt(session: Session, ref: Ref) -> dict[str, Any]:
    """Assign a backup of unknown origin to this database: verify it and write its meta file."""
    info = session.found_manager.get(ref)
    session.prepare_to_read(info)
    with session.progress("Verifying") as progress:
        adopted = session.manager.adopt(info, progress=progress)
    session.say(f"Adopted {adopted.filename}")
    doubts = ", ".join(doubt.value for doubt in doubts_about(adopted))
    meaning = f"it is {doubts}: name it to use it" if doubts else "'latest' can now mean it"
    session.say(f"id {adopted.id}; {meaning}.")
    return {"backup": backup_json(adopted)}


def delete(
    session: Session,
    ref: RefOrChoice = None,
    cascade: Annotated[
        bool,
        typer.Option(
            "--cascade", help="Delete with it the differential backups that are based on it."
        ),
    ] = False,
) -> dict[str, Any]:
    """Delete one backup; with --cascade, also those that cannot be restored without it."""
    info = chosen(session, ref, "Delete")
    needing = session.manager.dependents(info)
    for one in (info, *needing) if cascade else (info,):
        if one.pinned:  # there is nothing to ask about
            raise _pinned(one, session.command("unpin", one.filename))
    if needing and not cascade:
        raise needed_as_base(
            info, needing, command=session.command("delete", info.filename, "--cascade")
        )
    if session.talks and not session.yes:
        print_facts(facts_of(session.with_description(info), needing))
        if needing:
            session.say("")
            print_list(needing)
    question = f"Delete {info.filename} permanently?"
    if needing:
        question = f"Delete {info.filename} and the {_number(needing)} permanently?"
    session.confirm(question)
    if session.manager.dependents(info) != needing:  # the question may have stood there for hours
        raise NotConfirmedError(
            "The backups that are based on it have changed since they were shown.",
            hint="Run the command again.",
        )
    session.manager.delete(info, cascade=cascade)
    session.say(f"Deleted {info.filename}" + (f" and the {_number(needing)}" if needing else ""))
    return {"backup": backup_json(info), "dependents": _names(needing)}


def _number(needing: list[BackupInfo]) -> str:
    """Return how many backups go with their base, in words."""
    return "backup based on it" if len(needing) == 1 else f"{len(needing)} backups based on it"


def _pinned(info: BackupInfo, unpin: str) -> ProtectedBackupError:
    note = f" ({info.pin_note})" if info.pin_note else ""
    return ProtectedBackupError(
        f"{info.filename} is pinned{note}.",
        hint=f"To delete it, unpin it first: {unpin}",
        path=Path(info.path),
    )


def pin(
    session: Session,
    ref: Ref,
    note: Annotated[
        str, typer.Argument(metavar="NOTE", help="Why the backup must not be removed.")
    ] = "",
) -> dict[str, Any]:
    """Pin a backup, so that neither retention nor delete removes it."""
    info = session.found_manager.pin(ref, note)
    session.say(f"Pinned {info.filename}")
    session.say("Neither prune nor delete removes it until it is unpinned.")
    return {"backup": backup_json(info)}


def unpin(session: Session, ref: Ref) -> dict[str, Any]:
    """Unpin a backup, so that retention may remove it."""
    info = session.found_manager.unpin(ref)
    session.say(f"Unpinned {info.filename}")
    return {"backup": backup_json(info)}
