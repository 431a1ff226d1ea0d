"""What several test files share: databases, digests of all rows, child processes, deadlines."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Literal, Self

import pytest

from soulsense_db.sidecars import Chain, MigrationMarker, new_marker, read_markers
from soulsense_db.sidecars.migration_marker import write_markers

Mode = Literal["wal", "delete"]
MODES: tuple[Mode, ...] = ("wal", "delete")
ROWS = 300
CHILD_SECONDS = 60

# The invariant of both tables: the totals of all parents are the amounts of all children.
SCHEMA = """
    CREATE TABLE parent (id INTEGER PRIMARY KEY, name TEXT NOT NULL, total INTEGER NOT NULL);
    CREATE TABLE child (
        id INTEGER PRIMARY KEY,
        parent_id INTEGER NOT NULL REFERENCES parent (id),
        amount INTEGER NOT NULL,
        body TEXT NOT NULL
    );
    CREATE INDEX child_parent ON child (parent_id);
"""


def make_database(
    path: Path, *, mode: Mode = "delete", rows: int = ROWS, page_size: int = 4096
) -> Path:
    """Make a database file with 10 parents and ``rows`` children."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")  # of the test's own making: nothing to lose
        connection.execute(f"PRAGMA page_size = {page_size}")
        connection.execute(f"PRAGMA journal_mode = {mode}")
        fill(connection, rows)
    return path


def fill(connection: sqlite3.Connection, rows: int = ROWS) -> None:
    """Make the tables in ``connection`` and fill them."""
    connection.executescript(SCHEMA)
    connection.executemany(
        "INSERT INTO parent VALUES (?, ?, 0)", [(n, f"parent {n}") for n in range(10)]
    )
    connection.executemany(
        "INSERT INTO child (parent_id, amount, body) VALUES (?, ?, ?)",
        [(n % 10, n, f"line {n} " * 20) for n in range(rows)],
    )
    connection.execute(
        "UPDATE parent SET total = "
        "(SELECT coalesce(sum(amount), 0) FROM child WHERE parent_id = parent.id)"
    )
    connection.commit()


def execute(path: Path, *statements: str) -> None:
    """Run statements on the database file, each committed at once."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def clean_environment() -> dict[str, str]:
    """Return the environment without settings of this package."""
    return {k: v for k, v in os.environ.items() if not k.startswith("SOULSENSE_")}


def add_child(path: Path, body: str = "one more") -> None:
    """Commit one more row to the database file, keeping the invariant."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("INSERT INTO child (parent_id, amount, body) VALUES (1, 7, ?)", (body,))
        connection.execute("UPDATE parent SET total = total + 7 WHERE id = 1")
        connection.commit()


def digest_of(connection: sqlite3.Connection) -> str:
    """Return a digest of every row of every table but the catalog's."""
    digest = hashlib.sha256()
    named = "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'backups' ORDER BY 1"
    for (name,) in connection.execute(named).fetchall():
        for row in connection.execute(f'SELECT * FROM "{name}" ORDER BY rowid'):
            digest.update(repr((name, row)).encode())
    return digest.hexdigest()


def digest(path: Path) -> str:
    """Return the digest of all rows of a database file."""
    with closing(sqlite3.connect(path)) as connection:
        return digest_of(connection)


def scalar(path: Path, statement: str) -> Any:
    """Return the first value that ``statement`` gives on the database file."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchone()[0]


def balanced(path: Path) -> bool:
    """Whether the invariant over both tables holds in the database file."""
    total = "(SELECT sum(total) FROM parent)"
    return bool(scalar(path, f"SELECT {total} = (SELECT sum(amount) FROM child)"))


def snapshot_of(directory: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return mode, time of change and bytes of every file below ``directory``."""
    return {
        str(path.relative_to(directory)): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            path.read_bytes(),
        )
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def flip(path: Path, offset: int, mask: int = 0xFF) -> None:
    """Change one byte of a file."""
    data = bytearray(path.read_bytes())
    data[offset] ^= mask
    path.write_bytes(data)


