"""AsyncBackupManager: awaited, cancelled, several at a time, beside the application's own work."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from helpers import (
    CHILD_SECONDS,
    add_child,
    digest,
    execute,
    leftovers,
    make_database,
    scalar,
)
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

from soulsense_db import AsyncBackupManager, BackupManager
from soulsense_db.async_manager import AsyncMirrors
from soulsense_db.drivers.sqlite import pages
from soulsense_db.errors import BackupNotFoundError
from soulsense_db.events import Failed
from soulsense_db.manager.old_names import OldNames
from soulsense_db.mirroring import MirrorOperations
from soulsense_db.scheduled import run_auto

# More turns of the loop than a cancellation takes to come where it is caught.
_TURNS = 20

ENGINES: dict[str, Callable[[Path], AsyncEngine | sa.Engine]] = {
    "aiosqlite": lambda path: create_async_engine(f"sqlite+aiosqlite:///{path}"),
    "sqlite3": lambda path: sa.create_engine(f"sqlite:///{path}"),
}
EngineKind = Callable[[Path], AsyncEngine | sa.Engine]


@pytest.fixture(params=ENGINES)
def engine_kind(request: pytest.FixtureRequest) -> EngineKind:
    """Run the test with an engine for async code, and with one for blocking code."""
    return ENGINES[request.param]


async def _dispose(engine: AsyncEngine | sa.Engine) -> None:
    if isinstance(engine, AsyncEngine):
        await engine.dispose()
    else:
        engine.dispose()


def test_every_method_of_a_manager_can_be_awaited() -> None:
    """What BackupManager does, AsyncBackupManager does too; what is a block stays in one thread.

    Names from before the groups are not taken over.
    """
    methods = {
        name
        for name, member in inspect.getmembers(BackupManager, inspect.isfunction)
        if not name.startswith("_") and not hasattr(OldNames, name)
    }
    there = {name for name in dir(AsyncBackupManager) if not name.startswith("_")}
    assert methods - there == {"exclusive", "scratch_copy"}


def test_every_method_of_its_mirrors_can_be_awaited() -> None:
    """What ``manager.mirrors`` does for programs, those of an asynchronous manager do too."""
    documented = {
        name
        for name, member in inspect.getmembers(MirrorOperations, inspect.isfunction)
        if not name.startswith("_")
    }
    # What only this package itself calls in the course of something else.
    inner = {"require_any", "require_uploaded", "upload_after"}
    there = {name for name in dir(AsyncMirrors) if not name.startswith("_")}
    assert documented - there == inner


def test_mirrors_are_awaited_and_cancelled(
    database: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A cancelled sync leaves nothing half there, and is no failure of the mirror's."""
    with sa.create_engine(f"sqlite:///{database}").begin() as connection:
        connection.exec_driver_sql("CREATE TABLE large AS SELECT randomblob(5000000) AS data")
    url = f"file://{tmp_path_factory.mktemp('drive') / 'soulsense'}"

    async def work() -> None:
        manager = AsyncBackupManager(ENGINES["aiosqlite"](database), mirrors=url)
        assert (await manager.mirrors.add(url)).ok
        await manager.create("Evening")
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        waits = threading.Event()

        def let_on(turns: int) -> None:
            """Let the thread go on once the loop has handed the cancellation on."""
            if turns:
                loop.call_soon(let_on, turns - 1)
            else:
                waits.set()

        def cancel(done: int, total: int) -> None:
            assert task is not None
            if not waits.is_set():
                loop.call_soon_threadsafe(task.cancel)
                loop.call_soon_threadsafe(let_on, _TURNS)
                waits.wait(CHILD_SECONDS)

        with pytest.raises(asyncio.CancelledError):
            await manager.mirrors.sync(progress=cancel)
        assert task is not None
        task.uncancel()
        (status,) = await manager.mirrors.status()
        assert (status.failures, status.backups) == (0, ())
        (report,) = await manager.mirrors.sync()
        assert (report.ok, len(report.uploaded)) == (True, 1)
        await manager.delete("latest")
        assert (await manager.mirrors.fetch("latest")).description == "Evening"
        assert manager.mirrors.addresses == (url,)

    asyncio.run(work())


def test_create_and_restore_are_awaited(database: Path, engine_kind: EngineKind) -> None:
    """A backup is made, listed and restored, and run_sync reaches what takes a manager."""
    before = digest(database)

    async def work() -> None:
        engine = engine_kind(database)
        manager = AsyncBackupManager(engine)
        info = await manager.create("one")
        assert [found.id for found in await manager.list()] == [info.id]
        add_child(database)
        assert (await manager.restore("latest")).verified
        assert digest(database) == before
        await manager.delete(info)
        with pytest.raises(BackupNotFoundError):
            await manager.get(info.id)
        report = await manager.run_sync(run_auto)
        assert report is not None
        assert report.created is not None
        await _dispose(engine)

    asyncio.run(work())


