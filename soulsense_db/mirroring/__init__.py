"""What is done with mirrors: sync, status, list, verify, add, fetch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from soulsense_db._lazy import names_from

if TYPE_CHECKING:
    from soulsense_db.mirroring.check import MirrorCheck, MirrorTrial
    from soulsense_db.mirroring.errors import NOT_MOUNTED
    from soulsense_db.mirroring.fetch import one_of
    from soulsense_db.mirroring.listing import MirrorListing, list_mirror
    from soulsense_db.mirroring.mirror_operations import MirrorOperations
    from soulsense_db.mirroring.options import (
        DEADLINE_SECONDS,
        Mirrors,
        MirrorsOption,
        MirrorTarget,
    )
    from soulsense_db.mirroring.status import MirrorStatus
    from soulsense_db.mirroring.sync import SyncReport

__all__ = [
    "DEADLINE_SECONDS",
    "NOT_MOUNTED",
    "MirrorCheck",
    "MirrorListing",
    "MirrorOperations",
    "MirrorStatus",
    "MirrorTarget",
    "MirrorTrial",
    "Mirrors",
    "MirrorsOption",
    "SyncReport",
    "list_mirror",
    "one_of",
]

_HOMES = {
    "NOT_MOUNTED": "soulsense_db.mirroring.errors",
    "DEADLINE_SECONDS": "soulsense_db.mirroring.options",
    "MirrorCheck": "soulsense_db.mirroring.check",
    "MirrorListing": "soulsense_db.mirroring.listing",
    "MirrorOperations": "soulsense_db.mirroring.mirror_operations",
    "MirrorStatus": "soulsense_db.mirroring.status",
    "MirrorTarget": "soulsense_db.mirroring.options",
    "MirrorTrial": "soulsense_db.mirroring.check",
    "Mirrors": "soulsense_db.mirroring.options",
    "MirrorsOption": "soulsense_db.mirroring.options",
    "SyncReport": "soulsense_db.mirroring.sync",
    "list_mirror": "soulsense_db.mirroring.listing",
    "one_of": "soulsense_db.mirroring.fetch",
}

if not TYPE_CHECKING:  # else a misspelt name would pass the type checker
    __getattr__ = names_from(_HOMES, __name__)
