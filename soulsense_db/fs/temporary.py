"""Private files where the system has temporary ones."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from soulsense_db.fs.durable import PRIVATE_DIRECTORY, create_private_file
from soulsense_db.fs.errors import storage_errors
from soulsense_db.fs.space import require_space


@contextmanager
def temporary_file(name: str = "copy", *, size_bytes: int | None = None) -> Iterator[Path]:
    """Make an empty private file in a directory of its own, which is gone at the end.

    ``size_bytes``: what it will take, where room is to be asked for.
    """
    with storage_errors("find", "a directory for temporary files"):
        place = Path(tempfile.gettempdir())
    if size_bytes is not None:
        require_space(place, size_bytes)
    with storage_errors("make a directory in", place):
        folder = Path(tempfile.mkdtemp(prefix="soulsense_db-"))
        folder.chmod(PRIVATE_DIRECTORY)  # whatever the umask
    try:
        path = folder / name
        create_private_file(path)
        yield path
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # what is left, the system removes
