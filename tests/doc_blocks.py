r"""Run the code blocks of the documentation, page by page, and compare what they print.

Each page has a scratch folder, shown in the pages as ``/srv/app``: an Alembic project with the
database ``app.db`` of a journal app. Beside it are two empty ones: ``/mnt/usb``, another drive, and
``/srv/new``, a new machine. In a page

* a ``console`` block has commands behind ``$ `` (``\`` continues one), each followed by what it
  prints; a line ``...`` stands for any number of lines;
* a ``sh`` block is run as a whole and must succeed; a ``python`` block is executed, all of a page
  in one namespace;
* ``<!-- run`` ... ``-->`` is a hidden ``sh`` block, ``<!-- python`` ... ``-->`` a hidden one in
  Python, and ``<!-- terminal: y -->`` before a console block runs it on a terminal and types ``y``.

A command may fail only if the page shows its ``Error:``, asks ``echo $?`` next, or answers it on a
terminal.

``python tests/doc_blocks.py --update [PAGE ...]`` writes what is really printed into the pages.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

import alembic
from forked import served

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
SHOWN_FOLDER = "/srv/app"
# Beside it: what a page calls the one is the other.
_OTHER_PLACES = {"/mnt/usb": "usb", "/srv/new": "new_machine"}
_SECONDS = 60
_PROGRAMS = Path(__file__).parent / "programs"

_BLOCK = re.compile(
    r"^```(?P<language>console|sh|python)\n(?P<code>.*?)^```$"
    r"|^<!-- (?P<hidden>run|python)\n(?P<hidden_code>.*?)^-->$"
    r"|^<!-- terminal: (?P<answer>.*?) -->$",
    re.DOTALL | re.MULTILINE,
)


@dataclass
class Command:
    """One command of a console block and what the page shows of it."""

    text: str
    shown: list[str] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)


@dataclass
class Block:
    """A block of a page; ``start`` and ``end`` of its code in the text."""

    language: str
    code: str
    start: int
    end: int
    answer: str | None = None
    commands: list[Command] = field(default_factory=list)


@dataclass
class Outcome:
    """What became of a page: the differences, and its text with what was really printed."""

    problems: list[str]
    updated: str


def pages() -> list[Path]:
    """Return the README and the pages of the documentation, in a fixed order."""
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def name_of(page: Path) -> str:
    """Return what a page is called in tests and messages."""
    return page.relative_to(ROOT).as_posix()


def blocks_of(text: str) -> list[Block]:
    """Return the blocks of a page that are run, in order."""
    found: list[Block] = []
    answer: str | None = None
    for match in _BLOCK.finditer(text):
        if match["answer"] is not None:
            answer = match["answer"]
            continue
        group = "code" if match["language"] else "hidden_code"
        language = match["language"] or {"run": "sh", "python": "python"}[match["hidden"]]
        block = Block(language, match[group], match.start(group), match.end(group), answer)
        if language == "console":
            block.commands = _commands(block.code)
        found.append(block)
        answer = None
    return found


def _commands(code: str) -> list[Command]:
    commands: list[Command] = []
    for line in code.splitlines():
        if commands and not commands[-1].shown and commands[-1].text.endswith("\\"):
            commands[-1].text += f"\n{line}"
        elif line.startswith("$ "):
            commands.append(Command(line[2:]))
        else:
            commands[-1].shown.append(line)
    return commands


# Comparison


_NORMAL = (
    (re.compile(r"\d{8}_\d{6}(_\d+)?"), "TIME"),
    (re.compile(r"_\d(?=\.db\b)"), ""),  # of a name that was taken in the same second
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d|Z)?"), "TIME"),
    # Those of the year 2025 are made for the pages.
    (re.compile(r"(?!2025)\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?"), "TIME"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "SHA256"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\b[\w-]+-app-[0-9a-f]{8}\b"), "FOLDER"),  # has the name of this machine in it
    (re.compile(r"\b[0-9a-f]{8}\b"), "ID"),
    (re.compile(r"\b\d+(\.\d)? (B|KB|MB|GB|TB)\b"), "SIZE"),
    (re.compile(r"\b[\d,]+ bytes\b"), "SIZE"),
    (re.compile(r"\b(free|age)=\d+"), r"\1=NUMBER"),
    (re.compile(r'("\w+_(bytes|seconds)": )[\d.]+'), r"\1NUMBER"),
    (re.compile(r'("sqlite_version": )"[\d.]+"'), r"\1VERSION"),
    (re.compile(r"\b\d+(\.\d)? (ms|s|min|h|days)\b"), "AGE"),
    (re.compile(r"by process \d+ on \S+(?=\))"), "by process"),
    (re.compile(r"\s+"), " "),
)


def normal(line: str) -> str:
    """Return a line without what differs from run to run."""
    for pattern, replacement in _NORMAL:
        line = pattern.sub(replacement, line)
    return line.strip()


def fits(shown: list[str], printed: list[str]) -> bool:
    """Whether the page shows what was printed; ``...`` stands for any lines."""
    lines = [normal(line) for line in shown]
    pattern = "".join(".*" if line == "..." else re.escape(line + "\n") for line in lines)
    text = "".join(normal(line) + "\n" for line in printed)
    return re.fullmatch(pattern, text, re.DOTALL) is not None


# The scratch folder


_SCHEMA = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL);
    CREATE TABLE journal_entries (
        id INTEGER PRIMARY KEY,
        user_id INTEGER NOT NULL REFERENCES users (id),
        written_at TEXT NOT NULL,
        content TEXT NOT NULL
    );
    CREATE TABLE settings (
        user_id INTEGER NOT NULL REFERENCES users (id),
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (user_id, name)
    );
    CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
    INSERT INTO alembic_version VALUES ('0002_settings');
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
    INSERT INTO users SELECT i, 'Person ' || i, 'person' || i || '@example.org' FROM n;
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
    INSERT INTO journal_entries
    SELECT i, 1 + i % 40, datetime('2025-01-01', '+' || i || ' hours'), 'Slept well. Day ' || i
    FROM n;
    INSERT INTO settings SELECT id, 'theme', 'dark' FROM users;
"""

