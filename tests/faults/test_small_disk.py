"""A disk that really has too little room, for each megabyte that is missing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, count
from random import Random

import pytest
from helpers import MODES, Mode, disk_of

from faults.matrix import Baseline, Matrix, Worker
from faults.operations import OPERATIONS

_MEGABYTE = 1024 * 1024
_PAGE = 4096  # what a file takes on this kind of disk is a multiple of it
_FILLER = 3 * _MEGABYTE
_ENOUGH = 100 * _MEGABYTE
_SAMPLED = 6


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Draw a few operations when not all are wanted: each takes a large database of its own."""
    pairs = [(operation, mode) for operation in OPERATIONS for mode in MODES]
    if metafunc.config.getoption("--faults") != "full":
        seed = metafunc.config.getoption("--faults-seed")
        pairs = Random(f"{seed} small disk").sample(pairs, _SAMPLED)
    metafunc.parametrize(("operation", "mode"), pairs)


def test_nothing_is_lost_on_a_small_disk(matrix: Matrix, operation: str, mode: Mode) -> None:
    """Full or with megabytes too few, a disk makes an operation fail that is undone, or done."""
    baseline = matrix.baseline(operation, mode, filler=_FILLER)

    def run(worker: Worker, size: int) -> tuple[str, list[str]]:
        with _on_disk(worker, baseline, size):
            answer = _run(worker, baseline)
            command = ["mount", "-o", f"remount,size={_ENOUGH}", str(worker.root)]
            subprocess.run(command, check=True)
            outcome, violations = worker.check(baseline, answer)
        error = answer["error"] or "no error"
        return f"{outcome}, {error}", [f"{error}: {violation}" for violation in violations]

    matrix.try_all("small disk", baseline, _sizes(matrix, baseline), run, sample=3)


def _sizes(matrix: Matrix, baseline: Baseline) -> list[int]:
    """Return what the folder takes, and every whole megabyte until the operation succeeds."""
    taken = sum(
        -(-path.stat().st_size // _PAGE) * _PAGE
        for path in baseline.root.rglob("*")
        if path.is_file()
    )
    sizes = []
    with matrix.worker() as worker:
        for size in chain([taken], (n * _MEGABYTE for n in count(taken // _MEGABYTE + 1))):
            sizes.append(size)
            with _on_disk(worker, baseline, size):
                if not _run(worker, baseline)["error"] and _is_all_done(worker, baseline):
                    return sizes
    raise AssertionError  # for the type checker: the numbers do not end


def _is_all_done(worker: Worker, baseline: Baseline) -> bool:
    """Whether all is there that a large disk gets: a failing upgrade returns no error."""
    found = worker.zygote.ask("facts", folder=str(worker.folder), name=baseline.operation)
    return all(found[key] == baseline.after[key] for key in ("live", "contents"))


def _run(worker: Worker, baseline: Baseline) -> dict[str, str]:
    answer: dict[str, str] = worker.zygote.ask(
        "run", name=baseline.operation, folder=str(worker.folder)
    )
    return answer


@contextmanager
def _on_disk(worker: Worker, baseline: Baseline, size: int) -> Iterator[None]:
    """Have a fresh folder on a disk of ``size`` bytes."""
    shutil.rmtree(worker.root, ignore_errors=True)
    worker.root.mkdir(parents=True)
    with disk_of(size, worker.root):
        worker.fill(baseline)
        yield
