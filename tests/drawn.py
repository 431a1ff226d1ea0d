"""A run of nearly everything: of each slow test with several sets of parameters, one of them.

They are more than half of what a whole run takes. Another one is drawn with another seed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from random import Random

import pytest


def left_out(slow: Sequence[pytest.Item], seed: int) -> list[pytest.Item]:
    """Return the tests of ``slow`` that are not drawn: of each function all but one.

    Suites of drivers are whole, and the failure matrix has samples of its own.
    """
    sets: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in slow:
        if not (item.path.stem.endswith("_suite") or "faults" in item.path.parts):
            sets[item.nodeid.partition("[")[0]].append(item)
    drawn = {Random(f"{seed} {name}").choice(items) for name, items in sets.items()}
    return [item for items in sets.values() for item in items if item not in drawn]
