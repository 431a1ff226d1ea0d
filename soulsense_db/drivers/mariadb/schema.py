"""The schema that a backup has, compared with that of the live database or of another backup."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from soulsense_db.drivers.mariadb.archive import Description
from soulsense_db.drivers.mariadb.inventory import Item
from soulsense_db.drivers.mariadb.tools import series


class Schema(NamedTuple):
    """The parts of a schema; ``version``: of the server that had it."""

    version: str
    items: frozenset[Item]

    def is_in(self, other: Schema) -> bool:
        """Whether ``other`` has all of it; where versions differ, by the names of things alone.

        Another version may write the same in other words.
        """
        if series(self.version) == series(other.version):
            return self.items <= other.items
        names = ({(item.kind, item.name) for item in one.items} for one in (self, other))
        return next(names) <= next(names)


def without_tables(described: Description, ignore: Collection[str]) -> frozenset[Item]:
    """Return the parts of a backup's schema that are not these tables, nor their triggers."""
    triggers = {one.name for one in described.triggers if one.table in ignore}
    tables = {table.name for table in described.tables if table.name in ignore}
    return frozenset(
        item
        for item in described.items
        if not (item.kind == "TRIGGER" and item.name in triggers)
        and not (item.kind in ("BASE TABLE", "SYSTEM VERSIONED") and item.name in tables)
    )
