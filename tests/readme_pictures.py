"""The pictures of the README: a terminal in which an upgrade fails, and the badges.

``python tests/readme_pictures.py`` draws them: it runs the commands in a scratch folder, and reads
pyproject.toml.
"""

from __future__ import annotations

import io
import re
import subprocess
import tempfile
import tomllib
from pathlib import Path

from anybadge import Badge
from doc_blocks import ROOT, SHOWN_FOLDER, environment, fast_programs, make_project
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

_IMAGES = ROOT / "docs" / "images"
PICTURE = _IMAGES / "upgrade.svg"
_WIDTH = 92
_COUNT = 'sqlite3 app.db "SELECT count(*) FROM settings"'
# A user's address is taken twice, and the last revision drops the settings before it notices.
_PREPARE = """
sed -i 's/^\\[alembic\\]$/[alembic]\\nsoulsense_backup = true/' alembic.ini
sqlite3 app.db "UPDATE users SET email = 'person1@example.org' WHERE id = 2"
alembic upgrade 0003_mood
rm -r backups
"""
# What is shown of the upgrade: each of these is the beginning of a line.
_SHOWN = (
    "INFO  [alembic.soulsense_db]",
    "INFO  [alembic.runtime.migration] Running",
    "sqlite3.IntegrityError",
    "The migration failed.",
)
_LEFT_OUT = "..."


def session() -> list[tuple[str, list[str]]]:
    """Run the commands of the picture; return each with the lines of it that are shown."""
    with tempfile.TemporaryDirectory() as scratch, fast_programs() as programs:
        folder = Path(scratch).resolve() / "app"
        make_project(folder)

        def run(command: str) -> list[str]:
            done = subprocess.run(
                ["/bin/sh", "-c", command],
                cwd=folder,
                env=environment(programs),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            return done.stdout.replace(str(folder), SHOWN_FOLDER).splitlines()

        run(_PREPARE)
        shown: list[tuple[str, list[str]]] = [(_COUNT, run(_COUNT))]
        upgrade = [line for line in run("alembic upgrade head") if line.startswith(_SHOWN)]
        upgrade.insert(-1, _LEFT_OUT)  # the traceback
        shown.append(("alembic upgrade head", upgrade))
        shown.append((_COUNT, run(_COUNT)))
        return shown


def draw_session(shown: list[tuple[str, list[str]]]) -> str:
    """Return the session as SVG, in any font with a fixed width and without anything of the web."""
    console = Console(record=True, width=_WIDTH, file=io.StringIO())
    for command, lines in shown:
        console.print(Text.assemble(("$ ", "green"), (command, "bold")), highlight=False)
        for line in lines:
            console.print(Text(line, style=_style(line)), highlight=False)
    svg = console.export_svg(title="/srv/app", theme=MONOKAI, unique_id="upgrade")
    return re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL)


def _style(line: str) -> str:
    if "Error" in line:
        return "red"
    return "bold yellow" if "put back" in line else ""


def badges() -> dict[Path, str]:
    """Return the badges as SVG, by their files."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)
    known = [found.rpartition(" :: ")[2] for found in project["project"]["classifiers"]]
    versions = " | ".join(name for name in known if re.fullmatch(r"3\.\d+", name))
    checked = "mypy strict" if project["tool"]["mypy"]["strict"] else "yes"
    drawn = {"python": versions, "licence": project["project"]["license"], "typed": checked}
    return {_IMAGES / f"{name}.svg": _badge(name, value) for name, value in drawn.items()}


def _badge(name: str, value: str) -> str:
    svg: str = Badge(name, value, default_color="teal").badge_svg_text
    return re.sub(r"anybadge_\d+", f"badge_{name}", svg)  # it counts the badges of a process


if __name__ == "__main__":
    for path, svg in (badges() | {PICTURE: draw_session(session())}).items():
        path.write_text(svg, encoding="utf-8")
