"""The backup directory: names, reservation, atomic publication, listing, removal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from soulsense_db._lazy import names_from

if TYPE_CHECKING:
    from soulsense_db.directory.directory import BackupDirectory
    from soulsense_db.directory.errors import needed_as_base, pinned
    from soulsense_db.directory.names import NAME_CHARACTERS
    from soulsense_db.directory.staging import Staging

__all__ = [
    "NAME_CHARACTERS",
    "BackupDirectory",
    "Staging",
    "needed_as_base",
    "pinned",
]

_HOMES = {
    "NAME_CHARACTERS": "soulsense_db.directory.names",
    "BackupDirectory": "soulsense_db.directory.directory",
    "needed_as_base": "soulsense_db.directory.errors",
    "pinned": "soulsense_db.directory.errors",
    "Staging": "soulsense_db.directory.staging",
}

if not TYPE_CHECKING:  # else a misspelt name would pass the type checker
    __getattr__ = names_from(_HOMES, __name__)
