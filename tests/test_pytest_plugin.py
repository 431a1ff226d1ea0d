"""The fixtures for tests of applications, in runs of pytest of their own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from doc_blocks import DOCS
from helpers import clean_environment

pytestmark = pytest.mark.slow

PAGE = DOCS / "guide" / "pytest.md"
_FILE = re.compile(
    r'^```\w+ title="(?P<name>[\w.]+)"\n(?P<text>.*?)^```$', re.DOTALL | re.MULTILINE
)
ENGINES = {
    "file": "sa.create_engine(f'sqlite:///{folder}/app.db')",
    "memory": "sa.create_engine('sqlite://', poolclass=StaticPool)",
    "memory of a thread": "sa.create_engine('sqlite://')",
    "async file": "create_async_engine(f'sqlite+aiosqlite:///{folder}/app.db', poolclass=NullPool)",
    "async memory": "create_async_engine('sqlite+aiosqlite://', poolclass=StaticPool)",
}
CONFTEST = """
import asyncio
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool, StaticPool

MODE = {mode!r}


def run(engine, *statements):
    if isinstance(engine, AsyncEngine):
        return asyncio.run(run_async(engine, statements))
    with engine.begin() as connection:
        for statement in statements:
            result = connection.execute(sa.text(statement))
        return result.scalar() if result.returns_rows else None


async def run_async(engine, statements):
    async with engine.begin() as connection:
        for statement in statements:
            result = await connection.execute(sa.text(statement))
        return result.scalar() if result.returns_rows else None


@pytest.fixture(scope="session")
def soulsense_engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("database")
    engine = {engine}
    if MODE:
        run(engine, f"PRAGMA journal_mode = {{MODE}}")
    run(engine, "CREATE TABLE entry (body TEXT)", "INSERT INTO entry VALUES ('one')")
    return engine
"""
TESTS = """
import pytest
from conftest import MODE, run

@pytest.mark.parametrize("number", range(3))
def test_a_fresh_database(soulsense_database, soulsense_engine, number):
    assert soulsense_database is soulsense_engine
    assert run(soulsense_engine, "SELECT group_concat(body) FROM entry") == "one"
    if MODE:
        assert run(soulsense_engine, "PRAGMA journal_mode") == MODE
    run(soulsense_engine, "INSERT INTO entry VALUES ('two')", "CREATE TABLE other (x)")
    if number:
        run(soulsense_engine, "DROP TABLE entry")
"""


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-W",
        "error",
        "--basetemp",
        str(folder / "temp"),
    ]
    return subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("mode", ["", "wal"])
@pytest.mark.parametrize("engine", ENGINES)
def test_each_test_begins_with_the_same_database(engine: str, mode: str, tmp_path: Path) -> None:
    """Whatever the test before it did to rows and tables, and whatever the engine is."""
    mode = "" if "memory" in engine else mode
    (tmp_path / "conftest.py").write_text(CONFTEST.format(engine=ENGINES[engine], mode=mode))
    (tmp_path / "test_it.py").write_text(TESTS)
    done = _run(tmp_path)
    assert "3 passed" in done.stdout, done.stdout


def test_workers_have_databases_of_their_own(tmp_path: Path) -> None:
    """With pytest-xdist each worker puts its own database back."""
    (tmp_path / "conftest.py").write_text(CONFTEST.format(engine=ENGINES["file"], mode="wal"))
    (tmp_path / "test_it.py").write_text(TESTS.replace("range(3)", "range(12)"))
    done = _run(tmp_path, "-n", "2")
    assert "12 passed" in done.stdout, done.stdout


def test_the_page_works_as_it_stands(tmp_path: Path) -> None:
    """The files of the page pass; with the last one, no test has to name the fixture."""
    for match in _FILE.finditer(PAGE.read_text(encoding="utf-8")):
        (tmp_path / match["name"]).write_text(match["text"], encoding="utf-8")
    assert "3 passed" in _run(tmp_path).stdout
    tests = (tmp_path / "test_entries.py").read_text(encoding="utf-8")
    (tmp_path / "test_entries.py").write_text(
        tests.replace("(soulsense_database)", "(soulsense_engine)").replace(
            "soulsense_database.", "soulsense_engine."
        )
    )
    done = _run(tmp_path)
    assert "3 passed" in done.stdout, done.stdout
    (tmp_path / "pytest.ini").unlink()
    assert "1 failed" in _run(tmp_path).stdout


def test_without_an_engine_the_error_says_what_to_write(tmp_path: Path) -> None:
    """Whoever uses the fixture without the other one learns its name and its scope."""
    (tmp_path / "test_it.py").write_text("def test_it(soulsense_database): ...\n")
    done = _run(tmp_path)
    assert done.returncode != 0
    assert '"soulsense_engine" with scope="session"' in done.stdout


def test_a_transaction_that_is_left_open_is_an_error(tmp_path: Path) -> None:
    """The next test does not run on another database than it was promised."""
    (tmp_path / "conftest.py").write_text(CONFTEST.format(engine=ENGINES["memory"], mode=""))
    (tmp_path / "test_it.py").write_text(
        "import sqlalchemy as sa\n"
        "def test_one(soulsense_database):\n"
        "    connection = soulsense_database.raw_connection().driver_connection\n"
        "    connection.execute('INSERT INTO entry VALUES (1)')\n"
        "def test_two(soulsense_database): ...\n"
    )
    done = _run(tmp_path)
    assert "1 passed, 1 error" in done.stdout, done.stdout
    assert "DatabaseLockedError" in done.stdout


def test_who_does_not_use_it_loads_nothing_of_it(tmp_path: Path) -> None:
    """In any other run of pytest, neither SQLAlchemy nor a manager is imported for this plugin."""
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_it():\n"
        "    assert 'soulsense_db.pytest_plugin' in sys.modules\n"
        "    ours = {name for name in sys.modules if name.startswith('soulsense_db')}\n"
        "    assert ours == {'soulsense_db', 'soulsense_db.pytest_plugin'}\n"
        "    assert 'sqlalchemy' not in sys.modules\n"
    )
    done = _run(tmp_path)
    assert "1 passed" in done.stdout, done.stdout
