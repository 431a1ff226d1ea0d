"""Fixtures of the failure matrix: how much of it runs, its workers, and the table of outcomes."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults.matrix import Matrix
from faults.report import Report

Record = Callable[..., None]


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """Return whether the whole matrix is asked for, not a sample."""
    return bool(pytestconfig.getoption("--faults") == "full")


@pytest.fixture(scope="session")
def seed(pytestconfig: pytest.Config) -> int:
    """Return the seed of everything that is drawn; it is printed in pytest's header."""
    return int(pytestconfig.getoption("--faults-seed"))


@pytest.fixture(scope="session")
def report(full: bool) -> Iterator[Report]:
    """Collect outcomes; a whole run writes them to docs/reliability.md."""
    collected = Report()
    yield collected
    if full:
        collected.write()


@pytest.fixture(scope="package")
def matrix(full: bool, seed: int, report: Report) -> Iterator[Matrix]:
    """Return the workers that run the cases."""
    if sys.platform != "linux" or shutil.which("strace") is None:
        pytest.skip("the failure matrix takes Linux and strace")
    memory = Path("/dev/shm")  # noqa: S108 - a directory of our own in it
    place = tempfile.mkdtemp(dir=memory if memory.is_dir() else None, prefix="faults-")
    made = Matrix(Path(place), full=full, seed=seed, report=report)
    yield made
    made.close()


@pytest.fixture
def record(report: Report) -> Record:
    """Return the function that counts outcomes for the table."""
    return report.record
