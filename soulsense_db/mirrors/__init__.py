"""Mirrors: copies of the backup directory at places off this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from soulsense_db._lazy import names_from

if TYPE_CHECKING:
    from soulsense_db.mirrors.base import Mirror, Outgoing, StoredObject
    from soulsense_db.mirrors.layout import Folder as Folder
    from soulsense_db.mirrors.layout import StoredBackup as StoredBackup
    from soulsense_db.mirrors.layout import folder_for as folder_for
    from soulsense_db.mirrors.layout import folders_in as folders_in
    from soulsense_db.mirrors.layout import name_at_mirror as name_at_mirror
    from soulsense_db.mirrors.layout import require_folder as require_folder
    from soulsense_db.mirrors.layout import token_in as token_in
    from soulsense_db.mirrors.layout import token_of as token_of
    from soulsense_db.mirrors.record import MirrorRecord as MirrorRecord
    from soulsense_db.mirrors.record import RecordFile as RecordFile
    from soulsense_db.mirrors.registry import mirror_for
    from soulsense_db.mirrors.registry import require_kind as require_kind
    from soulsense_db.mirrors.url import MirrorUrl

# For who writes a kind of mirror; the other names are for the rest of this package.
__all__ = ["Mirror", "MirrorUrl", "Outgoing", "StoredObject", "mirror_for"]

_HOMES = {
    "require_kind": "soulsense_db.mirrors.registry",
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
    "Mirror": "soulsense_db.mirrors.base",
    "MirrorUrl": "soulsense_db.mirrors.url",
    "Outgoing": "soulsense_db.mirrors.base",
    "StoredObject": "soulsense_db.mirrors.base",
    "mirror_for": "soulsense_db.mirrors.registry",
}

if not TYPE_CHECKING:  # else a misspelt name would pass the type checker
    __getattr__ = names_from(_HOMES, __name__)
