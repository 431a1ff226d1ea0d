"""The migration marker: a file beside the live database while a migration runs.

It is written and fsynced before the first step and removed at the end, so that one that is found
while nobody holds the database's lock tells of a migration that died half-way. It names the backup
that puts the database back. ``sha256`` covers every other key: with one bit flipped, the target
could be the revision that the database is at, and the migration one that had ended.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from soulsense_db import files
from soulsense_db.backup_info import digest_of
from soulsense_db.beside import beside
from soulsense_db.errors import HalfRunMigrationError, MetaFileError, StorageError
from soulsense_db.meta_file import read_small_file

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationMarker:
    """What a running migration leaves word of.

    ``backup``: path of the safety backup, None when the marker cannot be read; ``started_at``:
    ISO 8601, UTC; ``alembic_heads``: the revisions before; ``target_revision``: where it was going,
    None for ``base``.
    """

    backup: str | None
    alembic_heads: tuple[str, ...]
    target_revision: str | None
    started_at: str

    def error(self, database: Path) -> HalfRunMigrationError:
        """Return the error that says what happened and how to go on."""
        place = ["--url", str(database)]
        keep = shlex.join(["soulsense-db", "restore", "--accept", *place])
        if self.backup is None:
            return HalfRunMigrationError(
                f"A migration of {database} died before its end, and its marker cannot be read: "
                "the database may be half migrated. The newest backup of kind pre_migration is "
                "likely the one from before it.",
                hint="Find it with 'soulsense-db list' and restore it; or keep the database as it "
                f"is: {keep}",
            )
        backup = Path(self.backup)
        back = shlex.join(
            ["soulsense-db", "restore", backup.name, *place, "--directory", str(backup.parent)]
        )
        before = ", ".join(self.alembic_heads) or "an empty database"
        return HalfRunMigrationError(
            f"A migration of {database} (from {before} to {self.target_revision or 'base'}, "
            f"started {self.started_at}) died before its end: the database may be half migrated. "
            f"The backup from before it is {self.backup}.",
            hint=f"Put it back with: {back}  (or keep the database as it is: {keep})",
        )


def marker_path(database: Path) -> Path:
    """Return where the marker of the database file ``database`` is."""
    return beside(database, ".migrating")


def write_marker(
    database: Path, *, backup: str, alembic_heads: tuple[str, ...], target_revision: str | None
) -> None:
    """Write the marker of a migration that is about to start; on disk at return."""
    marker = MigrationMarker(
        backup=backup,
        alembic_heads=alembic_heads,
        target_revision=target_revision,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    facts = {"format": _FORMAT, **asdict(marker), "alembic_heads": list(alembic_heads)}
    text = json.dumps(facts | {"sha256": digest_of(facts)}, indent=2)
    files.write_durably(marker_path(database), text.encode(), like=database)


def read_marker(database: Path) -> MigrationMarker | None:
    """Return the marker of ``database``, None when there is none.

    One that cannot be read still tells that a migration died: its facts are then unknown.
    """
    path = marker_path(database)
    try:
        data = read_small_file(path)
    except MetaFileError:
        raise StorageError(
            f"{path} is no migration marker, but a directory, a pipe, a link or far too large. "
            "Nothing was changed.",
            hint="Find out who put it there, and move it away.",
        ) from None
    if data is None:
        return None
    try:
        facts = json.loads(data)
        if facts.pop("sha256") != digest_of(facts):
            raise ValueError("its own checksum does not match")
        return MigrationMarker(
            backup=str(facts["backup"]),
            alembic_heads=tuple(map(str, facts["alembic_heads"])),
            target_revision=facts["target_revision"],
            started_at=str(facts["started_at"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return MigrationMarker(
            backup=None,
            alembic_heads=(),
            target_revision=None,
            started_at="",
        )


def clear_marker(database: Path) -> bool:
    """Remove the marker of ``database``, on disk at return; False when there was none."""
    path = marker_path(database)
    if not files.exists(path):
        return False
    files.remove(path)
    files.sync_directory(path.parent)
    return True
