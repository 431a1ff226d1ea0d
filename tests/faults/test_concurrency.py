"""Many processes at once, and one held in the middle of its work while another does its own."""

from __future__ import annotations

import json
import os
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from helpers import (
    CHILD_SECONDS,
    Child,
    Mode,
    add_child,
    balanced,
    digest,
    eventually,
    leftovers,
    make_database,
    scalar,
    within,
)

from faults.actors import HELD_REVISION
from faults.conftest import Record
from faults.crowd import PATIENCE
from faults.operations import make_project, manager_of
from soulsense_db import BackupManager
from soulsense_db.backup_info.info import BackupInfo
from soulsense_db.sidecars.migration_marker import marker_path

_PROCESSES = 8
_ROWS = 300
_LEFT_BEHIND_BY_RESTORES = {"app.db.safety_backup", "app.db.safety_backup.meta"}
_EXPECTED = {"app.db", "backups", ".app.db.lock"} | _LEFT_BEHIND_BY_RESTORES
_SOON = 0.5  # seconds that whoever need not wait waits for a lock


def test_a_crowd_loses_nothing(
    tmp_path: Path, mode: Mode, *, full: bool, seed: int, record: Record
) -> None:
    """Eight processes that do everything at once get in each other's way by locks alone."""
    live = make_database(tmp_path / "app.db", mode=mode, rows=_ROWS)
    members = _run_crowd(tmp_path, f"{seed} {mode}", seconds=20 if full else 4)
    counts: Counter[str] = Counter()
    for member in members:
        counts.update(member["counts"])
    violations = [violation for member in members for violation in member["violations"]]
    shown = "\n".join(violations[:20])
    assert not violations, f"{len(violations)} violations of {counts}:\n{shown}"
    assert set(os.listdir(tmp_path)) <= _EXPECTED
    manager = manager_of(tmp_path)
    assert leftovers(manager.directory) == []
    assert manager.orphans() == set()
    assert scalar(live, "PRAGMA integrity_check") == "ok"
    assert balanced(live)
    _require_sound(manager)

    left = {info.id for info in manager.list()}
    gone = {id for member in members for id in member["gone"]}
    assert left == {id for member in members for id in member["made"]} - gone
    made = manager.create("after all")

    assert manager.list()[0] == made
    assert manager.catalog.names() == frozenset(info.filename for info in manager.list())
    for what, count in counts.items():
        action, outcome = what.split(": ")
        operation = f"{action}, one of {_PROCESSES} processes"
        record(fault="concurrency", operation=operation, outcome=outcome, count=count)


def _run_crowd(folder: Path, seed: str, *, seconds: int) -> list[dict[str, Any]]:
    """Return what each of the crowd told."""
    with within(seconds + PATIENCE + 30), ExitStack() as stack:
        crowd = [
            stack.enter_context(
                Child("", folder, f"{seed} {number}", seconds, module="faults.crowd")
            )
            for number in range(_PROCESSES)
        ]
        for child in crowd:
            child.expect("ready")
        for child in crowd:
            child.tell("go")
        told = [child.process.communicate()[0] for child in crowd]
    assert all(told), "a process did not end: see its dump"
    return [json.loads(line) for line in told]


def _require_sound(manager: BackupManager) -> None:
    """Verify every backup and the safety backup, and look at their rows."""
    for info in manager.list():
        assert manager.verify(info, level="full").checksum
        assert balanced(Path(info.path)), info.filename
    if safety := manager.safety_backup():
        assert balanced(Path(safety.path))


class Actor(Child):
    """A process of actors.py."""

    def __init__(self, what: str, folder: Path, **options: Any) -> None:
        super().__init__("", what, folder, json.dumps(options), module="faults.actors")

    def begin(self, *, until_held: bool = False) -> None:
        """Let it begin; return when it is held, or at once."""
        self.expect("ready")
        self.go_on()
        if until_held:
            self.expect("held")

    def go_on(self) -> None:
        """Let it go on from where it waits."""
        self.tell("go on")

    def error(self) -> str:
        """Wait for its end; return the class of its error, empty without one."""
        output, _ = self.process.communicate(timeout=CHILD_SECONDS)
        (line,) = output.splitlines()  # and it was not held once more
        return str(json.loads(line)["error"])


