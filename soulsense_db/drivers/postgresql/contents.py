"""What is in an archive, as ``pg_restore`` writes it: statements of the schema, and rows.

A row is one line of the format of ``COPY``. Both sides of a comparison are written by the server's
own programs, so that equal values are equal lines.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from soulsense_db.drivers.postgresql.archive import LARGE_OBJECTS, Description, Table
from soulsense_db.drivers.postgresql.migration_note import BEGINNING
from soulsense_db.drivers.postgresql.statements import WITHOUT_KEPT
from soulsense_db.drivers.postgresql.tools import Tools
from soulsense_db.drivers.server_errors import damaged_backup
from soulsense_db.errors import BackupError

_HEADER = re.compile(r"^-- (?:Data for )?Name: (.*?); Type: (.*?); Schema: (.*?); Owner: .*$")
# A name as the server's programs write it, in quotes or without. All of the statement is matched:
# a name may have brackets, line feeds, or this very statement in it.
_NAME = rb'(?:"(?:[^"]|"")*"|[^\s".,()]+)'
_COPY = re.compile(
    rb"COPY (%b\.%b) (?:\(%b(?:, %b)*\))? FROM stdin;\n" % (_NAME, _NAME, _NAME, _NAME)
)
# The numbers of the others are those of ISO 8859.
_LATIN = {5: 9, 6: 10, 7: 13, 8: 14, 9: 15, 10: 16}
_LONGEST_COPY = 1024 * 1024
_LONGEST_COUNTED = 64 * 1024
_LONG = _LONGEST_COUNTED // 2  # bytes of a row that takes a moment to read
_ASKED_EVERY = 1000  # shorter rows
_END = b"\\.\n"
_ENCODING = re.compile(rb"SET client_encoding = '(\w+)';\n")
_OPEN_LARGE = re.compile(rb"SELECT pg_catalog\.lo_open\('(\d+)', \d+\);\n")
_CLOSE_LARGE = b"SELECT pg_catalog.lo_close("
# A list of varchar as it is written first, and as it is written once it has been restored.
_TEXT = r"'(?:[^']|'')*'::[a-z ]+(?:\(\d+\))?"
_CAST_LIST = re.compile(rf"\(ARRAY\[({_TEXT}(?:, {_TEXT})*)\]\)::([a-z ]+)\[\]")
# What a session sets, and words with which no other program may smuggle in commands of psql.
_OF_SESSION = ("SET ", "SELECT pg_catalog.set_config(", "\\restrict ", "\\unrestrict ", "--")


# That a materialised view is filled: a dump of a schema alone leaves it out.
_FILLING = "MATERIALIZED VIEW DATA"
# It is there in each database, whatever the backup says: a restore within the database gives it to
# whoever may have it, and a right that its owner has anyway is written by no dump.
_OF_PUBLIC = (
    ("SCHEMA", "-", "public"),
    ("ACL", "-", "SCHEMA public"),
    ("COMMENT", "-", "SCHEMA public"),
)


class NamedTable(Protocol):
    """A table, of a database or of an archive; ``copied``: its name in a statement."""

    @property
    def schema(self) -> str:
        """The schema that it is in."""

    @property
    def name(self) -> str:
        """Its own name."""

    @property
    def copied(self) -> str:
        """Its name in a statement."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns."""


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

    def missing_in(self, other: Schema) -> list[str]:
        """Return what ``other`` has not, by the names of things, as ``TABLE public.note``.

        The server writes some expressions in other words once they were restored, as another
        version does: their statements tell nothing. Whose the schema ``public`` is, and who may
        use it, a restore need not be able to bring back: it is no data.
        """
        missing = self._names - other._names - set(_OF_PUBLIC)
        return [
            f"{kind} {name}" if schema == "-" else f"{kind} {schema}.{name}"
            for kind, schema, name in sorted(missing)
        ]

    def is_same(self, other: Schema) -> bool:
        """Whether ``other`` is that and nothing else; of another version, by the names of things.

        Another version may write the same in other words.
        """
        if self.version != other.version:
            return self._names == other._names
        return self._without_filling == other._without_filling

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
    def _without_filling(self) -> set[Item]:
        return {item for item in self.items if item.kind != _FILLING}

    @property
    def _names(self) -> set[tuple[str, str, str]]:
        return {item.identity for item in self._without_filling}


def schema_of_archive(
    tools: Tools, path: Path, version: int, environment: Mapping[str, str]
) -> Schema:
    """Return the parts of the schema that an archive has, which a server of ``version`` had."""
    arguments = ("--schema-only", "--file=-", str(path))
    with (
        blamed_on(path),
        tools.reading("pg_restore", *arguments, environment=environment) as output,
    ):
        return Schema(version, _without_note(_items(output)))


def schema_of_database(tools: Tools, environment: Mapping[str, str], *, encoding: str) -> Schema:
    """Return the parts of the schema of the database that ``environment`` leads to.

    ``encoding``: of the database, by the server's name.
    """
    written = (f"--encoding={encoding}", "--no-subscriptions", WITHOUT_KEPT)
    arguments = ("--schema-only", "--no-password", *written)
    with tools.reading("pg_dump", *arguments, environment=environment) as output:
        return Schema(tools.version, _without_note(_items(output)))


