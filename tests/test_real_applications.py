"""The script that tries real applications, tried on a small project: it finds what it looks for.

The real ones are installed by nothing but ``python tests/real/run.py``.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from alembic_project import Project, needs_plugins
from applications import APPLICATIONS, Application
from cases import Case, Installed, run_command
from faults.report import PAGE, block
from helpers import execute, held_by_another_process, make_database, snapshot_of
from rows import counts, differing, digests, fill
from run import FAULTS, SHOWN

pytestmark = pytest.mark.slow

_TABLES = """
    op.execute("CREATE TABLE author (id CHAR(36) PRIMARY KEY, favourite INTEGER REFERENCES post)")
    op.execute("CREATE TABLE post (id INTEGER PRIMARY KEY, meta JSON NOT NULL, author_id CHAR(36) "
               "NOT NULL REFERENCES author (id), kind TEXT NOT NULL, CHECK (kind IN ('A', 'B')))")
"""
_STEPS = """
    op.execute("UPDATE post SET kind = 'A'")
    op.execute("DELETE FROM author WHERE rowid % 2")
    op.execute("CREATE TABLE tag (id INTEGER PRIMARY KEY)")
    {commit}
    op.execute("INSERT INTO tag VALUES (7)")
"""


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    """Return a project with an async engine in the place of an application."""
    project = Project(tmp_path / "project", "none", template="async")
    project.edit_env(
        "config = context.config\n",
        "import os\nconfig = context.config\n"
        'config.set_main_option("sqlalchemy.url", os.environ["TRIED_URL"])\n',
    )
    project.revision("first", None, _TABLES)
    project.revision("second", "first", _STEPS.format(commit='op.execute("COMMIT")'))
    application = _application(project, {})
    base = tmp_path / "base"
    base.mkdir()
    database = base / "app.db"
    programs = Path(sys.executable).parent
    first = ["alembic", "-c", str(project.ini), "upgrade", "first"]
    assert run_command(programs, application, database, first, SOULSENSE_BACKUP="0").returncode == 0
    assert fill(database, 20) == {"author": 20, "post": 20}
    return Installed(
        application=application,
        bin=programs,
        base=base,
        version="1",
        statements=4,
        steps=1,
        rows=40,
        head="second",
        counts={"author": 10, "post": 20, "tag": 1},
    )


def _application(project: Project, environment: dict[str, str]) -> Application:
    return Application(
        name="Small",
        requirement="",
        distribution="",
        middle="first",
        environment=lambda database: {"TRIED_URL": f"sqlite+aiosqlite:///{database}"} | environment,
        build=lambda _: [],
        upgrade=["alembic", "-c", str(project.ini), "upgrade", "head"],
    )


@needs_plugins
@pytest.mark.parametrize("moment", [1, 4])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_protected_application_passes(
    installed: Installed, fault: str, moment: int, tmp_path: Path
) -> None:
    """After a kill, an error and SIGINT in a step the rows come back, and it goes on to the end."""
    case = Case(installed, fault, moment).run(tmp_path / "cases")
    assert case.problems == []
    assert case.put_back
    assert case.by_itself == (fault != "kill")


@needs_plugins
@pytest.mark.parametrize("fault", FAULTS)
def test_lost_rows_are_found(installed: Installed, fault: str, tmp_path: Path) -> None:
    """An application without protection fails: rows are gone, and no way back is printed."""
    application = installed.application
    bare = replace(
        application,
        environment=lambda path: application.environment(path) | {"SOULSENSE_BACKUP": "0"},
    )
    case = Case(replace(installed, application=bare), fault, 4).run(tmp_path / "cases")
    found = "\n".join(case.problems)
    assert "not as before: (schema), author, post, tag" in found
    assert "no backup is named" in found if fault == "error" else "no way back" in found
    assert not case.put_back


def test_every_difference_is_seen(tmp_path: Path) -> None:
    """A changed, a missing and an added row, a new table and a new index each change a digest."""
    path = make_database(tmp_path / "app.db")
    before, rows = digests(path), counts(path)
    assert sorted(before) == ["(schema)", "child", "parent"]
    for statement, table in {
        "UPDATE child SET body = 'x' WHERE id = 3": "child",
        "DELETE FROM child WHERE id = 4": "child",
        "INSERT INTO parent VALUES (77, 'one more', 0)": "parent",
        "CREATE INDEX more ON parent (name)": "(schema)",
    }.items():
        execute(path, statement)
        assert differing(before, before := digests(path)) == [table], statement
    assert counts(path) == {"child": rows["child"] - 1, "parent": rows["parent"] + 1}


def test_reading_leaves_the_file_alone(tmp_path: Path) -> None:
    """What a killed process left in the log is counted, and stays in the log."""
    path = make_database(tmp_path / "app.db", mode="wal")
    with held_by_another_process(path, "DELETE FROM child") as child:
        child.kill()
    kept = snapshot_of(tmp_path)
    assert counts(path)["child"] == 0
    digests(path)
    assert snapshot_of(tmp_path) == kept


def test_the_script_explains_itself() -> None:
    """``--help`` says what the script does, without anything installed."""
    script = Path(__file__).parent / "real" / "run.py"
    command = [sys.executable, "-S", str(script), "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "SOULSENSE_BACKUP=1" in told
    assert "--work" in told


def test_the_page_has_every_application_and_fault() -> None:
    """The reliability page tells of each application under each fault, and no case lost a row."""
    rows = [line for line in block(PAGE.read_text(), "real").splitlines() if line.startswith("| ")]
    for application in APPLICATIONS:
        for fault in SHOWN.values():
            (row,) = [row for row in rows if application.name in row and f"| {fault} |" in row]
            moments, at_once, later = map(int, row.split("|")[-4:-1])
            assert moments == at_once + later > 0
