"""How far each mirror is behind, as it is known here: nothing is connected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from soulsense_db.health.report import HealthCheck, Numbers, State, Thresholds, display_age
from soulsense_db.mirroring import MirrorStatus


def mirror_checks(
    statuses: Sequence[MirrorStatus], thresholds: Thresholds, now: datetime, numbers: Numbers
) -> Iterator[HealthCheck]:
    """Yield a check for each mirror, and note the age of the newest backup that all have."""
    ages = []
    for status in statuses:
        newest = max((info.created_at for info in status.backups), default=None)
        age = None if newest is None else (now - newest).total_seconds()
        ages.append(age)
        yield HealthCheck(
            name=f"mirror {status.address}",
            state=_state_of(status, thresholds, now),
            message=_message_of(status, age, now),
        )
    if ages:
        known = [age for age in ages if age is not None]
        numbers["mirror_newest_age_seconds"] = max(known) if known == ages else None


def _state_of(status: MirrorStatus, thresholds: Thresholds, now: datetime) -> State:
    """Return how a mirror is: by the age of what it lacks, and of the last look at it."""
    since = [info.created_at for info in status.owed]
    since += [status.seen_at] if status.seen_at is not None else []
    behind = max((now - moment for moment in since), default=timedelta())
    if behind > thresholds.critical_age:
        return State.CRITICAL
    is_late = behind > thresholds.warning_age
    return State.WARNING if is_late or status.damaged else State.OK


def _message_of(status: MirrorStatus, age: float | None, now: datetime) -> str:
    parts = [f"{len(status.backups)} there"] if status.backups else ["nothing is there yet"]
    if age is not None:
        parts[0] += f", the newest {display_age(timedelta(seconds=age))} old"
    if status.owed:
        oldest = display_age(now - status.owed[0].created_at)
        parts.append(f"{len(status.owed)} not uploaded, for {oldest}")
    if status.seen_at is not None:
        parts.append(f"last reached {display_age(now - status.seen_at)} ago")
    if status.damaged:
        parts.append(f"{len(status.damaged)} DAMAGED there")
    if status.is_append_only:
        parts.append("nothing can be removed there")
    if status.error:
        parts.append(f"{status.failures} failure(s): {status.error}")
    return "; ".join(parts)
