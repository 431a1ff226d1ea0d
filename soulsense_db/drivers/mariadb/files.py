"""What is done with backup files alone: no server is asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from pathlib import Path

from soulsense_db.drivers.dump_pair import DumpSide
from soulsense_db.drivers.mariadb import archive, contents, snapshot
from soulsense_db.drivers.mariadb.restoring import Prepared
from soulsense_db.drivers.mariadb.row_format import InsertFormat
from soulsense_db.drivers.mariadb.schema import Schema, without_tables
from soulsense_db.drivers.mariadb.schema_reading import schema_in, with_periods
from soulsense_db.drivers.mariadb.tools import series
from soulsense_db.drivers.results import SnapshotInfo
from soulsense_db.drivers.swapping_driver import SwappingDriver

_HISTORY = "Rows were matched by all their values, with those that it keeps as history."


class BackupFiles(SwappingDriver[archive.Description, Prepared]):
    """The part of a driver that reads backup files."""

    def schema_of(self, source: Path) -> Schema:
        """Return the statements of the schema."""
        described = archive.read(source)
        return Schema(described.schema, described.version, frozenset(described.items))

    def describe(self, path: Path) -> archive.Description:
        """Read the comments at the end of the file."""
        return archive.read(path)

    def describe_whole(self, path: Path, poll: Callable[[], object]) -> archive.Description:
        """Read all of the file, and compare its checksum."""
        return archive.require_whole(path, poll=poll)

    def dumped_rows(self, path: Path, description: archive.Description) -> Generator[contents.Row]:
        """Read the rows of the section with tables."""
        return contents.rows_of(path, description)

    def dumped_counts(
        self, path: Path, description: archive.Description, poll: Callable[[], object]
    ) -> Mapping[str, int]:
        """Count the rows of the section with tables, as they were counted when it was written."""
        counter = contents.RowCounter()
        for chunk in archive.chunks(path, description.sections["tables"]):
            counter.feed(chunk)
            poll()
        counter.finish()
        return counter.counts

    def dump_side(self, path: Path, description: archive.Description) -> DumpSide:
        """Read the statements and rows in the file."""
        schema = schema_in(description)
        described = with_periods(description, schema)
        return DumpSide(
            described,
            schema,
            series(description.version),
            lambda: contents.rows_of(path, described),
            InsertFormat(),
            {item.name: _HISTORY for item in description.items if item.kind == "SYSTEM VERSIONED"},
        )

    def has_same_schema(self, first: Path, second: Path, *, ignore: Collection[str]) -> bool:
        """Compare the statements that are in both descriptions."""
        one, other = (without_tables(archive.read(path), ignore) for path in (first, second))
        return one == other

    def info_of(self, description: archive.Description, size_bytes: int) -> SnapshotInfo:
        """Tell of the server's version as well."""
        return snapshot.info_of(description, size_bytes)
