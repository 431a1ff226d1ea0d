"""An application is told of what was done, and its listeners harm nothing."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import execute, make_database
from sqlalchemy.engine import Engine

from soulsense_db import BackupManager, RetentionPolicy
from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    DatabaseFileNotFoundError,
    NothingToUndoError,
    ProtectedBackupError,
)
from soulsense_db.events import (
    Created,
    Event,
    Events,
    Failed,
    Removed,
    Restored,
    Verified,
    everywhere,
    tell,
)


def listen(events: Events) -> list[Any]:
    """Return a list that gets all events of ``events`` from now on."""
    heard: list[Any] = []
    events.created(heard.append)
    events.verified(heard.append)
    events.restored(heard.append)
    events.removed(heard.append)
    events.failed(heard.append)
    events.migration_put_back(heard.append)
    return heard


@pytest.fixture
def heard(manager: BackupManager) -> list[Any]:
    """Return the events of ``manager``."""
    return listen(manager.events)


@pytest.fixture
def created_anywhere() -> Iterator[list[Created]]:
    """Return the backups that any manager makes during the test."""
    found: list[Created] = []
    listener = found.append
    everywhere.created(listener)
    yield found
    everywhere.created.remove(listener)


def kinds_of(heard: list[Any]) -> list[type[Event]]:
    """Return the types of events."""
    return [type(event) for event in heard]


# What is told


def test_a_new_backup_is_told_when_it_is_on_disk(manager: BackupManager, database: Path) -> None:
    """The listener finds the files and the row, in the thread of the call."""
    seen = []

    @manager.events.created
    def look(event: Created) -> None:
        seen.append((event, threading.get_ident(), manager.get(event.backup.id)))
        assert Path(event.backup.path).exists()
        assert Path(event.backup.meta_path).exists()
        assert manager.catalog.names() == frozenset({event.backup.filename})

    info = manager.create("x")
    event = Created(database=database, backup=info)
    assert seen == [(event, threading.get_ident(), info)]


def test_each_operation_is_told_once_in_order(
    manager: BackupManager, heard: list[Any], database: Path
) -> None:
    """Create, verify, restore, undo and delete are an event each."""
    info = manager.create()
    report = manager.verify(info, level="quick")
    restored = manager.restore(info)
    undone = manager.undo_restore()
    manager.delete(info)
    assert kinds_of(heard) == [Created, Verified, Restored, Restored, Removed]
    _, verified, first, second, removed = heard
    assert (verified.backup, verified.level, verified.warnings) == (report.backup, "quick", ())
    assert (first.is_undo, first.backup, first.safety_backup) == (
        False,
        restored.source,
        restored.safety_backup,
    )
    assert (second.is_undo, second.backup) == (True, undone.source)
    assert (removed.backup.filename, removed.reason, removed.policy) == (
        info.filename,
        "deleted by hand",
        "",
    )
    assert {event.database for event in heard} == {database}


def test_an_import_is_a_new_backup(
    manager: BackupManager, heard: list[Any], tmp_path: Path
) -> None:
    """It is told as what was created, of kind imported; an export is no event."""
    info = manager.import_file(make_database(tmp_path / "other.db"))
    manager.export(info, tmp_path / "out.db")
    (event,) = heard
    assert event.backup.kind == "imported"


def test_each_backup_that_a_policy_removes_is_told(engine: Engine) -> None:
    """After a create with retention: first the new backup, then each old one, with the rule."""
    manager = BackupManager(engine)
    old = [manager.create(), manager.create(), manager.create()]
    manager = BackupManager(engine, retention=RetentionPolicy(keep_last=1))
    heard = listen(manager.events)
    new = manager.create()
    assert kinds_of(heard) == [Created, Removed, Removed, Removed]
    assert [event.backup.filename for event in heard] == [
        new.filename,
        *(info.filename for info in old),
    ]
    assert {(event.reason, event.policy) for event in heard[1:]} == {
        ("no rule keeps it", "keep_last 1")
    }


def test_what_changes_nothing_is_no_event(manager: BackupManager, heard: list[Any]) -> None:
    """A dry run, a backup that was not needed, and the checks of a prune are not told."""
    first = manager.create()
    manager.create()
    heard.clear()
    assert manager.create_unless_same("latest") is None
    manager.prune(RetentionPolicy(keep_last=1), dry_run=True)
    assert heard == []
    manager.prune(RetentionPolicy(keep_last=1))
    (event,) = heard
    assert event.backup.filename == first.filename


def test_a_restore_is_told_when_others_may_use_the_database(
    manager: BackupManager, heard: list[Any]
) -> None:
    """A listener can take the database's lock; who holds it is told when that is let go."""
    info = manager.create()
    locked: list[Restored] = []

    @manager.events.restored
    def lock_it(event: Restored) -> None:
        with manager.exclusive(timeout=0):
            locked.append(event)

    manager.restore(info)
    with manager.exclusive() as lock:
        lock.restore(info)
        lock.undo()
        assert len(locked) == 1
    assert len(locked) == 3
    assert kinds_of(heard) == [Created, Restored, Restored, Restored]


