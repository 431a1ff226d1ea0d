"""The migration marker: a file beside the live database while a migration runs.

It is written and fsynced before the first step and removed at the end, so that one that is found
while nothing holds the database's lock tells of a migration that died half-way. It has an entry for
each chain that was being migrated, and each entry names the backup that puts the database back.
``sha256`` covers every other key: with one bit flipped, the target could be the revision that the
database is at, and the migration one that had ended.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from soulsense_db import fs
from soulsense_db.backup_info import sealed, unsealed
from soulsense_db.errors import InterruptedMigrationError, MetaFileError
from soulsense_db.fs import beside
from soulsense_db.meta_file import read_small_file
from soulsense_db.notices import log_ignored
from soulsense_db.shown_text import printable
from soulsense_db.sidecars.errors import (
    interrupted,
    interrupted_elsewhere,
    interrupted_without_backup,
    no_marker,
)

_FORMAT = 2
_SEAL = "sha256"
_Name = Annotated[str, msgspec.Meta(max_length=1_000)]
_PathText = Annotated[str, msgspec.Meta(max_length=10_000)]
_Heads = Annotated[tuple[_Name, ...], msgspec.Meta(max_length=1_000)]


class Chain(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The version table that a migration moves, and where its scripts come from."""

    version_table: _Name = "alembic_version"
    schema: _Name | None = None
    section: _Name = ""
    script_location: _PathText = ""


