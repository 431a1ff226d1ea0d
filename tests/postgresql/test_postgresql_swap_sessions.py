"""Other sessions while the schemas of a database are replaced: all are seen, and named."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from helpers import eventually
from sqlalchemy.engine import Connection
from sqlalchemy.pool import NullPool

from postgresql.newest import on_newest
from postgresql.owned import OF_KEPT, Owned, backed_up, dumped, rows, with_notes
from postgresql.server import Server
from soulsense_db import BackupManager
from soulsense_db.drivers.postgresql.kept_schemas import KeptSchemas
from soulsense_db.drivers.postgresql.schema_restore import Ready
from soulsense_db.errors import BackupError, DatabaseLockedError, RestoreError

pytestmark = on_newest
in_both_ways = pytest.mark.parametrize("shop", ["other", '"Other"'], indirect=True)
"""A schema whose name needs quotes is dropped once it is replaced, another one is kept."""
FUNCTION = "CREATE FUNCTION made() RETURNS int LANGUAGE sql AS 'SELECT 42'"
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"
# How long a transaction stays open: longer than a single look is patient. Nothing is awaited by it.
OPEN_SECONDS = 1.5


@pytest.fixture
def shop(
    request: pytest.FixtureRequest, server: Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Owned]:
    """Return a database of a user who may make no others, with two rows."""
    second = getattr(request, "param", "other")
    with with_notes(
        server,
        monkeypatch,
        f"CREATE SCHEMA {second}",
        f"CREATE TABLE {second}.of_note (id int REFERENCES note)",
        second=second,
    ) as made:
        yield made


@pytest.fixture
def manager(shop: Owned, tmp_path: Path) -> BackupManager:
    """Return a manager of a database that has a third row since its backup."""
    return backed_up(shop, tmp_path, lock_timeout=8)


@pytest.fixture
def connect(shop: Owned) -> Iterator[Callable[[], Connection]]:
    """Return a function that connects another session of the same user."""
    engine = sa.create_engine(shop.url, poolclass=NullPool)
    made: list[Connection] = []

    def connect_another() -> Connection:
        made.append(engine.connect())
        return made[-1]

    yield connect_another
    for one in made:
        one.close()


@pytest.fixture
def at_once() -> Iterator[ThreadPoolExecutor]:
    """Return what does something while a restore goes on."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


def before_the_commit(
    monkeypatch: pytest.MonkeyPatch, shop: Owned, work: Callable[[], object]
) -> None:
    """Have ``work`` done once, when all is locked and only the last look is left."""
    name = "_note_kept" if shop.second == "other" else "_dropped"
    own: Any = getattr(Ready, name)
    done: list[bool] = []

    def do_and_work(*arguments: object) -> object:
        found = own(*arguments)
        if not done:
            done.append(True)
            work()
        return found

    monkeypatch.setattr(Ready, name, do_and_work)


def require_made_is_replaced(shop: Owned, manager: BackupManager) -> None:
    """Require that the function is in the safety backup, which can be restored."""
    assert rows(shop) == 2
    assert "made" not in dumped(shop)
    assert shop.scalar(OF_KEPT) == 0
    manager.create()
    manager.undo_restore()
    assert rows(shop) == 3
    assert "made" in dumped(shop)


