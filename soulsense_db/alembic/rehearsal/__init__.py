"""Rehearse migrations on a copy of the data, and tell what they do to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from soulsense_db._lazy import names_from

if TYPE_CHECKING:
    from soulsense_db.alembic.rehearsal.report import (
        Failure,
        Finding,
        RehearsalReport,
        RehearsedDatabase,
        RehearsedStep,
        Severity,
        TableRows,
    )
    from soulsense_db.alembic.rehearsal.run import DEFAULT_SECONDS, rehearse
    from soulsense_db.alembic.rehearsal.upgrade import restore_and_upgrade, upgrade_to

__all__ = [
    "DEFAULT_SECONDS",
    "Failure",
    "Finding",
    "RehearsalReport",
    "RehearsedDatabase",
    "RehearsedStep",
    "Severity",
    "TableRows",
    "rehearse",
    "restore_and_upgrade",
    "upgrade_to",
]

_HOMES = {
    "DEFAULT_SECONDS": "soulsense_db.alembic.rehearsal.run",
    "rehearse": "soulsense_db.alembic.rehearsal.run",
    "restore_and_upgrade": "soulsense_db.alembic.rehearsal.upgrade",
    "upgrade_to": "soulsense_db.alembic.rehearsal.upgrade",
    "Failure": "soulsense_db.alembic.rehearsal.report",
    "Finding": "soulsense_db.alembic.rehearsal.report",
    "RehearsalReport": "soulsense_db.alembic.rehearsal.report",
    "RehearsedDatabase": "soulsense_db.alembic.rehearsal.report",
    "RehearsedStep": "soulsense_db.alembic.rehearsal.report",
    "Severity": "soulsense_db.alembic.rehearsal.report",
    "TableRows": "soulsense_db.alembic.rehearsal.report",
}

if not TYPE_CHECKING:  # else a misspelt name would pass the type checker
    __getattr__ = names_from(_HOMES, __name__)
