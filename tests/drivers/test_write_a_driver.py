"""The page "Write a driver": its driver passes the suite, as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from doc_blocks import DOCS

PAGE = DOCS / "guide" / "write-a-driver.md"
_FILE = re.compile(
    r'^```\w+ title="(?P<name>[\w.]+)"\n(?P<text>.*?)^```$', re.DOTALL | re.MULTILINE
)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a folder with the files of the page, as if their package was installed there."""
    for match in _FILE.finditer(PAGE.read_text(encoding="utf-8")):
        (tmp_path / match["name"]).write_text(match["text"], encoding="utf-8")
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    installed = tmp_path / "company_diary-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    entries = ""
    for group, names in project["entry-points"].items():
        entries += f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in names.items())
    (installed / "entry_points.txt").write_text(entries)
    return tmp_path


def run(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python where the package of the page is installed."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=package,
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_driver_of_the_page_passes_the_suite(package: Path) -> None:
    """Whoever copies the page has a driver that is found by its dialect and keeps all promises."""
    done = run(package, "-m", "pytest", "-q", "-W", "error", "--basetemp", str(package / "temp"))
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout


def test_the_command_line_finds_the_driver_of_the_page(package: Path) -> None:
    """Installing the package is all: a backup by URL has the driver's suffix and facts."""
    run(package, "-c", "import sqlite3; sqlite3.connect('a.db').execute('CREATE TABLE t (x)')")
    url = f"diary:///{package}/a.db"
    made = run(package, "-m", "soulsense_db", "create", "first", "--url", url)
    assert made.returncode == 0, made.stderr
    (backup,) = (package / "backups").glob("*_first.diary")
    assert '"program": "company-diary"' in Path(f"{backup}.meta").read_text(encoding="utf-8")
