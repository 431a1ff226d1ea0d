"""The old name of :mod:`soulsense_db.scheduled`."""

from __future__ import annotations

import warnings

from soulsense_db.scheduled import AutoReport, run_auto

__all__ = ["AutoReport", "run_auto"]

warnings.warn(
    "soulsense_db.auto is called soulsense_db.scheduled now, and goes with a later release.",
    DeprecationWarning,
    stacklevel=2,
)
