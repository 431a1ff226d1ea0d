"""Which tests measure coverage, when it is asked for: one of each function.

A program runs half as fast while it is measured. What the others run as well is not counted, so the
percentage is at least that of all tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from coverage import Coverage

# By these a new interpreter is told to measure, with `patch = ["subprocess"]`.
_VARIABLES = ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")
_MATRIX = Path(__file__).parent / "faults"
_MEASURED = pytest.StashKey[bool]()


def choose(items: Sequence[pytest.Item]) -> None:
    """Note of each test whether it measures: not where it is its function again.

    In the failure matrix no process may: its files would be among the calls that fail, and what
    measuring costs would spread the processes that are to meet.
    """
    seen: set[str] = set()
    for item in items:
        function = item.nodeid.partition("[")[0]
        item.stash[_MEASURED] = function not in seen and not item.path.is_relative_to(_MATRIX)
        seen.add(function)


@contextmanager
def paused_for(item: pytest.Item) -> Iterator[None]:
    """Measure nothing within the block where the test does not, nor in processes it starts."""
    measuring = Coverage.current()
    if measuring is None or item.stash[_MEASURED]:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        for name in _VARIABLES:
            patch.delenv(name, raising=False)
        measuring.stop()
        try:
            yield
        finally:
            measuring.start()


def is_measuring() -> bool:
    """Whether what this process starts measures coverage."""
    return any(name in os.environ for name in _VARIABLES)
