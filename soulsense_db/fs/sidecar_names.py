"""What the files are called that lie beside a live database.

A database's own name may be as long as the file system lets it be; then that of a sidecar is
shortened, always to the same, so that each process finds what another one left.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

_USUAL_NAME_MAX = 255
# Bytes of a sidecar's path on Unix. Database libraries open some of them and have limits of their
# own below the system's; the name must be the same for who knows the library and who does not.
_PATH_MAX = 504
# What is put around a name: ".meta", a file to write that to, and a number where one is in the way;
# a log's ending is shorter.
_AROUND = len("." + ".meta" + ".partial" + ".99")
_SHORTEST = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Companions:
    """How the names end of the files that a database library keeps beside one of its files.

    ``logs``: those with data in them, which the library replays into the file of the name;
    ``others``: those that it makes anew; ``folders``: those of folders with what is worked with.
    """

    logs: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()

    @property
    def endings(self) -> tuple[str, ...]:
        """All of those of files."""
        return (*self.logs, *self.others)


NO_COMPANIONS = Companions()
"""Those of a library that keeps all of a database in one file, or on a server."""


def beside(database: Path, suffix: str, *, hidden: bool = False) -> Path:
    """Return the path of the sidecar of ``database`` whose name ends in ``suffix``.

    It is ``<name><suffix>``, with a dot in front if ``hidden``. Where that or its meta file would
    be too long for the file system, or its path for a database library, the name is cut and a
    checksum of it put in.
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


def _room(database: Path) -> int:
    room = name_max(database.parent) - _AROUND
    if os.name == "posix":
        room = min(room, _PATH_MAX - _size(str(database.parent)) - 1)
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