_INI = """
    [alembic]
    script_location = %(here)s/migrations
    prepend_sys_path = .
    path_separator = os
    sqlalchemy.url = sqlite:///app.db

    [loggers]
    keys = root,alembic

    [handlers]
    keys = console

    [formatters]
    keys = generic

    [logger_root]
    level = WARNING
    handlers = console
    qualname =

    [logger_alembic]
    level = INFO
    handlers =
    qualname = alembic

    [handler_console]
    class = StreamHandler
    args = (sys.stderr,)
    level = NOTSET
    formatter = generic

    [formatter_generic]
    format = %(levelname)-5.5s [%(name)s] %(message)s
"""

_REVISION = """
import sqlalchemy as sa
from alembic import op

revision = {name!r}
down_revision = {after!r}


def upgrade():
    {upgrade}


def downgrade():
    {downgrade}
"""

# What the pages about upgrades run; the last one fails where two users have one address.
_REVISIONS = (
    ("0001_initial", None, "pass", "pass"),
    ("0002_settings", "0001_initial", "pass", 'op.drop_table("settings")'),
    (
        "0003_mood",
        "0002_settings",
        'op.add_column("journal_entries", sa.Column("mood", sa.Text))',
        'op.drop_column("journal_entries", "mood")',
    ),
    (
        "0004_one_account",
        "0003_mood",
        'op.drop_table("settings")\n'
        '    with op.batch_alter_table("users") as batch:\n'
        '        batch.create_unique_constraint("one_account", ["email"])',
        "pass",
    ),
)


def make_project(folder: Path) -> None:
    """Make the Alembic project of the pages, with its database at revision 0002_settings."""
    versions = folder / "migrations" / "versions"
    versions.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "app.db")) as connection:
        connection.executescript(_SCHEMA)
    template = Path(alembic.__file__).parent / "templates" / "generic" / "env.py"
    shutil.copy(template, folder / "migrations" / "env.py")
    (folder / "alembic.ini").write_text(dedent(_INI).lstrip())
    for name, after, upgrade, downgrade in _REVISIONS:
        text = _REVISION.format(name=name, after=after, upgrade=upgrade, downgrade=downgrade)
        (versions / f"{name}.py").write_text(text.lstrip())


