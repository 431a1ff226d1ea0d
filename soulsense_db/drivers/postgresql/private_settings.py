"""What a private server has to have of the live one, so that statements mean the same there."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

# Those of a session that change what a statement does, reads or writes, and few of the server. What
# only makes it quicker or slower stays as it is.
_DIFFERING = sa.text("""
    SELECT name, reset_val FROM pg_settings
    WHERE reset_val IS DISTINCT FROM boot_val AND reset_val IS NOT NULL
    AND name NOT IN ('client_encoding', 'server_encoding', 'lc_collate', 'lc_ctype')
    AND (
        category IN (
            'Client Connection Defaults / Statement Behavior',
            'Client Connection Defaults / Locale and Formatting'
        )
        OR category LIKE 'Version and Platform Compatibility / %'
        OR name IN ('max_locks_per_transaction', 'track_commit_timestamp')
    ) AND context <> 'internal'
""")


def read(connection: Connection) -> Mapping[str, str]:
    """Return the settings of the live server that are not those of a new one."""
    return {name: value for name, value in connection.execute(_DIFFERING)}  # noqa: C416 - of rows
