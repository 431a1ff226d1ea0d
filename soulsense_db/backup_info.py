"""One backup's facts, and the meta file that holds them.

A meta file is JSON in UTF-8, named like its backup with ``.meta`` appended::

    {"format": 1, "id": "9f1c...", "created_at": "2026-01-15T09:30:00.123456+00:00", ...,
     "meta_sha256": "..."}

``meta_sha256`` covers every other key, so that a damaged meta file is told from a good one. A meta
file that is not JSON is a description written by an older SoulSense.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from soulsense_db.errors import InvalidDescriptionError, MetaFileError, NewerFormatError

META_FORMAT = 1
META_SUFFIX = ".meta"
# A meta file is read whole, so it has a limit; the longest one we write is far below it.
MAX_META_BYTES = 1024 * 1024
MAX_DESCRIPTION = 100_000
MAX_NOTE = 10_000

BackupKind = Literal["manual", "automatic", "pre_migration", "pre_restore", "imported"]
KINDS: tuple[str, ...] = get_args(BackupKind)

# What stands between the names of a path; `os`, which has it, is nothing for pure facts.
_SEPARATOR = str(Path("a", "b"))[1]
_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupInfo:
    """The facts of one backup.

    ``path``: the data file, absolute; ``created_at``: aware, UTC, what the clock said;
    ``size_bytes`` and ``sha256``: of the stored file, ``sha256`` is None when no meta file told it;
    ``database``: name of the database it was taken from, None when unknown, with its absolute path
    and its path from the backup directory where it has a file; ``alembic_heads``: the
    revisions the database was at; ``target_revision``: where the migration after it was going;
    ``driver_facts``: what the driver noted of the source, by name; ``verified_at``: when it last
    passed a check (UTC), its own at creation included, None when it failed since or never did;
    ``pinned``: whether it is kept whatever a policy says, with ``pin_note`` for why;
    ``ordered_at``: what it is ordered by instead of ``created_at``, where the clock had been set
    back (aware, UTC; later than all backups that were there), else None;
    ``half_run``: whether it was taken while a migration was running or had died half-way;
    ``meta_problem``: why the meta file cannot be trusted, or empty.
    """

    id: str
    path: str
    created_at: datetime
    size_bytes: int
    kind: BackupKind = "manual"
    description: str = ""
    sha256: str | None = None
    dialect: str | None = None
    database: str | None = None
    database_path: str | None = None
    database_relative: str | None = None
    alembic_heads: tuple[str, ...] = ()
    target_revision: str | None = None
    duration_seconds: float | None = None
    driver_facts: Mapping[str, str] = field(default_factory=dict, hash=False)
    verified_at: datetime | None = None
    pinned: bool = False
    pin_note: str = ""
    ordered_at: datetime | None = None
    half_run: bool = False
    meta_problem: str = ""

    @property
    def filename(self) -> str:
        """Name of the data file, without its directory."""
        return self.path.rpartition(_SEPARATOR)[2]  # ten times as fast as Path, and long lists ask

    @property
    def meta_path(self) -> str:
        """Where the meta file is, or would be."""
        return self.path + META_SUFFIX

    @property
    def of_unknown_origin(self) -> bool:
        """Whether nothing that can be trusted says of which database it is a backup."""
        return bool(self.meta_problem) or not self.database

    @property
    def order(self) -> tuple[datetime, datetime, str]:
        """The sort key of every listing: the order of creation, whatever the clock did."""
        return self.ordered_at or self.created_at, self.created_at, self.filename

    @property
    def timestamp(self) -> datetime:
        """When the backup was taken: naive local time, to compare with ``datetime.now()``."""
        try:
            return self.created_at.astimezone().replace(tzinfo=None)
        except OverflowError:  # on the first or the last day of the calendar
            return self.created_at.replace(tzinfo=None)

    @property
    def timestamp_display(self) -> str:
        """``timestamp`` as ``2026-01-15 10:30:00``."""
        return f"{self.timestamp:%Y-%m-%d %H:%M:%S}"

    @property
    def size_display(self) -> str:
        """``size_bytes`` as ``1.2 MB``, in steps of 1024."""
        return display_size(self.size_bytes)


def display_size(size_bytes: int) -> str:
    """Return ``size_bytes`` in the largest unit that keeps it at 1 or more: ``1.2 MB``."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    power = min((size_bytes.bit_length() - 1) // 10, len(_UNITS) - 1)
    return f"{size_bytes / 1024**power:.1f} {_UNITS[power]}"


def check_description(description: str) -> None:
    """Raise :class:`InvalidDescriptionError` for one that a meta file cannot hold."""
    _check_text(description, "description", MAX_DESCRIPTION, "No backup was made.")


def check_note(note: str) -> None:
    """Raise :class:`InvalidDescriptionError` for a pin's note that a meta file cannot hold."""
    _check_text(note, "note", MAX_NOTE, "Nothing was changed.")


