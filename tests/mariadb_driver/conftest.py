"""One server, and one cluster, for as long as the tests of a process run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from mariadb_driver.galera import Cluster, require_installed
from mariadb_driver.server import Server, is_installed


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Return the server of the tests' own."""
    if not is_installed():
        assert not os.environ.get("SOULSENSE_TESTS_NEED_ALL"), "no MariaDB is installed"
        pytest.skip("no MariaDB is installed")
    made = Server()
    yield made
    made.remove()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Return three nodes of the tests' own."""
    require_installed()
    made = Cluster()
    yield made
    made.remove()
