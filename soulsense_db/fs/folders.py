"""Folders with what is worked with."""

from __future__ import annotations

import shutil
from pathlib import Path

from soulsense_db.fs.errors import storage_errors

_ATTEMPTS = 10


def remove_folder(path: Path) -> None:
    """Remove a folder with all that is in it; a link and a file stay, and nothing is no error.

    A program that outlives the process which started it may still make a file in it meanwhile.
    """
    for _ in range(_ATTEMPTS):
        if path.is_symlink() or not path.is_dir():
            return
        shutil.rmtree(path, ignore_errors=True)
    with storage_errors("remove", path):
        shutil.rmtree(path)
