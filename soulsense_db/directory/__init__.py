"""The backup directory: names, reservation, atomic publication, listing, removal."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soulsense_db.directory.directory import NAME_CHARACTERS, BackupDirectory

__all__ = [
    "NAME_CHARACTERS",
    "BackupDirectory",
]

_HOMES = {
    "NAME_CHARACTERS": "soulsense_db.directory.directory",
    "BackupDirectory": "soulsense_db.directory.directory",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
