"""The facts of one backup, and how its meta file holds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from soulsense_db._lazy import names_from

if TYPE_CHECKING:
    from soulsense_db.backup_info.bases import (
        bases_for,
        dependents,
        is_best_base,
        may_be_base,
        without_base,
    )
    from soulsense_db.backup_info.errors import meta_unreadable, no_meta
    from soulsense_db.backup_info.fields import digest_of, sealed, unsealed
    from soulsense_db.backup_info.form import (
        FORMS,
        Form,
        plain_name,
    )
    from soulsense_db.backup_info.info import (
        KINDS,
        META_SUFFIX,
        BackupInfo,
        BackupKind,
        DrillResult,
        check_description,
        check_note,
        display_size,
        local_time,
        recordable_heads,
        recordable_row_counts,
    )
    from soulsense_db.backup_info.meta_format import (
        MAX_META_BYTES,
        from_meta,
        moments_of,
        read_meta,
        time_in_name,
        to_meta,
        unknown_facts,
        without_meta,
    )

__all__ = [
    "FORMS",
    "KINDS",
    "MAX_META_BYTES",
    "META_SUFFIX",
    "BackupInfo",
    "BackupKind",
    "DrillResult",
    "Form",
    "bases_for",
    "check_description",
    "check_note",
    "dependents",
    "digest_of",
    "display_size",
    "from_meta",
    "is_best_base",
    "local_time",
    "may_be_base",
    "meta_unreadable",
    "moments_of",
    "no_meta",
    "plain_name",
    "read_meta",
    "recordable_heads",
    "recordable_row_counts",
    "sealed",
    "time_in_name",
    "to_meta",
    "unknown_facts",
    "unsealed",
    "without_base",
    "without_meta",
]

_HOMES = {
    "bases_for": "soulsense_db.backup_info.bases",
    "dependents": "soulsense_db.backup_info.bases",
    "may_be_base": "soulsense_db.backup_info.bases",
    "is_best_base": "soulsense_db.backup_info.bases",
    "without_base": "soulsense_db.backup_info.bases",
    "FORMS": "soulsense_db.backup_info.form",
    "Form": "soulsense_db.backup_info.form",
    "plain_name": "soulsense_db.backup_info.form",
    "BackupInfo": "soulsense_db.backup_info.info",
    "BackupKind": "soulsense_db.backup_info.info",
    "DrillResult": "soulsense_db.backup_info.info",
    "KINDS": "soulsense_db.backup_info.info",
    "MAX_META_BYTES": "soulsense_db.backup_info.meta_format",
    "META_SUFFIX": "soulsense_db.backup_info.info",
    "check_description": "soulsense_db.backup_info.info",
    "check_note": "soulsense_db.backup_info.info",
    "digest_of": "soulsense_db.backup_info.fields",
    "display_size": "soulsense_db.backup_info.info",
    "from_meta": "soulsense_db.backup_info.meta_format",
    "local_time": "soulsense_db.backup_info.info",
    "moments_of": "soulsense_db.backup_info.meta_format",
    "read_meta": "soulsense_db.backup_info.meta_format",
    "recordable_heads": "soulsense_db.backup_info.info",
    "recordable_row_counts": "soulsense_db.backup_info.info",
    "sealed": "soulsense_db.backup_info.fields",
    "time_in_name": "soulsense_db.backup_info.meta_format",
    "to_meta": "soulsense_db.backup_info.meta_format",
    "unknown_facts": "soulsense_db.backup_info.meta_format",
    "unsealed": "soulsense_db.backup_info.fields",
    "without_meta": "soulsense_db.backup_info.meta_format",
    "no_meta": "soulsense_db.backup_info.errors",
    "meta_unreadable": "soulsense_db.backup_info.errors",
}

if not TYPE_CHECKING:  # else a misspelt name would pass the type checker
    __getattr__ = names_from(_HOMES, __name__)
