"""An error from every system call that can return one: a full or dying disk, no permission."""

from __future__ import annotations

import pytest
from helpers import MODES, Mode

from faults.matrix import Baseline, Matrix, Outcome, Worker
from faults.operations import OPERATIONS
from faults.points import Point, error_points


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_nothing_is_lost_when_a_call_fails(matrix: Matrix, operation: str, mode: Mode) -> None:
    """Whatever call fails, once or from then on, the error is of the tree and says the truth."""
    baseline = matrix.baseline(operation, mode)
    matrix.try_all(
        "error",
        baseline,
        error_points(baseline),
        lambda worker, point: fail(worker, baseline, point),
        sample=8,
    )


def fail(worker: Worker, baseline: Baseline, point: Point) -> Outcome:
    """Have a call of an operation fail at ``point``, and look at what it says and leaves."""
    ended = worker.run(baseline, *point.options)
    outcome, violations = worker.check(baseline, ended["answer"])
    if ended["status"] != 0:
        violations.append(f"died: {ended}")
    error = (ended["answer"] or {}).get("error") or "no error"
    return f"{outcome}, {error}", [f"{error}: {violation}" for violation in violations]
