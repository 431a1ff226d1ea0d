"""Restores on a running Galera cluster: all nodes are old or new, and equal, whatever happens."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from helpers import eventually
from sqlalchemy.pool import NullPool

from mariadb_driver.databases import Database, new_database
from mariadb_driver.galera import Cluster
from mariadb_driver.galera_pairs import HELD, LOCKS, SYNC, TABLES, Pairs
from soulsense_db import BackupManager
from soulsense_db.drivers.mariadb import archive, leases
from soulsense_db.drivers.mariadb import cluster as clusters
from soulsense_db.drivers.mariadb.inventory import Item
from soulsense_db.drivers.mariadb.login import Login
from soulsense_db.drivers.mariadb.swap import rename_statement
from soulsense_db.errors import (
    BackupError,
    Outcome,
    UnsupportedDatabaseError,
)

pytestmark = pytest.mark.slow

_STATEMENT = "CREATE EVENT x DISABLE ON SLAVE DO CREATE TABLE x (\n) ENGINE=MyISAM"
CUT_OFF = """
import os, sys
import sqlalchemy as sa
from soulsense_db import BackupManager
from soulsense_db.drivers.mariadb import cluster, leases, programs

leases.SECONDS, leases.RENEWED_SECONDS = 1.5, 0.3
url, directory, where, what = sys.argv[1:]
place = programs if where == "replace" else cluster
known = getattr(place, where)

def here(*arguments, **keywords):
    if what == "kill":
        os._exit(9)
    print("here", flush=True)
    return known(*arguments, **keywords)

setattr(place, where, here)
BackupManager(sa.create_engine(url), directory, catalog=False).restore("latest")
"""


@pytest.fixture
def nodes(cluster: Cluster, tmp_path: Path) -> Iterator[list[Database]]:
    """Return a new database, as each node has it."""
    with new_database(cluster.nodes[0], tmp_path) as made:
        made.run(TABLES)
        yield [made, *(Database(one, made.name, tmp_path) for one in cluster.nodes[1:])]


@pytest.fixture
def managers(nodes: list[Database], tmp_path: Path) -> list[BackupManager]:
    """Return a manager for each node."""
    engines = [sa.create_engine(url_of(one, tmp_path), poolclass=NullPool) for one in nodes]
    return [BackupManager(engine, tmp_path, catalog=False) for engine in engines]


def url_of(database: Database, folder: Path) -> str:
    """Return a URL that is the same for all nodes but for the option file, as behind a proxy."""
    options = folder / f"{database.server.folder.name}.cnf"
    options.write_text(f"[client]\nsocket={database.server.socket}\n")
    return f"mariadb+pymysql://root@localhost/{database.name}?read_default_file={options}"


def cut_off(database: Database, directory: Path, where: str, what: str) -> subprocess.Popen[bytes]:
    """Restore in a process that ends, or tells, where something of the driver's is called."""
    url = url_of(database, directory)
    arguments = [sys.executable, "-c", CUT_OFF, url, str(directory), where, what]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def dumps(nodes: list[Database]) -> str:
    """Return what is in all nodes, which is the same."""
    for one in nodes:
        one.run(f"{SYNC} SELECT 1")
    found = {one.dump() for one in nodes}
    assert len(found) == 1
    return found.pop()


def test_a_cluster_in_use_is_restored(nodes: list[Database], managers: list[BackupManager]) -> None:
    """Through any node, while all are written to: nobody sees half of it, and nothing is lost."""
    first, second, third = managers
    backup = first.create()
    pairs = Pairs(nodes)
    with pairs.in_use():
        pairs.go_on()
        report = second.restore(backup)
        assert not report.warnings
        assert report.safety_backup is not None
        pairs.go_on()
        after_restore = len(pairs.committed)
    restored = Pairs.of(nodes[0])
    dumps(nodes)
    replaced = [one for one in nodes[0].kept() if one.endswith("_old")]
    assert len(replaced) == 1
    kept = Pairs.of(nodes[2], replaced[0])
    assert {1, 2} < restored
    assert set(pairs.committed[:after_restore]) <= restored | kept
    assert not (restored & kept) - {1, 2}
    third.undo_restore()
    assert all(Pairs.of(one) == kept for one in nodes)
    with first.exclusive() as lock:
        lock.put_back(backup.id)
    assert all(Pairs.of(one) == {1, 2} for one in nodes)
    second.undo_restore()
    assert all(Pairs.of(one) == restored for one in nodes)
    assert "twice" in dumps(nodes)
    assert nodes[0].left() == {LOCKS}
    assert nodes[1].run(HELD) == "0\n"


@pytest.mark.parametrize(("where", "is_restored"), [("swap", False), ("replace", True)])
def test_a_restore_is_killed(
    nodes: list[Database],
    managers: list[BackupManager],
    tmp_path: Path,
    where: str,
    is_restored: bool,
) -> None:
    """Whatever is done next, through another node, finds all of it, or nothing, and finishes it."""
    managers[0].create()
    nodes[0].run("INSERT INTO first VALUES (3, 'three'); DROP VIEW both_of_them")
    before = dumps(nodes)
    with cut_off(nodes[0], tmp_path, where, "kill") as child:
        assert child.wait() == 9
    managers[1].create()  # if something is missing, it waits until the lock of what was killed ends
    assert (Pairs.of(nodes[2]) == {1, 2}) is is_restored
    assert ("both_of_them" in dumps(nodes)) is is_restored
    if is_restored:
        managers[2].undo_restore()
        assert managers[2].live.unfinished() == ""
    assert dumps(nodes) == before
    deadline = time.monotonic() + 30
    while nodes[0].left() != {LOCKS}:  # once the locks of what was killed have ended
        assert time.monotonic() < deadline
        managers[1].create()


