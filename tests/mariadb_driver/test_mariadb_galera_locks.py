"""What excludes programs of one node of a Galera cluster excludes those of the others, too."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from mariadb_driver.databases import Database, new_database
from mariadb_driver.galera import Cluster
from mariadb_driver.galera_pairs import HELD, LOCKS, TABLES, Pairs
from soulsense_db import BackupManager
from soulsense_db.drivers.mariadb import MariaDBDriver, leases, login, notes, schemas
from soulsense_db.errors import DatabaseLockedError, Outcome

pytestmark = pytest.mark.slow

HOLDS = """
import sys, threading
import sqlalchemy as sa
from soulsense_db import BackupManager
from soulsense_db.drivers.mariadb import leases

leases.SECONDS, leases.RENEWED_SECONDS = 1.5, 0.3
with BackupManager(sa.create_engine(sys.argv[1]), sys.argv[2]).exclusive():
    print("held", flush=True)
    threading.Event().wait()
"""


@pytest.fixture
def nodes(cluster: Cluster, tmp_path: Path) -> Iterator[list[Database]]:
    """Return a new database, as each node has it."""
    with new_database(cluster.nodes[0], tmp_path) as made:
        made.run(TABLES)
        yield [made, *(Database(one, made.name, tmp_path) for one in cluster.nodes[1:])]


@pytest.fixture
def managers(nodes: list[Database], tmp_path: Path) -> list[BackupManager]:
    """Return a manager for each node: on machines of their own, so without a lock file."""
    return [
        BackupManager(one.engine, tmp_path / str(number), catalog=False)
        for number, one in enumerate(nodes)
    ]


def driver_of(database: Database) -> MariaDBDriver:
    """Return its driver."""
    assert isinstance(database.driver, MariaDBDriver)
    return database.driver


def test_one_of_two_nodes_has_the_lock(nodes: list[Database]) -> None:
    """Whichever asks second does not get it, for as long as the first one has it."""
    first, second = driver_of(nodes[0]), driver_of(nodes[1])
    for holder, other in ((first, second), (second, first)):
        with holder.exclusive(timeout=1):
            with (
                pytest.raises(DatabaseLockedError, match="within 60 seconds"),
                other.exclusive(timeout=0),
            ):
                pytest.fail("two have it")
            assert nodes[2].run(HELD) == "1\n"
    assert nodes[2].run(HELD) == "0\n"


def test_of_all_that_ask_at_once_one_gets_it(nodes: list[Database]) -> None:
    """A row is inserted on several nodes, and committed on one; so it is with one that ended."""
    name = nodes[0].name
    for number in range(6):
        if number % 2:
            nodes[0].run(
                f"INSERT INTO `{LOCKS}`.leases VALUES ('{name}', 'gone', '2020-01-01 00:00:00')"
            )
        start = threading.Barrier(6)
        got: list[leases.Lease] = []

        def ask(
            database: Database,
            start: threading.Barrier = start,
            got: list[leases.Lease] = got,
        ) -> None:
            found = driver_of(database)._login()
            lease = leases.Lease(found, LOCKS, name, name=name)
            start.wait()
            if lease.take(timeout=0.3):
                got.append(lease)

        threads = [threading.Thread(target=ask, args=(one,)) for one in nodes * 2]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert len(got) == 1
        got[0].renew()
        got[0].release()


def test_a_lock_is_renewed_for_as_long_as_its_owner_lives(
    nodes: list[Database], tmp_path: Path
) -> None:
    """And ends soon after a kill: whoever waits then gets it."""
    url = nodes[0].server.url(nodes[0].name)
    other = driver_of(nodes[1])
    arguments = [sys.executable, "-c", HOLDS, url, str(tmp_path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(DatabaseLockedError), other.exclusive(timeout=3):
            pytest.fail("its time is over twice")
        child.kill()
        child.wait()
        with other.exclusive(timeout=10):
            pass


def test_the_rights_of_the_guide_are_enough(nodes: list[Database], tmp_path: Path) -> None:
    """For rows that are locks, and for a restore; who may not have rows has the node's lock."""
    made = nodes[0]
    made.run(
        f"CREATE USER guided; GRANT ALL ON {made.name}.* TO guided;"
        + "GRANT SELECT ON mysql.proc TO guided; GRANT SET USER ON *.* TO guided"
    )
    engine = sa.create_engine(made.engine.url.set(username="guided"))
    driver = made.driver_for(engine)
    with driver_of(made).exclusive(timeout=1):
        pass  # the table is there
    try:
        before = made.run(HELD)
        with driver.exclusive(timeout=1):
            assert made.run(HELD) == before
        made.run("GRANT ALL ON `~soulsense\\_%`.* TO guided")
        with driver.exclusive(timeout=1):
            assert made.run(HELD) != before
        manager = BackupManager(engine, tmp_path, catalog=False)
        backup = manager.create()
        made.run("DELETE FROM second; SET GLOBAL log_bin_trust_function_creators = 1")
        manager.restore(backup)
        assert made.run("SELECT COUNT(*) FROM second") == "2\n"
    finally:
        made.run("DROP USER guided; SET GLOBAL log_bin_trust_function_creators = 0")


