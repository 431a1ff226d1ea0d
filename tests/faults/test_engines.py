"""Kills, errors and power cuts again, through engines of other kinds than a plain one."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest
from helpers import MODES, Mode

from faults.engines import OTHERS
from faults.matrix import Matrix, Outcome, Worker
from faults.operations import OPERATIONS
from faults.points import Point, error_points, kill_points
from faults.report import PAGE, block, operations_of
from faults.test_call_errors import fail
from faults.test_kills import kill
from faults.test_power_cut import Cut, Cuts

FAULT = "engines"
_SAMPLED = 4  # operations of each engine
_EACH = 2  # states of each moment of a power cut
# How many cases each operation has through each engine: kills, errors, power cuts.
_FULL = (4, 5, 3)
_SAMPLE = (3, 4, 2)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Draw a few operations for each kind of engine when not all are wanted."""
    if "through" not in metafunc.fixturenames:
        return
    random = Random(f"{metafunc.config.getoption('--faults-seed')} {FAULT}")
    cases = []
    for engine in OTHERS:
        possible = [case for case in product([engine], OPERATIONS, MODES) if not _is_refused(*case)]
        full = metafunc.config.getoption("--faults") == "full"
        cases += possible if full else random.sample(possible, _SAMPLED)
    metafunc.parametrize(("through", "operation", "mode"), cases)


def _is_refused(engine: str, operation: str, mode: Mode) -> bool:
    """Whether SQLite lets nobody near the database beside the connection that migrates.

    In WAL mode a connection that has read with exclusive locking cannot let go of the file.
    """
    return engine == "exclusive locking" and mode == "wal" and OPERATIONS[operation].migrates


def test_nothing_is_lost_through_any_engine(
    matrix: Matrix, through: str, operation: str, mode: Mode
) -> None:
    """Whatever an engine does when it connects, a fault leaves an operation undone or done."""
    baseline = matrix.baseline(operation, mode, engine=through)
    cuts = Cuts(baseline)
    kills, errors, moments = _FULL if matrix.full else _SAMPLE
    cases: list[Point | Cut] = [
        *matrix.draw(f"kill {baseline.name}", kill_points(baseline), kills),
        *matrix.draw(f"error {baseline.name}", error_points(baseline), errors),
        *cuts.drawn(matrix, matrix.seed, each=_EACH)[:1],
        *matrix.draw(f"cut {baseline.name}", cuts.drawn(matrix, matrix.seed, each=_EACH), moments),
    ]

    def run(worker: Worker, case: Point | Cut) -> Outcome:
        if isinstance(case, Cut):
            return cuts.cut(worker, case)
        is_kill = case.fault.startswith("signal")
        return (kill if is_kill else fail)(worker, baseline, case)

    for outcome in matrix.require_nothing(baseline, cases, run):
        state = "half-run, noticed" if outcome.startswith("half-run") else outcome.partition(",")[0]
        matrix.record(FAULT, through, state)


def test_a_migration_without_a_way_back_is_refused(matrix: Matrix, full: bool) -> None:
    """Where nobody gets near the database beside env.py's connection, no step is run."""
    if not full:
        pytest.skip("it waits for the lock for half a minute")
    with matrix.worker() as worker:
        folder = str(worker.folder)
        worker.zygote.ask("prepare", name="upgrade", mode="wal", folder=folder, filler=0)
        before = worker.zygote.ask("facts", name="upgrade", folder=folder)
        answer = worker.zygote.ask("run", engine="exclusive locking", name="upgrade", folder=folder)
        assert answer["error"] == "MigrationRefusedError"
        assert worker.zygote.ask("facts", name="upgrade", folder=folder) == before


def test_every_engine_has_its_row(full: bool) -> None:
    """The table has a row of each kind of engine, unless this is the run that makes it."""
    assert full or operations_of(block(PAGE.read_text(), FAULT)) == OTHERS