def _check_text(text: str, what: str, limit: int, consequence: str) -> None:
    if len(text) > limit:
        raise InvalidDescriptionError(
            f"The {what} has {len(text):,} characters. {consequence}",
            hint=f"Use at most {limit:,} characters.",
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidDescriptionError(
            f"The {what} has characters that are no valid text (lone surrogates). {consequence}",
            hint="Remove them and try again.",
        ) from None


# Facts that the place of the file tells, or that are only about reading it.
_NOT_STORED = {"path", "meta_problem"}
_STORED = tuple(f.name for f in fields(BackupInfo) if f.name not in _NOT_STORED)
# Facts of later versions of the format: a file without them is whole.
_ADDED: dict[str, Any] = {
    "verified_at": None,
    "pinned": False,
    "pin_note": "",
    "ordered_at": None,
    "half_run": False,
}
_MOMENTS = ("created_at", "verified_at", "ordered_at")


def to_meta(info: BackupInfo) -> bytes:
    """Return the contents of the meta file for ``info``."""
    facts: dict[str, Any] = {"format": META_FORMAT, "filename": info.filename}
    facts |= {name: getattr(info, name) for name in _STORED}
    facts |= moments_of(info)
    facts["alembic_heads"] = list(info.alembic_heads)
    facts["driver_facts"] = dict(info.driver_facts)
    facts["meta_sha256"] = digest_of(facts)
    text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    # A path may hold bytes that are no text: they become escapes of JSON.
    return text.encode(errors="backslashreplace")


def moments_of(info: BackupInfo) -> dict[str, str | None]:
    """Return the times among the facts of ``info`` as ISO 8601."""
    moments = {name: getattr(info, name) for name in _MOMENTS}
    return {name: moment.isoformat() if moment else None for name, moment in moments.items()}


def from_meta(data: bytes, path: Path, *, size_bytes: int, found_at: datetime) -> BackupInfo:
    """Read the meta file contents ``data`` of the backup ``path``.

    ``size_bytes`` of the data file and ``found_at`` stand in where an older SoulSense wrote only a
    description. Raises :class:`MetaFileError` when it is damaged, :class:`NewerFormatError` when a
    newer version wrote it.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise _damaged(path, "it is not text") from None
    try:
        facts = json.loads(text)
    except ValueError:
        if _is_old_description(text):
            return without_meta(
                path, size_bytes=size_bytes, found_at=found_at, description=text.strip()
            )
        raise _damaged(path, "it is not complete") from None
    except RecursionError:
        raise _damaged(path, "it is nested too deep") from None
    if not isinstance(facts, dict):
        if _is_old_description(text):
            return without_meta(
                path, size_bytes=size_bytes, found_at=found_at, description=text.strip()
            )
        raise _damaged(path, "it holds no facts")
    version = facts.get("format")
    if isinstance(version, int) and version > META_FORMAT:
        raise NewerFormatError(
            f"The meta file of {path.name} has format {version}; this version reads up to "
            f"{META_FORMAT}. The backup itself was left alone.",
            hint="Upgrade soulsense_db and try again.",
        )
    if facts.pop("meta_sha256", None) != digest_of(facts):
        raise _damaged(path, "its own checksum does not match")
    return _build(facts, path)


def _build(facts: dict[str, Any], path: Path) -> BackupInfo:
    try:
        facts = _ADDED | facts
        kept = {name: facts[name] for name in _STORED}
        for name in _MOMENTS:
            if kept[name] is not None or name not in _ADDED:
                kept[name] = datetime.fromisoformat(kept[name]).astimezone(UTC)
        kept |= {name: bool(kept[name]) for name in ("pinned", "half_run")}
        kept["alembic_heads"] = tuple(map(str, kept["alembic_heads"]))
        kept["driver_facts"] = dict(kept["driver_facts"])
        kept["size_bytes"] = int(kept["size_bytes"])
        kept |= {name: str(kept[name]) for name in ("id", "description", "pin_note")}
        if kept["kind"] not in KINDS:
            raise ValueError(kept["kind"])
        return BackupInfo(path=str(path), **kept)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise _damaged(path, "facts are missing") from None


def without_meta(
    path: Path,
    *,
    size_bytes: int,
    found_at: datetime,
    description: str = "",
    meta_problem: str = "",
) -> BackupInfo:
    """Return what can be told of a backup from its name and size alone.

    The time comes from the ``YYYYMMDD_HHMMSS`` in the name (local time), else it is ``found_at``.
    """
    return BackupInfo(
        id="f" + hashlib.sha256(path.name.encode(errors="surrogateescape")).hexdigest()[:11],
        path=str(path),
        created_at=_time_in_name(path.name) or found_at,
        size_bytes=size_bytes,
        description=description,
        meta_problem=meta_problem,
    )


def _time_in_name(name: str) -> datetime | None:
    found = re.search(r"(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)", name)
    if not found:
        return None
    try:
        return datetime(*map(int, found.groups())).astimezone(UTC)  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        return None


def _is_old_description(text: str) -> bool:
    """Whether ``text`` can be a line that a person typed, and no remains of a meta file of ours."""
    ours = '"format"' in text or '"meta_sha256"' in text or text.lstrip().startswith("{")
    return bool(text.strip()) and not ours and not any(map(_is_control, text))


def _is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc" and not character.isspace()


def digest_of(facts: Mapping[str, Any]) -> str:
    """Return the SHA-256 over ``facts`` in the one form that the meta file's page describes."""
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def without_meta_hint(name: str) -> str:
    """Return what to do about a meta file of the backup ``name`` that cannot be trusted."""
    return (
        f"Delete {name}{META_SUFFIX} to use the backup all the same. Its checksum is lost then, "
        "and it is of unknown origin: 'latest' no longer means it. If you know that it is one of "
        f"this database, give it a new meta file: soulsense-db adopt {shlex.quote(name)}"
    )


def _damaged(path: Path, why: str) -> MetaFileError:
    return MetaFileError(
        f"The meta file of {path.name} is damaged: {why}. The backup itself was left alone.",
        hint=without_meta_hint(path.name),
    )
