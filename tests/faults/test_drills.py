"""A drill under faults: nothing decrypted stays, and a good backup is not called a bad one."""

from __future__ import annotations

import pytest
from helpers import MODES, Mode

from faults.matrix import Matrix
from faults.operations import DRILLS
from faults.points import error_points, kill_points
from faults.test_call_errors import fail
from faults.test_kills import kill

_SAMPLE = 7


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("operation", DRILLS)
def test_a_drill_that_is_killed_leaves_nothing(
    matrix: Matrix, operation: str, mode: Mode, *, full: bool
) -> None:
    """Killed before any call that changes a file, it is recorded or not, and all is as it was."""
    baseline = matrix.baseline(operation, mode)
    points = kill_points(baseline)[:: 1 if full else _SAMPLE]
    for outcome in matrix.require_nothing(
        baseline, points, lambda worker, point: kill(worker, baseline, point)
    ):
        matrix.record("drills", f"{operation}, killed", outcome)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("operation", DRILLS)
def test_a_drill_on_a_bad_disk_says_nothing_of_the_backup(
    matrix: Matrix, operation: str, mode: Mode, *, full: bool
) -> None:
    """Whatever call fails, the backup keeps its last good check, and nothing is left."""
    baseline = matrix.baseline(operation, mode)
    points = error_points(baseline)[:: 1 if full else _SAMPLE]
    for outcome in matrix.require_nothing(
        baseline, points, lambda worker, point: fail(worker, baseline, point)
    ):
        matrix.record("drills", f"{operation}, a call fails", outcome)