def test_a_restore_that_lost_its_lock_stops(
    nodes: list[Database], managers: list[BackupManager], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its swap: nothing was changed, and nothing of it is left."""
    backup = managers[0].create()
    nodes[0].run("DELETE FROM second WHERE id = 2")
    before = nodes[0].dump()
    write = notes.write

    def lose(*arguments: object) -> None:
        write(*arguments)  # type: ignore[arg-type]
        nodes[1].run(f"UPDATE `{LOCKS}`.leases SET owner = 'another' WHERE what LIKE '~soul%'")

    monkeypatch.setattr(notes, "write", lose)
    with pytest.raises(DatabaseLockedError, match="its lock has ended") as caught:
        managers[0].restore(backup)
    assert caught.value.outcome is Outcome.UNCHANGED
    assert [one.dump() for one in nodes] == [before] * 3
    monkeypatch.undo()
    nodes[1].run(f"DELETE FROM `{LOCKS}`.leases")
    managers[1].create()
    assert nodes[0].left() == {LOCKS}


def test_what_a_node_restores_is_no_other_s_to_tidy_up(
    nodes: list[Database], managers: list[BackupManager], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup, a drill and a restore through another node leave what is being loaded alone."""
    backup = managers[0].create()
    write = notes.write
    seen: list[Path] = []

    def meanwhile(*arguments: object) -> None:
        write(*arguments)  # type: ignore[arg-type]
        if not seen:
            seen.append(Path(managers[1].create().path))
            assert managers[1].verify("latest", level="drill").drill
            with pytest.raises(DatabaseLockedError):
                managers[1].restore("latest")

    monkeypatch.setattr(notes, "write", meanwhile)
    monkeypatch.setattr(managers[1].live._driver, "lock_timeout", 0.5, raising=False)
    nodes[0].run("DELETE FROM second")
    managers[0].restore(backup)
    assert seen
    assert all(Pairs.of(one) == {1, 2} for one in nodes)
    assert nodes[0].left() == {LOCKS}


def test_a_lost_lock_is_found_by_its_thread(
    nodes: list[Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that does not answer is asked again, and a row that is another's ends it."""
    monkeypatch.setattr(leases, "RENEWED_SECONDS", 0.05)
    tried = threading.Event()
    failing = [True]
    connected = login.Login.connected

    def connect(self: login.Login, *arguments: object, **keywords: object) -> object:
        if failing and threading.current_thread().name == "soulsense_db-lease":
            failing.clear()
            tried.set()
            raise OSError("as a network that is gone")
        return connected(self, *arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(login.Login, "connected", connect)
    driver = driver_of(nodes[0])
    lease = leases.Lease(driver._login(), LOCKS, "one", name="app")
    assert lease.take(timeout=1)
    assert tried.wait(5)
    thread = next(one for one in threading.enumerate() if one.name == "soulsense_db-lease")
    nodes[1].run(f"UPDATE `{LOCKS}`.leases SET owner = 'another' WHERE what = 'one'")
    thread.join(10)
    assert not thread.is_alive()
    with pytest.raises(DatabaseLockedError):
        lease.renew()
    lease.release()
    nodes[1].run(f"DROP DATABASE `{LOCKS}`")
    with pytest.raises(DatabaseLockedError):
        lease.renew()
    with driver._connected() as connection:
        assert not leases.is_held(connection, LOCKS, "one")
        assert not schemas.is_in_use(connection, "~soulsense_none", live=nodes[0].name)
