"""The lock of what is done with the mirrors of one database: a second one waits for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import Timeout

from soulsense_db import fs
from soulsense_db.mirroring.errors import sync_at_work
from soulsense_db.mirroring.job import Stop
from soulsense_db.mirrors import RecordFile
from soulsense_db.operations import Repository

_TURN_SECONDS = 0.5


@contextmanager
def held(file: RecordFile, repository: Repository, stop: Stop) -> Iterator[None]:
    """Hold the lock of ``file`` in the block.

    Raises :class:`~soulsense_db.errors.DirectoryLockedError` when another process had it for
    ``lock_timeout``.
    """
    directory = repository.directory.directory
    fs.make_private_directory(directory, owner_of=repository.database, keeps_out_of_git=True)
    until = time.monotonic() + repository.driver.lock_timeout
    lock = None
    while lock is None:
        stop.check()  # the caller may wait for less
        try:
            lock = fs.acquire_lock(
                file.lock_path,
                timeout=_TURN_SECONDS,
                owner_of=repository.database,
                is_shared=True,
            )
        except Timeout:
            if time.monotonic() >= until:
                raise sync_at_work(directory) from None
    try:
        yield
    finally:
        fs.release_lock(lock)
