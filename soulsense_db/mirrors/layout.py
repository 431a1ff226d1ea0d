"""What lies where at a mirror: a folder for each database, two objects for each backup.

::

    <place>/laptop-app-1a2b3c4d/soulsense_backup_20260115_103000_weekly_6c1f0a2b3d4e.db
    <place>/laptop-app-1a2b3c4d/soulsense_backup_20260115_103000_weekly_6c1f0a2b3d4e.db.meta

The name is that of the backup with its id in it, which no two backups share: two machines that
store at once in one folder cannot overwrite each other, and a list of names tells what is there.
The data is stored first and the meta file last, and removed the other way round: a backup is at a
mirror when both are. A folder can be copied, and used as a backup directory.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from soulsense_db.backup_info import META_SUFFIX, BackupInfo, Form, plain_name
from soulsense_db.mirrors.base import StoredObject
from soulsense_db.mirrors.errors import bad_folder

_ID = re.compile(r"[0-9a-f]{12}")
_NAME = re.compile(r".+_\d{8}_\d{6}(?:_.*)?_([0-9a-f]{12})\.\w+?(?:\.zst|\.diff)?(?:\.age)?", re.S)
_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MOST_OF_A_PART = 40


def token_of(info: BackupInfo) -> str:
    """Return what tells a backup from all others in a name: its id, 12 hexadecimal digits."""
    if _ID.fullmatch(info.id):
        return info.id
    return hashlib.sha256(f"{info.id} {info.sha256}".encode()).hexdigest()[:12]


def token_in(name: str) -> str | None:
    """Return that of the backup ``name`` at a mirror; None where the name is none of ours."""
    found = _NAME.fullmatch(name)
    return found[1] if found else None


def name_at_mirror(info: BackupInfo) -> str:
    """Return the name that the data of ``info`` has at every mirror."""
    token = token_of(info)
    if token_in(info.filename) == token:  # it was fetched from there as a file
        return info.filename
    plain = PurePath(plain_name(info.filename))
    return f"{plain.stem}_{token}{plain.suffix}{Form.of(info.filename).ending}"


def folder_for(host: str, database: Path | None) -> str:
    """Return the folder for the database at ``database`` on the machine ``host``."""
    place = hashlib.sha256(f"{host} {database}".encode(errors="surrogateescape")).hexdigest()
    name = database.stem if database else "memory"
    return f"{_safe(host) or 'machine'}-{_safe(name) or 'database'}-{place[:8]}"


def require_folder(name: str) -> str:
    """Return ``name``; raise :class:`~soulsense_db.errors.OptionError` for no name of a folder."""
    if not _FOLDER.fullmatch(name) or name.endswith("."):
        raise bad_folder(name)
    return name


def _safe(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "-", text)[:_MOST_OF_A_PART].strip("-_")


@dataclass(frozen=True, slots=True)
class StoredBackup:
    """A backup of which data and meta file are at a mirror; sizes in bytes."""

    name: str
    size_bytes: int
    meta_bytes: int


@dataclass(slots=True)
class Folder:
    """What a folder has: ``backups`` by token; ``alone``: data or a meta file without the other."""

    backups: dict[str, StoredBackup] = field(default_factory=dict)
    alone: list[StoredObject] = field(default_factory=list)


def folders_in(objects: Iterable[StoredObject]) -> dict[str, Folder]:
    """Return the folders that have anything of ours, sorted by name.

    What has a name of others is passed by.
    """
    data: dict[str, dict[str, StoredObject]] = {}
    metas: dict[str, dict[str, StoredObject]] = {}
    for found in objects:
        is_meta = found.name.endswith(META_SUFFIX)
        name = found.name.removesuffix(META_SUFFIX)
        if token_in(name) is not None and _FOLDER.fullmatch(found.folder):
            (metas if is_meta else data).setdefault(found.folder, {})[name] = found
    folders: dict[str, Folder] = {}
    for folder in sorted({*data, *metas}):
        there, described = data.get(folder, {}), metas.get(folder, {})
        folders[folder] = Folder(
            backups={
                str(token_in(name)): StoredBackup(
                    name, found.size_bytes, described[name].size_bytes
                )
                for name, found in there.items()
                if name in described
            },
            alone=[
                *(found for name, found in there.items() if name not in described),
                *(found for name, found in described.items() if name not in there),
            ],
        )
    return folders
