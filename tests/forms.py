"""Backups of every form for tests: managers that make them, and how to read one by other means."""

from __future__ import annotations

import random
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import pyrage
import pytest
from age_keys import Key, text_of
from conftest import EngineMaker
from differential_reader import differential_by_others
from helpers import digest, leftovers

from soulsense_db import BackupManager
from soulsense_db.backup_info import BackupInfo
from soulsense_db.codecs import Identities, Recipients, age_passphrase
from soulsense_db.manager import ManagerOptions
from soulsense_db.operations import DifferentialPolicy

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PASSPHRASE = "correct horse battery staple"  # noqa: S105 - of the tests alone
MARKER = "c0ffee-marker-4711-of-a-row"
SECRET_WORDS = "Before the import", "Before_the_import", "the base", "the_base"
# Where the rows are anyway: the live database and what a restore keeps of it.
LIVE = ("app.db", "app.db.safety_backup")
STORED = ("plain", "zstd", "diff")
SEALS = ("open", "key", "passphrase")
EVERY = tuple((stored, seal) for stored in STORED for seal in SEALS)
ENDINGS = {"plain": "", "zstd": ".zst", "diff": ".diff"}
ALWAYS = DifferentialPolicy(share=1)
"""Nothing in these small databases is a reason for a new base."""


def how(stored: str, seal: str, key: Key) -> ManagerOptions:
    """Return the options of a manager whose new backups are ``stored`` and sealed like this."""
    options = ManagerOptions(lock_timeout=5.0)
    if stored == "zstd":
        options["compression"] = "zstd"
    if stored == "diff":
        options["differential"] = ALWAYS
    if seal == "key":
        options["recipients"] = [key.public]
        options["identities"] = key.path
    if seal == "passphrase":
        options["recipients"] = Recipients.with_passphrase(text_of(PASSPHRASE))
    return options


def all_identities(key: Key) -> Identities:
    """Return what opens backups of every form."""
    return Identities(*key.identities.sources, passphrase=text_of(PASSPHRASE))


def ending(stored: str, seal: str) -> str:
    """Return the end of the name of such a backup."""
    return f".db{ENDINGS[stored]}{'' if seal == 'open' else '.age'}"


def guess_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a passphrase that is stretched in no time: tests use it a hundred times."""
    defaults = age_passphrase.seal.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "work", 4)


def add_noise(database: Path, pieces: int, *, seed: int = 0) -> None:
    """Add rows of 100 KB that nothing makes smaller."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS noise (data BLOB)")
        rows = [(random.Random(f"{seed} {n}").randbytes(100_000),) for n in range(pieces)]
        connection.executemany("INSERT INTO noise VALUES (?)", rows)
        connection.commit()


@dataclass(frozen=True)
class Made:
    """A backup of some form, and the rows that are in it."""

    manager: BackupManager
    info: BackupInfo
    rows: str
    base: BackupInfo | None

    @property
    def path(self) -> Path:
        """Its file."""
        return Path(self.info.path)


def make_backup(
    database: Path,
    make_engine: EngineMaker,
    *,
    stored: str,
    seal: str,
    key: Key,
    **options: Unpack[ManagerOptions],
) -> Made:
    """Make a backup of the form, its base first; the marker is in its rows alone."""
    manager = BackupManager(make_engine(database), **how(stored, seal, key) | options)
    base = None
    if stored == "diff":
        add_noise(database, 12, seed=1)
        base = manager.create("the base")
    add_noise(database, 4, seed=2)
    with closing(sqlite3.connect(database)) as connection:
        values = (MARKER,)
        connection.execute("INSERT INTO child (parent_id, amount, body) VALUES (1, 0, ?)", values)
        connection.commit()
    info = manager.create("Before the import")
    return Made(manager, info, digest(database), base)


def unsealed_by_others(data: bytes, seal: str, key: Key) -> bytes:
    """Decrypt with the library alone."""
    if seal == "key":
        return bytes(pyrage.decrypt(data, [pyrage.x25519.Identity.from_str(key.secret)]))
    return bytes(pyrage.passphrase.decrypt(data, PASSPHRASE)) if seal == "passphrase" else data


def plain_by_others(path: Path, seal: str, key: Key, base: bytes = b"") -> bytes:
    """Return the database in a backup, read by the formats' descriptions and none of our code."""
    data = unsealed_by_others(path.read_bytes(), seal, key)
    kind = Path(path.name.removesuffix(".age")).suffix
    if kind == ".zst":
        return zstd.decompress(data)
    return differential_by_others(data, base) if kind == ".diff" else data


def files_with(directory: Path, text: str) -> list[str]:
    """Return the files below ``directory`` that have ``text`` in their name or their bytes."""
    wanted = text.encode()
    return sorted(
        str(path.relative_to(directory))
        for path in directory.rglob("*")
        if text in path.name or (path.is_file() and wanted in path.read_bytes())
    )


def require_private(folder: Path) -> None:
    """Look for the rows, the tables and the descriptions in every file that is not live."""
    shown = {name for name in files_with(folder, MARKER) if name not in LIVE}
    for text in (*SECRET_WORDS, "parent_id", "noise"):
        shown |= set(files_with(folder / "backups", text))
    assert shown == set()
    assert leftovers(folder) == leftovers(folder / "backups") == []
