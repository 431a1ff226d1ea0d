"""Run what a page of the documentation says of a framework, with the URL of a server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from doc_blocks import DOCS, ROOT, blocks_of
from helpers import clean_environment

_FILES = {
    "fastapi.md": ("fastapi_app", "sqlite+aiosqlite:///app.db"),
    "flask-migrate.md": ("flask_app", "sqlite:///{Path(__file__).with_name('app.db')}"),
}
# The words of a page that are about a file, and what they are without one.
_ON_SERVERS = {"sa.String,": "sa.String(200),"}


class FrameworkPage:
    """A page's commands, run in ``folder`` on the empty database of ``url``, in their order."""

    def __init__(self, name: str, folder: Path, url: str) -> None:
        self._folder = folder
        folder.mkdir()
        example, old = _FILES[name]
        self._words = {old: url, **_ON_SERVERS}
        shutil.copytree(ROOT / "examples" / example, folder / "examples" / example)
        for path in (folder / "examples" / example).glob("*.py"):
            path.write_text(self._on_server(path.read_text(encoding="utf-8")), encoding="utf-8")
        for other in ("alembic.ini", "migrations", "app.db"):
            (folder / other).touch()  # the page removes what other pages need
        self.printed: dict[str, str] = {}
        self._run_all((DOCS / "guide" / name).read_text(encoding="utf-8"))

    def _on_server(self, text: str) -> str:
        for old, new in self._words.items():
            text = text.replace(old, new)
        return text

    def _run_all(self, page: str) -> None:
        before = ""
        for block in blocks_of(page):
            if block.language == "sh":
                exported = "export FLASK_APP=app\n" if "flask_app" in page else ""
                before = exported
                self._run(f"set -e\n{exported}{self._on_server(block.code)}")
            for command in block.commands:
                if not command.text.startswith("sqlite3 "):
                    self.printed[command.text] = self._run(before + command.text)

    def _run(self, script: str) -> str:
        programs = str(Path(sys.executable).parent)
        environment = clean_environment()
        environment["PATH"] = f"{programs}{os.pathsep}{environment['PATH']}"
        environment["EXAMPLES"] = str(self._folder / "examples")
        done = subprocess.run(
            ["/bin/sh", "-c", script],
            cwd=self._folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout


def run_async_page(url: str, folder: Path) -> str:
    """Run the program of the page about asyncio; return what it prints."""
    page = (DOCS / "guide" / "async.md").read_text(encoding="utf-8")
    (block,) = (one for one in blocks_of(page) if one.language == "python")
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", block.code.replace("sqlite+aiosqlite:///app.db", url)],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
