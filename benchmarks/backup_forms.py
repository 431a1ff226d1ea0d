"""How much room and time daily backups take: plain, zstd, differential, restic, borg.

    python3 benchmarks/backup_forms.py [--megabytes 140] [--days 30] [--rounds 5] [--quick]

A made-up database of a journal app is changed for as many days: 1% of its rows a day, 10%, and 1%
with a VACUUM halfway. Each day ends with a backup in every form; all keep all of them. A new base
is taken when the last differential is more than a third of a full backup. restic and borg take the
same file, into a local repository, with zstd (restic has no other; borg at level 3). The programs
zstd, restic and borg have to be there; what is missing is left out. The machine may be busy: CPU
seconds are compared, of all processes and threads, and elapsed ones for the last table.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import random
import resource
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from soulsense_db.codecs import (
    Reader,
    Writer,
    compress,
    decode_differential,
    decompress,
    encode_differential,
    pulled,
)

MIB = 1024 * 1024
ROWS_OF_A_MIB = 1500
SHARE_FOR_A_NEW_BASE = 1 / 3
RANDOM = random.Random(13)
LETTERS = "etaoinshrdlucmfwypvbgkjqxz"
WORDS = [
    "".join(RANDOM.choices(LETTERS, weights=range(26, 0, -1), k=RANDOM.randint(2, 9)))
    for _ in range(4000)
]
WEIGHTS = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(WORDS))))


# The database


def text(words: int) -> str:
    """Return words, some often and most seldom."""
    return " ".join(RANDOM.choices(WORDS, cum_weights=WEIGHTS, k=words))


def new_row() -> tuple[int, str, float, str, str]:
    """Return an entry of the journal."""
    day = f"2026-{RANDOM.randint(1, 12):02}-{RANDOM.randint(1, 28):02} 08:00:00"
    token = RANDOM.randbytes(8).hex()
    return RANDOM.randint(1, 5000), day, RANDOM.random(), token, text(RANDOM.randint(30, 130))


INSERT = "INSERT INTO entry (user, day, mood, token, body) VALUES (?, ?, ?, ?, ?)"


def make_database(path: Path, megabytes: int) -> None:
    """Make a database of about that size with two indexes."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TABLE entry (id INTEGER PRIMARY KEY, user, day, mood, token, body)"
        )
        connection.execute("CREATE INDEX by_user ON entry (user, day)")
        connection.execute("CREATE INDEX by_token ON entry (token)")
        rows = (new_row() for _ in range(megabytes * ROWS_OF_A_MIB))
        connection.executemany(INSERT, rows)
        connection.commit()


def live_a_day(path: Path, share: float) -> None:
    """Change a share of the rows: half get longer, 40% are written anew, a tenth is replaced."""
    with closing(sqlite3.connect(path)) as connection:
        (last,) = connection.execute("SELECT max(id) FROM entry").fetchone()
        ids = RANDOM.sample(range(1, last + 1), int(last * share))
        tenth = len(ids) // 10
        connection.executemany("DELETE FROM entry WHERE id = ?", ((one,) for one in ids[:tenth]))
        connection.executemany(
            "UPDATE entry SET body = body || ?, mood = ? WHERE id = ?",
            ((" " + text(3), RANDOM.random(), one) for one in ids[tenth : tenth * 6]),
        )
        connection.executemany(
            "UPDATE entry SET body = ? WHERE id = ?",
            ((text(RANDOM.randint(30, 130)), one) for one in ids[tenth * 6 :]),
        )
        connection.executemany(INSERT, (new_row() for _ in range(tenth)))
        connection.commit()


