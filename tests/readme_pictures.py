"""Pictures of terminals: an upgrade that fails (README), a rehearsal (its page); the badges.

``python tests/readme_pictures.py`` draws them: it runs the commands in a scratch folder, and reads
pyproject.toml.
"""

from __future__ import annotations

import io
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from anybadge import Badge
from doc_blocks import ROOT, SHOWN_FOLDER, environment, fast_programs, make_project
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

_IMAGES = ROOT / "docs" / "images"
PICTURE = _IMAGES / "upgrade.svg"
REHEARSAL = _IMAGES / "rehearsal.svg"
_WIDTH = 92
_COUNT = 'sqlite3 app.db "SELECT count(*) FROM settings"'
# A user's address is taken twice, and the last revision drops the settings before it notices.
_PREPARE = """
sed -i 's/^\\[alembic\\]$/[alembic]\\nsoulsense_backup = true/' alembic.ini
sqlite3 app.db "UPDATE users SET email = 'person1@example.org' WHERE id = 2"
alembic upgrade 0003_mood
rm -r backups
"""
# The last revision makes a column longer, with foreign keys switched on.
_PREPARE_REHEARSAL = """
rm migrations/versions/0004_one_account.py
sqlite3 app.db "CREATE TABLE tags (id INTEGER PRIMARY KEY, name TEXT, entry_id INTEGER REFERENCES journal_entries (id) ON DELETE CASCADE)"
sqlite3 app.db "INSERT INTO tags (name, entry_id) SELECT 'holiday', id FROM journal_entries LIMIT 25"
cat > migrations/versions/0004_longer_moods.py <<'END'
\"\"\"Longer moods\"\"\"
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0004_longer_moods", "0003_mood"
def upgrade():
    op.execute("PRAGMA foreign_keys = ON")
    with op.batch_alter_table("journal_entries") as batch:
        batch.alter_column("mood", type_=sa.String(320))
END
"""  # noqa: E501 - a line of SQL for the shell
# What is shown of the upgrade: each of these is the beginning of a line.
_SHOWN = (
    "INFO  [alembic.soulsense_db]",
    "INFO  [alembic.runtime.migration] Running",
    "sqlite3.IntegrityError",
    "The migration failed.",
)
_LEFT_OUT = "..."
_CODE = "echo $?"


_Shown = list[tuple[str, list[str]]]


@contextmanager
def _shell(prepare: str) -> Iterator[Callable[[str], list[str]]]:
    """Yield what runs a command in a prepared project, and returns the lines it printed."""
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

        run(prepare)
        yield run


def session() -> _Shown:
    """Run the commands of the README's picture; return each with its lines that are shown."""
    with _shell(_PREPARE) as run:
        shown = [(_COUNT, run(_COUNT))]
        upgrade = [line for line in run("alembic upgrade head") if line.startswith(_SHOWN)]
        upgrade.insert(-1, _LEFT_OUT)  # the traceback
        shown.append(("alembic upgrade head", upgrade))
        shown.append((_COUNT, run(_COUNT)))
        return shown


def rehearsal() -> _Shown:
    """Run a rehearsal of an upgrade that loses rows; return what it printed."""
    with _shell(_PREPARE_REHEARSAL) as run:
        command = "soulsense-db rehearse"
        *lines, code = run(f"{command}; {_CODE}")
        return [(command, lines), (_CODE, [code])]


def draw_session(shown: _Shown, name: str = "upgrade") -> str:
    """Return the session as SVG, in any font with a fixed width and without anything of the web."""
    console = Console(record=True, width=_WIDTH, file=io.StringIO())
    for command, lines in shown:
        console.print(Text.assemble(("$ ", "green"), (command, "bold")), highlight=False)
        for line in lines:
            console.print(Text(line, style=_style(line)), highlight=False)
    svg = console.export_svg(title="/srv/app", theme=MONOKAI, unique_id=name)
    return re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL)


def _style(line: str) -> str:
    if "Error" in line:
        return "red"
    if line.startswith(("Loses data:", "This migration")):
        return "bold red" if "loses" in line.lower() else ""
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
    drawn = {PICTURE: draw_session(session()), REHEARSAL: draw_session(rehearsal(), "rehearsal")}
    for path, svg in (badges() | drawn).items():
        path.write_text(svg, encoding="utf-8")