def environment(programs: Path | None = None) -> dict[str, str]:
    """Return the environment in which the pages run, with the commands in ``programs`` first."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SOULSENSE_", "COVERAGE_"))}
    env |= {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb", "TZ": "UTC", "LC_ALL": "C.UTF-8"}
    env |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
    env["EXAMPLES"] = str(ROOT / "examples")  # for hidden blocks
    places = [programs, Path(sys.executable).parent, env.get("PATH", os.defpath)]
    env["PATH"] = os.pathsep.join(str(place) for place in places if place)
    return env


# The processes


def _install(name: str, command: Path) -> None:
    """Make one of tests/programs a command that takes as little as possible to start."""
    command.write_text(f"#!{sys.executable} -IS\n{(_PROGRAMS / name).read_text()}")
    command.chmod(0o755)


def install_sqlite3(folder: Path) -> None:
    """Put a stand-in for SQLite's command line, which is not everywhere, into ``folder``."""
    if shutil.which("sqlite3") is None:
        _install("sqlite3_shell.py", folder / "sqlite3")


@contextmanager
def fast_programs() -> Iterator[Path]:
    """Yield a folder with the commands, which run in forks."""
    folder = Path(tempfile.mkdtemp())  # short: the address of a socket is
    for name in ("soulsense-db", "alembic", "page-of-python"):
        _install("command_client.py", folder / name)
    install_sqlite3(folder)
    with served(folder, environment()):
        yield folder


_MARK = "--- end of command, exit code "


class Shell:
    """One bash for a page, in its folder."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._folder = folder
        self._env = env
        self._places = {shown: str(folder.with_name(name)) for shown, name in _OTHER_PLACES.items()}
        for place in self._places.values():
            Path(place).mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],  # noqa: S607 - wherever it is
            cwd=folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str) -> tuple[list[str], int]:
        """Run a command and return the lines it printed and its exit code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        command = self._as_meant(command)
        # Its own input is empty: bash reads the next commands from the same pipe.
        mark = f"code=$?; printf '\\n{_MARK}%s\\n' $code; (exit $code)"
        self._process.stdin.write(f"{{ {command}\n}} </dev/null\n{mark}\n")
        self._process.stdin.flush()
        lines: list[str] = []
        while not (line := self._process.stdout.readline()).startswith(_MARK):
            if not line:
                raise AssertionError(f"bash ended in: {command}")
            lines.append(line.rstrip("\n"))
        if lines and not lines[-1]:  # of the mark
            lines.pop()
        return self._as_shown(lines), int(line.removeprefix(_MARK))

    def run_on_terminal(self, command: str, answer: str) -> tuple[list[str], int]:
        """Run a command on a terminal of its own and type ``answer`` when it asks."""
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            ["bash", "-c", self._as_meant(command)],  # noqa: S607 - wherever it is
            cwd=self._folder,
            env=self._env,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        ) as process:
            os.close(theirs)
            text = _talk(ours, answer)
            code = process.wait(_SECONDS)
        os.close(ours)
        return self._as_shown(_on_screen(text)), code

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=_SECONDS)

    def _as_meant(self, command: str) -> str:
        for shown, place in self._places.items():
            command = re.sub(rf"(?<![\w.]){shown}\b", place, command)
        return command

    def _as_shown(self, lines: list[str]) -> list[str]:
        real = {str(self._folder): SHOWN_FOLDER, **{p: shown for shown, p in self._places.items()}}
        for place, shown in real.items():
            lines = [line.replace(place, shown) for line in lines]
        return [line.rstrip() for line in lines]


def _talk(terminal: int, answer: str) -> str:
    text = ""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not data:
            break
        text += data.decode(errors="replace")
        if answer and text.endswith("[y/N]: "):
            os.write(terminal, f"{answer}\n".encode())
            answer = ""
    return text