def _without_note(items: Iterable[Item]) -> frozenset[Item]:
    """Return ``items`` but our own word of a running migration, which is no part of a schema."""
    return frozenset(
        one for one in items if not (one.kind == "COMMENT" and BEGINNING in one.statements)
    )


def _items(lines: Iterator[bytes]) -> Iterator[Item]:
    header: tuple[str, str, str] | None = None
    statements: list[str] = []
    encoding = "utf-8"
    for raw in lines:
        encoding = _encoding_in(raw) or encoding
        line = raw.decode(encoding, errors="surrogateescape").rstrip("\n")
        if match := _HEADER.match(line):
            if header is not None:
                yield _item(header, statements)
            header, statements = (match[2], match[3], match[1]), []
        elif header is not None and not line.startswith(_OF_SESSION):
            statements.append(line)
    if header is not None:
        yield _item(header, statements)


def _item(header: tuple[str, str, str], statements: Sequence[str]) -> Item:
    text = "\n".join(statements).strip()
    return Item(*header, _CAST_LIST.sub(_cast_one_by_one, text))


def _cast_one_by_one(match: re.Match[str]) -> str:
    texts = re.findall(_TEXT, match[1])
    return f"ARRAY[{', '.join(f'({one})::{match[2]}' for one in texts)}]"


def _encoding_in(line: bytes) -> str | None:
    """Return the encoding of what follows a line that says so, by Python's name."""
    match = _ENCODING.fullmatch(line)
    return None if match is None else encoding_called(match[1].decode())


def encoding_called(name: str) -> str:
    """Return an encoding, as the server calls it, by Python's name."""
    if latin := re.fullmatch(r"LATIN(\d+)", name):
        number = int(latin[1])
        return f"iso8859-{_LATIN.get(number, number)}"
    python = name.replace("WIN", "cp").replace("KOI8", "koi8-")
    try:
        return codecs.lookup(python).name
    except LookupError:  # SQL_ASCII: whatever bytes there are
        return "utf-8"


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
    tools: Tools,
    path: Path,
    description: Description,
    environment: Mapping[str, str],
    *,
    longest: int | None = None,
) -> Generator[Row]:
    """Yield all rows of an archive; raises when it has other tables than are described.

    A large object is one row, of its number and a checksum. ``longest``: the bytes of a row that
    are held in memory; of a longer one comes the beginning alone.
    """
    arguments = ("--data-only", "--file=-", str(path))
    with (
        blamed_on(path),
        tools.reading("pg_restore", *arguments, environment=environment) as output,
    ):
        tables = {table.copied: table for table in description.tables}
        is_whole = yield from _rows(output, path, tables, longest)
    if not is_whole:  # and the program has not failed
        raise damaged_backup(path.name, "the rows of a table have no end")


def counts_of_archive(
    tools: Tools,
    path: Path,
    description: Description,
    environment: Mapping[str, str],
    poll: Callable[[], object],
) -> Counter[str]:
    """Count the rows of an archive by their tables, in memory that no long value adds to."""
    rows = rows_of_archive(tools, path, description, environment, longest=_LONGEST_COUNTED)
    found = Counter[str]()
    for number, row in enumerate(rows):
        found[row.table.shown] += 1
        if number % _ASKED_EVERY == 0 or len(row.line) > _LONG:
            poll()
    return found


def _rows(
    output: IO[bytes], path: Path, tables: Mapping[str, Table], longest: int | None
) -> Generator[Row, None, bool]:
    read = output.readline if longest is None else partial(_beginning_of_line, output, longest)
    large = next((one for one in tables.values() if (one.schema, one.name) == LARGE_OBJECTS), None)
    encoding = "utf-8"
    for line in output:
        if line.startswith(b"COPY "):
            copied = _name_in(line, output)
            table = tables.get(copied.decode(encoding, errors="surrogateescape"))
            if table is None:
                raise damaged_backup(path.name, "it has a table that is not described")
            for row in iter(read, _END):
                if not row:
                    return False
                yield Row(table, row[:-1])
        elif match := _OPEN_LARGE.fullmatch(line):
            digest = hashlib.sha256()
            for part in iter(output.readline, b""):
                if part.startswith(_CLOSE_LARGE):
                    break
                digest.update(part)
            if large is None:
                raise damaged_backup(path.name, "it has large objects that are not described")
            yield Row(large, match[1] + b"\t" + digest.hexdigest().encode())
        else:
            encoding = _encoding_in(line) or encoding
    return True


def _beginning_of_line(output: IO[bytes], longest: int) -> bytes:
    """Read a line, and return all of it but what is behind ``longest`` bytes.

    What is left out has the line feed, or the end of the file: nothing where that comes too early.
    """
    line = part = output.readline(longest)
    while part and not part.endswith(b"\n"):
        part = output.readline(longest)
    return line if part else b""


def _name_in(line: bytes, output: IO[bytes]) -> bytes:
    """Return the name of the table in a statement, which may go on in the lines that follow."""
    while True:
        if match := _COPY.fullmatch(line):
            return match[1]
        following = output.readline()
        if not following or len(line) > _LONGEST_COPY:
            return b""
        line += following


@contextmanager
def blamed_on(path: Path) -> Iterator[None]:
    """Say of a program that fails for an unknown reason that the archive is damaged."""
    try:
        yield
    except BackupError as error:
        if type(error) is not BackupError:
            raise
        raise damaged_backup(path.name, error.reason) from error
