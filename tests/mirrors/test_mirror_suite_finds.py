"""The suite for mirrors finds a mirror that breaks a promise."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import broken_mirrors
import pytest

FILE = Path(broken_mirrors.__file__)
SUITES: dict[str, type[broken_mirrors.Broken]] = {
    name: found for name, found in vars(broken_mirrors).items() if name.startswith("Test")
}


@pytest.fixture(scope="module")
def failed() -> set[tuple[str, str]]:
    """Run the tests that should find a broken mirror; return class and name of those that did."""
    nodes = [f"{FILE}::{name}::{test}" for name, suite in SUITES.items() for test in suite.found_by]
    done = subprocess.run(
        # Plain: where CI is set, pytest would compare megabytes for what nobody reads.
        [
            *(sys.executable, "-m", "pytest", "-rf", "--tb=no", "--assert=plain"),
            *("-p", "no:cacheprovider", *nodes),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return set(re.findall(r"^FAILED .*::(\w+)::(\w+)", done.stdout, re.MULTILINE))


@pytest.mark.slow
@pytest.mark.parametrize("name", SUITES)
def test_a_broken_promise_is_found(name: str, failed: set[tuple[str, str]]) -> None:
    """Each promise that a mirror breaks fails in the test that is named after it."""
    assert {(name, test) for test in SUITES[name].found_by} <= failed
