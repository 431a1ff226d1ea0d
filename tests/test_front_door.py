"""A stranger is protected by the wheel and one page, in a clean virtual environment."""

from __future__ import annotations

import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from alembic_project import HAS_PLUGINS
from doc_blocks import DOCS, ROOT, blocks_of, install_sqlite3, make_project, run_page

# What the project of each page has installed before it knows of this package.
FRAMEWORKS = {
    "before-an-upgrade.md": [],
    "fastapi.md": ["fastapi", "sqlmodel", "aiosqlite", "greenlet"],
    "flask-migrate.md": ["flask-migrate"],
}
# The sections that somebody follows who wants that and no more, and one that is read on the way.
SECTIONS = ("Switch it on", "An upgrade that fails", "Protect the migrations")
READ = "An upgrade that works"
COUNT = re.compile(r'\$ sqlite3 app.db "SELECT count.*\n40$', re.MULTILINE)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HAS_PLUGINS, reason="the pages use the option for Alembic 1.18"),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel as it is uploaded."""
    folder = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.parametrize("page", FRAMEWORKS)
def test_a_page_is_all_that_it_takes(page: str, wheel: Path, tmp_path: Path) -> None:
    """With at most five commands a failed upgrade is put back, and the rows are still there."""
    venv.create(tmp_path / "venv", with_pip=True)
    programs = tmp_path / "venv" / "bin"
    install_sqlite3(programs)
    _run(programs / "pip", "install", "--quiet", wheel, *FRAMEWORKS[page])
    whole = DOCS.joinpath("guide", page).read_text(encoding="utf-8")
    assert 2 <= len(_typed(_sections(whole, *SECTIONS))) <= 5
    text = _sections(whole, *SECTIONS, READ)
    assert COUNT.search(text), "the page shows no rows"
    make_project(tmp_path / "app")
    outcome = run_page(text, page, tmp_path / "app", programs)
    assert not outcome.problems, "\n\n".join(outcome.problems)


def _sections(text: str, *titles: str) -> str:
    """Return what stands before the first section, which makes the project, and those sections."""
    start, *sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    headings = tuple(f"## {title}\n" for title in titles)
    return start + "".join(part for part in sections if part.startswith(headings))


def _typed(text: str) -> list[str]:
    typed = re.findall(r"^pip install .*$", text, re.MULTILINE)
    return typed + [command.text for block in blocks_of(text) for command in block.commands]


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)
