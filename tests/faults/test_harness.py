"""The matrix finds faults: each of four, put into the code on purpose, makes it fail."""

from __future__ import annotations

from faults.matrix import Matrix
from faults.points import kill_points
from faults.test_kills import kill
from faults.test_power_cut import END, Cut, Cuts

_MOMENTS = 100  # more than there are calls
_EACH_OF = 5  # kill points, one of so many


def test_a_missing_fsync_is_found(matrix: Matrix) -> None:
    """Without any fsync a backup that was said to be made is gone after a power cut."""
    assert "said to be done, but before" in _cut_power(matrix, "fsync removed")


def test_a_rename_before_the_fsync_is_found(matrix: Matrix) -> None:
    """A backup that has its name before its contents are on disk is listed torn."""
    assert "listed and no good" in _cut_power(matrix, "rename before fsync")


def test_a_listed_staging_file_is_found(matrix: Matrix) -> None:
    """A backup that is listed while it is written is listed half-written after a kill."""
    found = _kill(matrix, "create", "staging file listed")
    assert "listed and no good" in found or "has no meta file" in found


def test_a_skipped_safety_backup_is_found(matrix: Matrix) -> None:
    """A restore without a safety backup leaves the rows of before nowhere."""
    assert "the rows of before are nowhere" in _kill(matrix, "restore", "safety backup skipped")


def test_without_sabotage_nothing_is_found(matrix: Matrix) -> None:
    """The same points find nothing in the code as it is."""
    assert not _cut_power(matrix, "")
    assert not _kill(matrix, "create", "")
    assert not _kill(matrix, "restore", "")


def _cut_power(matrix: Matrix, sabotaged: str) -> str:
    """Return all that is violated when the power fails in a create."""
    cuts = Cuts(matrix.baseline("create", "delete"), sabotaged=sabotaged)
    cases = [END, *(Cut(moment / _MOMENTS, "nothing") for moment in range(_MOMENTS))]
    return "\n".join(
        violation for _, (_, found) in matrix.each(cases, cuts.cut) for violation in found
    )


def _kill(matrix: Matrix, operation: str, sabotaged: str) -> str:
    """Return all that is violated when an operation is killed."""
    baseline = matrix.baseline(operation, "delete")
    ran = matrix.each(
        kill_points(baseline)[::_EACH_OF],
        lambda worker, point: kill(worker, baseline, point, sabotaged=sabotaged),
    )
    # A sabotaged operation makes fewer calls, and may end before its point.
    return "\n".join(v for _, (_, found) in ran for v in found if "was not killed" not in v)
