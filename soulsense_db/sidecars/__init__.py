"""What lies beside the live database: its safety backup, its migration marker, its lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from soulsense_db._lazy import names_from

if TYPE_CHECKING:
    from soulsense_db.sidecars.half_run import (
        facts_of,
        has_ended,
        markers_in,
        restoring,
        standing,
        standing_for_a_copy,
    )
    from soulsense_db.sidecars.lock import LiveLock, lock_path
    from soulsense_db.sidecars.migration_marker import (
        Chain,
        MigrationMarker,
        add_markers,
        clear_marker,
        marker_path,
        new_marker,
        read_markers,
        remove_markers,
    )
    from soulsense_db.sidecars.safety_backup import SAFETY_NAMES, SafetyFiles

__all__ = [
    "SAFETY_NAMES",
    "Chain",
    "LiveLock",
    "MigrationMarker",
    "SafetyFiles",
    "add_markers",
    "clear_marker",
    "facts_of",
    "has_ended",
    "lock_path",
    "marker_path",
    "markers_in",
    "new_marker",
    "read_markers",
    "remove_markers",
    "restoring",
    "standing",
    "standing_for_a_copy",
]

_HOMES = {
    "SAFETY_NAMES": "soulsense_db.sidecars.safety_backup",
    "Chain": "soulsense_db.sidecars.migration_marker",
    "LiveLock": "soulsense_db.sidecars.lock",
    "MigrationMarker": "soulsense_db.sidecars.migration_marker",
    "SafetyFiles": "soulsense_db.sidecars.safety_backup",
    "add_markers": "soulsense_db.sidecars.migration_marker",
    "clear_marker": "soulsense_db.sidecars.migration_marker",
    "facts_of": "soulsense_db.sidecars.half_run",
    "has_ended": "soulsense_db.sidecars.half_run",
    "lock_path": "soulsense_db.sidecars.lock",
    "marker_path": "soulsense_db.sidecars.migration_marker",
    "markers_in": "soulsense_db.sidecars.half_run",
    "new_marker": "soulsense_db.sidecars.migration_marker",
    "read_markers": "soulsense_db.sidecars.migration_marker",
    "remove_markers": "soulsense_db.sidecars.migration_marker",
    "restoring": "soulsense_db.sidecars.half_run",
    "standing": "soulsense_db.sidecars.half_run",
    "standing_for_a_copy": "soulsense_db.sidecars.half_run",
}


__getattr__ = names_from(_HOMES, __name__)
