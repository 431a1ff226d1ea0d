"""Whether a backup was restored lately, to try that, and came back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from soulsense_db.backup_info import BackupInfo
from soulsense_db.health.report import (
    HealthCheck,
    Numbers,
    State,
    Thresholds,
    display_age,
    first_of,
)


def drill_check(
    backups: Sequence[BackupInfo],
    newest: BackupInfo | None,
    passed_at: datetime | None,
    thresholds: Thresholds,
    *,
    now: datetime,
    numbers: Numbers,
) -> Iterator[HealthCheck]:
    """Tell when a drill passed last, and which backups failed theirs; nothing before the first.

    ``newest``: what ``latest`` means.
    """
    age = None if passed_at is None else now - passed_at
    numbers["drill_age_seconds"] = None if age is None else age.total_seconds()
    failed = [info for info in backups if info.drill_result == "failed"]
    if age is None and not failed:
        return
    state = State.WARNING if failed else State.OK
    limit = thresholds.critical_drill
    if age is None or (limit is not None and age > limit) or newest in failed:
        state = State.CRITICAL
    passed = "none has passed" if age is None else f"one passed {display_age(age)} ago"
    if migrated := _migrated_to(backups):
        passed += f", and migrated to {migrated}"
    names = first_of([info.filename for info in failed], ", ")
    yield HealthCheck(
        name="drill", state=state, message=f"{passed}; FAILED: {names}" if failed else passed
    )


def _migrated_to(backups: Sequence[BackupInfo]) -> str:
    """Return where the last drill that passed here migrated its data to; empty for nowhere."""
    passed = (info for info in backups if info.drilled_at and info.drill_result == "passed")
    last = max(passed, key=lambda info: info.drilled_at or info.created_at, default=None)
    return (last.drill_revision or "") if last else ""
