"""Commands about single backups: create, list, show, verify, delete, pin, import, export."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from soulsense_db.backup_info import KINDS, BackupInfo, local_time
from soulsense_db.cli import session as shared
from soulsense_db.cli.moments import MOMENTS_HELP, Span
from soulsense_db.cli.output import SHORT_ID, age_of, backup_json, print_table, say, warn
from soulsense_db.cli.session import Ref, Session
from soulsense_db.drivers import CheckLevel
from soulsense_db.errors import BackupError, ProtectedBackupError
from soulsense_db.notices import ignoring, log_ignored
from soulsense_db.operations import VerificationReport, doubts_about

Description = Annotated[
    str, typer.Argument(help="What this backup is for; its beginning is in the file name.")
]


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    shared.add(app, create)
    shared.add(app, list_, "list")
    shared.add(app, show)
    shared.add(app, verify)
    shared.add(app, adopt)
    shared.add(app, delete)
    shared.add(app, pin)
    shared.add(app, unpin)
    shared.add(app, import_, "import")
    shared.add(app, export)


def create(session: Session, description: Description = "") -> dict[str, Any]:
    """Take a backup; the application may go on running."""
    with session.progress("Backing up") as progress:
        info = session.manager.create(description, progress=progress)
    session.say(f"Created {info.filename}")
    session.say(f"{info.size_display}, id {info.id}, in {Path(info.path).parent}")
    if info.half_run:
        _warn_of_half_run(session)
    return {"backup": backup_json(info)}


def _warn_of_half_run(session: Session) -> None:
    # The backup is there, whatever keeps the marker from being read.
    with ignoring(BackupError, what="Whether a migration died is not known"):
        if error := session.manager.alarm.error():
            warn(f"'latest' does not mean this backup. {error.message} {error.hint}")


def list_(
    session: Session,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="KIND", help=f"Only these: {', '.join(KINDS)}."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="WHEN", help=f"Only from this day or moment on: {MOMENTS_HELP}."
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="WHEN", help="Only to this day, included, or moment."),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option("--revision", metavar="REV", help="Only at this Alembic revision."),
    ] = None,
) -> dict[str, Any]:
    """List the backups, newest first; with --quiet only their ids."""
    manager = session.found_manager
    now = datetime.now()
    start = Span.parse(since, now).start if since is not None else datetime.min
    end = Span.parse(until, now).end if until is not None else datetime.max
    kinds = shared.known_kinds(kind or [])
    backups = [
        info
        for info in manager.list()
        if (not kinds or info.kind in kinds)
        and start <= info.timestamp <= end
        and (revision is None or revision in info.alembic_heads)
    ]
    if session.quiet and not session.as_json:
        for info in backups:
            say(info.id)
    elif session.talks and not backups:
        fitting = " that fit" if kind or since or until or revision else ""
        say(f"No backups{fitting} in {manager.directory}")
    elif session.talks:
        _print_list(backups)
    # It reads all meta files once more.
    others = len(manager.others()) if session.talks or session.as_json else 0
    if others and session.talks:
        say(f"{others} more in {manager.directory}")
        say("are of other databases. To use one of them here, import it first.")
    return {
        "directory": str(manager.directory),
        "backups": [backup_json(info) for info in backups],
        "others": others,
    }


def show(session: Session, ref: Ref) -> dict[str, Any]:
    """Show everything that is known of a backup."""
    info = session.found_manager.get(ref)
    if session.talks:
        print_table(("", ""), _facts(info), fold=True)
    return {"backup": backup_json(info)}


def verify(
    session: Session,
    ref: Ref,
    quick: Annotated[bool, typer.Option("--quick", help="Only size, checksum and header.")] = False,
) -> dict[str, Any]:
    """Check a backup by reading all of it, and note that it passed."""
    level: CheckLevel = "quick" if quick else "full"
    with session.progress("Verifying") as progress:
        report = session.found_manager.verify(ref, level=level, progress=progress)
    checksum = "checksum matches" if report.checksum else "no checksum recorded"
    session.say(f"OK {report.backup.filename}")
    session.say(f"{report.level} check, {checksum}")
    for warning in report.warnings:
        session.say(f"Note: {warning}")
    return {
        "backup": backup_json(_as_verified(session, report)),
        "level": report.level,
        "checksum": report.checksum,
        "warnings": list(report.warnings),
        "remarks": list(report.warnings),  # its old name
        "recorded": report.recorded,
    }


def _as_verified(session: Session, report: VerificationReport) -> BackupInfo:
    """Return the backup as its meta file has it now; it passed, even if it is gone since."""
    try:
        return session.manager.get(report.backup)
    except BackupError as error:
        log_ignored("The meta file could not be read again", error)
        moment = datetime.now(UTC) if report.recorded else report.backup.verified_at
        return replace(report.backup, verified_at=moment)


def adopt(session: Session, ref: Ref) -> dict[str, Any]:
    """Say that a backup of unknown origin is of this database: check it, write its meta file."""
    info = session.found_manager.get(ref)
    with session.progress("Verifying") as progress:
        adopted = session.manager.adopt(info, progress=progress)
    session.say(f"Adopted {adopted.filename}")
    doubts = ", ".join(doubt.value for doubt in doubts_about(adopted))
    meaning = f"it is {doubts}: name it to use it" if doubts else "from now on 'latest' can mean it"
    session.say(f"id {adopted.id}; {meaning}.")
    return {"backup": backup_json(adopted)}


def delete(session: Session, ref: Ref) -> dict[str, Any]:
    """Delete one backup."""
    info = session.found_manager.get(ref)
    if info.pinned:  # there is nothing to ask about
        note = f" ({info.pin_note})" if info.pin_note else ""
        unpin = session.command("unpin", info.filename)
        raise ProtectedBackupError(
            f"{info.filename} is pinned{note}.",
            hint=f"Unpin it first if it may go: {unpin}",
            path=Path(info.path),
        )
    if session.talks and not session.yes:
        print_table(("", ""), _facts(info), fold=True)
    session.confirm(f"Delete {info.filename} for good?")
    session.manager.delete(info)
    session.say(f"Deleted {info.filename}")
    return {"backup": backup_json(info)}


def pin(
    session: Session,
    ref: Ref,
    note: Annotated[str, typer.Argument(help="Why it has to stay.")] = "",
) -> dict[str, Any]:
    """Keep a backup whatever a retention policy says."""
    info = session.found_manager.pin(ref, note)
    session.say(f"Pinned {info.filename}")
    session.say("Neither prune nor delete removes it until it is unpinned.")
    return {"backup": backup_json(info)}


def unpin(session: Session, ref: Ref) -> dict[str, Any]:
    """Let a pinned backup go again when its time comes."""
    info = session.found_manager.unpin(ref)
    session.say(f"Unpinned {info.filename}")
    return {"backup": backup_json(info)}


def import_(
    session: Session,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A database file or backup.")],
    description: Description = "",
) -> dict[str, Any]:
    """Bring a database file from elsewhere into the backup directory, verified."""
    if description and Path(description).is_file():  # as of a shell's *.db
        raise typer.BadParameter("import takes one file at a time", param_hint="FILE")
    with session.progress("Importing") as progress:
        info = session.manager.import_file(path, description, progress=progress)
    session.say(f"Imported {path} as {info.filename}")
    session.say(f"{info.size_display}, id {info.id}, in {Path(info.path).parent}")
    return {"backup": backup_json(info)}


def export(
    session: Session,
    ref: Ref,
    destination: Annotated[
        str, typer.Argument(metavar="PATH", help="A directory, or a file that is not there yet.")
    ],
) -> dict[str, Any]:
    """Copy a backup with its meta file to elsewhere, verified."""
    info = session.found_manager.get(ref)
    with session.progress("Exporting") as progress:
        path = session.manager.export(info, destination, progress=progress)
    session.say(f"Exported {info.filename}")
    session.say(f"to {path}")
    return {"backup": backup_json(info), "path": str(path)}


def _print_list(backups: list[BackupInfo]) -> None:
    short = len({info.id[:SHORT_ID] for info in backups}) == len(backups)
    revisions = any(info.alembic_heads for info in backups)
    columns = ["ID", "AGE", ">SIZE", "KIND", "REVISION", "VERIFIED", "DESCRIPTION"]
    rows = [
        [
            info.id[:SHORT_ID] if short else info.id,
            age_of(info.created_at),
            info.size_display,
            info.kind,
            ",".join(info.alembic_heads) or "-",
            _verified(info),
            _described(info),
        ]
        for info in backups
    ]
    if not revisions:  # an application without Alembic
        columns.remove("REVISION")
        rows = [[*row[:4], *row[5:]] for row in rows]
    print_table(columns, rows)


def _verified(info: BackupInfo) -> str:
    if info.meta_problem or (info.sha256 is not None and info.verified_at is None):
        return "FAILED" if info.meta_problem else "no"
    return age_of(info.verified_at)


def _described(info: BackupInfo) -> str:
    marks = ["pinned"] if info.pinned else []
    marks += [doubt.value for doubt in doubts_about(info)]
    marked = f"({', '.join(marks)}) " if marks else ""
    return marked + (info.meta_problem or info.description)


def _database(info: BackupInfo) -> str:
    if info.of_unknown_origin:
        return "unknown: nothing says of which database it is"
    return info.database_path or info.database or ""


def _facts(info: BackupInfo) -> list[tuple[str, str]]:
    verified = f"{local_time(info.verified_at):%Y-%m-%d %H:%M:%S}" if info.verified_at else ""
    facts = [
        ("file", info.path),
        ("id", info.id),
        ("taken", f"{info.timestamp_display} ({age_of(info.created_at)} ago)"),
        ("kind", info.kind),
        ("size", f"{info.size_display} ({info.size_bytes:,} bytes)"),
        ("description", info.description),
        ("database", _database(info)),
        ("revision", ", ".join(info.alembic_heads) or "none"),
        ("migrating to", info.target_revision or ""),
        ("verified", f"{verified} ({age_of(info.verified_at)} ago)" if verified else "no"),
        ("half-run", "yes, a migration had not ended when it was taken" * info.half_run),
        ("pinned", (info.pin_note or "yes") if info.pinned else ""),
        ("sha256", info.sha256 or "not recorded"),
        ("not contained", str(info.driver_facts.get("attached", ""))),
        ("problem", info.meta_problem),
    ]
    return [(name, text) for name, text in facts if text]
