"""What a migration did to the database can be listened to."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from alembic_project import Project, digest
from sqlalchemy.exc import OperationalError

from soulsense_db import BackupManager
from soulsense_db.errors import BackupNotFoundError
from soulsense_db.events import Created, Failed, MigrationPutBack, Removed, everywhere


@pytest.fixture
def project(tmp_path: Any) -> Project:
    """Return a project at revision ``first``, protected in env.py."""
    return Project(tmp_path / "project", "env.py").standard()


@pytest.fixture
def heard(project: Project) -> Iterator[list[Any]]:
    """Return the events of all managers since the project was made."""
    found: list[Any] = []
    hooks: list[Any] = list(vars(everywhere).values())
    listener = found.append
    for hook in hooks:
        hook(listener)
    yield found
    for hook in hooks:
        hook.remove(listener)


def test_a_migration_that_is_put_back_is_told(
    project: Project, heard: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Once, when the data is back and the database is not locked; an earlier try's backup goes."""
    before = digest(project.database)
    seen = []

    def look(_event: MigrationPutBack) -> None:
        BackupManager.from_url(str(project.database)).exclusive(timeout=0).release()
        seen.append(digest(project.database))

    everywhere.migration_put_back(look)
    try:
        with pytest.raises(OperationalError, match="nowhere"):
            project.upgrade("head")
        assert [type(event) for event in heard] == [Created, MigrationPutBack]
        created, put_back = heard
        assert put_back.backup.id == created.backup.id
        assert put_back.backup.target_revision == "broken"
        assert put_back.failed_database == project.folder / "app.db.failed_migration"
        assert put_back.database == project.database
        heard.clear()
        logging.getLogger("soulsense_db").setLevel(logging.INFO)
        capsys.readouterr()
        with pytest.raises(OperationalError, match="nowhere"):
            project.upgrade("head")
    finally:
        everywhere.migration_put_back.remove(look)
        logging.getLogger("soulsense_db").setLevel(logging.NOTSET)
    assert seen == [before, before]
    assert [type(event) for event in heard] == [Created, MigrationPutBack, Removed]
    assert heard[2].backup.id == created.backup.id
    assert heard[2].reason == f"{heard[0].backup.filename} has the same content"
    lines = re.findall(r"^INFO  \[soulsense_db\] (.*)$", capsys.readouterr().err, re.MULTILINE)
    assert lines == [str(event) for event in heard]
    assert lines[1].startswith("A migration of app.db failed: it was put back from ")


def test_a_database_that_cannot_be_put_back_is_told(project: Project, heard: list[Any]) -> None:
    """The operation is put_back; nothing says that it was put back."""
    project.revision("broken", "second", "import shutil\nshutil.rmtree('backups')\n1 / 0")
    with pytest.raises(ZeroDivisionError):
        project.upgrade("head")
    created, failed = heard
    assert isinstance(created, Created)
    assert isinstance(failed, Failed)
    assert failed.operation == "put_back"
    assert isinstance(failed.error, BackupNotFoundError)


def test_a_migration_that_goes_well_is_its_backup_alone(project: Project, heard: list[Any]) -> None:
    """Nothing was put back."""
    project.upgrade("second")
    assert [type(event) for event in heard] == [Created]
