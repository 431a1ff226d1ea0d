"""Dump a database with several jobs of ``pg_dump``, to one archive like that of one job.

Several jobs can only write to a folder. It is private, beside the file that the archive is written
to, and its files become that archive (:mod:`~soulsense_db.drivers.postgresql.packing`), each being
removed as soon as it is in it. What a process leaves there that was killed, whoever tidies up after
that file removes: the folder's name is the file's, and its ending one of the driver's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from soulsense_db import fs
from soulsense_db.drivers.postgresql.packing import packed
from soulsense_db.drivers.postgresql.tools import Tools
from soulsense_db.drivers.server_programs import chunks_of

FOLDER = ".parts"
"""How the name of the folder ends, after that of the file that the archive is written to."""
_IN_A_STREAM = ("--format=custom",)
_IN_A_FOLDER = ("--format=directory", "--no-sync")  # the file is synced that all of it goes to


@contextmanager
def dumped(
    tools: Tools,
    arguments: tuple[str, ...],
    environment: Mapping[str, str],
    target: Path,
    *,
    jobs: int,
    sizes: tuple[int, int],
    poll: Callable[[int], object],
    read: Callable[[BufferedReader], Iterator[bytes | memoryview]] = chunks_of,
) -> Iterator[Iterator[bytes | memoryview]]:
    """Run ``pg_dump`` and yield the archive, chunk by chunk, which is to be written to ``target``.

    ``sizes``: about the bytes of all rows, and of those of the largest table. ``poll`` is called
    with the bytes that were written to the folder since the last time; what it raises stops all.
    ``read`` yields the chunks of what one job writes.
    """
    if jobs == 1:
        with tools.reading("pg_dump", *_IN_A_STREAM, *arguments, environment=environment) as output:
            yield read(output)
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
            f"--jobs={jobs}",
            f"--file={folder}",
            *arguments,
            environment=environment,
            poll=_Written(folder, poll),
        )
        yield packed(folder, name=tools.name)
    finally:
        fs.remove_folder(folder)


class _Written:
    """Tells how many bytes were written to a folder since it was last asked."""

    def __init__(self, folder: Path, tell: Callable[[int], object]) -> None:
        self._folder, self._tell, self._told = folder, tell, 0

    def __call__(self) -> None:
        with fs.storage_errors("list", self._folder), os.scandir(self._folder) as entries:
            size = sum(entry.stat().st_size for entry in entries)
        self._told, new = size, size - self._told
        self._tell(new)
