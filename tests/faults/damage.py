"""What a disk can do to a file, and a folder with a backup that is brought back after each case.

Every case is drawn from the seed and says in its text what was done to which file, so that a
failure can be made again by hand.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from helpers import add_child, digest, execute, leftovers, make_database

from soulsense_db import BackupManager
from soulsense_db.errors import BackupError

Record = Callable[..., None]
PAGE = 4096


def cases(full: bool) -> int:
    """Return how many cases are drawn for each of the groups below."""
    return 1000 if full else 50


@dataclass(frozen=True)
class Damage:
    """What became of a file: ``text`` says it, ``data`` is what is left of it."""

    text: str
    data: bytes


def cut(data: bytes, length: int) -> Damage:
    """Return ``data`` without its end."""
    return Damage(f"cut to {length} of {len(data)} bytes", data[:length])


def cuts(data: bytes) -> Iterator[Damage]:
    """Cut at every boundary of 4 KB, and right before and after it."""
    for boundary in range(0, len(data) + 1, PAGE):
        for length in (boundary - 1, boundary, boundary + 1):
            if 0 <= length < len(data):
                yield cut(data, length)


def flips(data: bytes, random: Random) -> Damage:
    """Flip one bit or some, anywhere or where SQLite keeps what it steers by."""
    anywhere, header = range(len(data)), range(min(200, len(data)))
    page_heads = [head + n for head in anywhere[::PAGE] for n in range(40) if head + n in anywhere]
    offsets: Sequence[int] = random.choice([anywhere, header, page_heads])
    count = random.choice([1, 1, 1, 2, 5, 30])
    bits = [(random.choice(offsets), random.randrange(8)) for _ in range(count)]
    damaged = bytearray(data)
    for offset, bit in bits:
        damaged[offset] ^= 1 << bit
    return Damage(f"flipped (byte, bit): {bits}", bytes(damaged))


def overwritten(data: bytes, random: Random) -> Damage:
    """Put zeros, random bytes or another part of the file over a sector or a page; or append."""
    length = random.choice([16, 512, PAGE])
    start = random.randrange(0, len(data) + 1, random.choice([1, length]))
    other = random.randrange(0, len(data), length)
    what, filling = random.choice(
        [
            ("zeros", bytes(length)),
            (f"random bytes of {other}", Random(other).randbytes(length)),
            (f"what is at {other}", data[other : other + length]),
        ]
    )
    text = f"{what} over {length} bytes at {start}"
    return Damage(text, data[:start] + filling + data[start + len(filling) :])


def drawn(data: bytes, random: Random) -> Damage:
    """Return one of all kinds of damage."""
    kind = random.choice(["flips"] * 6 + ["over"] * 2 + ["cut"])
    if kind == "cut":
        return cut(data, random.randrange(len(data)))
    return flips(data, random) if kind == "flips" else overwritten(data, random)


class Place:
    """A database, a backup of it, and rows that came after; brought back after each case."""

    def __init__(self, folder: Path) -> None:
        self.live = make_database(folder / "app.db", rows=120)
        execute(self.live, "CREATE TABLE note (id INTEGER PRIMARY KEY, body BLOB)")
        execute(self.live, "INSERT INTO note VALUES (1, randomblob(20000))")
        self.manager = BackupManager.from_url(str(self.live), lock_timeout=5)
        self.info = self.manager.create("Before the damage")
        self.data, self.meta = Path(self.info.path), Path(self.info.meta_path)
        self.true_content = digest(self.live)
        add_child(self.live)
        self.folder = folder
        self.keep()

    def keep(self) -> None:
        """Make what is there now what every case begins with."""
        self.before = self._files()
        self.content = digest(self.live)

    def reset(self) -> None:
        """Bring every file back."""
        found = self._files()
        for path in found.keys() - self.before.keys():
            path.unlink()
        for path, data in self.before.items():
            if found.get(path) != data:
                path.write_bytes(data)

    def is_damaged(self, path: Path) -> bool:
        """Whether a file is not what it was."""
        return path.read_bytes() != self.before[path]

    def require_live_untouched(self) -> None:
        """Fail unless the live database has every bit that it had, and nothing lies beside it."""
        assert not self.is_damaged(self.live), "the live database was changed"
        assert leftovers(self.folder) == []

    def _files(self) -> dict[Path, bytes]:
        return {
            path: path.read_bytes()
            for directory in (self.folder, self.folder / "backups")
            for path in directory.iterdir()
            if path.is_file() and path.suffix != ".lock"
        }


class Outcomes:
    """What became of the cases, for the table."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._counts = Counter[tuple[str, str]]()

    @contextmanager
    def case(self, text: str) -> Iterator[None]:
        """Name the case in whatever fails, and bring the files back after it."""
        try:
            yield
        except BaseException as error:
            error.add_note(f"The case: {text}")
            raise
        self._place.reset()

    def of(self, operation: str, work: Callable[[], object]) -> BackupError | None:
        """Do it; return the error of the tree, if there is one. Any other error is a failure."""
        try:
            work()
        except BackupError as error:
            assert error.message, "an error that says nothing"
            assert error.hint, f"{error.message} - and then?"
            self.count(operation, f"refused: {type(error).__name__}")
            return error
        self.count(operation, "done")
        return None

    def count(self, operation: str, outcome: str) -> None:
        """Count one outcome."""
        self._counts[operation, outcome] += 1

    def record(self, record: Record) -> None:
        """Write them all to the table."""
        for (operation, outcome), count in sorted(self._counts.items()):
            record(fault="damage", operation=operation, outcome=outcome, count=count)


def require_sound(path: Path) -> None:
    """Fail if SQLite itself has something to say against the database file."""
    with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as connection:
        lines = [line for (line,) in connection.execute("PRAGMA integrity_check")]
    assert lines == ["ok"]


@contextmanager
def place_in_memory() -> Iterator[Place]:
    """Yield a place, in memory where that is possible: what is tested is no disk's speed."""
    memory = Path("/dev/shm")  # noqa: S108 - a directory of our own in it
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Place(Path(name))
