"""What is done with backups: one verb in each file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from soulsense_db._lazy import names_from

if TYPE_CHECKING:
    from soulsense_db.operations.adopt import adopt_backup
    from soulsense_db.operations.alarm import MigrationAlarm
    from soulsense_db.operations.catalog_operations import CatalogOperations
    from soulsense_db.operations.compare import compare_with_live, row_counts
    from soulsense_db.operations.create import create_backup, create_unless_same, require_ready
    from soulsense_db.operations.database_lock import (
        DatabaseLock,
        restore_backup,
        safety_backup,
        undo_restore,
    )
    from soulsense_db.operations.delete import delete_backup, dependents_of
    from soulsense_db.operations.diff import diff_backups
    from soulsense_db.operations.drill import (
        DrillPlan,
        drill_and_record,
        drill_backup,
        not_migrated,
    )
    from soulsense_db.operations.drill_checks import Check, DrillCheck, checks_of
    from soulsense_db.operations.drill_record import DrillRecordFile
    from soulsense_db.operations.drill_turns import DRILL_DAYS, drill_turn
    from soulsense_db.operations.forms import (
        DifferentialPolicy,
        Forms,
        IdentitiesOption,
        RecipientsOption,
    )
    from soulsense_db.operations.import_date import BY_DUMP, BY_FILE, BY_META, BY_NAME
    from soulsense_db.operations.keys import require_key, require_key_of
    from soulsense_db.operations.live_database import LiveDatabase
    from soulsense_db.operations.new_backup import DATED_BY, NewBackup, origin_facts
    from soulsense_db.operations.prune import (
        in_order,
        plan_prune,
        prune_backups,
    )
    from soulsense_db.operations.references import Doubt, Finder, Reference, doubts_about
    from soulsense_db.operations.repository import Repository
    from soulsense_db.operations.restore_check import RestoreCheck, check_restore
    from soulsense_db.operations.restore_report import RestoreReport
    from soulsense_db.operations.row_restore import (
        RowsReport,
        find_rows,
        preview_rows,
        restore_rows,
    )
    from soulsense_db.operations.scratch import ScratchCopy, scratch_copy
    from soulsense_db.operations.sealing import with_opened_description
    from soulsense_db.operations.transfer import export_backup, import_file
    from soulsense_db.operations.upgrading import FewerRows, Upgrade, UpgradeReport
    from soulsense_db.operations.verify import (
        DrillReport,
        VerificationReport,
        VerifyLevel,
        verify_and_record,
        verify_backup,
    )

__all__ = [
    "BY_DUMP",
    "BY_FILE",
    "BY_META",
    "BY_NAME",
    "DATED_BY",
    "DRILL_DAYS",
    "CatalogOperations",
    "Check",
    "DatabaseLock",
    "DifferentialPolicy",
    "Doubt",
    "DrillCheck",
    "DrillPlan",
    "DrillRecordFile",
    "DrillReport",
    "FewerRows",
    "Finder",
    "Forms",
    "IdentitiesOption",
    "LiveDatabase",
    "MigrationAlarm",
    "NewBackup",
    "RecipientsOption",
    "Reference",
    "Repository",
    "RestoreCheck",
    "RestoreReport",
    "RowsReport",
    "ScratchCopy",
    "Upgrade",
    "UpgradeReport",
    "VerificationReport",
    "VerifyLevel",
    "adopt_backup",
    "check_restore",
    "checks_of",
    "compare_with_live",
    "create_backup",
    "create_unless_same",
    "delete_backup",
    "dependents_of",
    "diff_backups",
    "doubts_about",
    "drill_and_record",
    "drill_backup",
    "drill_turn",
    "export_backup",
    "find_rows",
    "import_file",
    "in_order",
    "not_migrated",
    "origin_facts",
    "plan_prune",
    "preview_rows",
    "prune_backups",
    "require_key",
    "require_key_of",
    "require_ready",
    "restore_backup",
    "restore_rows",
    "row_counts",
    "safety_backup",
    "scratch_copy",
    "undo_restore",
    "verify_and_record",
    "verify_backup",
    "with_opened_description",
]

_HOMES = {
    "BY_DUMP": "soulsense_db.operations.import_date",
    "BY_FILE": "soulsense_db.operations.import_date",
    "BY_META": "soulsense_db.operations.import_date",
    "BY_NAME": "soulsense_db.operations.import_date",
    "DATED_BY": "soulsense_db.operations.new_backup",
    "Check": "soulsense_db.operations.drill_checks",
    "DRILL_DAYS": "soulsense_db.operations.drill_turns",
    "drill_turn": "soulsense_db.operations.drill_turns",
    "DrillCheck": "soulsense_db.operations.drill_checks",
    "DrillPlan": "soulsense_db.operations.drill",
    "DrillRecordFile": "soulsense_db.operations.drill_record",
    "DrillReport": "soulsense_db.operations.verify",
    "VerifyLevel": "soulsense_db.operations.verify",
    "checks_of": "soulsense_db.operations.drill_checks",
    "drill_and_record": "soulsense_db.operations.drill",
    "drill_backup": "soulsense_db.operations.drill",
    "not_migrated": "soulsense_db.operations.drill",
    "in_order": "soulsense_db.operations.prune",
    "origin_facts": "soulsense_db.operations.new_backup",
    "plan_prune": "soulsense_db.operations.prune",
    "CatalogOperations": "soulsense_db.operations.catalog_operations",
    "DatabaseLock": "soulsense_db.operations.database_lock",
    "Doubt": "soulsense_db.operations.references",
    "Finder": "soulsense_db.operations.references",
    "LiveDatabase": "soulsense_db.operations.live_database",
    "MigrationAlarm": "soulsense_db.operations.alarm",
    "NewBackup": "soulsense_db.operations.new_backup",
    "Reference": "soulsense_db.operations.references",
    "Repository": "soulsense_db.operations.repository",
    "RestoreCheck": "soulsense_db.operations.restore_check",
    "RestoreReport": "soulsense_db.operations.restore_report",
    "RowsReport": "soulsense_db.operations.row_restore",
    "find_rows": "soulsense_db.operations.row_restore",
    "preview_rows": "soulsense_db.operations.row_restore",
    "restore_rows": "soulsense_db.operations.row_restore",
    "FewerRows": "soulsense_db.operations.upgrading",
    "Upgrade": "soulsense_db.operations.upgrading",
    "UpgradeReport": "soulsense_db.operations.upgrading",
    "VerificationReport": "soulsense_db.operations.verify",
    "adopt_backup": "soulsense_db.operations.adopt",
    "check_restore": "soulsense_db.operations.restore_check",
    "compare_with_live": "soulsense_db.operations.compare",
    "create_backup": "soulsense_db.operations.create",
    "create_unless_same": "soulsense_db.operations.create",
    "delete_backup": "soulsense_db.operations.delete",
    "dependents_of": "soulsense_db.operations.delete",
    "with_opened_description": "soulsense_db.operations.sealing",
    "diff_backups": "soulsense_db.operations.diff",
    "DifferentialPolicy": "soulsense_db.operations.forms",
    "Forms": "soulsense_db.operations.forms",
    "IdentitiesOption": "soulsense_db.operations.forms",
    "RecipientsOption": "soulsense_db.operations.forms",
    "require_key": "soulsense_db.operations.keys",
    "require_key_of": "soulsense_db.operations.keys",
    "doubts_about": "soulsense_db.operations.references",
    "export_backup": "soulsense_db.operations.transfer",
    "import_file": "soulsense_db.operations.transfer",
    "prune_backups": "soulsense_db.operations.prune",
    "require_ready": "soulsense_db.operations.create",
    "restore_backup": "soulsense_db.operations.database_lock",
    "row_counts": "soulsense_db.operations.compare",
    "safety_backup": "soulsense_db.operations.database_lock",
    "ScratchCopy": "soulsense_db.operations.scratch",
    "scratch_copy": "soulsense_db.operations.scratch",
    "undo_restore": "soulsense_db.operations.database_lock",
    "verify_and_record": "soulsense_db.operations.verify",
    "verify_backup": "soulsense_db.operations.verify",
}

if not TYPE_CHECKING:  # else a misspelt name would pass the type checker
    __getattr__ = names_from(_HOMES, __name__)
