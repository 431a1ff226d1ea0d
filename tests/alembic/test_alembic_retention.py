"""The backups of migrations: which of them stay."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic_project import Project, query
from sqlalchemy.exc import OperationalError

from soulsense_db.meta_file import read_backup


def test_a_row_of_kept_failures_does_not_push_out_the_backup_from_before_it(
    tmp_path: Path,
) -> None:
    """A service that restarts a failing migration for ever keeps the data of before the first."""
    project = Project(tmp_path / "project", "env.py").standard()
    project.set_option("soulsense_on_failure", "keep")
    project.set_option("soulsense_keep_last", "2")
    project.upgrade("second")
    steps = 'op.execute("DELETE FROM entry")\n{}'
    project.revision(
        "broken", "second", steps.format('op.execute("INSERT INTO nowhere VALUES (1)")')
    )
    for attempt in range(5):
        with pytest.raises(OperationalError) as failure:
            project.upgrade("broken")
        first = [path for path in project.backups() if read_backup(path).pinned]
        named = f"Before the first failure: {first[0]}"
        assert (named in failure.value.__notes__) is (attempt > 0)
    pinned = [path for path in project.backups() if read_backup(path).pinned]
    assert [query(path, "SELECT count(*) FROM entry") for path in pinned] == [[(3,)]]
    assert len(project.backups()) == 3
    project.revision("broken", "second", steps.format("pass"))
    project.upgrade("broken")
    assert not any(read_backup(path).pinned for path in project.backups())
    assert len(project.backups()) == 2


def test_a_row_of_failures_does_not_push_out_backups_of_other_migrations(tmp_path: Path) -> None:
    """Each try puts back the same database: its backup is kept once, whatever the policy."""
    project = Project(tmp_path / "project", "env.py").standard()
    project.set_option("soulsense_keep_last", "3")
    project.upgrade("second")
    before = project.backups()
    project.revision("broken", "second", 'op.execute("INSERT INTO nowhere VALUES (1)")')
    for _ in range(4):
        with pytest.raises(OperationalError):
            project.upgrade("broken")
    assert project.backups()[:-1] == before
    assert len(project.backups()) == len(before) + 1
