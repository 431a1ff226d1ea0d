"""Have ``pg_dump`` write an archive: one job to the file itself, several by way of a folder.

One job has the file as its output: nothing is copied, and it notes where in it each table is, which
several jobs of ``pg_restore`` make use of. Several jobs can only write to a folder. It is private,
beside the file that the archive is written to, and its files become that archive
(:mod:`~soulsense_db.drivers.postgresql.packing`), each being removed as soon as it is in it. What a
process leaves there that was killed, whoever tidies up after that file removes: the folder's name
is the file's, and its ending one of the driver's.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from soulsense_db import fs
from soulsense_db.drivers.postgresql.packing import packed
from soulsense_db.drivers.postgresql.tools import Tools
from soulsense_db.errors import BackupError

FOLDER = ".parts"
"""How the name of the folder ends, after that of the file that the archive is written to."""
_IN_A_FILE = ("--format=custom",)
_IN_A_FOLDER = ("--format=directory", "--no-sync")  # the file is synced that all of it goes to
# How pg_dump says that what it writes to refuses it; its messages are in English, as it is run.
_OUTPUT = re.compile("(?:could not write to output file|could not close archive file): (.*)")
_CODES = {
    "No space left on device": errno.ENOSPC,
    "Disk quota exceeded": errno.EDQUOT,
    "File too large": errno.EFBIG,
}


def dump(
    tools: Tools,
    arguments: tuple[str, ...],
    environment: Mapping[str, str],
    target: Path,
    *,
    sizes: tuple[int, int],
    poll: Callable[[int], object],
) -> None:
    """Run ``pg_dump``, in as many jobs as ``tools`` has, and write the archive to ``target``.

    ``sizes``: about the bytes of all rows, and of those of the largest table. ``poll`` is called
    with the bytes that were written since the last time, of several jobs to the folder and then to
    the archive; what it raises stops all.
    """
    with fs.storage_errors("write", target), target.open("r+b") as stream:
        stream.truncate()
        if tools.jobs == 1:
            written = _Written(lambda: os.fstat(stream.fileno()).st_size, poll)
            with _errors_of_output(target):
                tools.run(
                    "pg_dump",
                    *_IN_A_FILE,
                    *arguments,
                    environment=environment,
                    output=stream,
                    poll=written,
                )
            written()
            return
        folder = Path(f"{target}{FOLDER}")
        fs.remove_folder(folder)
        fs.require_space(folder.parent, sum(sizes))
        with fs.storage_errors("make a directory in", folder.parent):
            folder.mkdir(mode=fs.PRIVATE_DIRECTORY)
        try:
            tools.run(
                "pg_dump",
                *_IN_A_FOLDER,
                f"--jobs={tools.jobs}",
                f"--file={folder}",
                *arguments,
                environment=environment,
                poll=_Written(lambda: _size_of(folder), poll),
            )
            for chunk in packed(folder, name=tools.name):
                stream.write(chunk)
                poll(len(chunk))
        finally:
            fs.remove_folder(folder)


@contextmanager
def _errors_of_output(target: Path) -> Iterator[None]:
    """Say of a program that could not write to ``target`` that it is that file, as of any other."""
    try:
        yield
    except BackupError as error:
        if found := _OUTPUT.search(error.reason):
            code = _CODES.get(found[1])
            raise fs.as_storage_error(OSError(code, found[1]), "write", target) from error
        raise


def _size_of(folder: Path) -> int:
    with fs.storage_errors("list", folder), os.scandir(folder) as entries:
        return sum(entry.stat().st_size for entry in entries)


class _Written:
    """Tells how much larger a size has become since it was last asked."""

    def __init__(self, size: Callable[[], int], tell: Callable[[int], object]) -> None:
        self._size, self._tell, self._told = size, tell, 0

    def __call__(self) -> None:
        size = self._size()
        self._told, new = size, size - self._told
        self._tell(new)
