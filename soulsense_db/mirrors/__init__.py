"""Mirrors: copies of the backup directory at places off this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from soulsense_db._lazy import names_from

if TYPE_CHECKING:
    from soulsense_db.mirrors.base import Mirror, Outgoing, StoredObject
    from soulsense_db.mirrors.errors import no_object, unreachable
    from soulsense_db.mirrors.layout import (
        Folder,
        StoredBackup,
        folder_for,
        folders_in,
        name_at_mirror,
        require_folder,
        token_in,
        token_of,
    )
    from soulsense_db.mirrors.record import MirrorRecord, RecordFile
    from soulsense_db.mirrors.registry import mirror_for
    from soulsense_db.mirrors.url import MirrorUrl

__all__ = [
    "Folder",
    "Mirror",
    "MirrorRecord",
    "MirrorUrl",
    "Outgoing",
    "RecordFile",
    "StoredBackup",
    "StoredObject",
    "folder_for",
    "folders_in",
    "mirror_for",
    "name_at_mirror",
    "no_object",
    "require_folder",
    "token_in",
    "token_of",
    "unreachable",
]

_HOMES = {
    "Folder": "soulsense_db.mirrors.layout",
    "StoredBackup": "soulsense_db.mirrors.layout",
    "folder_for": "soulsense_db.mirrors.layout",
    "folders_in": "soulsense_db.mirrors.layout",
    "name_at_mirror": "soulsense_db.mirrors.layout",
    "require_folder": "soulsense_db.mirrors.layout",
    "token_in": "soulsense_db.mirrors.layout",
    "token_of": "soulsense_db.mirrors.layout",
    "MirrorRecord": "soulsense_db.mirrors.record",
    "RecordFile": "soulsense_db.mirrors.record",
    "no_object": "soulsense_db.mirrors.errors",
    "unreachable": "soulsense_db.mirrors.errors",
    "Mirror": "soulsense_db.mirrors.base",
    "MirrorUrl": "soulsense_db.mirrors.url",
    "Outgoing": "soulsense_db.mirrors.base",
    "StoredObject": "soulsense_db.mirrors.base",
    "mirror_for": "soulsense_db.mirrors.registry",
}

if not TYPE_CHECKING:  # else a misspelt name would pass the type checker
    __getattr__ = names_from(_HOMES, __name__)
