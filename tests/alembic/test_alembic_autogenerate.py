"""Our table in a host's database: hidden from comparisons, never in the way of migrations."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.util import CommandError
from alembic_project import DOORS, FIRST, HAS_PLUGINS, Project, query

from soulsense_db import BackupManager

METADATA = """
import sqlalchemy as sa
target_metadata = sa.MetaData()
sa.Table("entry", target_metadata, sa.Column("id", sa.Integer, primary_key=True),
         sa.Column("text", sa.String(200)))
"""
# With the plugin our table is hidden also where the protection is off.
ALL_DOORS = [*DOORS, *(["no door"] if HAS_PLUGINS else [])]


def _project(folder: Path, door: str) -> Project:
    project = Project(folder, door)
    project.edit_env("target_metadata = None\n", METADATA)
    project.revision("first", None, FIRST)
    project.upgrade("head")
    return project


def _make_catalog(project: Project, catalog: str | bool = True) -> None:
    engine = sa.create_engine(f"sqlite:///{project.database}")
    BackupManager(engine, catalog=catalog).create()
    engine.dispose()


@pytest.mark.parametrize("door", ALL_DOORS)
def test_our_table_is_hidden(tmp_path: Path, door: str) -> None:
    """`check` is clean and `revision --autogenerate` empty with our table in the database."""
    project = _project(tmp_path, door)
    _make_catalog(project)
    count = len(project.backups())
    assert query(project.database, "SELECT count(*) FROM backups")[0][0] == count
    project.call("check")
    project.call("revision", message="nothing", autogenerate=True)
    (made,) = (tmp_path / "mig" / "versions").glob("*_nothing.py")
    assert "backups" not in made.read_text()
    assert len(project.backups()) == count


@pytest.mark.parametrize("door", DOORS)
def test_a_table_of_the_host_is_still_compared(tmp_path: Path, door: str) -> None:
    """A `backups` table that is not ours shows in `check`, and is left alone by the upgrade."""
    project = _project(tmp_path, door)
    project.revision("second", "first", 'op.execute("DROP TABLE IF EXISTS backups")')
    project.upgrade("head")
    query(project.database, "DROP TABLE IF EXISTS backups")
    query(project.database, "CREATE TABLE backups (what TEXT)")
    with pytest.raises(CommandError, match="backups"):
        project.call("check")
    project.revision("third", "second", "pass")
    project.upgrade("head")
    assert query(project.database, "SELECT * FROM backups") == []
    assert query(project.database, "SELECT sql FROM sqlite_master WHERE name = 'backups'") == [
        ("CREATE TABLE backups (what TEXT)",)
    ]


def test_the_host_s_first_revision_may_make_a_table_of_our_name(tmp_path: Path) -> None:
    """Our table is made after the steps, so that it is never in the way of one of theirs."""
    project = Project(tmp_path, "env.py")
    project.revision("first", None, 'op.create_table("backups", sa.Column("what", sa.String))')
    project.upgrade("head")
    assert query(project.database, "SELECT * FROM backups") == []


def test_the_host_s_own_include_name_is_asked_first(tmp_path: Path) -> None:
    """Our filter is chained after the host's: what it leaves out stays out."""
    project = _project(tmp_path, "env.py")
    query(project.database, "CREATE TABLE legacy (id INTEGER)")
    with pytest.raises(CommandError, match="legacy"):
        project.call("check")
    project.edit_env(
        "connection=connection, target_metadata=target_metadata",
        "connection=connection, target_metadata=target_metadata,\n"
        "            include_name=lambda name, type_, parents: name != 'legacy'",
    )
    project.call("check")


def test_the_host_may_own_the_table(tmp_path: Path) -> None:
    """With our metadata in target_metadata the host's migrations make the table, not we."""
    project = _project(tmp_path, "env.py")
    query(project.database, "DROP TABLE backups")
    project.edit_env(
        "target_metadata = sa.MetaData()\n",
        "import soulsense_db.catalog\ntarget_metadata = sa.MetaData()\n",
    )
    project.edit_env(
        "connection=connection, target_metadata=target_metadata",
        "connection=connection, target_metadata=[target_metadata, soulsense_db.catalog.metadata]",
    )
    project.revision("second", "first", "pass")
    project.upgrade("head")
    assert query(project.database, "SELECT name FROM sqlite_master WHERE name = 'backups'") == []
    with pytest.raises(CommandError, match="backups"):
        project.call("check")
    project.call("revision", message="ours", autogenerate=True)
    project.upgrade("head")
    project.call("check")
    count = len(project.backups())
    assert query(project.database, "SELECT count(*) FROM backups") == [(count,)]


@pytest.mark.parametrize(("value", "table"), [("our_backups", "our_backups"), ("none", None)])
def test_the_table_can_be_renamed_or_left_out(
    tmp_path: Path, value: str, table: str | None
) -> None:
    """soulsense_catalog_table names our table; 'none' makes none."""
    project = Project(tmp_path, "env.py")
    project.set_option("soulsense_catalog_table", value)
    project.edit_env("target_metadata = None\n", METADATA)
    project.revision("first", None, FIRST)
    project.upgrade("head")
    named = "SELECT name FROM sqlite_master WHERE name LIKE '%backups'"
    assert query(project.database, named) == ([(table,)] if table else [])
    project.call("check")


OLD_TABLE = (
    'op.create_table("backups", sa.Column("filename", sa.String(255), primary_key=True), '
    'sa.Column("catalog_format", sa.Integer, nullable=False), '
    'sa.Column("id", sa.String(32), nullable=False), '
    'sa.Column("created_at", sa.DateTime, nullable=False), '
    'sa.Column("kind", sa.String(20), nullable=False), '
    'sa.Column("description", sa.Text, nullable=False), '
    'sa.Column("size_bytes", sa.BigInteger, nullable=False), '
    'sa.Column("sha256", sa.String(64)), sa.Column("alembic_heads", sa.Text, nullable=False), '
    'sa.Column("target_revision", sa.String(255)), sa.Column("duration_seconds", sa.Float))'
)


@pytest.mark.parametrize("backup_between", [False, True])
def test_a_host_that_owns_an_older_table_brings_it_up_to_date(
    tmp_path: Path, backup_between: bool
) -> None:
    """Its autogenerated revision adds our columns, or a backup has, and then `check` is clean."""
    project = Project(tmp_path, "env.py")
    project.edit_env(
        "target_metadata = None\n",
        "import soulsense_db.catalog\ntarget_metadata = soulsense_db.catalog.metadata\n",
    )
    project.revision("first", None, OLD_TABLE)
    project.upgrade("head")
    with pytest.raises(CommandError, match="prefix"):
        project.call("check")
    if backup_between:
        _make_catalog(project)
    else:
        project.call("revision", message="owners", autogenerate=True)
        project.upgrade("head")
    project.call("check")
    count = len(project.backups())
    assert query(project.database, "SELECT count(prefix) FROM backups") == [(count,)]
