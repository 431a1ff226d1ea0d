"""What fails when a backup is made, a database restored or a backup deleted does not undo that."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from conftest import EngineMaker
from helpers import Child, add_child, digest, execute, make_database
from sqlalchemy import event
from sqlalchemy.engine import Engine

from soulsense_db import BackupManager, RetentionPolicy
from soulsense_db.backup_info.fields import digest_of
from soulsense_db.backup_info.info import BackupInfo
from soulsense_db.directory import BackupDirectory
from soulsense_db.errors import BackupError, NotADatabaseError, Outcome, PruneError
from soulsense_db.scheduled import run_auto

Error = Callable[[], BaseException]
ERRORS: dict[str, Error] = {
    "RuntimeError": lambda: RuntimeError("the application is closing"),
    "ValueError": lambda: ValueError("no such tenant"),
    "sqlite3": lambda: sqlite3.OperationalError("no such function: tenant"),
    "Ctrl-C": KeyboardInterrupt,
}


class Failing:
    """An engine whose connect event raises ``error`` at the ``first`` connection and after it."""

    def __init__(self, engine: Engine, error: Error) -> None:
        self.first: int | None = None
        self.connections = 0
        self._error = error
        event.listen(engine, "connect", self._connected)

    def _connected(self, *_: object) -> None:
        self.connections += 1
        if self.first is not None and self.connections >= self.first:
            raise self._error()


class Place:
    """A database of its own with a backup in which a row is missing, and a safety backup."""

    def __init__(self, folder: Path, engine: Engine, error: Error) -> None:
        self.database = folder / "app.db"
        self.failing = Failing(engine, error)
        self.manager = BackupManager(engine, lock_timeout=2)
        self.older = self.manager.create("older")
        self.manager.create("old")
        self.manager.restore(self.older)
        add_child(self.database)
        make_database(folder / "outside.db")

    def state(self) -> tuple[str, frozenset[str]]:
        """Return what the database and the directory have."""
        there = digest(self.database) if self.database.exists() else ""
        return there, frozenset(info.id for info in self.manager.list())


def _missing(place: Place) -> object:
    place.database.unlink()
    return place.manager.restore(place.older)


CALLS: dict[str, Callable[[Place], object]] = {
    "create": lambda place: place.manager.create("new"),
    "import": lambda place: place.manager.import_file(place.database.parent / "outside.db"),
    "delete": lambda place: place.manager.delete(place.older),
    "prune": lambda place: place.manager.prune(RetentionPolicy(keep_last=1)),
    "restore": lambda place: place.manager.restore(place.older),
    "undo": lambda place: place.manager.undo_restore(),
    "rebuild": _missing,
    "auto": lambda place: run_auto(place.manager),
}


@pytest.fixture
def places(tmp_path: Path, make_engine: EngineMaker) -> Callable[[Error], Place]:
    """Return a function that makes a new place each time."""
    made = 0

    def make(error: Error) -> Place:
        nonlocal made
        made += 1
        folder = tmp_path / str(made)
        folder.mkdir()
        return Place(folder, make_engine(make_database(folder / "app.db")), error)

    return make


@pytest.mark.slow
@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS.keys())
@pytest.mark.parametrize("name", CALLS)
def test_an_error_is_one_of_what_was_not_done(
    places: Callable[[Error], Place], name: str, error: Error
) -> None:
    """Whichever connection the application's event fails at: an error, and nothing is changed.

    Or it is done, and reported as done. Only Ctrl-C ends a call that is done; then a note says so.
    """
    first, was_done = 0, False
    while not was_done:
        first += 1
        place = places(error)
        before = place.state()
        if name == "rebuild":
            before = "", before[1]
        place.failing.connections, place.failing.first = 0, first
        try:
            CALLS[name](place)
            was_done = place.failing.connections < first  # it came to its end undisturbed
            done = True
        except BaseException as raised:  # noqa: BLE001 - any error of the application's
            done = bool(getattr(raised, "__notes__", ()))
            assert not done or isinstance(raised, KeyboardInterrupt)
        place.failing.first = None
        # An auto that was interrupted while it verified what it had made says so by its note.
        if name != "auto":
            assert (place.state() != before) == done, f"connection {first}"
        assert first < 40
    assert first > 1


def test_the_last_call_of_a_progress_fails_no_restore(
    manager: BackupManager, database: Path
) -> None:
    """What a callback raises when the database is restored is a warning in the report."""
    info = manager.create()
    before = digest(database)
    add_child(database)

    def progress(done: int, total: int) -> None:
        if done == total:
            raise RuntimeError("the window is closed")

    report = manager.restore(info, progress=progress)
    assert digest(database) == before
    (warning,) = report.warnings
    assert "the window is closed" in warning


def test_a_trigger_of_the_application_costs_no_backup(
    manager: BackupManager, database: Path
) -> None:
    """Whatever the application hung on the catalog: the backup is made, its row comes later."""
    manager.create("first")
    execute(
        database,
        "CREATE TRIGGER guard BEFORE INSERT ON backups BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    made = manager.create("second")
    assert made in manager.list()
    execute(database, "DROP TRIGGER guard")
    third = manager.create("third")
    assert manager.catalog.names() == frozenset(info.filename for info in manager.list())
    assert third.filename in (manager.catalog.names() or ())


def test_a_number_that_no_row_can_hold(manager: BackupManager, database: Path) -> None:
    """A meta file with a number where text belongs breaks neither create, auto nor restore."""
    good = manager.create("good")
    meta = Path(manager.create("odd").meta_path)
    facts: dict[str, Any] = json.loads(meta.read_text())
    facts.pop("meta_sha256")
    facts["target_revision"] = 10**30
    facts["meta_sha256"] = digest_of(facts)
    meta.write_text(json.dumps(facts))
    before = digest(database)
    add_child(database)
    assert manager.create("later").id in {info.id for info in manager.list()}
    report = run_auto(manager)
    assert report is not None
    assert manager.restore(good).verified
    assert digest(database) == before


def _old(manager: BackupManager) -> BackupInfo:
    return manager.list()[-1]


def test_one_that_cannot_be_removed_keeps_no_other(
    manager: BackupManager, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """Pruning goes on after a backup that cannot be removed; the one made before is returned."""
    for number in range(4):
        manager.create(str(number), kind="automatic")
    stuck = _old(manager)
    in_the_way = manager.directory / f".{stuck.filename}.deleting"
    in_the_way.mkdir()
    with pytest.raises(
        PruneError,
        match=r"1 old backup.* Others were removed: soulsense_backup_.*\.db\.",
    ):
        manager.prune(RetentionPolicy(keep_last=2))
    assert len(manager.list()) == 3
    caplog.clear()
    new = BackupManager(engine, retention=RetentionPolicy(keep_last=1)).create(
        "x", kind="automatic"
    )
    assert {info.id for info in manager.list()} == {new.id, stuck.id}
    told = [record.getMessage() for record in caplog.records]
    assert [
        text for text in told if f"{new.filename} was created. Old backups could not be" in text
    ]
    assert [text for text in told if str(in_the_way) in text]
    add_child(Path(str(manager.database)))
    report = run_auto(manager, RetentionPolicy(keep_last=1))
    assert report is not None
    assert report.created is not None
    assert isinstance(report.prune_error, BackupError)


def test_a_prune_that_is_stopped_says_that_a_part_is_done(
    manager: BackupManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What somebody puts in the place of a backup meanwhile does not hide that others went."""
    for number in range(3):
        manager.create(str(number))
    _, second, oldest = manager.list()
    delete = BackupDirectory.delete

    def delete_and_replace_next(directory: BackupDirectory, info: BackupInfo) -> None:
        delete(directory, info)
        Path(second.path).unlink()
        Path(second.path).mkdir()

    monkeypatch.setattr(BackupDirectory, "delete", delete_and_replace_next)
    with pytest.raises(NotADatabaseError) as caught:
        manager.prune(RetentionPolicy(keep_last=1))
    assert caught.value.outcome is Outcome.PARTLY
    assert not Path(oldest.path).exists()


