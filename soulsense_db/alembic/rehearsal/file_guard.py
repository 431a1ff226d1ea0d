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
# How many of the first arguments are paths, and what is done to them.
_WATCHED = {
    "open": (1, "write to"),
    "os.remove": (1, "delete"),
    "os.rename": (2, "rename or replace"),
    "os.truncate": (1, "truncate"),
    "shutil.rmtree": (1, "delete the directory"),
    "shutil.move": (2, "move"),
}


def guard_files(
    originals: Callable[[], Collection[str]],
    endings: Collection[str],
    refuse: Callable[[Path, str], object],
) -> None:
    """Have ``refuse`` raise where one of ``originals``, or what lies beside it, is to be changed.

    For the rest of the process. ``endings``: of the names of what the library keeps beside it.
    """

    def is_original(path: str) -> bool:
        return any(path == f"{one}{ending}" for one in originals() for ending in ("", *endings))

    def is_above(path: str) -> bool:
        return any(one.startswith(path + os.sep) for one in originals())

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _WATCHED:
            return
        count, what = _WATCHED[event]
        if event == "open" and not _is_writing(arguments):
            return
        for path in map(_resolved, arguments[:count]):
            if path and (is_original(path) or (event.startswith("shutil.") and is_above(path))):
                refuse(Path(path), what)

    sys.addaudithook(hook)


def _is_writing(arguments: tuple[Any, ...]) -> bool:
    mode, flags = (*arguments[1:3], 0, 0)[:2]
    if isinstance(mode, str) and set(mode) & set("wax+"):
        return True
    return isinstance(flags, int) and bool(flags & _WRITING)


def _resolved(path: Any) -> str:
    """Return the path with links resolved; empty for a descriptor."""
    if isinstance(path, int):
        return ""
    with suppress(OSError, TypeError, ValueError):
        return os.path.realpath(os.fsdecode(os.fspath(path)))
    return ""
