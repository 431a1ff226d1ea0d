"""Rows as ``mariadb-dump`` writes them: a line each, after the line that names their table.

It writes no line feed within a value, and both sides of a comparison are its own words, so that
equal values are equal lines.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

from soulsense_db.drivers.mariadb import archive
from soulsense_db.drivers.mariadb.archive import Description, Table
from soulsense_db.drivers.mariadb.schema_reading import columns_in
from soulsense_db.drivers.server_errors import damaged_backup

NAME = rb"`((?:[^`]|``)+)`"
_INSERT = re.compile(
    rb"INSERT INTO " + NAME + rb" (?:\(([^)]*(?:`[^)]*)?)\) )?VALUES\s*(.*)", re.DOTALL
)
_CREATE = re.compile(rb"CREATE TABLE " + NAME)
_COLUMN = re.compile(NAME + rb"|(\w+)")
_VALUE = re.compile(rb"'(?:[^'\\]++|\\.|'')*+'|[^,']++", re.DOTALL)
# Several rows in one line: as programs of older versions write them.
_ROW = re.compile(rb"\((?:'(?:[^'\\]++|\\.|'')*+'|[^'()]++)*+\)", re.DOTALL)
_LONG = 256 * 1024
COMPLETED = b"-- Dump completed"
_VERSIONS = "alembic_version"


class Row(NamedTuple):
    """A row of a table: its values in parentheses, of these columns."""

    table: Table
    columns: tuple[str, ...]
    line: bytes

    @property
    def key(self) -> bytes:
        """Its primary key; all of it where the table has none."""
        if not self.table.key:
            return self.line
        values = fields_of(self.line)
        return b",".join(values[self.columns.index(column)] for column in self.table.key)


def fields_of(line: bytes) -> list[bytes]:
    """Return the values of a row in brackets, as they are written."""
    return _VALUE.findall(line[1:-1])


class RowCounter:
    """Counts the rows of each table, and looks for the end, in a dump that passes by in chunks.

    ``tables``: all that it makes; ``longest``: the bytes of its longest row, where that is a long
    one, and else 0.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.tables: set[str] = set()
        self.is_completed = False
        self.longest = 0
        self._skipped = 0
        self._versions: list[bytes] = []
        self._rest = b""
        self._table: str | None = None
        self._is_skipping = False

    def feed(self, chunk: bytes) -> None:
        """Look at the next bytes."""
        if self._is_skipping:
            long, found, chunk = chunk.partition(b"\n")
            self._skipped += len(long)
            self.longest = max(self.longest, self._skipped)
            if not found:
                return
            self._is_skipping = False
        complete, feed, self._rest = (self._rest + chunk).rpartition(b"\n")
        if feed and not self._are_rows(complete):
            for line in complete.split(b"\n"):
                self._line(line)
        # Of a long row the beginning is enough; older programs' long lines are many rows.
        if len(self._rest) > _LONG and self._rest[:1] == b"(":
            self._line(self._rest[:_LONG])
            self._skipped = len(self._rest)
            self.longest = max(self.longest, self._skipped)
            self._rest, self._is_skipping = b"", True

    def _are_rows(self, lines: bytes) -> bool:
        """Count lines that are all rows of the same table; most are, and this is quicker."""
        if self._table in (None, _VERSIONS) or lines[:1] != b"(":
            return False
        feeds = lines.count(b"\n")
        if lines.count(b"\n(") != feeds:
            return False
        self.counts[self._table] += feeds + 1
        return True

    def finish(self) -> None:
        """Look at what comes after the last line feed."""
        self._line(self._rest)
        self._rest = b""

    def _line(self, line: bytes) -> None:
        first = line[:1]
        if first == b"(" and self._table is not None:
            self.counts[self._table] += 1
            self._keep(line)
        elif first == b"I" and (match := _INSERT.match(line)):
            self._table = name_of(match[1])
            for one in _ROW.findall(match[3]):
                self.counts[self._table] += 1
                self._keep(one)
        elif first:
            self._table = None
            if first == b"C" and (match := _CREATE.match(line)):
                self.tables.add(name_of(match[1]))
            self.is_completed = line.startswith(COMPLETED)

    def _keep(self, line: bytes) -> None:
        if self._table == _VERSIONS:
            self._versions += _VALUE.findall(line[1:].rstrip(b",;)"))[:1]

    @property
    def heads(self) -> tuple[str, ...]:
        """The sorted revisions of Alembic."""
        return tuple(sorted(one.strip(b"'").decode(errors="replace") for one in self._versions))


def name_of(quoted_name: bytes) -> str:
    """Return a name without what quotes it."""
    return quoted_name.replace(b"``", b"`").decode(errors="surrogateescape")


def rows_of(path: Path, description: Description) -> Generator[Row]:
    """Yield all rows of a backup; raises when it has other tables than are described."""
    tables = {table.name: table for table in description.tables}
    declared = columns_in(description)
    table: Table | None = None
    columns: tuple[str, ...] = ()
    for raw in archive.lines(path, description.sections["tables"]):
        line = raw.rstrip(b"\n")
        if line[:1] == b"(" and table is not None:
            yield Row(table, columns, line[:-1])
        elif line[:1] == b"I" and (match := _INSERT.match(line)):
            table = tables.get(name_of(match[1]))
            if table is None:
                raise damaged_backup(path.name, "it has a table that is not described")
            # Without a list there is a value for each, also for those that are computed.
            columns = _columns_of(match[2]) or declared.get(table.name) or table.columns
            for one in _ROW.findall(match[3]):
                yield Row(table, columns, one)
        elif line:
            table = None


def _columns_of(listed: bytes | None) -> tuple[str, ...]:
    if not listed:
        return ()
    return tuple(name_of(quoted_one or plain) for quoted_one, plain in _COLUMN.findall(listed))