# What fails


def _cancelled(_done: int, _total: int) -> None:
    raise RuntimeError("cancelled")


@pytest.mark.parametrize(
    ("operation", "error", "call"),
    [
        ("create", RuntimeError, lambda m: m.create(progress=_cancelled)),
        ("create", BackupNotFoundError, lambda m: m.create_unless_same("nothing")),
        ("verify", BackupNotFoundError, lambda m: m.verify("nothing")),
        ("restore", BackupNotFoundError, lambda m: m.restore("nothing")),
        ("restore", BackupNotFoundError, lambda m: m.exclusive().restore("nothing")),
        ("undo", NothingToUndoError, lambda m: m.undo_restore()),
        ("undo", NothingToUndoError, lambda m: m.exclusive().undo()),
        ("delete", ProtectedBackupError, lambda m: m.delete("latest")),
        ("import", BackupNotFoundError, lambda m: m.import_file("nothing")),
        ("export", BackupNotFoundError, lambda m: m.export("nothing", "out.db")),
        ("adopt", BackupError, lambda m: m.adopt("latest")),
    ],
)
def test_what_failed_is_told_as_failed_alone(
    manager: BackupManager,
    database: Path,
    operation: str,
    error: type[Exception],
    call: Callable[[BackupManager], object],
) -> None:
    """One event has the operation and the error that the caller gets."""
    manager.pin(manager.create())
    heard = listen(manager.events)
    with pytest.raises(error) as caught:
        call(manager)
    (event,) = heard
    assert isinstance(event, Failed)
    assert (event.operation, event.error, event.database) == (operation, caught.value, database)


