"""Which backups are drilled today, so that all of them come round within some days."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from soulsense_db.backup_info import BackupInfo

DRILL_DAYS = 30
"""Within how many days each backup that is kept has its turn."""
# A daily run may be some minutes earlier than yesterday's.
_A_DAY = timedelta(hours=22)


def drill_turn(
    backups: Sequence[BackupInfo],
    drilled: Mapping[str, datetime],
    *,
    now: datetime,
    within_days: int = DRILL_DAYS,
) -> list[BackupInfo]:
    """Return those of ``backups`` whose turn it is, first those that waited longest.

    ``drilled``: when each was drilled last, by file name. A new one waits as one that was drilled
    when it was taken. However often this is asked in a day, a day's share is the same: what was
    drilled since yesterday counts. Where some have waited for too long, because there are fewer
    backups now than when they were put in order, or because drills have just begun, it is twice
    that.
    """

    def waits_since(info: BackupInfo) -> datetime:
        return drilled.get(info.filename, info.created_at)

    # One of the future, where the clock was set back, was not drilled today.
    done = sum(now - _A_DAY < moment <= now for moment in drilled.values())
    share = math.ceil(len(backups) / within_days)
    in_order = sorted(backups, key=waits_since)
    late = [info for info in in_order if now - waits_since(info) > timedelta(days=within_days - 1)]
    share = max(share, min(len(late), 2 * share))
    return in_order[: max(0, share - done)]