def vacuum(path: Path) -> None:
    """Let SQLite write the whole file anew."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM")


def pages_changed(path: Path, base: Path) -> float:
    """Return the share of pages that are not as in the base."""
    new, old = path.read_bytes(), base.read_bytes()
    starts = range(0, len(new), 4096)
    return sum(new[at : at + 4096] != old[at : at + 4096] for at in starts) / len(starts)


# The forms


def spent(work: Callable[[], object]) -> tuple[float, float]:
    """Return the elapsed seconds and those of the CPU, of this process and those it started."""

    def cpu() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    start, start_cpu = time.perf_counter(), cpu()
    work()
    return time.perf_counter() - start, cpu() - start_cpu


def sha256_of(path: Path) -> str:
    """Return the checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run(*command: str | Path, environment: dict[str, str] | None = None) -> None:
    """Run a program that is to say nothing."""
    subprocess.run(
        [str(word) for word in command],
        env=os.environ | (environment or {}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )


def tree_size(folder: Path) -> int:
    """Return the bytes of all files in it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def compress_file(source: Path, target: Path) -> None:
    """Make a full backup as the program makes it: on disk, too."""
    with source.open("rb") as reader, target.open("wb") as writer:
        compress(reader, writer, threads=2, size=source.stat().st_size)
        writer.flush()
        os.fsync(writer.fileno())


def decompress_all(source: Reader, target: Writer) -> None:
    """Decompress without a limit: what is read was made here."""
    decompress(source, target, limit=2**62)


class Base:
    """A full backup that differentials are made of, stored with zstd."""

    def __init__(self, plain: Path, folder: Path) -> None:
        """Compress ``plain``."""
        self.stored = folder / "base.db.zst"
        self.size, self.sha256 = plain.stat().st_size, sha256_of(plain)
        self.seconds = spent(lambda: compress_file(plain, self.stored))

    def encode(self, source: Path, target: Path) -> None:
        """Make a differential; the base is decompressed on the way."""
        with (
            self.stored.open("rb") as stored,
            pulled(decompress_all, stored) as base,
            source.open("rb") as reader,
            target.open("wb") as writer,
        ):
            encode_differential(
                reader,
                writer,
                base=base,
                base_size=self.size,
                base_sha256=self.sha256,
                size=source.stat().st_size,
                threads=2,
            )
            writer.flush()
            os.fsync(writer.fileno())

    def decode(self, source: Path, target: Path) -> None:
        """Make a plain database of a differential."""
        with (
            self.stored.open("rb") as stored,
            pulled(decompress_all, stored) as base,
            source.open("rb") as reader,
            target.open("wb") as writer,
        ):
            decode_differential(reader, writer, base=base, limit=2**62)


class Restic:
    """A local repository of restic."""

    def __init__(self, folder: Path) -> None:
        """Make it."""
        self.folder = folder / "restic"
        self._environment = {
            "RESTIC_REPOSITORY": str(self.folder),
            "RESTIC_PASSWORD": "benchmark",
            "RESTIC_CACHE_DIR": str(folder / "restic-cache"),
        }
        run("restic", "init", environment=self._environment)

    def backup(self, source: Path) -> None:
        """Take a backup."""
        run("restic", "backup", source, environment=self._environment)


class Borg:
    """A local repository of borg."""

    def __init__(self, folder: Path) -> None:
        """Make it."""
        self.folder = folder / "borg"
        self._number = 0
        self._environment = {
            "BORG_REPO": str(self.folder),
            "BORG_BASE_DIR": str(folder / "borg-home"),
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        }
        run("borg", "init", "--encryption", "none", environment=self._environment)

    def backup(self, source: Path) -> None:
        """Take a backup."""
        self._number += 1
        command = ["borg", "create", "--compression", "zstd,3", f"::{self._number}"]
        run(*command, source, environment=self._environment)


# The days


@dataclass
class Total:
    """What one form took, and the CPU seconds of each day."""

    size: int = 0
    cpu: list[float] = field(default_factory=list)


def simulate(folder: Path, first: Path, share: float, days: int, *, vacuumed: bool) -> None:
    """Print the table of a number of days."""
    live, new = folder / "app.db", folder / "new"
    shutil.copy(first, live)
    base, base_plain, bases = Base(live, folder), folder / "base.db", 1
    shutil.copy(live, base_plain)
    totals = {name: Total() for name in ("plain", "zstd", "differential")}
    totals["plain"].size = base.size
    totals["zstd"].size = totals["differential"].size = base.stored.stat().st_size
    others = {
        tool.__name__.lower(): tool(folder)
        for tool in (Restic, Borg)
        if shutil.which(tool.__name__.lower())
    }
    for name, other in others.items():
        totals[name] = Total()
        other.backup(live)
    due = False
    print(f"\n{share:.0%} of rows a day{', VACUUM halfway' if vacuumed else ''}")
    print("day   pages changed   full zstd   differential   CPU of differential against full")
    for day in range(1, days + 1):
        live_a_day(live, share)
        if vacuumed and day == (days + 1) // 2:
            vacuum(live)
        plain = live.stat().st_size
        totals["plain"].size += plain
        totals["zstd"].cpu.append(spent(lambda: compress_file(live, new))[1])
        full = new.stat().st_size
        totals["zstd"].size += full
        if due:
            base, bases = Base(live, folder), bases + 1
            shutil.copy(live, base_plain)
            totals["differential"].cpu.append(base.seconds[1])
            stored = base.stored.stat().st_size
            due, shown = False, f"{stored / plain:12.1%}   a new base"
        else:
            totals["differential"].cpu.append(spent(partial(base.encode, live, new))[1])
            stored = new.stat().st_size
            due = stored > full * SHARE_FOR_A_NEW_BASE
            ratio = totals["differential"].cpu[-1] / totals["zstd"].cpu[-1]
            shown = f"{stored / plain:12.1%}   {ratio:.2f} x"
        totals["differential"].size += stored
        if day in {1, 2, 7, days} or "base" in shown or due:
            changed = pages_changed(live, base_plain)
            print(f"{day:3}   {changed:13.0%}   {full / plain:9.1%}   {shown}", flush=True)
        for name, other in others.items():
            totals[name].cpu.append(spent(partial(other.backup, live))[1])
    for name, other in others.items():
        totals[name].size = tree_size(other.folder)
    print(f"{days + 1} backups, {bases} of them bases     MiB   CPU s a day (median)")
    for name, total in totals.items():
        cpu = f"{statistics.median(total.cpu):7.2f}" if total.cpu else ""
        print(f"  {name:14} {total.size / MIB:18,.0f}   {cpu}")


# The time of one


def copy_and_sync(source: Path, target: Path) -> None:
    """Make a plain copy, as a backup does first."""
    shutil.copyfile(source, target)
    with target.open("rb+") as file:
        os.fsync(file.fileno())


def compare_times(folder: Path, first: Path, rounds: int) -> None:
    """Print how long one backup takes beside the program zstd, at 1% of rows."""
    live, copy = folder / "app.db", folder / "copy"
    shutil.copy(first, live)
    base = Base(live, folder)
    live_a_day(live, 0.01)
    full, differential, result = (folder / name for name in ("full", "differential", "result"))
    found: dict[str, list[tuple[float, float]]] = {}
    work: dict[str, Callable[[], object]] = {
        "copy": lambda: copy_and_sync(live, copy),
        "zstd": lambda: compress_file(copy, full),
        "differential": lambda: base.encode(copy, differential),
        "differential, back": lambda: base.decode(differential, result),
    }
    if shutil.which("zstd"):
        work["program zstd -T2"] = lambda: run("zstd", "-T2", "-3", "-f", copy, "-o", folder / "z")
        work["program zstd -d"] = lambda: run("zstd", "-d", "-f", folder / "z", "-o", result)
    for _ in range(rounds):
        for name, call in work.items():
            found.setdefault(name, []).append(spent(call))
    print(f"\nOne backup after a day of 1%, level 3, 2 threads, medians of {rounds}")
    medians = {
        name: [statistics.median(pair[index] for pair in pairs) for index in (0, 1)]
        for name, pairs in found.items()
    }
    for name, (elapsed, cpu) in medians.items():
        print(f"  {name:20} {elapsed:6.2f} s   CPU {cpu:6.2f} s")
    if "program zstd -T2" in medians:
        for index, unit in ((0, "elapsed"), (1, "CPU")):
            plain, beside = medians["copy"][index], medians["program zstd -T2"][index]
            for name in ("zstd", "differential"):
                ratio = (plain + medians[name][index]) / (plain + beside)
                print(f"  copy + {name}: {ratio:.2f} x copy + program zstd, {unit}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=140)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="8 MB, 6 days, 1 round")
    given = parser.parse_args()
    if given.quick:
        given.megabytes, given.days, given.rounds = 8, 6, 1
    place = Path(tempfile.mkdtemp())
    try:
        first = place / "first.db"
        make_database(first, given.megabytes)
        print(f"{first.stat().st_size / MIB:,.0f} MiB, {os.cpu_count()} cores")
        for number, (share, vacuumed) in enumerate(((0.01, False), (0.1, False), (0.01, True))):
            folder = place / str(number)
            folder.mkdir()
            simulate(folder, first, share, given.days, vacuumed=vacuumed)
            shutil.rmtree(folder)
        compare_times(place, first, given.rounds)
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