def test_the_lock_of_what_was_killed_ends_just_then(
    nodes: list[Database],
    managers: list[BackupManager],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who found it held, and asks again when it is not, does not take the rest for done."""
    managers[0].create()
    nodes[0].run("DROP VIEW both_of_them")
    with cut_off(nodes[0], tmp_path, "replace", "kill") as child:
        assert child.wait() == 9
    known = leases.held
    waited: list[str] = []

    @contextmanager
    def held(
        login: Login, schema: str, what: str, *, name: str, timeout: float
    ) -> Iterator[leases.Lease | None]:
        with known(login, schema, what, name=name, timeout=timeout) as lease:
            yield lease
        if lease is None:
            waited.append(what)
            with login.connected(name=name) as connection:
                assert eventually(lambda: not leases.is_held(connection, schema, what))

    monkeypatch.setattr(leases, "held", held)
    managers[1].create()
    assert len(waited) == 1
    assert "both_of_them" in dumps(nodes)


def test_a_node_is_killed(
    cluster: Cluster, nodes: list[Database], managers: list[BackupManager], tmp_path: Path
) -> None:
    """That a restore goes through: the others are old or new, and it is as they when it is back."""
    managers[0].create()
    nodes[0].run("INSERT INTO first VALUES (3, 'three')")
    before = dumps(nodes)
    with cut_off(nodes[0], tmp_path, "swap", "tell") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"here\n"
        cluster.nodes[0].stop(kill=True)
        child.communicate()
    managers[1].create()
    is_restored = Pairs.of(nodes[1]) == {1, 2}
    if is_restored:
        managers[2].undo_restore()
    assert dumps(nodes[1:]) == before
    cluster.start(0)
    assert dumps(nodes) == before
    managers[0].restore("latest")
    dumps(nodes)


def test_a_swap_that_comes_too_late_fails(
    nodes: list[Database], managers: list[BackupManager], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another node has taken it for dead, and tidied up after it: then it must not happen."""
    backup = managers[0].create()
    nodes[0].run("INSERT INTO first VALUES (3, 'three')")
    before = dumps(nodes)
    rename = rename_statement

    def late(*arguments: object) -> str:
        statement = rename(*arguments)  # type: ignore[arg-type]
        nodes[1].run(f"DELETE FROM `{LOCKS}`.leases WHERE what LIKE '~soulsense%'")
        monkeypatch.setattr(leases.Lease, "renew", lambda _: None)
        managers[1].create()
        return statement

    monkeypatch.setattr(clusters, "rename_statement", late)
    with pytest.raises(BackupError) as caught:
        managers[0].restore(backup)
    assert caught.value.outcome is Outcome.UNCHANGED
    assert dumps(nodes) == before
    monkeypatch.undo()
    assert nodes[0].left() == {LOCKS}


def test_what_would_leave_nodes_unequal_is_refused(
    nodes: list[Database], managers: list[BackupManager]
) -> None:
    """In what is live, and in a backup, before anything is changed."""
    backup = managers[0].create()
    described = archive.read(Path(backup.path))
    for made, kind, why in (
        ("TABLE third (id INT) ENGINE=MyISAM", "BASE TABLE", "no change of third goes"),
        ("TABLE third (id INT) WITH SYSTEM VERSIONING", "SYSTEM VERSIONED", "the history of third"),
        ("SEQUENCE third INCREMENT BY 0", "SEQUENCE", "sequence"),
        ("TRIGGER third BEFORE INSERT ON log FOR EACH ROW SET @a = 1", "", "it has triggers"),
        (
            "EVENT third ON SCHEDULE EVERY 9 YEAR STARTS '2037-01-01' DISABLE ON SLAVE DO SELECT 1",
            "EVENT",
            "another node runs the events third",
        ),
    ):
        nodes[0].run(f"CREATE {made}")
        with pytest.raises(UnsupportedDatabaseError, match=why):
            managers[0].restore(backup)
        assert not managers[0].can_restore(backup).ok
        assert Pairs.of(nodes[2]) == {1, 2}
        sort = made.split()[0]
        nodes[0].run(f"DROP {'TABLE' if sort == 'SEQUENCE' else sort} third")
        if kind:
            item = Item(kind=kind, name="third", statement=_STATEMENT)
            with pytest.raises(UnsupportedDatabaseError, match="third"):
                clusters.require_backup(
                    msgspec.structs.replace(described, items=(item,)), name="app"
                )
    with pytest.raises(UnsupportedDatabaseError, match="the backup has triggers"):
        sections = {**described.sections, "triggers": described.sections["tables"]}
        clusters.require_backup(msgspec.structs.replace(described, sections=sections), name="app")
    assert nodes[0].left() - {LOCKS} == set()


def test_a_failed_migration_is_not_put_back_where_nothing_can_be_kept(
    nodes: list[Database], managers: list[BackupManager]
) -> None:
    """No lock keeps the other nodes' writers out: what they write meanwhile would be lost."""
    path = nodes[0].snapshot()
    driver = nodes[0].driver
    with driver.prepared(path), driver.write_locked() as held:
        assert not held.release()
        assert not held.changed()
        assert not held.has_concurrent_commit()
        with pytest.raises(UnsupportedDatabaseError, match="could not be kept"):
            driver.load(path, write_lock=held)
    driver.load(path)
    dumps(nodes)
    assert nodes[0].left() - {LOCKS} == set()
    assert managers[0].live.unfinished() == ""
