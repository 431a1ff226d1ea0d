"""What a replica lacks of its primary: a backup of it has no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.replicas import warn_behind
from soulsense_db.notices import log_ignored

_LAG_SECONDS = 5
# All primaries of a server of MariaDB, and what MySQL has instead.
_STATEMENTS = ("SHOW ALL SLAVES STATUS", "SHOW REPLICA STATUS")
# The words of MySQL, as MariaDB has them.
_OLD_WORDS = {"replica": "slave", "source": "master"}


def warn_if_behind(connection: Connection, name: str) -> None:
    """Warn where the server is a replica that has less than its primary.

    Only who has ``REPLICA MONITOR`` can see it.
    """
    for state in _states(connection):
        lag = state.get("seconds_behind_master")
        if state.get("slave_sql_running") != "Yes" or state.get("slave_io_running") != "Yes":
            warn_behind(name, "replication has stopped")
        elif lag is not None and int(lag) > _LAG_SECONDS:
            warn_behind(name, f"{lag} seconds")


def _states(connection: Connection) -> list[Mapping[str, Any]]:
    for statement in _STATEMENTS:
        try:
            found = connection.exec_driver_sql(statement).mappings().all()
        except DBAPIError as error:  # no right, or no such statement
            log_ignored("Whether the server is a replica that is behind is not known", error)
            continue
        return [{_old(column): value for column, value in row.items()} for row in found]
    return []


def _old(column: str) -> str:
    name = column.lower()
    for new, old in _OLD_WORDS.items():
        name = name.replace(new, old)
    return name
