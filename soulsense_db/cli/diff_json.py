"""What ``diff --json`` prints: no number and no byte of a value is lost."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import Any

from soulsense_db.backup_info import BackupInfo
from soulsense_db.cli.output import backup_json
from soulsense_db.drivers import ColumnChange, DiffReport, LongValue, RowChange, TableChange, Value


def diff_json(first: BackupInfo, second: BackupInfo | None, report: DiffReport) -> dict[str, Any]:
    """Return all facts of a report on ``first`` and ``second``, or the live database."""
    return {
        "first": backup_json(first),
        "second": None if second is None else backup_json(second),
        "identical": report.identical,
        "alembic_heads_before": list(report.alembic_heads_before),
        "alembic_heads_after": list(report.alembic_heads_after),
        "schema": [asdict(change) for change in report.schema],
        "tables": [_table_json(table) for table in report.tables],
    }


def _table_json(table: TableChange) -> dict[str, Any]:
    return {
        "table": table.table,
        "differs": table.differs,
        "rows_before": table.rows_before,
        "rows_after": table.rows_after,
        "added": table.added,
        "removed": table.removed,
        "changed": table.changed,
        "matched_by": table.matched_by,
        "key": list(table.key),
        "compared": list(table.compared),
        "columns": [_column_json(column) for column in table.columns],
        "columns_added": list(table.columns_added),
        "columns_removed": list(table.columns_removed),
        "samples": [_sample_json(sample) for sample in table.samples],
        "part_of": table.part_of,
        "note": table.note,
    }


def _column_json(column: ColumnChange) -> dict[str, Any]:
    return {
        "column": column.column,
        "differing": column.differing,
        "became_null": column.became_null,
        "became_shorter": column.became_shorter,
        "became_inexact": column.became_inexact,
    }


def _sample_json(sample: RowChange) -> dict[str, Any]:
    return {
        "kind": sample.kind,
        "key": list(map(value_json, sample.key)),
        "before": None if sample.before is None else list(map(value_json, sample.before)),
        "after": None if sample.after is None else list(map(value_json, sample.after)),
    }


def value_json(value: Value) -> dict[str, Any]:
    """Return the type of a value, and the value in a way that every reader of JSON reads alike.

    Many take all numbers for floats, of 53 bits; infinity and bytes are none of JSON's.
    """
    if value is None:
        return {"type": "null"}
    if isinstance(value, LongValue):
        start = value_json(value.start)
        del start["type"]
        return {"type": value.kind, "length": value.length, "sha256": value.sha256, "start": start}
    if isinstance(value, str):
        return {"type": "text", **_text(value)}
    if isinstance(value, bytes):
        return {"type": "blob", "base64": _base64(value)}
    return {"type": "integer" if isinstance(value, int) else "real", "value": str(value)}


def _text(value: str) -> dict[str, str]:
    try:
        value.encode()
    except UnicodeEncodeError:  # bytes that are no text, which came as surrogates
        return {"base64": _base64(value.encode(errors="surrogateescape"))}
    return {"value": value}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
