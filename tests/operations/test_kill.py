"""SIGKILL at every stage of a create and of a restore, in processes of their own."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from conftest import EngineMaker
from helpers import (
    MODES,
    Child,
    Mode,
    add_child,
    balanced,
    digest,
    held_by_another_process,
    leftovers,
    make_database,
    scalar,
)

from soulsense_db import BackupManager

pytestmark = pytest.mark.slow

# Each line of it is a stage it has reached; it goes on when it is told to.
_PROGRAM = "killed_at_a_stage.py"


def run_until(child: Child, stage: str, times: int) -> bool:
    """Let ``child`` go on until it reached ``stage`` so often, then kill it; False if it ended."""
    assert child.process.stdin is not None
    reached = 0
    while line := child.line():
        if line == "done":
            child.kill()
            return False
        reached += line == stage
        if reached == times:
            child.kill()
            return True
        child.process.stdin.write("\n")
        child.process.stdin.flush()
    raise AssertionError("the child failed")


# (journal mode, stage, how often it was reached). Renaming is the same in both modes.
CREATE_STAGES: list[tuple[Mode, str, int]] = [
    *[(mode, "copied", times) for mode in MODES for times in (1, 4)],
    ("wal", "before rename", 1),
    *[("wal", "after rename", times) for times in (1, 2)],
]
RESTORE_STAGES: list[tuple[Mode, str, int]] = [
    *[(mode, "copied", times) for mode in MODES for times in (1, 3, 5)],
    ("delete", "before rename", 1),
    *[("delete", "after rename", times) for times in (1, 2, 3, 4)],
]
UNDO_STAGES: list[tuple[Mode, str, int]] = [
    *[(mode, "copied", 3) for mode in MODES],
    *[("wal", "after rename", times) for times in (1, 2, 3, 4)],
]
RESTORES = [("restore", *at) for at in RESTORE_STAGES] + [("undo", *at) for at in UNDO_STAGES]


def make_live(folder: Path, mode: Mode) -> Path:
    """Make a database of some hundred pages, so that a copy has many steps."""
    return make_database(folder / "app.db", mode=mode, rows=2000)


@pytest.mark.parametrize(("mode", "stage", "times"), CREATE_STAGES)
def test_a_killed_create_leaves_no_half_backup(
    tmp_path: Path, make_engine: EngineMaker, mode: Mode, stage: str, times: int
) -> None:
    """Whenever a create dies, what is listed is whole, and the next one cleans up after it."""
    live = make_live(tmp_path, mode)
    manager = BackupManager(make_engine(live))
    manager.create("before")
    with Child(_PROGRAM, "create", live) as child:
        assert run_until(child, stage, times)
    listed = manager.list()
    assert {info.description for info in listed} <= {"before", "killed"}
    for info in listed:
        assert manager.verify(info).checksum
        assert balanced(Path(info.path))
    info = manager.create("after")
    assert leftovers(manager.directory) == []
    assert manager.list()[0] == info
    metas = {name[:-5] for name in os.listdir(manager.directory) if name.endswith(".meta")}
    assert metas == {found.filename for found in manager.list()}
    assert scalar(live, "SELECT count(*) FROM backups") == len(metas)


@pytest.mark.parametrize(("work", "mode", "stage", "times"), RESTORES)
def test_a_killed_restore_leaves_the_old_or_the_new_rows(
    tmp_path: Path, make_engine: EngineMaker, *, work: str, mode: Mode, stage: str, times: int
) -> None:
    """Whenever a restore or an undo dies, the rows are all old or all new, and can be undone."""
    live = make_live(tmp_path, mode)
    engine = make_engine(live)
    manager = BackupManager(engine)
    manager.create()
    kept = digest(live)
    with closing(sqlite3.connect(live)) as connection:
        connection.execute("DELETE FROM child WHERE id % 2")
        connection.commit()
    deleted = digest(live)
    manager.restore("latest")  # so that there is a safety backup to lose
    if work == "restore":
        manager.undo_restore()
    before, after = (deleted, kept) if work == "restore" else (kept, deleted)
    engine.dispose()
    with Child(_PROGRAM, work, live) as child:
        assert run_until(child, stage, times)
    assert scalar(live, "PRAGMA integrity_check") == "ok"
    found = digest(live)
    assert found in {before, after}
    # The rows of the other side are never lost: they are live or one of the safety backups.
    copies = [path for path in live.parent.glob("*safety_backup*") if ".meta" not in path.name]
    assert {before, after} <= {
        found,
        *map(digest, copies),
        digest(Path(manager.get("latest").path)),
    }
    manager.restore("latest")
    assert digest(live) == kept
    assert leftovers(live.parent) == []
    manager.undo_restore()
    assert digest(live) == found


@pytest.mark.parametrize(("stage", "kept_copies"), [("after rename", 0), ("copied", 1)])
def test_a_killed_restore_loses_no_way_back(
    tmp_path: Path, make_engine: EngineMaker, stage: str, kept_copies: int
) -> None:
    """The safety backup of the restore before is put back, or kept under a dated name."""
    live = make_live(tmp_path, "delete")
    engine = make_engine(live)
    manager = BackupManager(engine)
    manager.create()
    with closing(sqlite3.connect(live)) as connection:
        connection.execute("DELETE FROM child WHERE id % 2")
        connection.commit()
    deleted = digest(live)
    manager.restore("latest")
    restored = digest(live)
    engine.dispose()
    with Child(_PROGRAM, "restore", live) as child:
        assert run_until(child, stage, 1)
    manager.undo_restore()
    assert digest(live) == (restored if kept_copies else deleted)
    copies = [path for path in tmp_path.glob("app.db.safety_backup.2*") if path.suffix != ".meta"]
    assert [digest(path) for path in copies] == [deleted] * kept_copies


@pytest.mark.parametrize("last", ["", ".meta"])
def test_a_restore_killed_while_it_removes_the_older_safety_backup(
    tmp_path: Path, make_engine: EngineMaker, last: str
) -> None:
    """Killed between the two files of the older safety backup, undo still goes back."""
    live = make_live(tmp_path, "delete")
    engine = make_engine(live)
    manager = BackupManager(engine)
    manager.create()
    with closing(sqlite3.connect(live)) as connection:
        connection.execute("DELETE FROM child WHERE id % 2")
        connection.commit()
    manager.restore("latest")
    add_child(live)
    before = digest(live)
    engine.dispose()
    with Child(_PROGRAM, "restore", live) as child:
        assert run_until(child, f"deleted app.db.safety_backup.previous{last}", 1)
    manager.undo_restore()
    assert digest(live) == before


def test_a_meta_file_of_another_safety_backup_is_not_taken_for_its_own(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """Killed between the two renames that keep an older safety backup, undo still goes back."""
    live = make_live(tmp_path, "delete")
    manager = BackupManager(make_engine(live))
    info = manager.create()
    add_child(live)
    before = digest(live)
    manager.restore(info)
    left = live.with_name("app.db.safety_backup.previous.meta")
    shutil.copy(info.meta_path, left)
    manager.undo_restore()
    assert digest(live) == before
    assert not left.exists()


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_damaged_database_never_loses_its_file(
    tmp_path: Path, make_engine: EngineMaker, times: int
) -> None:
    """Killed between any two renames, there is a database file, the damaged or the restored."""
    live = make_live(tmp_path, "wal")
    engine = make_engine(live)
    manager = BackupManager(engine)
    manager.create()
    kept = digest(live)
    engine.dispose()
    with held_by_another_process(live, "DELETE FROM parent WHERE id > 5"):
        with live.open("r+b") as stream:  # a page that is not in the log
            stream.seek(4096 * 20)
            stream.write(b"\xee" * 8192)
        damaged = live.read_bytes()
        with Child(_PROGRAM, "restore", live) as child:
            assert run_until(child, "after rename", times)
        assert live.read_bytes() == damaged or digest(live) == kept
    BackupManager(engine).restore("latest")  # the file may be another one now
    assert digest(live) == kept


def test_a_safety_backup_set_aside_without_its_meta_file_gets_it_back(
    tmp_path: Path, make_engine: EngineMaker
) -> None:
    """Killed between the two renames that make room for a new one, it has its checksum still."""
    live = make_live(tmp_path, "delete")
    manager = BackupManager(make_engine(live))
    manager.create()
    add_child(live)
    before = digest(live)
    manager.restore("latest")
    safety = live.with_name("app.db.safety_backup")
    safety.rename(live.with_name("app.db.safety_backup.previous"))
    assert manager.undo_restore().source.sha256 is not None
    assert digest(live) == before
