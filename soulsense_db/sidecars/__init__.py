"""What lies beside the live database: its safety backup, its migration marker, its lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from soulsense_db._lazy import names_from

if TYPE_CHECKING:
    from soulsense_db.sidecars.half_run import (
        end_what_was_put_back,
        facts_of,
        is_its_backup,
        markers_in,
        markers_needing,
        raise_alarm_of,
        standing,
        standing_for_a_copy,
        withdraw_alarm,
    )
    from soulsense_db.sidecars.lock import LiveLock, lock_path
    from soulsense_db.sidecars.markers import Markers
    from soulsense_db.sidecars.migration_marker import (
        Chain,
        MigrationMarker,
        new_marker,
        read_markers,
    )
    from soulsense_db.sidecars.safety_backup import (
        FAILED_MIGRATION,
        SAFETY_BACKUP,
        SAFETY_NAMES,
        SafetyFiles,
        newest_safety_backup,
    )
    from soulsense_db.sidecars.work_files import remove_abandoned_work, work_file, work_folder

__all__ = [
    "FAILED_MIGRATION",
    "SAFETY_BACKUP",
    "SAFETY_NAMES",
    "Chain",
    "LiveLock",
    "Markers",
    "MigrationMarker",
    "SafetyFiles",
    "end_what_was_put_back",
    "facts_of",
    "is_its_backup",
    "lock_path",
    "markers_in",
    "markers_needing",
    "new_marker",
    "newest_safety_backup",
    "raise_alarm_of",
    "read_markers",
    "remove_abandoned_work",
    "standing",
    "standing_for_a_copy",
    "withdraw_alarm",
    "work_file",
    "work_folder",
]

_HOMES = {
    "FAILED_MIGRATION": "soulsense_db.sidecars.safety_backup",
    "SAFETY_BACKUP": "soulsense_db.sidecars.safety_backup",
    "SAFETY_NAMES": "soulsense_db.sidecars.safety_backup",
    "Chain": "soulsense_db.sidecars.migration_marker",
    "LiveLock": "soulsense_db.sidecars.lock",
    "Markers": "soulsense_db.sidecars.markers",
    "MigrationMarker": "soulsense_db.sidecars.migration_marker",
    "SafetyFiles": "soulsense_db.sidecars.safety_backup",
    "end_what_was_put_back": "soulsense_db.sidecars.half_run",
    "facts_of": "soulsense_db.sidecars.half_run",
    "is_its_backup": "soulsense_db.sidecars.half_run",
    "lock_path": "soulsense_db.sidecars.lock",
    "markers_in": "soulsense_db.sidecars.half_run",
    "markers_needing": "soulsense_db.sidecars.half_run",
    "raise_alarm_of": "soulsense_db.sidecars.half_run",
    "new_marker": "soulsense_db.sidecars.migration_marker",
    "newest_safety_backup": "soulsense_db.sidecars.safety_backup",
    "read_markers": "soulsense_db.sidecars.migration_marker",
    "standing": "soulsense_db.sidecars.half_run",
    "standing_for_a_copy": "soulsense_db.sidecars.half_run",
    "withdraw_alarm": "soulsense_db.sidecars.half_run",
    "remove_abandoned_work": "soulsense_db.sidecars.work_files",
    "work_file": "soulsense_db.sidecars.work_files",
    "work_folder": "soulsense_db.sidecars.work_files",
}

if not TYPE_CHECKING:  # else a misspelt name would pass the type checker
    __getattr__ = names_from(_HOMES, __name__)
