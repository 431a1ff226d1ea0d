"""What others do while the schemas of a database are replaced: nothing is lost, torn or stuck."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from helpers import eventually
from sqlalchemy.pool import NullPool

from postgresql import content
from postgresql.newest import on_newest
from postgresql.owned import OF_KEPT, Owned, backed_up, dumped, rows, with_notes
from postgresql.server import Server
from soulsense_db import BackupManager
from soulsense_db.drivers import driver_for
from soulsense_db.drivers.postgresql.kept_schemas import KeptSchemas
from soulsense_db.drivers.postgresql.schema_restore import Ready
from soulsense_db.errors import (
    BackupError,
    DatabaseLockedError,
    MissingRightError,
    UnsupportedDatabaseError,
)

pytestmark = on_newest
in_both_ways = pytest.mark.parametrize("shop", ["other", '"Other"'], indirect=True)
"""A schema whose name needs quotes is dropped once it is replaced, another one is kept."""


@pytest.fixture
def shop(
    request: pytest.FixtureRequest, server: Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Owned]:
    """Return a database of a user who may make no others, with two rows."""
    second = getattr(request, "param", "other")
    with with_notes(
        server,
        monkeypatch,
        "CREATE TYPE mood AS ENUM ('fine', 'bad')",
        "CREATE TABLE day (at date PRIMARY KEY, mood mood)",
        "INSERT INTO day VALUES ('2026-01-01', 'fine')",
        "CREATE VIEW days AS SELECT * FROM day",
        f"CREATE SCHEMA {second}",
        f"CREATE TABLE {second}.of_note (id int REFERENCES note)",
        second=second,
    ) as made:
        yield made


@pytest.fixture
def manager(shop: Owned, tmp_path: Path) -> BackupManager:
    """Return a manager of a database that has a third row since its backup."""
    return backed_up(shop, tmp_path, lock_timeout=5)


class Other:
    """Another session, which executes statements in one transaction."""

    def __init__(self, shop: Owned, *, autocommit: bool = False) -> None:
        engine = sa.create_engine(shop.url, poolclass=NullPool)
        if autocommit:
            engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._shop, self._connection = shop, engine.connect()
        self._process = self._connection.scalar(sa.text("SELECT pg_backend_pid()"))
        self._connection.commit()
        self._executor = ThreadPoolExecutor(1)

    def begin(self, *statements: str) -> Future[None]:
        """Execute them; return when they are done, or wait for somebody."""

        def work() -> None:
            for one in statements:
                self._connection.exec_driver_sql(one)
            self._connection.commit()

        done = self._executor.submit(work)
        waits = f"SELECT count(*) FROM pg_locks WHERE pid = {self._process} AND NOT granted"
        assert eventually(lambda: done.done() or bool(self._shop.scalar(waits)))
        return done

    def close(self) -> None:
        """End the session."""
        self._executor.shutdown()
        self._connection.close()


@pytest.fixture
def other(shop: Owned) -> Iterator[Other]:
    """Return another session."""
    made = Other(shop)
    yield made
    made.close()


def in_the_window(monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]) -> None:
    """Have ``work`` done once, when writers and readers wait for a restore."""
    check = Ready._require_nothing_made_of_it
    done: list[bool] = []

    def work_and_check(ready: Ready) -> None:
        if not done:
            done.append(True)
            work()
        check(ready)

    monkeypatch.setattr(Ready, "_require_nothing_made_of_it", work_and_check)


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TABLE made AS SELECT 42 AS n",
        "CREATE FUNCTION made() RETURNS int LANGUAGE sql AS 'SELECT 42'",
        "CREATE TYPE made AS ENUM ('42')",
    ],
)
@in_both_ways
def test_a_transaction_that_waits_is_replaced_whole(
    shop: Owned,
    manager: BackupManager,
    other: Other,
    monkeypatch: pytest.MonkeyPatch,
    made: str,
) -> None:
    """What it has made before it waits, and its row: both are in the safety backup.

    Where that was made before, the restore gives way, and makes another.
    """
    waiting: list[Future[None]] = []
    in_the_window(
        monkeypatch,
        lambda: waiting.append(
            other.begin(made, "INSERT INTO note (body) VALUES ('with what it made')")
        ),
    )
    is_made = "made" in dumped(shop)
    assert not is_made
    assert manager.restore("latest").warnings == ()
    waiting[0].result()
    assert rows(shop) == 2
    assert "made" not in dumped(shop)
    manager.undo_restore()
    assert rows(shop) == 4
    assert "made" in dumped(shop)
    assert shop.scalar(OF_KEPT) == 0


def test_what_is_made_of_a_replaced_table_keeps_its_columns(
    shop: Owned, manager: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waited in a view makes a table with a replaced type: nothing of it is dropped.

    What was replaced stays until nothing is made of it any more, and its copy is there.
    """
    other = Other(shop, autocommit=True)
    in_the_window(
        monkeypatch, lambda: void(other.begin("CREATE TABLE report AS SELECT * FROM days"))
    )
    (warning,) = manager.restore("latest").warnings
    assert "The safety backup is written" in warning
    assert "report" in warning
    other.close()
    assert shop.scalar("SELECT mood::text FROM report") == "fine"
    with pytest.raises(BackupError, match="report"):
        manager.undo_restore()
    shop.execute("ALTER TABLE report ALTER mood TYPE text")
    manager.undo_restore()
    assert rows(shop) == 3
    assert shop.scalar(OF_KEPT) == 0