_UNFINISHED = (
    ".staging",
    ".staging.lock",
    ".partial",
    ".restoring",
    ".deleting",
    ".previous",
    "-wal",
    "-shm",
    "-journal",
)


def leftovers(directory: Path) -> list[str]:
    """Return what unfinished work left in ``directory``: every name but locks and backups."""
    names = os.listdir(directory)
    return sorted(name for name in names if name.endswith(_UNFINISHED) or ".work-" in name)


PROGRAMS = Path(__file__).parent / "programs"


class Child:
    """A Python process running a program of tests/programs, spoken to in lines.

    ``module``: instead of a program, what to run from tests/.
    """

    def __init__(self, program: str, *arguments: object, module: str = "") -> None:
        command = ["-m", module] if module else [str(PROGRAMS / program)]
        self.process = subprocess.Popen(
            [sys.executable, *command, *map(str, arguments)],
            cwd=Path(__file__).parent if module else None,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def line(self) -> str:
        """Wait for the next line of the child and return it; "" if there is none in time."""
        assert self.process.stdout is not None
        clock = threading.Timer(CHILD_SECONDS, self.process.kill)
        clock.start()
        try:
            return self.process.stdout.readline().strip()
        finally:
            clock.cancel()

    def tell(self, line: str) -> None:
        """Write a line to the child."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def expect(self, word: str) -> None:
        """Wait for the next line, which must be ``word``."""
        assert self.line() == word

    def finish(self, seconds: int = CHILD_SECONDS) -> str:
        """Close the child's input, wait for its end and return what else it wrote."""
        output, _ = self.process.communicate(timeout=seconds)
        assert self.process.returncode == 0
        return output

    def kill(self) -> None:
        """SIGKILL, where it still runs, and wait for the end."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


@contextmanager
def held_by_another_process(path: Path, *statements: str) -> Iterator[Child]:
    """Have another process run ``statements`` on the database file and stay connected."""
    with Child("run_statements.py", path, *statements) as child:
        child.expect("ready")
        yield child


def ask(child: Child, statement: str) -> str:
    """Return the first value ``statement`` gives on the connection of the other process."""
    child.tell(statement)
    return child.line()


def write_marker(
    database: Path,
    *,
    backup: str,
    alembic_heads: tuple[str, ...],
    target_revision: str | None,
    chain: Chain | None = None,
) -> None:
    """Write the marker of one migration, in place of any other; on disk at return."""
    marker = new_marker(
        backup=backup,
        alembic_heads=alembic_heads,
        target_heads=target_revision.split(",") if target_revision else (),
        chain=chain or Chain(),
    )
    write_markers(database, [marker])


def read_marker(database: Path) -> MigrationMarker | None:
    """Return the first entry of the marker of ``database``, None when there is none."""
    return next(iter(read_markers(database)), None)


NOBODY = 65534


def run_unprivileged(task: str, *arguments: object) -> dict[str, Any]:
    """Do a task of ``programs/as_user.py`` as a user for whom permissions count.

    Returns what it found, with its error, if any.
    """
    return run_as(NOBODY, task, *arguments)


def run_as(user: int, task: str, *arguments: object) -> dict[str, Any]:
    """Like :func:`run_unprivileged`, as the user of that number where the tests run as root."""
    with Child("as_user.py", user, task, *arguments) as child:
        answer: dict[str, Any] = json.loads(child.finish())
        return answer


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Fail instead of hanging when the block takes longer."""

    def alarm(_signal: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"still not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, alarm)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def disk_of(size: int, place: Path) -> Iterator[None]:
    """Mount a file system of ``size`` bytes on a directory; skip where that is not allowed."""
    if sys.platform != "linux" or os.getuid() != 0:
        pytest.skip("mounting a small file system takes root on Linux")
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "none", str(place)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mount refused: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)  # noqa: S607


def eventually(condition: Callable[[], bool], *, seconds: float = 10) -> bool:
    """Poll ``condition`` until it holds; False when it does not by the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
