"""What became of a transaction whose session has ended while it was committed."""

from __future__ import annotations

import time

import sqlalchemy as sa

from soulsense_db.drivers.postgresql.login import Login
from soulsense_db.drivers.server_errors import unreachable

_STATUS = sa.text("SELECT pg_xact_status(CAST(:transaction AS xid8))")
_ENDED_SECONDS = 30.0
_LOOK_SECONDS = 0.05


def has_committed(login: Login, transaction: str, *, name: str) -> bool:
    """Ask the server of ``name`` about the ``transaction`` of that number, once it is over."""
    deadline = time.monotonic() + _ENDED_SECONDS
    while True:
        with login.connected(name=name) as connection:
            found = connection.scalar(_STATUS, {"transaction": transaction})
        if found != "in progress":
            return bool(found == "committed")
        if time.monotonic() > deadline:
            raise unreachable(name, "whether it has been restored cannot be told")
        time.sleep(_LOOK_SECONDS)  # the session that commits is not ours any more