def test_the_application_goes_on_meanwhile(database: Path) -> None:
    """While a backup waits in its progress, the loop runs and the same engine answers queries."""

    async def work() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{database}")
        manager = AsyncBackupManager(engine)
        reached, go_on = threading.Event(), threading.Event()

        def progress(_done: int, _total: int) -> None:
            reached.set()
            assert go_on.wait(CHILD_SECONDS)

        creating = asyncio.create_task(manager.create(progress=progress))
        while not reached.is_set():
            await asyncio.sleep(0)
        async with engine.connect() as connection:
            assert await connection.scalar(sa.text("SELECT count(*) FROM parent")) == 10
        assert not creating.done()
        go_on.set()
        assert (await creating).size_bytes > 0
        await engine.dispose()

    asyncio.run(work())


def test_a_database_in_memory_is_backed_up(tmp_path: Path) -> None:
    """The only connection of the engine is borrowed while the application's loop runs."""

    async def work() -> None:
        engine = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)
        async with engine.begin() as connection:
            await connection.execute(sa.text("CREATE TABLE entry (id INTEGER PRIMARY KEY)"))
            await connection.execute(sa.text("INSERT INTO entry VALUES (1)"))
        manager = AsyncBackupManager(engine, tmp_path / "backups")
        await manager.create()
        async with engine.begin() as connection:
            await connection.execute(sa.text("DELETE FROM entry"))
        await manager.restore("latest")
        async with engine.connect() as connection:
            assert await connection.scalar(sa.text("SELECT count(*) FROM entry")) == 1
        await engine.dispose()

    asyncio.run(work())


def test_rows_come_back_to_a_database_in_a_file(database: Path, engine_kind: EngineKind) -> None:
    """They are looked for, shown and written in the thread of the connection, and undone."""

    async def work() -> None:
        engine = engine_kind(database)
        manager = AsyncBackupManager(engine)
        await manager.create()
        before = digest(database)
        execute(database, "DELETE FROM child WHERE id IN (3, 4)")
        plan = await manager.preview_rows("latest", "child", "id = 3", samples=1)
        assert plan.inserted == 1
        report = await manager.restore_rows("latest", "child", "id = 3", expected=plan)
        assert report.inserted == 1
        assert (await manager.restore_rows("latest", "child")).inserted == 1
        assert digest(database) == before
        await manager.undo_restore()
        assert scalar(database, "SELECT count(*) FROM child WHERE id IN (3, 4)") == 1
        await _dispose(engine)

    asyncio.run(work())


def test_rows_come_back_to_a_database_in_memory(tmp_path: Path) -> None:
    """Through the engine's only connection, which is borrowed step by step."""

    async def work() -> None:
        engine = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)
        async with engine.begin() as connection:
            await connection.execute(sa.text("CREATE TABLE entry (id INTEGER PRIMARY KEY)"))
            await connection.execute(sa.text("INSERT INTO entry VALUES (1), (2)"))
        manager = AsyncBackupManager(engine, tmp_path / "backups")
        await manager.create()
        async with engine.begin() as connection:
            await connection.execute(sa.text("DELETE FROM entry WHERE id = 2"))
        assert (await manager.restore_rows("latest", "entry", "id = 2")).inserted == 1
        async with engine.connect() as connection:
            assert await connection.scalar(sa.text("SELECT count(*) FROM entry")) == 2
        await engine.dispose()

    asyncio.run(work())


