"""A restore with migrations is killed: the live database is what it was, or all of the new data."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from helpers import Child
from rehearsals import is_alive, manager_of, project, run_sql

from soulsense_db.alembic import upgrade_to

NOTE = (
    'op.add_column("entry", sa.Column("note", sa.Text))\n'
    "op.execute(\"UPDATE entry SET note = text || '!'\")"
)
STAGES = [
    # The first megabyte of the data, all of it, and when the migrations are begun. How often more
    # is told while they run depends on the time they take.
    *(("copied", times) for times in (1, 2, 3)),
    ("before rename", 1),
    *(("after rename", times) for times in (1, 2)),
    *(("written", times) for times in (1, 3, 5)),  # of the pages of the live database
]


def content(database: Path) -> tuple[object, ...]:
    """Return the revision, the columns and the rows."""
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        entries = connection.execute("SELECT * FROM entry ORDER BY id").fetchall()
        version = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    return version, entries


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "times"), STAGES)
def test_a_killed_one_leaves_no_old_schema(tmp_path: Path, stage: str, times: int) -> None:
    """Never the backup's own tables, and never half of the new ones; the next one cleans up."""
    made = project(tmp_path / "project")
    manager = manager_of(made)
    filler = "INSERT INTO entry (person_id, text) SELECT 1, hex(zeroblob(2000)) FROM entry"
    run_sql(made.database, *[filler] * 6)
    manager.create("old")
    made.revision("second", "first", NOTE)
    made.upgrade("head")
    run_sql(made.database, "DELETE FROM entry WHERE id = 2")
    before = content(made.database)
    with Child("killed_at_a_stage.py", "upgrade", made.database) as child:
        reached, is_placed = 0, False
        while reached < times and (line := child.line()):
            assert line != "done", "it was not killed"
            is_placed = is_placed or line == "after rename"
            reached += ("written" if is_placed and line == "copied" else line) == stage
            if reached < times:
                child.tell("")
        child.kill()
    found = content(made.database)
    manager.restore("latest", upgrade=upgrade_to(made.config()))
    after = content(made.database)
    assert found in (before, after)
    assert len(after[1]) > len(before[1])  # type: ignore[arg-type]
    assert list(made.folder.glob(".app.db.work-*")) == []


def test_the_migrations_end_with_their_parent(tmp_path: Path) -> None:
    """Killed in the middle of a step, nothing goes on without it; the database is what it was."""
    made = project(tmp_path / "project")
    manager_of(made).create("old")
    mark = tmp_path / "process"
    made.revision(
        "second",
        "first",
        f"{NOTE}\nPath({str(mark)!r} + '.new').write_text(str(os.getpid()))\n"
        f"os.replace({str(mark)!r} + '.new', {str(mark)!r})\ntime.sleep(600)",
    )
    before = made.database.read_bytes()
    with Child("killed_at_a_stage.py", "upgrade", made.database) as child:
        while not mark.exists():
            child.line()
            child.tell("")
        child.kill()
    migrating = int(mark.read_text())
    deadline = time.monotonic() + 30
    while is_alive(migrating):
        assert time.monotonic() < deadline
        os.sched_yield()
    assert made.database.read_bytes() == before
    manager_of(made).verify("latest", level="drill")
    assert list(made.folder.glob(".app.db.work-*")) == []
