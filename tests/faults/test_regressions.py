"""What the matrix found once stays found: these points are always tried, not only when drawn."""

from __future__ import annotations

import pytest
from helpers import Mode

from faults.matrix import Matrix, Outcome, Worker
from faults.points import Point, error_points, kill_points
from faults.test_call_errors import fail
from faults.test_kills import kill
from faults.test_power_cut import Cuts

FAILED: list[tuple[str, Mode, str]] = [
    # The commit was in the log, and the safety backup was taken away as of a restore undone.
    ("restore", "wal", "fdatasync"),
    # It fails after the commit: the restore was done, and said not to be.
    ("restore", "delete", "ftruncate"),
    # Said that nothing was changed, when all was done but the last flush.
    ("create", "delete", "fsync"),
    ("restore, live damaged", "wal", "fsync"),
    ("restore, live damaged", "delete", "rename"),
    ("pin", "delete", "fsync"),
    ("prune", "delete", "rename"),
    ("rebuild catalog", "wal", "fdatasync"),
    # Too many open files were a damaged meta file, to be removed, or no error of the tree.
    ("import", "delete", "openat"),
]
KILLED: list[tuple[str, Mode, str]] = [
    # The meta file stayed for ever.
    ("delete", "wal", "unlink"),
    ("prune", "delete", "unlink"),
    # Its partial files stayed.
    ("export", "delete", "fsync"),
]
# A journal to roll back and a file cut short; staging files without a mark; meta files alone. With
# how many states of each moment it takes to find them.
CUT: list[tuple[str, Mode, int]] = [
    ("restore", "delete", 3),
    ("create", "wal", 1),
    ("prune", "delete", 3),
]


@pytest.mark.parametrize(("operation", "mode", "call"), FAILED)
def test_a_call_that_failed(matrix: Matrix, operation: str, mode: Mode, call: str) -> None:
    """An error of this call, wherever it comes, loses nothing and is told truly."""
    baseline = matrix.baseline(operation, mode)
    points = [point for point in error_points(baseline) if point.name == call]

    def run(worker: Worker, point: Point) -> Outcome:
        return fail(worker, baseline, point)

    matrix.require_nothing(baseline, points, run)


@pytest.mark.parametrize(("operation", "mode", "call"), KILLED)
def test_a_call_that_was_the_last(matrix: Matrix, operation: str, mode: Mode, call: str) -> None:
    """Killed at this call, wherever it comes, nothing is lost or left behind."""
    baseline = matrix.baseline(operation, mode)
    points = [point for point in kill_points(baseline) if point.name == call]

    def run(worker: Worker, point: Point) -> Outcome:
        return kill(worker, baseline, point)

    matrix.require_nothing(baseline, points, run)


@pytest.mark.parametrize(("operation", "mode", "each"), CUT)
def test_a_power_cut(matrix: Matrix, operation: str, mode: Mode, each: int) -> None:
    """The power fails at any moment, and nothing is lost or left behind."""
    baseline = matrix.baseline(operation, mode)
    cuts = Cuts(baseline)
    matrix.require_nothing(baseline, cuts.drawn(matrix, 1, each=each), cuts.cut)


@pytest.mark.parametrize(
    ("operation", "meta", "mark"),
    [
        ("create", "_new.db.meta", "_new.db.staging.lock"),
        ("export", "/exported.db.meta", "/.exported.db.partial"),
    ],
)
def test_what_leads_to_a_meta_file_is_on_disk_first(
    matrix: Matrix, operation: str, meta: str, mark: str
) -> None:
    """No power cut leaves a meta file alone: its mark is flushed before it has its name.

    Too rare to be drawn: one in some thousand states.
    """
    cuts = Cuts(matrix.baseline(operation, "wal"))
    with matrix.worker() as worker:
        disks = cuts.disks(worker)
    seen = 0
    for disk in disks:
        for name in [name for change in disk.pending for name in change.names]:
            if name.endswith(meta):
                seen += 1
                assert any(there.endswith(mark) for there in disk.durable)
    assert seen
