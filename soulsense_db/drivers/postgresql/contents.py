"""What is in an archive, as ``pg_restore`` writes it: statements of the schema, and rows.

A row is one line of the format of ``COPY``. Both sides of a comparison are written by the server's
own programs, so that equal values are equal lines.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from soulsense_db.drivers.postgresql.archive import Description, Table
from soulsense_db.drivers.postgresql.errors import damaged_backup
from soulsense_db.drivers.postgresql.tools import Tools
from soulsense_db.errors import BackupError

_HEADER = re.compile(r"^-- (?:Data for )?Name: (.*?); Type: (.*?); Schema: (.*?); Owner: .*$")
_COPY = re.compile(rb"^COPY (.+?) (?:\((.*)\) )?FROM stdin;$")
_END = b"\\.\n"
# What a session sets, and words with which no other program may smuggle in commands of psql.
_OF_SESSION = ("SET ", "SELECT pg_catalog.set_config(", "\\restrict ", "\\unrestrict ", "--")


class NamedTable(Protocol):
    """A table, of a database or of an archive; ``copied``: its name in a statement."""

    @property
    def schema(self) -> str: ...  # noqa: D102 - the same in both

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def copied(self) -> str: ...  # noqa: D102

    @property
    def columns(self) -> tuple[str, ...]: ...  # noqa: D102


class Item(NamedTuple):
    """A part of a schema: its kind as ``pg_dump`` calls it, schema, name, and statements."""

    kind: str
    schema: str
    name: str
    statements: str

    @property
    def identity(self) -> tuple[str, str, str]:
        """What it is, whatever its statements are."""
        return self.kind, self.schema, self.name


class Schema(NamedTuple):
    """The parts of a schema; ``version``: of the server that had it."""

    version: int
    items: frozenset[Item]

    def is_in(self, other: Schema) -> bool:
        """Whether ``other`` has all of it; where versions differ, by the names of things alone.

        Another version may write the same in other words.
        """
        if self.version == other.version:
            return self.items <= other.items
        return self._names <= other._names

    def is_same(self, other: Schema) -> bool:
        """Whether ``other`` has that and nothing else, as :meth:`is_in` compares them."""
        return self.is_in(other) and other.is_in(self)

    def without(self, tables: Collection[NamedTable]) -> Schema:
        """Return what is not about these tables."""
        patterns = [
            re.compile(rf"(?<![\w.\"]){re.escape(table.copied)}(?![\w\"])") for table in tables
        ]
        left = (
            item
            for item in self.items
            if not any(pattern.search(item.statements) for pattern in patterns)
            and not any(_is_sequence_of(item, table) for table in tables)
        )
        return Schema(self.version, frozenset(left))

    @property
    def _names(self) -> set[tuple[str, str, str]]:
        return {item.identity for item in self.items}


def schema_of_archive(
    tools: Tools, path: Path, version: int, environment: Mapping[str, str]
) -> Schema:
    """Return the parts of the schema that an archive has, which a server of ``version`` had."""
    arguments = ("--schema-only", "--file=-", str(path))
    with (
        blamed_on(path),
        tools.reading("pg_restore", *arguments, environment=environment) as output,
    ):
        return Schema(version, frozenset(_items(output)))


def schema_of_database(tools: Tools, environment: Mapping[str, str]) -> Schema:
    """Return the parts of the schema of the database that ``environment`` leads to."""
    arguments = ("--schema-only", "--no-password", "--no-subscriptions")
    with tools.reading("pg_dump", *arguments, environment=environment) as output:
        return Schema(tools.version, frozenset(_items(output)))


def _items(lines: Iterator[bytes]) -> Iterator[Item]:
    header: tuple[str, str, str] | None = None
    statements: list[str] = []
    for raw in lines:
        line = raw.decode(errors="surrogateescape").rstrip("\n")
        if match := _HEADER.match(line):
            if header is not None:
                yield Item(*header, "\n".join(statements).strip())
            header, statements = (match[2], match[3], match[1]), []
        elif header is not None and not line.startswith(_OF_SESSION):
            statements.append(line)
    if header is not None:
        yield Item(*header, "\n".join(statements).strip())


def _is_sequence_of(item: Item, table: NamedTable) -> bool:
    """Whether it is what a serial column of a table made: that does not name the table."""
    is_sequence = item.kind.startswith("SEQUENCE") and item.schema == table.schema
    return is_sequence and any(
        item.name == f"{table.name}_{column}_seq" for column in table.columns
    )


class Row(NamedTuple):
    """A row of a table as one line, without the line feed at its end."""

    table: Table
    line: bytes

    @property
    def key(self) -> bytes:
        """Its primary key; all of it where the table has none."""
        if not self.table.key:
            return self.line
        values = self.line.split(b"\t")
        return b"\t".join(values[self.table.columns.index(column)] for column in self.table.key)


def rows_of_archive(
    tools: Tools, path: Path, description: Description, environment: Mapping[str, str]
) -> Iterator[Row]:
    """Yield all rows of an archive; raises when it has other tables than are described."""
    tables = {table.copied: table for table in description.tables}
    arguments = ("--data-only", "--file=-", str(path))
    table: Table | None = None
    with (
        blamed_on(path),
        tools.reading("pg_restore", *arguments, environment=environment) as output,
    ):
        for line in output:
            if table is None:
                if match := _COPY.match(line.rstrip(b"\n")):
                    table = tables.get(match[1].decode(errors="replace"))
                    if table is None:
                        raise damaged_backup(path.name, "it has a table that is not described")
            elif line == _END:
                table = None
            else:
                yield Row(table, line.rstrip(b"\n"))


@contextmanager
def blamed_on(path: Path) -> Iterator[None]:
    """Say of a program that fails for an unknown reason that the archive is damaged."""
    try:
        yield
    except BackupError as error:
        if type(error) is not BackupError:
            raise
        raise damaged_backup(path.name, error.reason) from error
