"""A Galera cluster of three servers of the tests' own, on this machine."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from certificates import free_port

from mariadb_driver.databases import Database
from mariadb_driver.server import Server, is_installed

_PROVIDER = Path("/usr/lib/galera/libgalera_smm.so")
_SECONDS = 60
_ATTEMPTS = 3
_PORTS = 9


def require_installed() -> None:
    """Skip the test where Galera is not there."""
    if not (is_installed() and _PROVIDER.exists() and shutil.which("rsync")):
        assert not os.environ.get("SOULSENSE_TESTS_NEED_ALL"), "Galera is not installed"
        pytest.skip("Galera is not installed")


class Cluster:
    """Three nodes, of which each has all that is committed."""

    def __init__(self) -> None:
        self._ports: list[int] = []
        self.nodes: list[Server] = []
        for attempt in range(_ATTEMPTS):
            try:
                self._make()
                return
            except BaseException as error:
                self.remove()
                # Somebody else may have taken a port since it was free.
                if not isinstance(error, Exception) or attempt == _ATTEMPTS - 1:
                    raise

    def _make(self) -> None:
        ports: set[int] = set()
        while len(ports) < _PORTS:
            ports.add(free_port())
        self._ports, self.nodes = list(ports), []
        for number in range(3):
            first = ("--wsrep-new-cluster",) if number == 0 else ()
            self.nodes.append(Server(*self.options(number), *first))
            self.until_ready(number, number + 1)

    def options(self, number: int) -> tuple[str, ...]:
        """Return what makes a server a node."""
        group, incremental, whole = self._ports[number::3]
        members = ",".join(f"127.0.0.1:{port}" for port in self._ports[:3])
        return (
            "--wsrep-on=ON",
            f"--wsrep-provider={_PROVIDER}",
            "--wsrep-cluster-name=tests",
            f"--wsrep-cluster-address=gcomm://{members}",
            f"--wsrep-node-name=node{number}",
            f"--wsrep-node-address=127.0.0.1:{group}",
            f"--wsrep-sst-receive-address=127.0.0.1:{whole}",
            "--wsrep-sst-method=rsync",
            "--wsrep-provider-options="
            f"gmcast.listen_addr=tcp://127.0.0.1:{group};ist.recv_addr=127.0.0.1:{incremental};"
            "gcache.size=16M;pc.recovery=false",
            "--binlog-format=ROW",
            "--innodb-autoinc-lock-mode=2",
        )

    def until_ready(self, number: int, size: int) -> None:
        """Wait until a node is one of so many, and takes statements."""
        database = Database(self.nodes[number], "mysql", Path())
        deadline = time.monotonic() + _SECONDS
        asked = "SHOW STATUS WHERE Variable_name IN ('wsrep_ready', 'wsrep_cluster_size')"
        while f"wsrep_cluster_size\t{size}\nwsrep_ready\tON\n" != database.run(asked):
            assert time.monotonic() < deadline, database.run(asked)
            time.sleep(0.1)

    def start(self, number: int) -> None:
        """Start a node again, which then is one of three."""
        self.nodes[number].start(*self.options(number))
        self.until_ready(number, 3)

    def start_anew(self) -> None:
        """Make the cluster of its first node: the others take all from it."""
        state = self.nodes[0].data / "grastate.dat"
        state.write_text(state.read_text().replace("safe_to_bootstrap: 0", "safe_to_bootstrap: 1"))
        self.nodes[0].start(*self.options(0), "--wsrep-new-cluster")
        self.until_ready(0, 1)
        for number in (1, 2):
            (self.nodes[number].data / "grastate.dat").unlink(missing_ok=True)
            self.nodes[number].start(*self.options(number))
            self.until_ready(number, number + 1)

    def remove(self) -> None:
        """Stop all nodes."""
        for one in self.nodes:
            one.remove()