def _on_screen(text: str) -> list[str]:
    """Return the lines that stay on the screen, without the sequences that move the cursor."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.replace("\r\n", "\n"))
    lines = [line.rpartition("\r")[2].rstrip() for line in text.splitlines()]
    return [line for line in lines if line]


class Python:
    """One interpreter for a page, in its folder; all blocks share their names."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        program = shutil.which("page-of-python", path=env["PATH"])
        assert program is not None
        self._process = subprocess.Popen(
            [program],
            cwd=folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str) -> str:
        """Execute a block; return its traceback if it failed."""
        assert self._process.stdin is not None
        assert self._process.stderr is not None
        self._process.stdin.write(json.dumps(code) + "\n")
        self._process.stdin.flush()
        # Between the answers is what Alembic and others log.
        for line in self._process.stderr:
            if line.startswith('"'):
                return str(json.loads(line))
        raise AssertionError("the interpreter ended")

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=_SECONDS)


# Pages


def run_page(text: str, name: str, folder: Path, programs: Path) -> Outcome:
    """Run the blocks of a page in ``folder``, which has its project already.

    ``programs``: of :func:`fast_programs`.
    """
    blocks = blocks_of(text)
    problems: list[str] = []
    python: Python | None = None
    env = environment(programs)
    shell = Shell(folder.resolve(), env)
    try:
        for block in blocks:
            where = f"{name}:{text.count(chr(10), 0, block.start)}"
            if block.language == "python":
                python = python or Python(folder, env)
                if failed := python.run(block.code):
                    problems.append(f"{where}: {failed}")
            elif block.language == "sh":
                lines, code = shell.run(block.code)
                if code:
                    problems.append(f"{where}: exit code {code}\n" + "\n".join(lines))
            else:
                problems += [f"{where}: {problem}" for problem in _run_console(shell, block)]
    finally:
        shell.close()
        if python is not None:
            python.close()
    return Outcome(problems, _updated(text, blocks))


def _run_console(shell: Shell, block: Block) -> Iterator[str]:
    commands = block.commands
    for position, command in enumerate(commands):
        if block.answer is None:
            command.printed, code = shell.run(command.text)
        else:
            command.printed, code = shell.run_on_terminal(command.text, block.answer)
        if not fits(command.shown, command.printed):
            yield (
                f"$ {command.text}\nthe page shows:\n"
                + "\n".join(command.shown)
                + "\nit prints:\n"
                + "\n".join(command.printed)
            )
        told = block.answer is not None or any(
            line.startswith("Error: ") for line in command.printed
        )
        asked = commands[position + 1 : position + 2]
        if code and not told and not (asked and asked[0].text == "echo $?"):
            yield f"$ {command.text}\nends with exit code {code}, of which the page says nothing"


def _updated(text: str, blocks: list[Block]) -> str:
    for block in reversed(blocks):
        if block.language != "console":
            continue
        lines: list[str] = []
        for command in block.commands:
            lines.append(f"$ {command.text}")
            # What differs only from run to run stays, so that updates are small.
            same = fits(command.shown, command.printed)
            lines += command.shown if same else command.printed
        text = text[: block.start] + "\n".join(lines) + "\n" + text[block.end :]
    return text


def run_pages(chosen: list[Path]) -> dict[Path, Outcome]:
    """Run pages side by side, each in a folder of its own."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        fast_programs() as programs,
        ThreadPoolExecutor(4) as workers,
    ):
        template = Path(scratch, "template")
        make_project(template)

        def run(page: Path) -> Outcome:
            text = page.read_text(encoding="utf-8")
            if not blocks_of(text):
                return Outcome([], text)
            folder = Path(scratch, name_of(page).replace("/", "_"), "app")
            shutil.copytree(template, folder)
            return run_page(text, name_of(page), folder, programs)

        return dict(zip(chosen, workers.map(run, chosen), strict=True))


def main(arguments: list[str]) -> int:
    """Check the pages named, or all; with ``--update`` write what is really printed."""
    update = "--update" in arguments
    named = [Path(argument).resolve() for argument in arguments if argument != "--update"]
    left = 0
    for page, outcome in run_pages(named or pages()).items():
        text = page.read_text(encoding="utf-8")
        if update and outcome.updated != text:
            page.write_text(outcome.updated, encoding="utf-8")
            print(f"updated {name_of(page)}")  # noqa: T201 - a command line
        mended = update and all("the page shows:" in problem for problem in outcome.problems)
        if outcome.problems and not mended:
            left += 1
            print("\n\n".join(outcome.problems))  # noqa: T201 - a command line
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
