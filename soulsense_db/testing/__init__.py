"""For people who write a driver or a kind of mirror: the suites that hold each to its promises.

They need pytest: ``pip install "soulsense-db[testing]"``.
"""

from __future__ import annotations

import pytest

# Before the import: else their asserts would only say that they failed.
_MODULES = (
    "access",
    "checks",
    "diffs",
    "hooks",
    "live",
    "loads",
    "mirror_hooks",
    "mirror_places",
    "mirror_small_objects",
    "mirror_writes",
    "snapshots",
)
pytest.register_assert_rewrite(*(f"soulsense_db.testing.{name}" for name in _MODULES))

from soulsense_db.testing.driver_suite import DriverSuite  # noqa: E402
from soulsense_db.testing.live import Live, notes  # noqa: E402
from soulsense_db.testing.mirror_suite import MirrorSuite  # noqa: E402

__all__ = ["DriverSuite", "Live", "MirrorSuite", "notes"]
