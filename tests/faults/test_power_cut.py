"""The power fails at any moment: what was not flushed is there or not."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from helpers import MODES, Mode

from faults.crash_disk import STRACE_OPTIONS, Choice, Disk, Replay
from faults.matrix import Baseline, Matrix, Outcome, Worker
from faults.operations import OPERATIONS

_EACH = 2  # states of each moment
_CHOICES: tuple[Choice, ...] = ("some", "some", "first", "first", "one", "nothing", "everything")


@dataclass(frozen=True, slots=True)
class Cut:
    """A moment, from 0 to 1, the end; what of the unflushed is there, drawn with ``seed``."""

    moment: float
    choice: Choice
    seed: int = 0


END = Cut(1, "nothing")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_nothing_is_lost_when_the_power_fails(matrix: Matrix, operation: str, mode: Mode) -> None:
    """Whatever of the unflushed writes is there, an operation is undone or done, never half.

    After its end it is done, with nothing but what was flushed. The catalog is only an index: its
    rows are written as durably as the application writes its own.
    """
    baseline = matrix.baseline(operation, mode)
    cuts = Cuts(baseline)
    cases = cuts.drawn(matrix, matrix.seed, each=_EACH)
    matrix.try_all("power cut", baseline, cases, cuts.cut, sample=3)


def test_a_migration_that_the_application_does_not_flush(matrix: Matrix) -> None:
    """With ``synchronous = NORMAL`` too, a migration that was said to be done outlasts a power cut.

    Until then its marker does.
    """
    baseline = matrix.baseline("upgrade, synchronous NORMAL", "wal")
    cuts = Cuts(baseline)
    matrix.require_nothing(baseline, cuts.drawn(matrix, matrix.seed, each=_EACH), cuts.cut)


class Cuts:
    """An operation, recorded once by each worker, whose power is cut."""

    def __init__(self, baseline: Baseline, *, sabotaged: str = "") -> None:
        self._baseline = baseline
        self._sabotaged = sabotaged
        self._recorded: dict[Path, list[Disk]] = {}

    def drawn(self, matrix: Matrix, seed: int, *, each: int) -> list[Cut]:
        """Return ``each`` states of every moment, and the end."""
        with matrix.worker() as worker:
            moments = len(self.disks(worker))
        random = Random(f"power cut {seed} {self._baseline.name}")
        numbers = range(moments * each)
        cuts = [Cut((n // each + 0.5) / moments, random.choice(_CHOICES), seed=n) for n in numbers]
        return [END, *cuts]

    def cut(self, worker: Worker, case: Cut) -> Outcome:
        """Cut the power, and look at what is left."""
        disks = self.disks(worker)
        disk = disks[min(int(case.moment * len(disks)), len(disks) - 1)]
        disk.crash(worker.root, Random(case.seed), case.choice)
        is_done = case is END and self._baseline.operation != "rebuild catalog"
        return worker.check(
            self._baseline, {"error": ""} if is_done else None, sabotaged=self._sabotaged
        )

    def disks(self, worker: Worker) -> list[Disk]:
        """Return the disk at each moment at which something was not flushed, and at the end."""
        if worker.place not in self._recorded:
            self._recorded[worker.place] = self._record(worker)
        return self._recorded[worker.place]

    def _record(self, worker: Worker) -> list[Disk]:
        trace, before = worker.place / "written", worker.place / "before"
        worker.fresh(self._baseline)
        shutil.rmtree(before, ignore_errors=True)
        shutil.copytree(worker.root, before)
        ended = worker.run(
            self._baseline, "-o", str(trace), *STRACE_OPTIONS, sabotaged=self._sabotaged
        )
        assert ended["status"] == 0, ended
        return Replay(worker.root, trace, before=before, opened=ended["opened"]).points()