def test_an_interrupt_after_the_end_is_told_as_that(database: Path, tmp_path: Path) -> None:
    """Ctrl-C on the command line when the backup is made does not say that nothing changed."""
    for more in ((), ("--json",)):
        with Child("interrupt_at_the_row.py", database, *more) as child:
            said = child.process.communicate(timeout=60)[0]
        assert "Interrupted. The backup soulsense_backup_" in said, said
        assert "was created." in said
        assert "nothing" not in said
    assert len(list((tmp_path / "backups").glob("*.db"))) == 2


def test_a_restore_says_on_the_command_line_what_failed_afterwards(
    manager: BackupManager, database: Path
) -> None:
    """Each warning of a report is a line for a person, and in --json."""
    manager.create("x")
    add_child(database)
    for more in ((), ("--json",)):
        with Child("restore_without_a_catalog.py", database, *more) as child:
            said = child.process.communicate(timeout=60)[0]
        assert child.process.returncode == 0
        assert "The catalog could not be rebuilt (RuntimeError: the catalog has gone)." in said


def test_restore_done_before_sa_events_fail(manager: BackupManager, engine: Engine) -> None:
    """A pool event that fails while idle connections are closed is a warning."""
    info = manager.create()
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))

    def closing(*_: object) -> None:
        raise RuntimeError("do not close me")

    event.listen(engine, "close", closing)
    report = manager.restore(info)
    event.remove(engine, "close", closing)
    assert report.safety_backup is not None
