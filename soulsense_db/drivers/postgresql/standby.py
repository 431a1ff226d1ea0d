"""What a hot standby lacks of its primary: a backup of it has no more."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from soulsense_db.drivers.replicas import warn_behind

# So old may the last commit be that a standby has when nothing comes from a primary, which may have
# nothing to do.
_IDLE_SECONDS = 60.0
# What has come and is not replayed yet is usual for a moment.
_LAG_SECONDS = 5.0
_STATE = sa.text("""
    SELECT pg_is_wal_replay_paused(),
        EXISTS (SELECT FROM pg_stat_wal_receiver),
        coalesce(pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn(), false),
        extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()),
        to_char(pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
""")


def warn_if_behind(connection: Connection, name: str) -> None:
    """Warn where the server is a standby that has less than its primary, or may have."""
    if not connection.scalar(sa.text("SELECT pg_is_in_recovery()")):
        return
    is_paused, is_connected, has_more, age, last = connection.execute(_STATE).one()
    seconds = float("inf") if age is None else float(age)
    if is_paused and has_more:
        why = "its replay is paused"
    elif has_more and seconds > _LAG_SECONDS:
        why = "it has not replayed all that came from its primary"
    elif not is_connected and seconds > _IDLE_SECONDS:
        why = "it is not connected to its primary"
    else:
        return
    warn_behind(name, why, last=f"{last} UTC" if last else "")