@pytest.fixture
def project(tmp_path: Path, mode: Mode) -> Path:
    """Return a folder with an Alembic project at r1, and a backup from before its last row."""
    live = make_database(tmp_path / "app.db", mode=mode, rows=2000)
    make_project(tmp_path)
    (tmp_path / "migrations" / "versions" / "held.py").write_text(dedent(HELD_REVISION))
    manager_of(tmp_path).create("first")
    add_child(live)
    return tmp_path


def test_two_upgrades_at_once(project: Path, record: Record) -> None:
    """Two upgrades both succeed, and the steps are run by one of them alone."""
    live = project / "app.db"
    before = digest(live)
    with (
        Actor("upgrade", project, revision="r3") as one,
        Actor("upgrade", project, revision="r3") as two,
    ):
        one.begin()
        two.begin()
        errors = {one.error(), two.error()}
    assert errors == {""}
    record(fault="concurrency", operation="upgrade, another at once", outcome="both done")
    assert scalar(live, "SELECT version_num FROM alembic_version") == "r3"
    added = "(SELECT sum(total) FROM parent) - (SELECT sum(amount) FROM child)"
    assert scalar(live, f"SELECT {added}") == scalar(live, "SELECT count(*) FROM parent")
    (backup,) = (i for i in manager_of(project).list() if i.kind == "pre_migration")
    assert digest(Path(backup.path)) == before
    _require_tidy(project)


def test_an_upgrade_waits_for_one_that_is_at_work(project: Path, record: Record) -> None:
    """While one upgrade is in the middle of a step, another waits, and then has nothing to do."""
    live = project / "app.db"
    with (
        Actor("upgrade", project, revision="held") as one,
        Actor("upgrade", project, revision="held") as two,
    ):
        one.begin(until_held=True)
        two.begin()
        two.expect("waiting")
        one.go_on()
        errors = {one.error(), two.error()}
    assert errors == {""}
    record(fault="concurrency", operation="upgrade during another", outcome="both done")
    assert scalar(live, "SELECT count(*) FROM child WHERE body = 'by held'") == 1
    assert balanced(live)
    _require_tidy(project)


def test_an_upgrade_during_a_create(project: Path, mode: Mode, record: Record) -> None:
    """The backup is that of before, whatever is migrated while it is taken."""
    live = project / "app.db"
    before = digest(live)
    with (
        Actor("create", project, hold=True) as creating,
        Actor("upgrade", project, revision="r3") as upgrading,
    ):
        creating.begin(until_held=True)
        upgrading.begin()
        if mode == "wal":  # nobody waits for a reader
            assert upgrading.error() == ""
        else:
            assert eventually(marker_path(live).exists, seconds=CHILD_SECONDS)
        creating.go_on()
        assert creating.error() == ""
        if mode == "delete":
            assert upgrading.error() == ""
    record(fault="concurrency", operation="upgrade during a create", outcome="both done")
    assert scalar(live, "SELECT version_num FROM alembic_version") == "r3"
    made = _made(project)
    assert digest(Path(made.path)) == before
    assert made.alembic_heads == ("r1",)
    _require_tidy(project)


@pytest.mark.parametrize("mode", ["delete"])
def test_an_upgrade_that_a_create_makes_fail(project: Path, record: Record) -> None:
    """An upgrade that has no patience with a reader is put back as soon as that one is done."""
    live = project / "app.db"
    before = digest(live)
    with (
        Actor("create", project, hold=True) as creating,
        Actor("upgrade", project, revision="r3", timeout=0.1) as upgrading,
    ):
        creating.begin(until_held=True)
        upgrading.begin()
        assert eventually((project / "app.db.failed_migration").exists, seconds=CHILD_SECONDS)
        creating.go_on()
        assert creating.error() == ""
        error = upgrading.error()
    record(fault="concurrency", operation="upgrade during a create", outcome=f"put back, {error}")
    assert error == "OperationalError"
    assert digest(live) == digest(Path(_made(project).path)) == before
    _require_tidy(project)


