"""A server of each version, for as long as the tests of a process run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from postgresql import content
from postgresql.server import Server, versions

VERSIONS = versions()


class Servers:
    """The servers, each started when it is first asked for."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._running: dict[int, Server] = {}

    def of(self, version: int) -> Server:
        """Return the server of a major version."""
        if version not in self._running:
            self._running[version] = server = Server(version)
            self._stack.callback(server.remove)
        return self._running[version]


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Return the servers of the tests' own."""
    if not VERSIONS:
        assert not os.environ.get("SOULSENSE_TESTS_NEED_ALL"), "no PostgreSQL is installed"
        pytest.skip("no PostgreSQL is installed")
    with ExitStack() as stack:
        yield Servers(stack)


# A run of all but the slow tests starts one server: the newest.
@pytest.fixture(
    params=[*(pytest.param(v, marks=pytest.mark.slow) for v in VERSIONS[:-1]), *VERSIONS[-1:]]
    or [0]
)
def server(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Server]:
    """Run the test once with each version that is installed."""
    found = servers.of(request.param)
    yield found
    content.drop_kept(found)