def test_who_makes_something_until_the_drop_keeps_its_columns(
    shop: Owned, manager: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He commits when the replaced tables are about to be dropped: one looks after that."""
    engine = sa.create_engine(shop.url, poolclass=NullPool)
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
    with engine.connect() as connection, ThreadPoolExecutor(1) as executor:

        def make() -> None:
            connection.exec_driver_sql("SELECT * FROM days")
            assert eventually(lambda: bool(shop.scalar(waits)))
            mood = shop.scalar(
                "SELECT n.nspname || '.mood' FROM pg_type t JOIN pg_namespace n"
                " ON n.oid = typnamespace WHERE typname = 'mood' AND nspname <> 'public'"
            )
            connection.exec_driver_sql(f"CREATE TABLE report AS SELECT 'fine'::{mood} AS mood")
            connection.commit()

        made: list[Future[None]] = []
        blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted"

        def begin() -> None:
            made.append(executor.submit(make))
            assert eventually(lambda: bool(shop.scalar(blocked)))

        in_the_window(monkeypatch, begin)
        (warning,) = manager.restore("latest").warnings
        made[0].result()
    assert "report" in warning
    assert shop.scalar("SELECT mood::text FROM report") == "fine"


def test_who_changes_a_schema_is_not_waited_for_without_end(
    shop: Owned, manager: BackupManager
) -> None:
    """As one who has given rights on it, and has not committed: after the lock timeout it fails."""
    engine = sa.create_engine(shop.url, poolclass=NullPool)
    impatient = BackupManager(shop.engine, manager.directory, lock_timeout=0.5)
    with engine.connect() as connection:
        connection.exec_driver_sql("GRANT USAGE ON SCHEMA other TO PUBLIC")
        with pytest.raises(DatabaseLockedError):
            impatient.restore("latest")
    impatient.restore("latest")
    assert rows(shop) == 2


def void(_: object) -> None:
    """Return nothing."""


@in_both_ways
def test_a_temporary_table_of_a_type_keeps_its_columns(
    shop: Owned, manager: BackupManager, other: Other
) -> None:
    """Values would land in other columns once one is gone: the restore waits for its session."""
    other.begin("CREATE TEMPORARY TABLE stage AS SELECT * FROM day").result()
    with pytest.raises(DatabaseLockedError, match=r"pg_temp_\d+\.stage"):
        manager.restore("latest")
    assert rows(shop) == 3
    other.close()
    manager.restore("latest")
    assert rows(shop) == 2


@in_both_ways
@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_the_usual_isolation_of_the_user_changes_nothing(
    shop: Owned, manager: BackupManager, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    """What others make while the backup is loaded is replaced, and in the safety backup."""
    shop.administer(f"ALTER ROLE {shop.user} SET default_transaction_isolation = '{level}'")
    counted = Ready.counted
    done: list[bool] = []

    def count_and_make(ready: Ready) -> dict[str, int]:
        if not done:
            done.append(True)
            shop.execute(
                "CREATE TABLE late AS SELECT 1 AS n",
                "CREATE SCHEMA lately",
                "CREATE TABLE lately.late AS SELECT 1 AS n",
            )
        return counted(ready)

    monkeypatch.setattr(Ready, "counted", count_and_make)
    manager.restore("latest")
    assert "late" not in dumped(shop)
    manager.undo_restore()
    assert shop.scalar("SELECT late.n + l.n FROM late, lately.late AS l") == 2


@in_both_ways
def test_names_are_quoted_where_they_have_to_be(shop: Owned, manager: BackupManager) -> None:
    """Whatever is usual for the user."""
    shop.administer(f"ALTER ROLE {shop.user} SET quote_all_identifiers = on")
    manager.restore("latest")
    assert rows(shop) == 2


@pytest.mark.parametrize("creates", [False, True])
def test_an_autovacuum_is_ended(shop: Owned, manager: BackupManager, creates: bool) -> None:
    """As it is for whoever else waits for a lock; the restore does not fail for it."""
    shop.execute(
        "CREATE TABLE big AS SELECT n, repeat('x', 400) AS t FROM generate_series(1, 20000) AS n",
        "ALTER TABLE big SET (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1,"
        " autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0)",
    )
    manager.create()
    if creates:
        shop.administer(f"ALTER ROLE {shop.user} CREATEDB")
    shop.maintain("ALTER SYSTEM SET autovacuum_naptime = '1s'")
    shop.maintain("SELECT pg_reload_conf()")
    try:
        shop.execute("UPDATE big SET t = t || 'y'")
        running = (
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'autovacuum%big%'"
            " AND xact_start < now() - interval '0.5 s'"
        )
        assert eventually(
            lambda: content.psql(shop.server, shop.name, running).strip() == "1", seconds=60
        )
        manager.restore("latest")
    finally:
        shop.maintain("ALTER SYSTEM RESET autovacuum_naptime")
        shop.maintain("SELECT pg_reload_conf()")
    assert shop.scalar("SELECT count(*) FROM big WHERE right(t, 1) = 'y'") == 0


def without_a_copy(manager: BackupManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a restore whose safety backup cannot be written."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(KeptSchemas, "write_copy", fail)
        (warning,) = manager.restore("latest").warnings
    assert "could not be copied" in warning


def test_nobody_replaces_what_another_s_restore_has_kept(
    shop: Owned, manager: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the only copy, and whoever may swap databases would take it with the live one."""
    without_a_copy(manager, monkeypatch)
    superuser = sa.create_engine(shop.server.url(shop.name), poolclass=NullPool)
    others = BackupManager(superuser, manager.directory)
    with pytest.raises(UnsupportedDatabaseError) as raised:
        others.restore("latest")
    assert f"by {shop.user}" in str(raised.value)
    assert any(f"by {shop.user}" in str(one) for one in others.can_restore("latest").problems)
    manager.undo_restore()
    assert rows(shop) == 3
    others.restore("latest")
    assert rows(shop) == 2


def test_an_undo_finds_what_was_kept_without_its_directory(
    shop: Owned, manager: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The safety files are gone with it, and not what a restore replaced."""
    without_a_copy(manager, monkeypatch)
    shutil.rmtree(manager.directory)
    manager.undo_restore()
    assert rows(shop) == 3
    assert shop.scalar(OF_KEPT) == 0


@pytest.mark.parametrize("lacks", ["locks", "a function"])
def test_what_could_not_be_dropped_in_the_end_is_not_kept(
    shop: Owned, manager: BackupManager, lacks: str
) -> None:
    """It takes a lock for each object, and a function that tells servers apart."""
    driver = driver_for(shop.engine, lock_timeout=5)
    assert driver.keeps_replaced
    if lacks == "locks":
        number = shop.scalar(
            "SELECT current_setting('max_locks_per_transaction')::int"
            " * current_setting('max_connections')::int / 3"
        )
        shop.execute(
            f"DO $$ BEGIN FOR n IN 1..{number} LOOP"
            " EXECUTE 'CREATE TYPE e' || n || ' AS ENUM ()'; END LOOP; END $$"
        )
    else:
        shop.administer("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    assert driver.keeps_replaced == (lacks == "locks")
    if lacks == "locks":
        shop.execute(
            f"DO $$ BEGIN FOR n IN 1..{number} LOOP"
            " EXECUTE 'CREATE TYPE f' || n || ' AS ENUM ()'; END LOOP; END $$"
        )
        assert not driver.keeps_replaced
    assert any("writers wait" in one for one in manager.can_restore("latest").warnings)


def test_who_may_not_lock_a_table_is_told_before(shop: Owned, manager: BackupManager) -> None:
    """As the owner of a table that only grows; with the statement that gives the right."""
    rights = "UPDATE, DELETE, TRUNCATE"
    if shop.server.version >= 17:
        rights += ", MAINTAIN"
    shop.execute(f"REVOKE {rights} ON note FROM {shop.user}")
    grant = f"GRANT UPDATE ON public.note TO {shop.user};"
    with pytest.raises(MissingRightError) as raised:
        manager.restore("latest")
    assert grant in raised.value.hint
    assert any(grant in str(one) for one in manager.can_restore("latest").problems)
    shop.execute(grant)
    manager.restore("latest")
    assert rows(shop) == 2
