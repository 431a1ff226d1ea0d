"""Mirrors: copies of the backup directory at places off this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from soulsense_db._lazy import names_from

if TYPE_CHECKING:
    from soulsense_db.mirrors.base import Mirror, Outgoing, StoredObject
    from soulsense_db.mirrors.registry import mirror_for
    from soulsense_db.mirrors.url import MirrorUrl

__all__ = ["Mirror", "MirrorUrl", "Outgoing", "StoredObject", "mirror_for"]

_HOMES = {
    "Mirror": "soulsense_db.mirrors.base",
    "MirrorUrl": "soulsense_db.mirrors.url",
    "Outgoing": "soulsense_db.mirrors.base",
    "StoredObject": "soulsense_db.mirrors.base",
    "mirror_for": "soulsense_db.mirrors.registry",
}

if not TYPE_CHECKING:  # else a misspelt name would pass the type checker
    __getattr__ = names_from(_HOMES, __name__)