def test_a_create_during_an_upgrade(project: Path, record: Record) -> None:
    """The backup is that of between two steps: its rows are those of its revision."""
    live = project / "app.db"
    with (
        Actor("upgrade", project, revision="held") as upgrading,
        Actor("create", project) as creating,
    ):
        upgrading.begin(until_held=True)
        creating.begin()
        assert creating.error() == ""
        upgrading.go_on()
        assert upgrading.error() == ""
    record(fault="concurrency", operation="create during an upgrade", outcome="both done")
    made = _made(project)
    assert made.alembic_heads == ("r2",)
    assert scalar(Path(made.path), "SELECT count(mood) FROM parent") == 0
    assert balanced(Path(made.path))
    assert scalar(live, "SELECT version_num FROM alembic_version") == "held"
    assert scalar(live, "SELECT count(mood) FROM parent") == 1
    assert balanced(live)
    _require_tidy(project)


def test_a_restore_during_a_create(project: Path, mode: Mode, record: Record) -> None:
    """The backup is that of before; outside WAL mode the restore waits for it to be taken."""
    live = project / "app.db"
    before = digest(live)
    with (
        Actor("create", project, hold=True) as creating,
        Actor("restore", project) as restoring,
    ):
        creating.begin(until_held=True)
        restoring.begin()
        if mode == "wal":
            assert restoring.error() == ""
        else:  # it has begun, and needs the lock that the other one has
            assert eventually((project / "app.db.safety_backup").exists, seconds=CHILD_SECONDS)
        creating.go_on()
        assert creating.error() == ""
        if mode == "delete":
            assert restoring.error() == ""
    record(fault="concurrency", operation="restore during a create", outcome="both done")
    assert digest(Path(_made(project).path)) == before
    assert digest(live) == _digest_of_first(project) != before
    _require_tidy(project)


@pytest.mark.parametrize("mode", ["delete"])
def test_a_restore_that_a_create_keeps_out(project: Path, record: Record) -> None:
    """A restore that has no patience with a reader changes nothing, and says so."""
    live = project / "app.db"
    before = digest(live)
    with (
        Actor("create", project, hold=True) as creating,
        Actor("restore", project, timeout=_SOON) as restoring,
    ):
        creating.begin(until_held=True)
        restoring.begin()
        error = restoring.error()
        creating.go_on()
        assert creating.error() == ""
    record(fault="concurrency", operation="restore during a create", outcome=f"before, {error}")
    assert error == "DatabaseLockedError"
    assert digest(live) == digest(Path(_made(project).path)) == before
    assert not (project / "app.db.safety_backup").exists()
    _require_tidy(project)


def test_a_create_during_a_restore(project: Path, mode: Mode, record: Record) -> None:
    """The backup is that of before the restore, or, where readers have to wait, there is none."""
    live = project / "app.db"
    before = digest(live)
    with (
        Actor("restore", project, hold=True) as restoring,
        Actor("create", project, timeout=_SOON) as creating,
    ):
        restoring.begin(until_held=True)
        creating.begin()
        error = creating.error()
        restoring.go_on()
        assert restoring.error() == ""
    outcome = f"no backup, {error}" if error else "both done"
    record(fault="concurrency", operation="create during a restore", outcome=outcome)
    made = [info for info in manager_of(project).list() if info.description == "made"]
    if mode == "wal":
        assert error == ""
        assert digest(Path(made[0].path)) == before
    else:
        assert error == "DatabaseLockedError"
        assert made == []
    assert digest(live) == _digest_of_first(project) != before
    _require_tidy(project)


def _digest_of_first(project: Path) -> str:
    return digest(Path(manager_of(project).list()[-1].path))


def _made(project: Path) -> BackupInfo:
    (made,) = (info for info in manager_of(project).list() if info.description == "made")
    return made


def _require_tidy(project: Path) -> None:
    """Whatever ran is done with: no marker, nothing unfinished, all sound, and it goes on."""
    manager = manager_of(project)
    assert not marker_path(project / "app.db").exists()
    assert leftovers(project) + leftovers(manager.directory) == []
    for info in manager.list():
        assert manager.verify(info, level="full").checksum
    manager.create("next")
    assert manager.catalog.names() == frozenset(info.filename for info in manager.list())
