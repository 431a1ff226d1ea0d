"""A restore is made beside the live database, which is used meanwhile."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa
from helpers import eventually
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from postgresql.database import Database
from postgresql.server import Server
from soulsense_db import BackupManager
from soulsense_db.drivers import driver_for
from soulsense_db.drivers.postgresql.swap import Swap


@pytest.fixture
def shop(server: Server) -> Iterator[Database]:
    """Return a database with two rows."""
    with Database(server) as made:
        made.execute(
            "CREATE TABLE note (id serial PRIMARY KEY, body text)",
            "INSERT INTO note (body) VALUES ('one'), ('two')",
        )
        yield made


def test_writers_go_on_while_a_restore_is_made(shop: Database, tmp_path: Path) -> None:
    """What they write until the last moment is in the safety backup: undo brings it back."""
    manager = BackupManager(shop.engine, tmp_path)
    made = manager.create()
    written: list[int] = []

    def progress(_done: int, _total: int) -> None:
        if len(written) < 3:
            writer = sa.create_engine(f"{shop.url}&options=-clock_timeout%3D2s")
            with writer.begin() as connection:
                connection.exec_driver_sql("INSERT INTO note (body) VALUES ('meanwhile')")
            writer.dispose()
            written.append(1)

    manager.restore(made, progress=progress)
    assert len(written) == 3
    assert shop.scalar("SELECT count(*) FROM note") == 2
    manager.undo_restore()
    assert shop.scalar("SELECT count(*) FROM note") == 5


def test_who_writes_waits_for_less_than_the_server_sleeps(shop: Database, tmp_path: Path) -> None:
    """To rename, the server looks for other sessions each tenth of a second: it is woken."""
    manager = BackupManager(shop.engine, tmp_path)
    made = manager.create()
    waits = []
    for _ in range(5):
        with _writing(shop) as moments:
            manager.restore(made)
        waits.append(max(after - before for before, after in itertools.pairwise(moments)))
    assert min(waits) < 0.09


def test_who_leaves_the_new_database_slowly_is_waited_for(
    shop: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As autovacuum may at any time: to wake the server does not use its patience up."""
    commit = Swap.commit
    left: list[threading.Timer] = []

    def commit_with_a_guest(swap: Swap) -> str:
        guest = sa.create_engine(shop.server.url(swap._new.name), poolclass=NullPool).connect()
        number = int(guest.scalar(sa.text("SELECT pg_backend_pid()")) or 0)
        os.kill(number, signal.SIGSTOP)
        guest.invalidate()
        guest.close()
        left.append(threading.Timer(1, os.kill, (number, signal.SIGCONT)))
        left[0].start()
        return commit(swap)

    monkeypatch.setattr(Swap, "commit", commit_with_a_guest)
    manager = BackupManager(shop.engine, tmp_path)
    manager.create()
    shop.execute("DELETE FROM note")
    manager.restore("latest")
    assert shop.scalar("SELECT count(*) FROM note") == 2
    left[0].join()


@contextmanager
def _writing(shop: Database) -> Iterator[list[float]]:
    """Insert rows while the block runs, and note when each is there."""
    engine = sa.create_engine(shop.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    moments: list[float] = []
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            with suppress(DBAPIError), engine.connect() as connection:  # a restore ends it
                while not ended.is_set():
                    connection.exec_driver_sql("INSERT INTO note (body) VALUES ('written')")
                    moments.append(time.perf_counter())

    with ThreadPoolExecutor(1) as executor:
        writing = executor.submit(write)
        eventually(lambda: len(moments) > 3)
        try:
            yield moments
            count = len(moments)
            eventually(lambda: len(moments) > count)
        finally:
            ended.set()
        writing.result()


def test_what_was_prepared_is_used_once(shop: Database, tmp_path: Path) -> None:
    """A load takes what was made of the same backup, and makes anew what was not."""
    driver = driver_for(shop.engine, lock_timeout=5)
    first, second = tmp_path / "first.pgdump", tmp_path / "second.pgdump"
    for path in (first, second):
        path.touch()
        driver.snapshot(path)
        shop.execute("INSERT INTO note (body) VALUES ('more')")
    with driver.prepared(first):
        made = [name for name in shop.names() if name.startswith("soulsense_")]
        assert len(made) == 1
        driver.load(first.rename(tmp_path / "moved.pgdump"))
        assert shop.scalar("SELECT count(*) FROM note") == 2
    with driver.prepared(tmp_path / "moved.pgdump"):
        driver.load(second)
    assert shop.scalar("SELECT count(*) FROM note") == 3


def test_a_database_that_is_missing_is_made_anew(shop: Database, tmp_path: Path) -> None:
    """The newest backup brings it back, by the same name."""
    manager = BackupManager(shop.engine, tmp_path)
    made = manager.create()
    shop.engine.dispose()
    shop.maintain("DROP DATABASE {}")
    report = manager.restore(made)
    assert report.safety_backup is None
    assert shop.scalar("SELECT count(*) FROM note") == 2


def test_two_databases_share_a_directory(shop: Database, server: Server, tmp_path: Path) -> None:
    """Each has its own backups, safety backup and lock in it."""
    with Database(server) as other:
        other.execute("CREATE TABLE other (id int)")
        managers = [BackupManager(one.engine, tmp_path) for one in (shop, other)]
        for manager in managers:
            manager.restore(manager.create())
        assert [len(manager.list()) for manager in managers] == [1, 1]
        safety = {str(manager.safety_backup().path) for manager in managers}  # type: ignore[union-attr]
        assert len(safety) == 2
        shop.execute("DELETE FROM note")
        managers[1].undo_restore()
        assert shop.scalar("SELECT count(*) FROM note") == 0
        managers[0].undo_restore()
        assert shop.scalar("SELECT count(*) FROM note") == 2


@pytest.mark.parametrize("form", [{"compression": "zstd"}, {"recipients": "age"}])
def test_a_form_of_ours_is_restored(shop: Database, tmp_path: Path, form: dict[str, str]) -> None:
    """Compressed and encrypted backups of a server come back, and are drilled."""
    options: dict[str, object] = dict(form)
    if "recipients" in form:
        from age_keys import Key

        key = Key(tmp_path)
        options = {"recipients": key.recipients, "identities": key.identities}
    manager = BackupManager(shop.engine, tmp_path / "backups", **options)  # type: ignore[arg-type]
    made = manager.create()
    shop.execute("DELETE FROM note")
    assert manager.verify(made, level="drill").drill is not None
    manager.restore(made)
    assert shop.scalar("SELECT count(*) FROM note") == 2
