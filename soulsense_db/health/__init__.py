"""Is there a backup that would save the day? What monitoring asks, answered by reading only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from soulsense_db._lazy import names_from

if TYPE_CHECKING:
    from soulsense_db.health.examination import check_health
    from soulsense_db.health.report import (
        HealthCheck,
        HealthReport,
        State,
        Thresholds,
    )
    from soulsense_db.health.report import display_age as display_age

__all__ = ["HealthCheck", "HealthReport", "State", "Thresholds", "check_health"]

_REPORT = "soulsense_db.health.report"
_HOMES = {
    "HealthCheck": _REPORT,
    "HealthReport": _REPORT,
    "State": _REPORT,
    "Thresholds": _REPORT,
    "check_health": "soulsense_db.health.examination",
    "display_age": _REPORT,
}

if not TYPE_CHECKING:  # else a misspelt name would pass the type checker
    __getattr__ = names_from(_HOMES, __name__)