async def _cancel_at(
    start: Callable[[Any], Any], call: int, *, times: int = 1
) -> asyncio.CancelledError | None:
    """Cancel the task of ``start(progress)`` in its progress's call of that number.

    Returns what the task raised; None when it was done before.
    """
    loop = asyncio.get_running_loop()
    calls = 0

    def progress(_done: int, _total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            heard = threading.Event()

            def cancel() -> None:
                for _ in range(times):
                    task.cancel()
                loop.call_soon(loop.call_soon, heard.set)  # the task has had its turn

            loop.call_soon_threadsafe(cancel)
            assert heard.wait(CHILD_SECONDS)

    task = asyncio.ensure_future(start(progress))
    try:
        await task
    except asyncio.CancelledError as error:
        return error
    return None


def test_a_cancelled_create_leaves_a_whole_backup_or_nothing(
    database: Path, engine_kind: EngineKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled in each of its steps, by each kind of engine: nothing half done, and no failure.

    When the task ends, the thread has ended too.
    """
    monkeypatch.setattr(pages, "_STEP_PAGES", 8)

    async def work() -> None:
        engine = engine_kind(database)
        manager = AsyncBackupManager(engine)
        failures: list[Failed] = []
        manager.events.failed(failures.append)
        before = digest(database)
        call = 1
        ends = set()
        while error := await _cancel_at(lambda p: manager.create(progress=p), call):
            backups = manager.sync_manager.list()
            done = bool(getattr(error, "__notes__", ()))
            ends.add(done)
            assert len(backups) == done
            for info in backups:
                await manager.verify(info)
                await manager.delete(info)
            assert set(os.listdir(manager.directory)) == {".gitignore", ".soulsense_backup.lock"}
            assert leftovers(database.parent) == []
            call += 1
        assert call > 3
        assert False in ends
        assert not failures
        assert digest(database) == before
        await _dispose(engine)

    asyncio.run(work())


def test_a_cancelled_restore_is_done_or_has_changed_nothing(
    database: Path, engine_kind: EngineKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled in each of its steps: the database is the old or the new one, as the note says."""
    monkeypatch.setattr(pages, "_STEP_PAGES", 8)

    async def work() -> None:
        engine = engine_kind(database)
        manager = AsyncBackupManager(engine)
        restored = digest(database)
        info = await manager.create()
        add_child(database)
        changed = digest(database)
        call = 1
        ends = set()
        while error := await _cancel_at(lambda p: manager.restore(info, progress=p), call):
            done = bool(getattr(error, "__notes__", ()))
            ends.add(done)
            assert digest(database) == (restored if done else changed)
            assert leftovers(database.parent) == []
            if done:
                add_child(database)
            call += 1
        assert call > 3
        assert False in ends
        await _dispose(engine)

    asyncio.run(work())


def test_a_second_cancel_does_not_leave_the_work_alone(database: Path) -> None:
    """Whoever cancels twice, as a loop that is closed does, still waits for the thread."""

    async def work() -> None:
        manager = AsyncBackupManager(sa.create_engine(f"sqlite:///{database}"))
        assert await _cancel_at(lambda p: manager.create(progress=p), 1, times=3)
        assert await manager.list() == []
        assert leftovers(manager.directory) == []

    asyncio.run(work())


def test_a_timeout_ends_a_create(database: Path) -> None:
    """``asyncio.timeout`` works as with whatever is awaited, and nothing is left."""

    async def work() -> None:
        manager = AsyncBackupManager(sa.create_engine(f"sqlite:///{database}"))
        passed = threading.Event()

        def progress(_done: int, _total: int) -> None:
            passed.wait(CHILD_SECONDS)

        async def create() -> None:
            async with asyncio.timeout(0.01) as limit:
                loop.call_at(limit.when() or 0, loop.call_soon, loop.call_soon, passed.set)
                await manager.create(progress=progress)

        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            await create()
        assert await manager.list() == []

    asyncio.run(work())


def test_several_at_a_time(tmp_path: Path, database: Path, engine_kind: EngineKind) -> None:
    """Backups of two databases, made and read at once in one loop, are all whole."""

    async def work() -> None:
        other = make_database(tmp_path / "other.db", mode="wal")
        engines = [engine_kind(database), engine_kind(other)]
        managers = [AsyncBackupManager(engine) for engine in engines]
        made = await asyncio.gather(*(m.create(str(n)) for n in range(4) for m in managers))
        assert len({info.id for info in made}) == 8
        for manager in managers:
            infos = await manager.list()
            assert len(infos) == 4
            await asyncio.gather(*map(manager.verify, infos))
        for engine in engines:
            await _dispose(engine)

    asyncio.run(work())


def test_an_error_is_that_of_the_manager(database: Path) -> None:
    """Errors of the tree reach whoever awaits, even those that the loop keeps for itself."""

    def stop() -> None:
        raise StopIteration("one")

    async def work() -> None:
        manager = AsyncBackupManager(sa.create_engine(f"sqlite:///{database}"))
        with pytest.raises(BackupNotFoundError):
            await manager.verify("latest")
        with pytest.raises(RuntimeError, match="StopIteration"):
            await manager.run_sync(lambda _: stop())

    asyncio.run(work())


def test_a_progress_that_nobody_would_await_is_refused(database: Path) -> None:
    """An async progress is an error at once, as is a progress for what has none."""

    async def progress(_done: int, _total: int) -> None: ...

    async def work() -> None:
        manager = AsyncBackupManager(sa.create_engine(f"sqlite:///{database}"))
        with pytest.raises(TypeError, match="await"):
            await manager.create(progress=progress)
        with pytest.raises(TypeError, match="progress"):
            await manager.list(progress=print)  # type: ignore[call-arg]

    asyncio.run(work())


def test_an_error_that_is_raised_twice_ends_no_other_task(tmp_path: Path) -> None:
    """A task that got the same error object before goes on: its frames are not cleared."""

    class CancelledByUserError(Exception):
        pass

    the_only = CancelledByUserError("the user pressed cancel")

    def cancel(_done: int, _total: int) -> None:
        raise the_only

    make_database(tmp_path / "app.db")
    ended: list[int] = []

    async def request(manager: AsyncBackupManager, number: int, other: asyncio.Event) -> None:
        with pytest.raises(CancelledByUserError):
            await manager.create(progress=cancel)
        if number == 1:
            await other.wait()
        else:
            other.set()
        ended.append(number)

    async def main() -> None:
        manager = AsyncBackupManager(sa.create_engine(f"sqlite:///{tmp_path}/app.db"))
        other = asyncio.Event()
        first = asyncio.create_task(request(manager, 1, other))
        while not first.done() and the_only.__traceback__ is None:
            await asyncio.sleep(0)
        await asyncio.wait_for(asyncio.gather(first, request(manager, 2, other)), CHILD_SECONDS)

    asyncio.run(main())
    assert sorted(ended) == [1, 2]