def test_a_prune_that_fails_after_a_create_is_told(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backup is made, which is the first event; that old ones stay is the second."""
    manager = BackupManager(engine, retention=RetentionPolicy(keep_last=1))
    heard = listen(manager.events)
    monkeypatch.setattr(RetentionPolicy, "has_keep_rule", property(lambda _: 1 / 0))
    info = manager.create()
    assert kinds_of(heard) == [Created, Failed]
    assert (heard[0].backup, heard[1].operation) == (info, "prune")
    assert isinstance(heard[1].error, ZeroDivisionError)


def test_a_database_that_is_gone_is_told(
    manager: BackupManager, heard: list[Any], database: Path
) -> None:
    """A backup that could not be made is no new backup."""
    database.unlink()
    with pytest.raises(DatabaseFileNotFoundError):
        manager.create()
    assert kinds_of(heard) == [Failed]


# Listeners


class _UnspeakableError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize("error", [ValueError("sqlite://u:hunter2@h\n"), _UnspeakableError()])
def test_a_listener_that_raises_harms_nothing(
    manager: BackupManager, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """The backup is made, the next listener is called, and one warning names the listener."""
    told: list[Created] = []

    @manager.events.created
    def broken(_event: Created) -> None:
        raise error

    manager.events.created(told.append)
    info = manager.create()
    assert [event.backup for event in told] == manager.list() == [info]
    (record,) = [r for r in caplog.records if r.name == "soulsense_db"]
    assert record.levelno == logging.WARNING
    text = record.getMessage()
    assert f"{broken.__module__}.{broken.__qualname__}" in text
    assert type(error).__name__ in text
    assert info.filename in text
    assert "hunter2" not in text
    assert "\n" not in text


def test_a_failure_is_what_it_was_although_a_listener_raises(
    manager: BackupManager, database: Path
) -> None:
    """The caller gets the operation's error, not the listener's."""
    manager.events.failed(lambda _event: _cancelled(0, 0))
    database.unlink()
    with pytest.raises(DatabaseFileNotFoundError):
        manager.create()


def test_an_interrupt_of_a_listener_passes(manager: BackupManager) -> None:
    """It ends the call with a note on what was done, which stays done."""

    @manager.events.created
    def interrupt(_event: Created) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        manager.create()
    (info,) = manager.list()
    created = f"The backup {info.filename} ({info.size_display}) was created"
    assert created in caught.value.__notes__[0]
    manager.verify(info)


def test_an_interrupted_prune_leaves_the_catalog_in_step(engine: Engine) -> None:
    """What was removed by then has no row any more."""
    manager = BackupManager(engine)
    for _ in range(3):
        manager.create()

    @manager.events.removed
    def interrupt(_event: Removed) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        manager.prune(RetentionPolicy(keep_last=1))
    assert len(manager.list()) == 2
    assert manager.catalog.names() == frozenset(info.filename for info in manager.list())


def test_a_listener_is_not_told_of_what_it_does_itself(manager: BackupManager) -> None:
    """One that makes a backup comes to an end; the others are told of both."""
    told: list[Created] = []

    @manager.events.created
    def again(_event: Created) -> None:
        manager.create("again")

    manager.events.created(told.append)
    manager.create()
    assert len(told) == len(manager.list()) == 2


def test_a_listener_is_called_once_until_it_is_removed(manager: BackupManager) -> None:
    """Adding it twice does nothing more; removing one that is not there does nothing."""
    told: list[Created] = []
    listener = told.append
    for _ in range(2):
        assert manager.events.created(listener) is listener
    manager.create()
    assert len(told) == 1
    for _ in range(2):
        manager.events.created.remove(listener)
    manager.create()
    assert len(told) == 1


def test_an_async_listener_is_refused(manager: BackupManager) -> None:
    """Nobody would await it: its name is in the error."""

    async def tell_later(_event: Created) -> None:
        pass

    with pytest.raises(TypeError, match="tell_later is async"):
        manager.events.created(tell_later)  # type: ignore[arg-type]


def test_all_managers_can_be_listened_to(
    manager: BackupManager, created_anywhere: list[Created], tmp_path: Path
) -> None:
    """``everywhere`` is told after a manager's own listeners, which hear of no other manager."""
    order = []
    manager.events.created(lambda _event: order.append(len(created_anywhere)))
    other = BackupManager.from_url(str(make_database(tmp_path / "other.db")))
    databases = [manager.create(), other.create()]
    assert [event.backup for event in created_anywhere] == databases
    assert [event.database for event in created_anywhere] == [manager.database, other.database]
    assert order == [0]


# The log


def test_what_is_done_is_in_the_log(
    engine: Engine, caplog: pytest.LogCaptureFixture, database: Path
) -> None:
    """Each is one line at INFO, with the file, its size and the reason, and a failure none."""
    caplog.set_level(logging.INFO, logger="soulsense_db")
    manager = BackupManager(engine)
    first = manager.create()
    manager.verify(first)
    manager.restore(first)
    manager.undo_restore()
    second = manager.create()
    manager.prune(RetentionPolicy(keep_last=1))
    manager.delete(second)
    with pytest.raises(BackupNotFoundError):
        manager.verify(second)
    lines = [(r.levelno, r.getMessage()) for r in caplog.records if r.name == "soulsense_db"]
    one, two = (f"{i.filename} ({i.size_display})" for i in (first, second))
    safety = f"{database.name}.safety_backup ({first.size_display})"
    assert {level for level, _ in lines} == {logging.INFO}
    assert [re.sub(r"[\d.]+ (?=KB)", "N ", line) for _, line in lines] == [
        re.sub(r"[\d.]+ (?=KB)", "N ", line)
        for line in (
            f"The backup {one} was created, of kind manual.",
            f"The backup {one} passed a full check.",
            f"app.db was restored from {one}.",
            f"app.db was restored from {safety}: a restore was undone.",
            f"The backup {two} was created, of kind manual.",
            f"The backup {one} was removed: no rule keeps it (policy: keep_last 1).",
            f"The backup {two} was removed: deleted by hand.",
        )
    ]


def test_a_log_line_has_no_password_and_acts_on_nothing(
    manager: BackupManager, caplog: pytest.LogCaptureFixture
) -> None:
    """A password in a URL is masked; a line feed or an escape forges no line."""
    caplog.set_level(logging.INFO, logger="soulsense_db")
    reason = "see\x1b[2J\nftp://me:hunter2@host"
    tell(Events(), Removed(database=None, backup=manager.create(), reason=reason))
    text = caplog.records[-1].getMessage()
    assert "ftp://me:***@host" in text
    assert text.isprintable()


def _run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )


def test_the_library_prints_nothing(tmp_path: Path) -> None:
    """Where an application has no logging, what is done and what is warned of is not printed."""
    make_database(tmp_path / "app.db")
    done = _run(
        "from soulsense_db import BackupManager, notices\n"
        "manager = BackupManager.from_url('app.db')\n"
        "manager.restore(manager.create())\n"
        "notices.warn('a warning')\n",
        tmp_path,
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_the_command_line_says_what_it_did_once(tmp_path: Path) -> None:
    """Its own line is all there is, although something in the process logs at INFO."""
    make_database(tmp_path / "app.db")
    done = _run(
        "import logging, sys\n"
        "logging.basicConfig(level=logging.INFO)\n"
        "from soulsense_db.cli import main\n"
        "sys.argv[1:] = ['create', 'x', '--url', 'app.db']\n"
        "main()\n",
        tmp_path,
    )
    assert done.stderr == ""
    assert done.stdout.count("soulsense_backup_") == 1


def test_rows_may_be_written_by_a_listener(manager: BackupManager, database: Path) -> None:
    """Nothing of the operation is open any more: the database is not locked."""
    manager.events.created(lambda _event: execute(database, "DELETE FROM child WHERE id = 1"))
    manager.events.restored(lambda _event: execute(database, "DELETE FROM child WHERE id = 2"))
    manager.restore(manager.create())
    assert len(manager.list()) == 1