class Process(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The process that was migrating; ``started_at``: ISO 8601, UTC, None where unknown."""

    host: _Name
    pid: Annotated[int, msgspec.Meta(ge=0)]
    started_at: _Name | None = None


class MigrationMarker(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What the running migration of one chain leaves word of.

    ``backup``: path of the safety backup, None when it is not known, as in a marker that cannot be
    read; ``backup_id`` and ``backup_sha256`` tell it under any other path; ``alembic_heads``: the
    revisions before; ``target_heads``: those it was going to, sorted, none for ``base``;
    ``started_at``: ISO 8601, UTC; ``chain`` and ``process``: None where an older version wrote it;
    ``noted``: whether the server had a note of it, so that the note can tell that it was settled.
    """

    id: _Name = ""
    backup: _PathText | None = None
    backup_id: _Name = ""
    backup_sha256: _Name = ""
    alembic_heads: _Heads = ()
    target_heads: _Heads = ()
    started_at: _Name = ""
    chain: Chain | None = None
    process: Process | None = None
    noted: bool = False

    @property
    def target_revision(self) -> str | None:
        """Where it was going, None for ``base``."""
        return ",".join(self.target_heads) or None

    def error(self, database: Path | str, address: str = "") -> InterruptedMigrationError:
        """Return the error that says what happened and how to go on.

        ``database``: its file or its name; ``address``: what reaches it in commands, where that is
        not its path.
        """
        address = address or str(database)
        if self.backup is not None:
            backup = Path(self.backup)
            # Told by a server: the backup may be on the machine that was migrating.
            is_here = isinstance(database, Path) or fs.exists(backup)
            make = interrupted if is_here else interrupted_elsewhere
            return make(database, address, self._what(), backup)
        why = (
            "the backup from before it is not known"
            if self.started_at
            else "its marker cannot be read"
        )
        return interrupted_without_backup(database, address, why)

    def _what(self) -> str:
        before = ", ".join(self.alembic_heads) or "an empty database"
        said = f"from {before} to {self.target_revision or 'base'}"
        if self.chain is not None and self.chain.version_table != Chain().version_table:
            said += f", version table {self.chain.version_table}"
        said += f", started {self.started_at}"
        if self.process is not None:
            said += f" by process {self.process.pid} on {self.process.host}"
        return printable(said)


UNREADABLE = MigrationMarker()
"""Stands for a marker that cannot be read: its facts are unknown."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: Literal[2]
    migrations: Annotated[tuple[MigrationMarker, ...], msgspec.Meta(min_length=1, max_length=1_000)]


class _OldFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Format 1: one migration, and not of which chain."""

    format: Literal[1]
    backup: _PathText
    alembic_heads: _Heads
    target_revision: _Name | None
    started_at: _Name


def marker_path(database: Path) -> Path:
    """Return where the marker of the database file ``database`` is."""
    return beside(database, ".migrating")


def new_marker(
    *,
    backup: str | None,
    alembic_heads: Iterable[str],
    target_heads: Iterable[str],
    chain: Chain | None = None,
    backup_id: str = "",
    backup_sha256: str | None = None,
) -> MigrationMarker:
    """Return the marker of a migration that this process is about to start."""
    return MigrationMarker(
        id=secrets.token_hex(6),
        backup=backup,
        backup_id=backup_id,
        backup_sha256=backup_sha256 or "",
        alembic_heads=tuple(alembic_heads),
        target_heads=tuple(sorted(target_heads)),
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        chain=chain,
        process=_this_process(),
    )


def write_markers(database: Path, markers: Collection[MigrationMarker]) -> None:
    """Make ``markers`` all that the marker file says; without any there is no file. On disk."""
    if not markers:
        clear_marker(database)
        return
    text = text_of(markers, indent=2)
    fs.write_durably(marker_path(database), text.encode(), owner_of=database)


def text_of(markers: Collection[MigrationMarker], *, indent: int | None = None) -> str:
    """Return the content of a marker with these entries, empty without any."""
    if not markers:
        return ""
    entries = [msgspec.to_builtins(marker) for marker in markers]
    return json.dumps(sealed({"format": _FORMAT, "migrations": entries}, _SEAL), indent=indent)


def read_markers(database: Path) -> tuple[MigrationMarker, ...]:
    """Return the entries of the marker of ``database``, in the order in which they were begun.

    A marker that cannot be read still tells that a migration died: :data:`UNREADABLE`.
    """
    path = marker_path(database)
    try:
        data = read_small_file(path)
    except MetaFileError:
        raise no_marker(path) from None
    return () if data is None else in_text(data, str(path))


def in_text(text: str | bytes, name: str) -> tuple[MigrationMarker, ...]:
    """Return the entries of a marker with this content; ``name`` is what the log calls it."""
    try:
        content = unsealed(json.loads(text), _SEAL)
        if content is None:
            raise ValueError("its own checksum does not match")
        return _markers_of(content)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        log_ignored(f"{name} cannot be read", error)
        return (UNREADABLE,)  # msgspec's errors are ValueErrors


def _markers_of(content: dict[str, Any]) -> tuple[MigrationMarker, ...]:
    if content.get("format") != 1:
        return msgspec.convert(content, _File).migrations
    old = msgspec.convert(content, _OldFile)
    marker = MigrationMarker(
        backup=old.backup,
        alembic_heads=old.alembic_heads,
        target_heads=tuple(old.target_revision.split(",")) if old.target_revision else (),
        started_at=old.started_at,
    )
    return (marker,)


def clear_marker(database: Path) -> bool:
    """Remove the marker of ``database``, on disk at return; False when there was none."""
    path = marker_path(database)
    if not fs.exists(path):
        return False
    fs.remove(path)
    fs.sync_directory(path.parent)
    return True


def to_text(markers: Iterable[MigrationMarker]) -> str:
    """Return ``markers`` as a text that :func:`from_text` reads."""
    return json.dumps([msgspec.to_builtins(marker) for marker in markers])


def from_text(text: str) -> tuple[MigrationMarker, ...]:
    """Return the markers in ``text``, none where it is no such text."""
    try:
        return msgspec.convert(json.loads(text), tuple[MigrationMarker, ...])
    except (ValueError, RecursionError) as error:
        log_ignored("The alarm of a backup cannot be read", error)
        return ()


def _this_process() -> Process:
    return Process(host=socket.gethostname(), pid=os.getpid(), started_at=_process_start())


def _process_start() -> str | None:
    """Return when this process started, None where the system has no ``/proc``."""
    try:
        fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        since_boot = timedelta(seconds=int(fields[19]) / os.sysconf("SC_CLK_TCK"))
        for line in Path("/proc/stat").read_text(encoding="utf-8").splitlines():
            if line.startswith("btime "):
                started = datetime.fromtimestamp(int(line.split()[1]), UTC) + since_boot
                return started.isoformat(timespec="seconds")
    except (OSError, ValueError, IndexError, AttributeError) as error:
        log_ignored("When this process started is not known", error)
    return None