@in_both_ways
def test_who_writes_for_longer_is_waited_for(
    shop: Owned,
    manager: BackupManager,
    connect: Callable[[], Connection],
    at_once: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """He has connected since the first look, and waits for nobody; what he made is not lost.

    A transaction that writes to another database of the server is no reason to wait.
    """
    elsewhere = sa.create_engine(shop.server.url("postgres"), poolclass=NullPool).connect()
    elsewhere.exec_driver_sql("SELECT pg_current_xact_id()")
    ended: list[Future[None]] = []

    def make() -> None:
        session = connect()
        session.exec_driver_sql(FUNCTION)

        def end() -> None:
            time.sleep(OPEN_SECONDS)
            session.commit()

        ended.append(at_once.submit(end))

    before_the_commit(monkeypatch, shop, make)
    assert manager.restore("latest").warnings == ()
    ended[0].result()
    elsewhere.close()
    require_made_is_replaced(shop, manager)


@in_both_ways
@pytest.mark.parametrize("seconds", [0, OPEN_SECONDS])
def test_who_waits_with_a_function_half_made_is_let_in(  # noqa: PLR0917 - fixtures
    shop: Owned,
    manager: BackupManager,
    connect: Callable[[], Connection],
    at_once: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
) -> None:
    """He has found its schema, waits for a table in its body, and has written nothing yet.

    In a schema that was dropped meanwhile, ``pg_dump`` would fail from then on.
    """
    ended: list[Future[None]] = []
    session = connect()

    def make() -> None:
        session.exec_driver_sql(
            "CREATE FUNCTION made() RETURNS bigint LANGUAGE sql BEGIN ATOMIC"
            " SELECT count(*) FROM note; END"
        )
        time.sleep(seconds)
        session.commit()

    def begin() -> None:
        ended.append(at_once.submit(make))
        assert eventually(lambda: bool(shop.scalar(WAITING)))

    before_the_commit(monkeypatch, shop, begin)
    assert manager.restore("latest").warnings == ()
    ended[0].result()
    require_made_is_replaced(shop, manager)


@in_both_ways
def test_a_function_and_a_temporary_table_of_one_who_waits(
    shop: Owned,
    manager: BackupManager,
    connect: Callable[[], Connection],
    at_once: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """He may have written to the temporary table only, and has not."""
    session = connect()
    session.exec_driver_sql("CREATE TEMPORARY TABLE stage (n int)")
    session.commit()
    ended: list[Future[None]] = []

    def make() -> None:
        session.exec_driver_sql("INSERT INTO stage VALUES (1)")
        session.exec_driver_sql(FUNCTION)
        session.exec_driver_sql("INSERT INTO note (body) VALUES ('with a function')")
        session.commit()

    def begin() -> None:
        ended.append(at_once.submit(make))
        assert eventually(lambda: bool(shop.scalar(WAITING)))

    before_the_commit(monkeypatch, shop, begin)
    manager.restore("latest")
    ended[0].result()
    assert rows(shop) == 2
    assert "made" not in dumped(shop)
    manager.undo_restore()
    assert rows(shop) == 4
    assert "made" in dumped(shop)


def test_the_copy_waits_for_who_had_written_by_then(
    shop: Owned,
    manager: BackupManager,
    connect: Callable[[], Connection],
    at_once: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """He is the last one who has begun to write on the server, and has not committed."""
    session = connect()
    write = KeptSchemas.held
    ended: list[Future[None]] = []

    def begin_and_hold(kept: KeptSchemas, *, lock_timeout: float) -> Any:
        if not ended:
            (schema,) = {now for now, own in kept.note.own.items() if own == "public"}
            session.exec_driver_sql(FUNCTION.replace("made", f"{schema}.made"))

            def end() -> None:
                time.sleep(OPEN_SECONDS)
                session.commit()

            ended.append(at_once.submit(end))
        return write(kept, lock_timeout=lock_timeout)

    monkeypatch.setattr(KeptSchemas, "held", begin_and_hold)
    assert manager.restore("latest").warnings == ()
    ended[0].result()
    require_made_is_replaced(shop, manager)


def without_a_copy(manager: BackupManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a restore whose safety backup cannot be written."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(KeptSchemas, "write_copy", fail)
        manager.restore("latest")


def test_a_function_that_leads_to_what_was_restored_is_no_part_of_a_copy(
    shop: Owned, manager: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a copy could not be restored; the error has the statement that moves the function."""
    without_a_copy(manager, monkeypatch)
    kept = shop.scalar(
        "SELECT nspname FROM pg_namespace JOIN pg_class c ON c.relnamespace = pg_namespace.oid"
        " WHERE relname = 'note' AND nspname <> 'public'"
    )
    shop.execute(
        f"CREATE FUNCTION {kept}.made() RETURNS bigint LANGUAGE sql BEGIN ATOMIC"
        " SELECT count(*) FROM public.note; END"
    )
    with pytest.raises(RestoreError) as raised:
        manager.undo_restore()
    statement = f"ALTER ROUTINE {kept}.made() SET SCHEMA public;"
    assert statement in str(raised.value)
    shop.execute(statement)
    manager.undo_restore()
    assert rows(shop) == 3
    assert shop.scalar(OF_KEPT) == 0


@pytest.mark.parametrize("left", ["one", "none"])
def test_what_is_kept_in_part_is_no_backup(
    shop: Owned, manager: BackupManager, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    """Somebody has dropped some: the earlier safety backup stays, the error has what to do."""
    manager.restore("latest")
    shop.execute("INSERT INTO note (body) VALUES ('four'), ('five')")
    without_a_copy(manager, monkeypatch)
    names = shop.scalar(
        "SELECT string_agg(nspname, ', ' ORDER BY nspname) FROM pg_namespace"
        " WHERE starts_with(nspname, 'soulsense_kept_')"
    )
    note, *own = str(names).split(", ")
    gone = own if left == "none" else own[:1]
    rest = [note, *own[len(gone) :]]
    shop.execute(f"DROP SCHEMA {', '.join(gone)} CASCADE")
    with pytest.raises(RestoreError) as raised:
        manager.undo_restore()
    statement = f"DROP SCHEMA {', '.join(rest)} CASCADE;"
    assert statement in str(raised.value)
    shop.execute(statement)
    manager.undo_restore()
    assert rows(shop) == 3


@pytest.mark.parametrize("open_statement", ["CREATE SCHEMA news", "DROP SCHEMA other CASCADE"])
def test_a_schema_that_another_has_open_is_waited_for_no_longer_than_that(
    shop: Owned, manager: BackupManager, connect: Callable[[], Connection], open_statement: str
) -> None:
    """He has made it, and the backup has one of that name; or he drops one. He is named."""
    impatient = BackupManager(shop.engine, manager.directory, lock_timeout=1)
    shop.execute("CREATE SCHEMA news")
    impatient.create()
    shop.execute("DROP SCHEMA news")
    session = connect()
    process = session.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
    session.exec_driver_sql(open_statement)
    begun = time.monotonic()
    with pytest.raises(DatabaseLockedError, match=f"process {process} of {shop.user}"):
        impatient.restore("latest")
    assert time.monotonic() - begun < 10
    session.rollback()
    impatient.restore("latest")
    assert rows(shop) == 3


def test_time_limits_of_the_role_hold_for_no_restore(
    shop: Owned,
    manager: BackupManager,
    connect: Callable[[], Connection],
    at_once: ThreadPoolExecutor,
) -> None:
    """They are shorter than somebody takes who changes a schema, and is waited for: all goes on."""
    limits = ["statement_timeout", "idle_in_transaction_session_timeout"]
    if shop.server.version >= 17:
        limits.append("transaction_timeout")
    session = connect()
    session.exec_driver_sql("GRANT USAGE ON SCHEMA other TO PUBLIC")
    for one in limits:
        shop.administer(f"ALTER ROLE {shop.user} SET {one} = '300ms'")

    def end() -> None:
        assert eventually(lambda: bool(shop.scalar(WAITING)), seconds=20)
        time.sleep(OPEN_SECONDS)
        session.commit()

    ended = at_once.submit(end)
    manager.restore("latest")
    ended.result()
    assert rows(shop) == 2


@in_both_ways
def test_a_table_that_is_dropped_while_it_is_waited_for_is_none(
    shop: Owned,
    manager: BackupManager,
    connect: Callable[[], Connection],
    at_once: ThreadPoolExecutor,
) -> None:
    """All others are locked then, and the restore goes on."""
    session = connect()
    shop.execute("CREATE TABLE going (n int)")
    session.exec_driver_sql("DROP TABLE going")

    def end() -> None:
        assert eventually(lambda: bool(shop.scalar(WAITING)), seconds=20)
        session.commit()

    ended = at_once.submit(end)
    manager.restore("latest")
    ended.result()
    assert rows(shop) == 2


def test_a_copy_of_what_is_kept_waits_for_no_live_table(
    shop: Owned,
    manager: BackupManager,
    connect: Callable[[], Connection],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever changes one has it locked, as may be any time once a restore is done."""
    session = connect()
    write = KeptSchemas.write_copy

    def lock_and_write(*arguments: Any, **named: Any) -> Any:
        session.exec_driver_sql("LOCK TABLE note IN ACCESS EXCLUSIVE MODE")
        return write(*arguments, **named)

    monkeypatch.setattr(KeptSchemas, "write_copy", lock_and_write)
    eager = BackupManager(shop.engine, manager.directory, lock_timeout=2, jobs=2)
    assert eager.restore("latest").warnings == ()
    session.rollback()
    assert shop.scalar(OF_KEPT) == 0


def test_an_attempt_on_another_machine_leaves_nothing_there(
    shop: Owned, manager: BackupManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was begun would say that what is kept is of a restore on that machine."""
    without_a_copy(manager, monkeypatch)
    here = manager.directory.rename(tmp_path / "not there")
    others = BackupManager(shop.engine, tmp_path / "other machine", lock_timeout=5)

    def fail(*_: object, **__: object) -> None:
        raise BackupError("No copy can be made.", hint="Wait.")

    with monkeypatch.context() as patch:
        patch.setattr(KeptSchemas, "write_copy", fail)
        with pytest.raises(RestoreError):
            others.undo_restore()
    assert [one.name for one in others.directory.iterdir() if "safety" in one.name] == []
    here.rename(manager.directory)
    manager.undo_restore()
    assert rows(shop) == 3
