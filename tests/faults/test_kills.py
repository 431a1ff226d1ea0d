"""SIGKILL at every system call that changes something."""

from __future__ import annotations

import pytest
from helpers import MODES, Mode

from faults.matrix import Baseline, Matrix, Outcome, Worker
from faults.operations import OPERATIONS
from faults.points import Point, kill_points

_KILLED = -9


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_nothing_is_lost_when_the_process_dies(matrix: Matrix, operation: str, mode: Mode) -> None:
    """Killed before any call that changes a file, an operation is undone or done, never half."""
    baseline = matrix.baseline(operation, mode)
    matrix.try_all(
        "kill",
        baseline,
        kill_points(baseline),
        lambda worker, point: kill(worker, baseline, point),
        sample=5,
    )


def kill(worker: Worker, baseline: Baseline, point: Point, *, sabotaged: str = "") -> Outcome:
    """Kill an operation at ``point``, and look at what is left."""
    ended = worker.run(baseline, *point.options, sabotaged=sabotaged)
    outcome, violations = worker.check(baseline, ended["answer"], sabotaged=sabotaged)
    if ended["status"] != _KILLED:
        violations.append(f"was not killed: {ended}")
    return outcome, violations
