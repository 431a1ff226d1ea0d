"""What is told of mirrors."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from soulsense_db.backup_info import BackupInfo, display_size
from soulsense_db.cli.output import backup_json, error_json, print_error, say
from soulsense_db.cli.session import Session
from soulsense_db.mirroring import MirrorCheck, SyncReport


def synced(
    session: Session,
    *,
    url: str | None = None,
    deadline: float | None = None,
    if_not_paused: bool = False,
) -> list[SyncReport]:
    """Bring the mirrors in step, and tell of each; what failed is told with --quiet as well."""
    with session.progress("Uploading") as progress:
        reports = session.manager.mirrors.sync(
            url, deadline=deadline, if_not_paused=if_not_paused, progress=progress
        )
    tell(session, reports)
    return reports


def tell(session: Session, reports: Iterable[SyncReport]) -> None:
    """Tell what became of each mirror."""
    for report in reports:
        if report.error is None:
            session.say(f"{report.address}: {_done(report)}")
        for info in report.removed:
            session.say(f"{report.address}: removed {info.filename}")
        if report.unencrypted:
            session.say(
                f"{report.unencrypted} backup(s) stay here: they are not encrypted as new ones are."
            )
        if session.as_json:
            continue
        for error in (report.error, *report.problems):  # cron mails what is printed
            if error is not None:
                print_error(error)
        for name, reason in report.damaged:
            say(f"Damaged at the mirror: {name}: {reason}", to=sys.stderr)


def set_exit_code(session: Session, reports: Iterable[SyncReport]) -> None:
    """Let the command end as the first thing that failed says."""
    for report in reports:
        for error in filter(None, (report.error, *report.problems)):
            session.exit_code = session.exit_code or error.exit_code


def _done(report: SyncReport) -> str:
    if report.skipped:
        return f"not tried, {report.skipped}"
    uploaded = f"uploaded {len(report.uploaded)} ({display_size(_bytes(report.uploaded))})"
    parts = [uploaded if report.uploaded else "nothing to upload"]
    if report.removed:
        parts.append(f"removed {len(report.removed)}")
    if report.is_append_only:
        parts.append("nothing can be removed there")
    parts.append(f"{report.kept} there")
    return ", ".join(parts)


def _bytes(backups: Iterable[BackupInfo]) -> int:
    return sum(info.size_bytes for info in backups)


def sync_json(report: SyncReport) -> dict[str, Any]:
    """Return what became of a mirror, for programs."""
    return {
        "address": report.address,
        "folder": report.folder,
        "ok": report.ok,
        "uploaded": list(map(backup_json, report.uploaded)),
        "removed": list(map(backup_json, report.removed)),
        "kept": report.kept,
        "damaged": [{"name": name, "reason": reason} for name, reason in report.damaged],
        "problems": list(map(error_json, report.problems)),
        "append_only": report.is_append_only,
        "unencrypted": report.unencrypted,
        "skipped": report.skipped,
        "error": error_json(report.error) if report.error else None,
    }


def check_json(check: MirrorCheck) -> dict[str, Any]:
    """Return what was found of the backups at a mirror, for programs."""
    return {
        "address": check.address,
        "folder": check.folder,
        "level": check.level,
        "total": check.total,
        "verified": list(map(backup_json, check.verified)),
        "unopened": list(map(backup_json, check.unopened)),
        "damaged": [{"name": name, "error": error_json(error)} for name, error in check.damaged],
    }
