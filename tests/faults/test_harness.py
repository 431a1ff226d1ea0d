"""The matrix finds faults: each of seven, put into the code on purpose, makes it fail."""

from __future__ import annotations

from collections import Counter

from faults import mirrored
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


def test_a_meta_file_that_is_uploaded_first_is_found(matrix: Matrix) -> None:
    """A meta file at a mirror before its data tells of a backup that is not there."""
    found = _kill(matrix, "mirror sync", "meta file uploaded first", only="renameat")
    assert "meta files at the mirror without data" in found


def test_an_object_written_under_its_name_is_found(matrix: Matrix) -> None:
    """What has its name at a mirror before it is whole is there half-written after a kill."""
    found = _kill(matrix, "mirror sync", "written under the final name", only="write")
    assert "damaged at the mirror" in found


def test_data_that_is_removed_first_is_found(matrix: Matrix) -> None:
    """A prune at a mirror that removes the data first leaves a meta file without it."""
    found = _kill(matrix, "mirror sync", "data removed first", only="unlinkat")
    assert "meta files at the mirror without data" in found


def test_the_upload_is_what_is_killed(matrix: Matrix) -> None:
    """Each call of an upload and of a removal at the mirror is a point, with a number of its own.

    They are made in a thread of their own, and a fault comes at the n-th call of any thread.
    """
    calls = matrix.baseline("mirror sync", "delete").calls
    points = kill_points(matrix.baseline("mirror sync", "delete"))
    there = [call for call in calls if call.changes and f"/{mirrored.NAME}/" in call.arguments]
    made = Counter(call.name for call in there if not call.main)
    assert sum(made.values()) == len(there)
    # Two backups and two meta files are stored, one backup is removed.
    assert (made["write"], made["renameat"], made["linkat"]) == (4, 2, 2)
    assert made["unlinkat"] == 6
    assert {(call.name, call.number) for call in there} <= {(p.name, p.number) for p in points}
    of_main = Counter(call.name for call in calls if call.main)
    highest = {name: max(c.number for c in calls if c.main and c.name == name) for name in of_main}
    assert all(call.number > highest.get(call.name, 0) for call in calls if not call.main)


def test_without_sabotage_nothing_is_found(matrix: Matrix) -> None:
    """The same points find nothing in the code as it is."""
    assert not _cut_power(matrix, "")
    assert not _kill(matrix, "create", "")
    assert not _kill(matrix, "restore", "")
    for name in ("renameat", "write", "unlinkat"):
        assert not _kill(matrix, "mirror sync", "", only=name)


def _cut_power(matrix: Matrix, sabotaged: str) -> str:
    """Return all that is violated when the power fails in a create."""
    cuts = Cuts(matrix.baseline("create", "delete"), sabotaged=sabotaged)
    cases = [END, *(Cut(moment / _MOMENTS, "nothing") for moment in range(_MOMENTS))]
    return "\n".join(
        violation for _, (_, found) in matrix.each(cases, cuts.cut) for violation in found
    )


def _kill(matrix: Matrix, operation: str, sabotaged: str, *, only: str = "") -> str:
    """Return all that is violated when an operation is killed, at ``only`` the calls of a name."""
    baseline = matrix.baseline(operation, "delete")
    points = kill_points(baseline)
    named = [point for point in points if point.name == only]
    ran = matrix.each(
        named if only else points[::_EACH_OF],
        lambda worker, point: kill(worker, baseline, point, sabotaged=sabotaged),
    )
    # A sabotaged operation makes fewer calls, and may end before its point.
    return "\n".join(v for _, (_, found) in ran for v in found if "was not killed" not in v)
