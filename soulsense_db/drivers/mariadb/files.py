"""What is done with backup files alone: no server is asked."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from soulsense_db import fs
from soulsense_db.drivers.base import Driver
from soulsense_db.drivers.dump_rows import Comparison
from soulsense_db.drivers.mariadb import archive, contents, snapshot
from soulsense_db.drivers.mariadb.errors import damaged_backup
from soulsense_db.drivers.mariadb.schema import Schema, without_tables
from soulsense_db.drivers.results import CheckLevel, DatabaseDiff, Findings, SnapshotInfo
from soulsense_db.progress import Progress


class BackupFiles(Driver):
    """The part of a driver that reads backup files."""

    def copy_file(
        self, source: Path, target: Path, *, progress: Progress | None = None
    ) -> SnapshotInfo:
        """Copy a backup that is whole."""
        described = archive.read(source)
        size = described.size_bytes

        def poll() -> None:
            if progress is not None:
                progress(0, size)

        self.check(source, level="full", poll=poll)
        with fs.storage_errors("copy", source):
            shutil.copyfile(source, target)
        total = target.stat().st_size
        if progress is not None:
            progress(total, total)
        return snapshot.info_of(described, total)

    def require_readable(self, source: Path) -> None:
        """Read the beginning and what is written at the end."""
        archive.read(source)

    def check(
        self, path: Path, *, level: CheckLevel, poll: Callable[[], object] | None = None
    ) -> Findings:
        """Compare length and checksum; in full, count the rows as well."""
        poll = poll or (lambda: None)
        if level == "quick":
            archive.read(path)
            return Findings()
        described = archive.require_whole(path, poll=poll)
        if level == "full":
            found = dict.fromkeys(described.counts, 0)
            for row in contents.rows_of(path, described):
                found[row.table.name] += 1
                if found[row.table.name] % 1000 == 1:
                    poll()
            if found != dict(described.counts):
                raise damaged_backup(path.name, "it has other rows than were counted")
        return Findings()

    def heads_in(self, source: Path) -> tuple[str, ...]:
        """Return the revisions that were in the database when it was dumped."""
        return archive.read(source).heads

    def compare_copy(
        self,
        copy: Path,
        backup: Path,
        *,
        ignore: Collection[str],
        progress: Progress | None = None,
    ) -> DatabaseDiff:
        """Compare two backups: the statements of their schemas, and their rows line by line."""
        described = [archive.read(one) for one in (backup, copy)]
        comparison = Comparison(described[0], described[1], ignore)
        tables = comparison.run(
            contents.rows_of(backup, described[0]), contents.rows_of(copy, described[1]), progress
        )
        kept = [without_tables(one, ignore) for one in described]
        return DatabaseDiff(
            tables=tables, same_schema=kept[0] == kept[1], alembic_heads=described[1].heads
        )

    def count_rows(
        self, source: Path, *, poll: Callable[[], object] | None = None
    ) -> Mapping[str, int]:
        """Return the numbers of rows that were counted when the database was dumped."""
        del poll
        return archive.read(source).counts

    def schema_of(self, source: Path) -> Schema:
        """Return the statements of the schema."""
        described = archive.read(source)
        return Schema(described.version, frozenset(described.items))
