"""Keeps code of the application from the live files themselves, where Python lets us.

What a program that it starts does, or a library of C, no audit hook sees.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_NO_DIRECTORY = None
_OPENED = "/proc/self/fd/{}"
# What is done, and where among the arguments a path is, and the directory that it begins in.
# Source: https://docs.python.org/3/library/audit_events.html
_WATCHED: dict[str, tuple[str, tuple[tuple[int, int | None], ...]]] = {
    "open": ("write to", ((0, _NO_DIRECTORY),)),
    "os.remove": ("delete", ((0, 1),)),
    "os.rename": ("rename or replace", ((0, 2), (1, 3))),
    "os.truncate": ("truncate", ((0, _NO_DIRECTORY),)),
    "os.link": ("make a link of", ((0, 2), (1, 3))),
    "os.symlink": ("make a link of", ((1, 2),)),
    "os.chmod": ("change the permissions of", ((0, 2),)),
    "os.chown": ("change the owner of", ((0, 3),)),
    "os.utime": ("change the times of", ((0, 3),)),
    "os.setxattr": ("change the attributes of", ((0, _NO_DIRECTORY),)),
    "os.removexattr": ("change the attributes of", ((0, _NO_DIRECTORY),)),
    "shutil.chown": ("change the owner of", ((0, _NO_DIRECTORY),)),
    "shutil.copyfile": ("write to", ((1, _NO_DIRECTORY),)),
    "shutil.rmtree": ("delete the directory", ((0, _NO_DIRECTORY),)),
    "shutil.move": ("move", ((0, _NO_DIRECTORY), (1, _NO_DIRECTORY))),
}
# What takes the files in a directory along.
_OF_DIRECTORIES = {"os.rename", "shutil.rmtree", "shutil.move"}


_PROGRAMS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn"}


def watch_programs(started: Callable[[str], object]) -> None:
    """Call ``started`` with the name of each program that is started, for the rest of the process.

    Nothing keeps a program from a file.
    """

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _PROGRAMS:
            name = arguments[1] if event == "os.spawn" else arguments[0]
            with suppress(TypeError, ValueError):
                started(os.path.basename(os.fsdecode(os.fspath(name)).split(" ")[0]))  # noqa: PTH119

    sys.addaudithook(hook)


def guard_files(
    originals: Callable[[], Collection[str]],
    endings: Collection[str],
    refuse: Callable[[Path, str], object],
) -> None:
    """Have ``refuse`` raise where one of ``originals``, or what lies beside it, is to be changed.

    For the rest of the process. ``endings``: of the names of what the library keeps beside it.
    """

    def is_original(path: str) -> bool:
        kept = [f"{one}{ending}" for one in originals() for ending in ("", *endings)]
        return path in kept or any(_is_same_file(path, one) for one in kept)

    def is_above(path: str) -> bool:
        return any(one.startswith(path + os.sep) for one in originals())

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _WATCHED:
            return
        if event == "open" and not _is_writing(arguments):
            return
        what, places = _WATCHED[event]
        for path in (_resolved(arguments, *place) for place in places):
            if path and (is_original(path) or (event in _OF_DIRECTORIES and is_above(path))):
                refuse(Path(path), what)

    sys.addaudithook(hook)


def _is_same_file(path: str, original: str) -> bool:
    """Whether it is another name, a hard link, of the same file."""
    with suppress(OSError):
        found = os.stat(path)
        return found.st_nlink > 1 and os.path.samestat(found, os.stat(original))
    return False


def _is_writing(arguments: tuple[Any, ...]) -> bool:
    mode, flags = (*arguments[1:3], 0, 0)[:2]
    if isinstance(mode, str) and set(mode) & set("wax+"):
        return True
    return isinstance(flags, int) and bool(flags & _WRITING)


def _resolved(arguments: tuple[Any, ...], at: int, directory_at: int | None) -> str:
    """Return the path with links resolved; that of a descriptor, where the system tells it."""
    with suppress(OSError, TypeError, ValueError, IndexError):
        path = arguments[at]
        if isinstance(path, int):
            return os.path.realpath(_OPENED.format(path))
        name = os.fsdecode(os.fspath(path))
        directory = -1 if directory_at is None else arguments[directory_at]
        if isinstance(directory, int) and directory >= 0:
            name = os.path.join(_OPENED.format(directory), name)  # noqa: PTH118
        return os.path.realpath(name)
    return ""
