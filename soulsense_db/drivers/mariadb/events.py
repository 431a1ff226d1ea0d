"""Events whose time is over: the server drops them as soon as they are made, or disables them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sqlalchemy.engine import Connection

from soulsense_db.drivers.mariadb.inventory import Item
from soulsense_db.drivers.mariadb.statements import literal, scalar

# Before the statement: perhaps a mode, the time zone, a character set, and two collations.
_LAST_TIME = re.compile(
    r"(?:\S+ )?(?P<zone>\S+) \S+ \S+ \S+ CREATE (?:DEFINER=.+? )?EVENT `(?:[^`]|``)+` ON SCHEDULE "
    r"(?:AT|EVERY (?:\d+|'[^']*') \w+(?: STARTS '[^']*')? ENDS) '(?P<time>[^']+)' "
    r"ON COMPLETION "
)


def without_past(connection: Connection, items: Iterable[Item]) -> frozenset[Item]:
    """Leave events out that ran for the last time: made anew, they are not as they were."""
    return frozenset(
        item for item in items if item.kind != "EVENT" or not _is_past(connection, item)
    )


def _is_past(connection: Connection, item: Item) -> bool:
    found = _LAST_TIME.match(item.statement)
    if found is None:
        return False
    when, zone = literal(found["time"]), literal(found["zone"])
    asked = f"SELECT CONVERT_TZ({when}, {zone}, '+00:00') <= UTC_TIMESTAMP()"
    return bool(scalar(connection, asked))
