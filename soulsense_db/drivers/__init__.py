"""Drivers: what knows a database dialect, each in a folder of its own."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from soulsense_db._lazy import names_from

if TYPE_CHECKING:
    from soulsense_db.drivers.base import Driver
    from soulsense_db.drivers.diff_report import (
        ChangeKind,
        ColumnChange,
        DiffReport,
        LongValue,
        MatchedBy,
        RowChange,
        SchemaChange,
        SchemaItem,
        ShorterValue,
        TableChange,
        Value,
    )
    from soulsense_db.drivers.engines import EngineSource as EngineSource
    from soulsense_db.drivers.engines import engine_of
    from soulsense_db.drivers.postgresql import PostgreSQLDriver
    from soulsense_db.drivers.registry import driver_for, engine_for, rehearsal_for
    from soulsense_db.drivers.rehearsal import (
        ColumnSurvey,
        DatabaseSurvey,
        Led,
        NewKeys,
        RehearsalSupport,
        TableSurvey,
        Unchanged,
    )
    from soulsense_db.drivers.results import (
        CheckLevel,
        ConcurrentCommitError,
        DatabaseDiff,
        Examination,
        Findings,
        QueryError,
        RowCounts,
        SnapshotInfo,
        TableDiff,
        WriteLock,
    )
    from soulsense_db.drivers.row_plan import (
        MissingChildren,
        MissingParent,
        RowSample,
        RowSelection,
        RowsPlan,
        SafetyCopy,
        TablePlan,
        Triggers,
    )
    from soulsense_db.drivers.row_search import FoundRow, FoundRows, RowKey
    from soulsense_db.drivers.sqlite import SQLiteDriver
    from soulsense_db.progress import Progress

__all__ = [
    "ChangeKind",
    "CheckLevel",
    "ColumnChange",
    "ColumnSurvey",
    "ConcurrentCommitError",
    "DatabaseDiff",
    "DatabaseSurvey",
    "DiffReport",
    "Driver",
    "Examination",
    "Findings",
    "FoundRow",
    "FoundRows",
    "Led",
    "LongValue",
    "MatchedBy",
    "MissingChildren",
    "MissingParent",
    "NewKeys",
    "PostgreSQLDriver",
    "Progress",
    "QueryError",
    "RehearsalSupport",
    "RowChange",
    "RowCounts",
    "RowKey",
    "RowSample",
    "RowSelection",
    "RowsPlan",
    "SQLiteDriver",
    "SafetyCopy",
    "SchemaChange",
    "SchemaItem",
    "ShorterValue",
    "SnapshotInfo",
    "TableChange",
    "TableDiff",
    "TablePlan",
    "TableSurvey",
    "Triggers",
    "Unchanged",
    "Value",
    "WriteLock",
    "driver_for",
    "engine_for",
    "engine_of",
    "rehearsal_for",
]

_HOMES = {
    "ChangeKind": "soulsense_db.drivers.diff_report",
    "ColumnChange": "soulsense_db.drivers.diff_report",
    "DiffReport": "soulsense_db.drivers.diff_report",
    "LongValue": "soulsense_db.drivers.diff_report",
    "MatchedBy": "soulsense_db.drivers.diff_report",
    "RowChange": "soulsense_db.drivers.diff_report",
    "SchemaChange": "soulsense_db.drivers.diff_report",
    "SchemaItem": "soulsense_db.drivers.diff_report",
    "ShorterValue": "soulsense_db.drivers.diff_report",
    "TableChange": "soulsense_db.drivers.diff_report",
    "Value": "soulsense_db.drivers.diff_report",
    "DatabaseDiff": "soulsense_db.drivers.results",
    "CheckLevel": "soulsense_db.drivers.results",
    "Driver": "soulsense_db.drivers.base",
    "Examination": "soulsense_db.drivers.results",
    "Findings": "soulsense_db.drivers.results",
    "QueryError": "soulsense_db.drivers.results",
    "WriteLock": "soulsense_db.drivers.results",
    "ConcurrentCommitError": "soulsense_db.drivers.results",
    "Progress": "soulsense_db.progress",
    "PostgreSQLDriver": "soulsense_db.drivers.postgresql",
    "SQLiteDriver": "soulsense_db.drivers.sqlite",
    "SnapshotInfo": "soulsense_db.drivers.results",
    "TableDiff": "soulsense_db.drivers.results",
    "RowCounts": "soulsense_db.drivers.results",
    "driver_for": "soulsense_db.drivers.registry",
    "engine_for": "soulsense_db.drivers.registry",
    "engine_of": "soulsense_db.drivers.engines",
    "MissingChildren": "soulsense_db.drivers.row_plan",
    "MissingParent": "soulsense_db.drivers.row_plan",
    "RowSample": "soulsense_db.drivers.row_plan",
    "RowSelection": "soulsense_db.drivers.row_plan",
    "RowsPlan": "soulsense_db.drivers.row_plan",
    "FoundRow": "soulsense_db.drivers.row_search",
    "FoundRows": "soulsense_db.drivers.row_search",
    "RowKey": "soulsense_db.drivers.row_search",
    "SafetyCopy": "soulsense_db.drivers.row_plan",
    "TablePlan": "soulsense_db.drivers.row_plan",
    "Triggers": "soulsense_db.drivers.row_plan",
    "rehearsal_for": "soulsense_db.drivers.registry",
    "ColumnSurvey": "soulsense_db.drivers.rehearsal",
    "DatabaseSurvey": "soulsense_db.drivers.rehearsal",
    "Led": "soulsense_db.drivers.rehearsal",
    "NewKeys": "soulsense_db.drivers.rehearsal",
    "RehearsalSupport": "soulsense_db.drivers.rehearsal",
    "TableSurvey": "soulsense_db.drivers.rehearsal",
    "Unchanged": "soulsense_db.drivers.rehearsal",
}


_OLD_NAMES = {
    "Comparison": "DatabaseDiff",
    "TableComparison": "TableDiff",
    "TableRows": "RowCounts",
}


def __getattr__(name: str) -> Any:
    if name in _OLD_NAMES:
        warnings.warn(f"{name} is called {_OLD_NAMES[name]} now.", DeprecationWarning, stacklevel=2)
        name = _OLD_NAMES[name]
    return names_from(_HOMES, __name__)(name)
