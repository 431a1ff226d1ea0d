"""Each chain of a database is judged by its own version table, read where it lies."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic_project import HAS_PLUGINS, Project, digest, query
from helpers import execute, write_marker

from soulsense_db import BackupManager
from soulsense_db.alembic.errors import MigrationRefusedError
from soulsense_db.sidecars.migration_marker import Chain, read_markers

pytestmark = pytest.mark.slow

DOORS = ["env.py", *(["alembic.ini"] if HAS_PLUGINS else [])]
# One command, one run of the steps for each tenant, each with its own version table.
_TENANTS = """
import os
{imports}
from alembic import context
import sqlalchemy as sa
engine = sa.create_engine(context.config.get_main_option("sqlalchemy.url"))
for tenant in os.environ.get("TENANTS", "one two").split():
    os.environ["TENANT"] = tenant
    with engine.connect() as connection:
        context.configure(connection=connection, version_table=f"ver_{{tenant}}")
        with {block}:
            context.run_migrations()
"""
_KILLED = """
name = os.environ["TENANT"]
op.execute(f"DROP TABLE IF EXISTS {name}")
if name == os.environ.get("KILLED"):
    os.kill(os.getpid(), signal.SIGKILL)
op.execute(f"CREATE TABLE {name} (y)")
"""


@pytest.fixture(params=DOORS)
def tenants(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    """Return a project whose env.py migrates two chains of one database, both at ``first``."""
    project = Project(tmp_path / "project", request.param)
    ours = request.param == "env.py"
    project.write_env(
        _TENANTS.format(
            imports="from soulsense_db.alembic import safe_migrations" if ours else "",
            block="safe_migrations(context)" if ours else "context.begin_transaction()",
        )
    )
    project.revision(
        "first", None, "name = os.environ['TENANT']\nop.execute(f'CREATE TABLE {name} (x)')"
    )
    project.revision("second", "first", _KILLED)
    assert project.run("upgrade", "first").returncode == 0
    return project


def _kill(project: Project, tenant: str) -> None:
    project.env["KILLED"] = tenant
    project.run("upgrade", "head")
    del project.env["KILLED"]


def _says(ended: subprocess.CompletedProcess[str]) -> str:
    return ended.stdout + ended.stderr


@pytest.mark.parametrize("killed", ["one", "two"])
def test_another_chain_at_its_target_ends_no_alarm(tenants: Project, killed: str) -> None:
    """Whichever chain died, the next upgrade of either is refused, and names that chain."""
    before = digest(tenants.database)
    _kill(tenants, killed)
    [*_, marker] = read_markers(tenants.database)
    assert marker.chain is not None
    assert marker.chain.version_table == f"ver_{killed}"
    assert marker.chain.section == "alembic"
    for wanted in ("one two", "one", "two"):
        tenants.env["TENANTS"] = wanted
        refused = tenants.run("upgrade", "head")
        assert refused.returncode != 0
        assert f"version table ver_{killed}" in _says(refused)
        assert tenants.marker.exists()
    BackupManager.from_url(str(tenants.database)).restore(tenants.backups()[-1])
    assert digest(tenants.database) == before
    assert not tenants.marker.exists()


def test_a_chain_that_had_reached_its_target_is_whole(tenants: Project) -> None:
    """A marker that outlived its migration goes by its own table, in whatever order they ran."""
    tenants.env["TENANTS"] = "one"
    assert tenants.run("upgrade", "head").returncode == 0
    for table, whole in (("ver_two", False), ("ver_one", True)):
        write_marker(
            tenants.database,
            backup=str(tenants.backups()[-1]),
            alembic_heads=("first",),
            target_revision="second",
            chain=Chain(version_table=table),
        )
        again = tenants.run("upgrade", "head")
        assert (again.returncode == 0) == whole, _says(again)
        assert tenants.marker.exists() != whole


def test_both_chains_of_a_command_go_back_together(tenants: Project) -> None:
    """When the second chain fails, the first one, which had ended, goes back with it."""
    tenants.revision(
        "second",
        "first",
        "op.execute(f\"DROP TABLE {os.environ['TENANT']}\")\n"
        "if os.environ['TENANT'] == 'two': raise RuntimeError('of the second')",
    )
    before = digest(tenants.database)
    failed = tenants.run("upgrade", "head")
    assert "of the second" in failed.stderr
    after = digest(tenants.database)
    # In env.py each block of the first door is one of its own, unless the plugin is there too.
    assert after == before or (not HAS_PLUGINS and query(tenants.database, "SELECT * FROM ver_one"))
    assert not tenants.marker.exists()


def test_several_heads_are_one_target(tmp_path: Path) -> None:
    """The target of branches is all their heads: a marker that outlived them is seen to be done."""
    project = Project(tmp_path / "project", "env.py")
    project.revision("root", None, "pass")
    project.revision("left", "root", "op.execute('CREATE TABLE l (x)')")
    project.revision("right", "root", "op.execute('CREATE TABLE r (x)')")
    project.revision("killed", "right", "os.kill(os.getpid(), signal.SIGKILL)")
    project.upgrade("left")
    project.upgrade("right")
    assert project.run("upgrade", "heads").returncode == -9
    [marker] = read_markers(project.database)
    assert marker.target_heads == ("killed", "left")
    execute(
        project.database,
        "UPDATE alembic_version SET version_num = 'killed' WHERE version_num = 'right'",
    )
    project.revision("killed", "right", "pass")
    project.upgrade("heads")
    assert not project.marker.exists()


def _attach(project: Project, file: Path, name: str) -> None:
    project.edit_env(
        "    with connectable.connect()",
        "    from sqlalchemy import event\n"
        "    event.listen(connectable, 'connect',\n"
        f"                 lambda made, _: made.execute(\"ATTACH '{file}' AS {name}\"))\n"
        "    with connectable.connect()",
    )


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("option", ["refuse", "ignore"])
@pytest.mark.parametrize("name", ["ver", "other", "versions"])
def test_a_version_table_elsewhere_is_refused(
    tmp_path: Path, door: str, option: str, name: str
) -> None:
    """A chain whose state is in an attached file is not migrated: half of it would go back."""
    project = Project(tmp_path / "project", door)
    project.revision("first", None, "op.execute('CREATE TABLE entry (x)')")
    project.set_option("soulsense_attached", option)
    _attach(project, tmp_path / "elsewhere.db", name)
    project.edit_env("context.configure(", f"context.configure(version_table_schema='{name}', ")
    refused = project.run("upgrade", "head")
    assert refused.returncode != 0
    assert f"{name}.alembic_version" in _says(refused)
    assert "No migration was run." in _says(refused)
    assert "Traceback" not in refused.stderr
    assert not project.marker.exists()
    assert query(project.database, "SELECT * FROM sqlite_master WHERE name = 'entry'") == []
    assert project.run("current").returncode == 0


@pytest.mark.parametrize("door", DOORS)
def test_a_migration_that_could_change_an_attached_file_is_refused(
    tmp_path: Path, door: str
) -> None:
    """Nothing goes back by half: with a file attached no step runs, unless one may ignore it."""
    other = tmp_path / "other.db"
    execute(other, "CREATE TABLE o (x)", "INSERT INTO o VALUES ('kept')")
    project = Project(tmp_path / "project", door).standard()
    project.revision("broken", "second", "op.execute('DELETE FROM other.o')\nraise RuntimeError")
    _attach(project, other, "other")
    before = digest(project.database)
    refused = project.run("upgrade", "head")
    assert refused.returncode != 0
    assert f"{other} is attached" in _says(refused)
    assert "soulsense_attached = ignore" in _says(refused)
    assert query(other, "SELECT * FROM o") == [("kept",)]
    assert digest(project.database) == before
    project.set_option("soulsense_attached", "ignore")
    project.revision("broken", "second", "pass")
    done = project.run("upgrade", "head")
    assert done.returncode == 0
    assert f"{other} is attached: it is neither backed up" in done.stderr


@pytest.mark.parametrize("what", ["itself", "memory", "temp"])
def test_what_is_no_other_file_is_no_reason_to_refuse(tmp_path: Path, what: str) -> None:
    """The same file once more, or what ends with the connection, is no other file."""
    project = Project(tmp_path / "project", "env.py").standard()
    file = {"itself": project.database, "memory": ":memory:", "temp": ""}[what]
    _attach(project, Path(file) if what == "itself" else file, "other")  # type: ignore[arg-type]
    project.upgrade("second")


def test_a_refusal_is_an_error_of_the_tree(tmp_path: Path) -> None:
    """A program that runs Alembic itself catches the refusal, with a hint, before any step."""
    project = Project(tmp_path / "project", "env.py").standard()
    engine = sa.create_engine(f"sqlite:///{project.database}")
    _attach(project, tmp_path / "elsewhere.db", "elsewhere")
    with pytest.raises(MigrationRefusedError, match=r"elsewhere\.db is attached") as refused:
        project.upgrade("second")
    assert "Do not attach elsewhere" in refused.value.hint
    engine.dispose()
