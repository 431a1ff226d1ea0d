"""The schema that a backup has, compared with that of the live database or of another backup."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

import msgspec

from soulsense_db.drivers.mariadb.archive import Description
from soulsense_db.drivers.mariadb.inventory import ROUTINES, Item
from soulsense_db.drivers.mariadb.statements import quoted
from soulsense_db.drivers.mariadb.tools import series

_DEFINER = re.compile(
    r"\bDEFINER=`(?:[^`]|``)*`(?:@`(?:[^`]|``)*`)? (?:SQL SECURITY \w+ (?=VIEW ))?"
)


class Schema(NamedTuple):
    """The parts of the schema ``name``; ``version``: of the server that had it."""

    name: str
    version: str
    items: frozenset[Item]

    def is_in(self, other: Schema) -> bool:
        """Whether ``other`` has all of it; where versions differ, by the names of things alone.

        Another version may write the same in other words.
        """
        if series(self.version) == series(other.version):
            return self._without_name(other.name) <= other._without_name(self.name)
        names = ({(item.kind, item.name) for item in one.items} for one in (self, other))
        return next(names) <= next(names)

    def _without_name(self, of_other: str) -> set[Item]:
        """Leave out what may be the name of the other one: of its items it has been left out.

        It may also be the name of a table.
        """
        name = f"{quoted(of_other)}."
        return {
            msgspec.structs.replace(one, statement=one.statement.replace(name, ""))
            for one in self.items
        }

    def beside_live(self) -> Schema:
        """Return what is made of it beside the live database: no events, and nobody's views."""
        return self._replace(
            items=frozenset(_without_definer(one) for one in self.items if one.kind != "EVENT")
        )


def _without_definer(item: Item) -> Item:
    if item.kind not in ("VIEW", *ROUTINES):
        return item
    return msgspec.structs.replace(item, statement=_DEFINER.sub("", item.statement, count=1))


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
