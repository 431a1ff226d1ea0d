"""What the files are called that lie beside a live database.

A database's own name may be as long as the file system and SQLite let it be; then that of a
companion is shortened, always to the same, so that each process finds what another one left.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_USUAL_NAME_MAX = 255
# SQLite's own limit on Unix is 512, and it needs room for "-journal".
SQLITE_PATH_MAX = 504
# What is put around a name: ".meta", a file to write that to, and a number where one is in the way;
# a journal's ending is shorter.
_AROUND = len("." + ".meta" + ".partial" + ".99")
_SHORTEST = 6
LOGS = ("-wal", "-journal")
"""How the names of those end in which SQLite keeps data, which it replays into that of the name."""
COMPANIONS = (*LOGS, "-shm")
"""How the names of all that SQLite keeps beside a database end."""
WORKING_COPIES = (".restoring", ".resized")
"""How the names of the copies end that a restore may work on, hidden beside the database."""


def beside(database: Path, suffix: str, *, hidden: bool = False) -> Path:
    """Return the path of the companion of ``database`` whose name ends in ``suffix``.

    It is ``<name><suffix>``, with a dot in front if ``hidden``. Where that or its meta file would
    be too long for the file system, or its path for SQLite, the name is cut and a checksum of it
    put in.
    """
    dot = "." if hidden else ""
    room = _room(database)
    whole = f"{dot}{database.name}{suffix}"
    if _size(whole) <= room:
        return database.with_name(whole)
    ending = f"~{_checksum(database.name)}{suffix}"
    kept = _beginning(database.name, room - _size(dot + ending))
    if kept:
        return database.with_name(f"{dot}{kept}{ending}")
    # Not even that: in a directory whose own path is nearly as long as can be.
    return database.with_name(f".{_checksum(database.name + suffix, max(_SHORTEST, room - 1))}")


def name_max(directory: Path) -> int:
    """Return how many bytes a name in ``directory`` may have; it need not exist."""
    try:
        return os.pathconf(directory, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows; absent; a system that does not say
        return _USUAL_NAME_MAX


def fits_sqlite(path: Path) -> bool:
    """Whether SQLite can open a database file ``path``."""
    return os.name != "posix" or _size(str(path)) <= SQLITE_PATH_MAX


def _room(database: Path) -> int:
    room = name_max(database.parent) - _AROUND
    if os.name == "posix":
        room = min(room, SQLITE_PATH_MAX - _size(str(database.parent)) - 1)
    return room


def _beginning(name: str, room: int) -> str:
    """Return as many of the first characters of ``name`` as fit in ``room`` bytes."""
    while _size(name) > max(0, room):
        name = name[:-1]
    return name


def _checksum(text: str, length: int = 8) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[: min(length, 12)]


def _size(text: str) -> int:
    return len(os.fsencode(text))
